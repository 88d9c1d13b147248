/*
 * folder.h - which files are pictures of the data set, how often each counts, and in which order they stand.
 *
 * Owns kohya's folder layout and what is junk.  Opens files only to see whether they begin like a picture.  Must not
 * know captions, sizes or pixels.
 */
#ifndef DATA_FOLDER_H
#define DATA_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include "../base/error.h"

struct picture {
	char *path;                     /* DIR as given, without trailing slashes, and the rest; any bytes but NUL */
	const char *inside;             /* the rest alone: "10_gizmo robot/a.jpg", or "a.jpg" in a plain folder */
	char *class_tokens;             /* of the folder's name N_tokens; NULL in a plain folder */
	long repeats;
	bool regularization;
	size_t rules;                   /* which of the caller's sets of rules it falls under; 0 unless told otherwise */
	long of_folder[2];              /* regularisation, once matched: the folder's own repeats, and how many pictures it has; else 0 */
};

struct pictures {
	struct picture *picture;        /* for training, then for regularisation; each in byte order of paths, then by rules */
	size_t count, capacity;
};

/* Add the pictures of DIR: a parent of folders N_name, else a plain folder whose pictures count once.  Notes say what
 * was left out.  EXIT_INPUT when DIR cannot be listed. */
int pictures_scan(const char *dir, bool regularization, struct pictures *list, struct error *e) MUST_CHECK;
/* Add the pictures of one folder, whatever its name, with what *like says but for path and inside; no class tokens. */
int pictures_scan_folder(const char *dir, const struct picture *like, struct pictures *list, struct error *e) MUST_CHECK;
void pictures_sort(struct pictures *list);
void pictures_free(struct pictures *list);

/* kohya's rule: regularisation pictures are repeated in turn until they count as often as the training pictures; those
 * beyond that count are dropped.  Call after pictures_sort().  Says what it did. */
void pictures_match_regularization(struct pictures *list);

/* "10_gizmo robot" -> 10 and "gizmo robot".  False: not such a name. */
bool repeats_of_name(const char *name, long *repeats, const char **tokens);

#endif
