/*
 * folder_traps.h - warnings of folder layouts that are valid but mean something else than most people want.
 *
 * Must not know pixels.
 */
#ifndef DATA_FOLDER_TRAPS_H
#define DATA_FOLDER_TRAPS_H

#include "folder.h"

/* Warns of "100_person" beside "10_mysubject person" in the training folder: tutorials mean regularisation pictures,
 * and here they would outweigh the subject.  Call after pictures_sort(), before regularisation pictures are matched. */
void pictures_warn_of_class_folders(const struct pictures *list);

/* The name of the folder of regularisation pictures, such as "1_person", with which all of them are used for `wanted`
 * training samples; malloced.  NULL where no name does it, or the present one. */
char *regularization_folder_name(const struct pictures *list, size_t first, long long wanted);

#endif
