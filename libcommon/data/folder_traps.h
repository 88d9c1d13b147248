/*
 * folder_traps.h - layouts of a data set that are sound and mean something else than most people want.
 *
 * Owns the sentences about them.  Must not know pixels.
 */
#ifndef DATA_FOLDER_TRAPS_H
#define DATA_FOLDER_TRAPS_H

#include "folder.h"

/* "100_person" beside "10_mysubject person" in the training folder: tutorials mean regularisation, and it outweighs the subject.  Warns.
 * Call after pictures_sort(), before regularisation pictures are matched. */
void pictures_warn_of_class_folders(const struct pictures *list);

/* How to name the folder of regularisation pictures so that all of them are used with so many training samples: "1_person", malloced;
 * NULL where no name does it, or the one that it has. */
char *regularization_folder_name(const struct pictures *list, size_t first, long long wanted);

#endif
