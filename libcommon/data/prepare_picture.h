/*
 * prepare_picture.h - one picture from its file to its payloads.  Private to prepare.c; runs in any thread, touches
 * nothing but its arguments.
 */
#ifndef DATA_PREPARE_PICTURE_H
#define DATA_PREPARE_PICTURE_H

#include "../io/image.h"
#include "../io/tar.h"
#include "folder.h"
#include "prepare_rules.h"

struct prepared {
	const char *code;               /* why it is skipped, as the manual lists them; NULL: it is good */
	struct error error;             /* and in words, which begin with the path; not EXIT_INPUT: nobody knows whether it is good */
	struct image_info info;
	char sha256[65];                /* of the file's bytes */
	struct caption caption;
	struct placement place;
	enum resample_filter filter;
	struct tar_member member[3];    /* the picture, its mirror, the mask */
	int members;
	bool masked;
};

void prepare_picture(const struct prepare_options *o, const struct picture_rules *rules, const struct picture *p,
		     struct prepared *out);
/* Its first half: everything but pixels of the new size.  With out->code NULL the picture is in *image, malloced: all its pixels,
 * or no more than the bucket needs. */
void prepare_decode(const struct prepare_options *o, const struct picture_rules *rules, const struct picture *p,
		    bool all, struct image *image, struct prepared *out);
/* What its header tells: no pixels, no hash, no mask. */
void prepare_look(const struct prepare_options *o, const struct picture_rules *rules, const struct picture *p, struct prepared *out);
void prepared_free(struct prepared *p);

#endif
