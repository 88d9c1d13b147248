/* lora-encode for an inpainting model: each picture's holes, and its latent with each of them. */
#include <stdlib.h>
#include <string.h>
#include "../base/hash.h"
#include "encode_internal.h"
#include "hole.h"

/* The mask that came with the picture, [h,w], malloced; NULL: there is none, or *e. */
static uint8_t *mask_of(const struct waiting *w, const struct image *picture, struct error *e)
{
	const struct tar_member *m = tar_find(&w->in, "mask.png");
	const struct image_options options = { { 255, 255, 255 }, 0 };
	const size_t n = (size_t)picture->width * picture->height;
	struct image image;
	uint8_t *mask;

	*e = (struct error){ 0 };
	if (!m || image_decode(w->label, m->bytes.data, m->bytes.len, &options, &image, NULL, e) < 0)
		return NULL;
	if (image.width != picture->width || image.height != picture->height) {
		fail(e, EXIT_INPUT, "%s: the mask is %dx%d, its picture %dx%d; prepare the pictures again", w->label,
		     image.width, image.height, picture->width, picture->height);
		image_free(&image);
		return NULL;
	}
	mask = xmalloc(n);
	for (size_t i = 0; i < n; i++)
		mask[i] = image.rgb[3 * i];
	image_free(&image);
	return mask;
}

/* The same picture has the same holes wherever it stands in the stream. */
static uint32_t number_of(const struct waiting *w)
{
	const struct tar_member *png = tar_find(&w->in, "png"), *m = png ? png : tar_find(&w->in, "jpg");

	return crc32c(0, m->bytes.data, m->bytes.len);
}

static int add_hole(struct encoder *n, struct waiting *w, int which, int at, const uint8_t *mask, struct error *e)
{
	const struct image *picture = &w->picture[which];
	struct latent_sample *s = &w->s;
	const size_t pixels = (size_t)picture->width * picture->height, each = (size_t)s->h * s->w * s->c;
	float **means = which ? &s->flip_hole_mean : &s->hole_mean, **stds = which ? &s->flip_hole_std : &s->hole_std;
	struct pixels p = { xmalloc(pixels * 3 * sizeof(float)), 1, picture->width, picture->height };
	float *mean = NULL, *std = NULL;
	struct moments m = { 0 };
	int result;

	for (size_t i = 0; i < 3 * pixels; i++)
		p.at[i] = picture->rgb[i] / 127.5f - 1;
	hole_cut(p.at, mask, pixels);
	if (!which)
		hole_shrink(s->hole + (size_t)at * s->h * s->w, s->w, s->h, n->config->vae.factor, mask);
	result = encode_moments(n, &p, &m, e);
	free(p.at);
	if (result == 0)
		result = encode_latent(n, w->label, &m, 0, &mean, &std, e);
	free(m.at);
	if (result == 0) {
		memcpy(*means + at * each, mean, each * sizeof(float));
		memcpy(*stds + at * each, std, each * sizeof(float));
	}
	free(mean);
	free(std);
	return result;
}

static void reserve(struct latent_sample *s, int which)
{
	const size_t each = (size_t)s->h * s->w;
	float **mean = which ? &s->flip_hole_mean : &s->hole_mean, **std = which ? &s->flip_hole_std : &s->hole_std;

	*mean = xmalloc(s->holes * each * s->c * sizeof(float));
	*std = xmalloc(s->holes * each * s->c * sizeof(float));
	if (!which)
		s->hole = xmalloc(s->holes * each * sizeof(float));
}

int encode_holes(struct encoder *n, struct waiting *w, int which, struct error *e)
{
	const struct image *picture = &w->picture[which];
	uint8_t *given = mask_of(w, picture, e), *mask;
	int result = e->code ? -1 : 0;

	w->s.holes = given ? 1 : n->s->holes;
	reserve(&w->s, which);
	mask = given ? given : xmalloc((size_t)picture->width * picture->height);
	for (int i = 0; i < w->s.holes && result == 0; i++) {
		if (!given)
			hole_draw(mask, picture->width, picture->height, n->seed, number_of(w), i);
		if (which)
			hole_mirror(mask, picture->width, picture->height);
		result = add_hole(n, w, which, i, mask, e);
	}
	free(mask);
	return result;
}
