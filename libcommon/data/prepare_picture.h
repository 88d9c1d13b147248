/*
 * prepare_picture.h - one picture from its file to its payloads.  Runs in any thread and uses nothing but its
 * arguments.  Private to prepare.c and lint.c.
 */
#ifndef DATA_PREPARE_PICTURE_H
#define DATA_PREPARE_PICTURE_H

#include "../io/image.h"
#include "../io/tar.h"
#include "folder.h"
#include "prepare_rules.h"

struct prepared {
	const char *code;               /* why it is skipped, by the list in the manual; NULL: it is good */
	/* the same as text, which begins with the path; another code than EXIT_INPUT: the picture may be good */
	struct error error;
	struct image_info info;
	char sha256[65];                /* of the file's bytes */
	struct caption caption;
	struct placement place;
	enum resample_filter filter;
	struct tar_member member[3];    /* the picture, its mirror, the mask */
	int members;
	bool mask_file, masked;         /* conditioning_data_dir has one; a mask leaves out anything */
	bool mask_black;                /* it leaves out everything */
};

void prepare_picture(const struct prepare_options *o, const struct picture_rules *rules, const struct picture *p,
		     struct prepared *out);
/* The first half of prepare_picture(): everything but resizing and encoding.  Where out->code is NULL, the picture is
 * in *image, malloced: with `all` at full size, else perhaps decoded smaller, as the bucket allows. */
void prepare_decode(const struct prepare_options *o, const struct picture_rules *rules, const struct picture *p,
		    bool all, struct image *image, struct prepared *out);
/* The mask in source->alpha, resized and cropped like the picture, in whose memory that is done: *mask is malloced,
 * grey, a byte a pixel.  Fills in masked and mask_black. */
void prepare_mask(struct image *source, struct prepared *out, struct image *mask);
/* Fills in what the header tells: no pixels, no hash, no mask. */
void prepare_look(const struct prepare_options *o, const struct picture_rules *rules, const struct picture *p,
		  struct prepared *out);
void prepared_free(struct prepared *p);

#endif
