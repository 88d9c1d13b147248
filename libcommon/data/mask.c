/* Loss masks: from a picture to a weight for each pixel of the latent. */
#include <stdlib.h>
#include "../base/memory.h"
#include "../io/image.h"
#include "mask.h"

void mask_shrink(float *out, int w, int h, const float *mask, int pw, int ph)
{
	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++) {
			const int top = y * ph / h, bottom = ((y + 1) * ph + h - 1) / h, left = x * pw / w,
				right = ((x + 1) * pw + w - 1) / w;
			double sum = 0;

			for (int i = top; i < bottom; i++)
				for (int k = left; k < right; k++)
					sum += mask[(size_t)i * pw + k];
			*out++ = sum / ((bottom - top) * (right - left));
		}
}

/* The picture's values as 0 to 1, malloced; NULL: all of them are 1. */
static float *values_of(const struct image *image)
{
	size_t i, n = (size_t)image->width * image->height, white = 0;
	float *x = xmalloc(n * sizeof(*x));

	for (i = 0; i < n; i++) {
		x[i] = image->rgb[3 * i] / 255.0f;
		white += image->rgb[3 * i] == 255;
	}
	if (white < n)
		return x;
	free(x);
	return NULL;
}

int mask_read(const char *name, const void *bytes, size_t n, const int size[2], const int latent[2], float **out,
	      struct error *e)
{
	struct image_options options = { { 255, 255, 255 }, 0 };
	struct image image;
	float *x;

	*out = NULL;
	if (image_decode(name, bytes, n, &options, &image, NULL, e) < 0)
		return -1;
	if (image.width != size[0] || image.height != size[1]) {
		fail(e, EXIT_INPUT, "%s: the mask is %dx%d, its picture %dx%d; prepare the pictures again", name,
		     image.width, image.height, size[0], size[1]);
		image_free(&image);
		return -1;
	}
	x = values_of(&image);
	if (x) {
		*out = xmalloc((size_t)latent[0] * latent[1] * sizeof(**out));
		mask_shrink(*out, latent[0], latent[1], x, image.width, image.height);
		free(x);
	}
	image_free(&image);
	return 0;
}

float *mask_mirrored(const float *mask, int w, int h)
{
	float *out = xmalloc((size_t)w * h * sizeof(*out));

	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++)
			out[(size_t)y * w + x] = mask[(size_t)y * w + w - 1 - x];
	return out;
}
