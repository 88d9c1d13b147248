/*
 * prepare_mask.h - pictures of masks in a folder of their own, kohya's conditioning_data_dir.  Private to
 * prepare_picture.c.
 */
#ifndef DATA_PREPARE_MASK_H
#define DATA_PREPARE_MASK_H

#include "../io/image.h"

/* Reads DIR/STEM.png (.jpg, .jpeg, .webp, .bmp), the mask of the picture PATH/STEM.*: its red channel, at the size of
 * *image, becomes image->alpha.  1: there is one; 0: there is none, and image->alpha stays as it is; -1: EXIT_INPUT for
 * a mask that cannot be read or has another shape than width x height. */
int mask_beside(const char *dir, const char *picture, int width, int height, struct image *image,
		struct error *e) MUST_CHECK;

/* *path: DIR/STEM.EXT with the first extension for which there is a file (malloced); NULL: there is none. */
int mask_path(const char *dir, const char *picture, char **path, struct error *e) MUST_CHECK;

#endif
