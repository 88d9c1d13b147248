/*
 * folder.h - the pictures of a data set: which files, how often each is repeated, and in which order.
 *
 * Owns kohya's folder layout (N_name: N repeats, "name" the class tokens) and what counts as junk.  Opens files only to
 * see whether they begin like a picture.  Must not know captions, sizes or pixels.
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
	/* index of the caller's set of rules for it; 0 unless told otherwise */
	size_t rules;
	/* of a matched regularisation picture: the repeats of its folder, and how many pictures that has; else 0 */
	long of_folder[2];
};

struct pictures {
	/* training pictures first, then regularisation; each in byte order of paths, then by rules */
	struct picture *picture;
	size_t count, capacity;
};

/* Adds the pictures of DIR: a parent of folders N_name, else a plain folder whose pictures count once.  Prints notes on
 * what is left out.  EXIT_INPUT where DIR cannot be listed. */
int pictures_scan(const char *dir, bool regularization, struct pictures *list, struct error *e) MUST_CHECK;
/* Adds the pictures of one folder, whatever its name, as copies of *like but for path and inside; no class tokens. */
int pictures_scan_folder(const char *dir, const struct picture *like, struct pictures *list,
			 struct error *e) MUST_CHECK;
/* By its ending alone; hidden and system files are none. */
bool is_picture_name(const char *name);
void pictures_sort(struct pictures *list);
void pictures_free(struct pictures *list);

/* kohya's rule: regularisation pictures are repeated in turn until there are as many samples as of training pictures;
 * pictures beyond that count are dropped.  Call after pictures_sort().  Prints a note. */
void pictures_match_regularization(struct pictures *list);

/* "10_gizmo robot" -> 10 and "gizmo robot".  False: not such a name. */
bool repeats_of_name(const char *name, long *repeats, const char **tokens);

#endif
