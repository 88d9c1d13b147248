/*
 * prepare_folder.h - prepared pictures as files: OUT/N_words/STEM.jpg with its caption STEM.txt beside it.
 *
 * Owns their names.  Private to prepare.c.
 */
#ifndef DATA_PREPARE_FOLDER_H
#define DATA_PREPARE_FOLDER_H

#include "prepare_picture.h"

struct folder_writer;
struct folder_writer *folder_create(const char *path, struct error *e) MUST_CHECK;
int folder_add(struct folder_writer *w, const struct picture *picture, const struct prepared *p,
	       struct error *e) MUST_CHECK;
/* Warns of pictures in the folder that this run did not write, such as those of an earlier one: they would be trained.
 * Looks where training does, in the folder and those inside it. */
void folder_tell_others(const struct folder_writer *w);
void folder_close(struct folder_writer *w);     /* accepts NULL */

#endif
