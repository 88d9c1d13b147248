/* hole.c - a picture with a hole in it, for an inpainting model: mask.safetensors. */
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/data/hole.h"
#include "subject.h"

struct hole { struct subject *s; const struct safetensors *f; const uint8_t *mask; float *picture; int w, h; };

static void compare(const struct hole *x, enum kind k, const char *name, const float *got)
{
	const size_t n = safetensor_elements(need(x->f, name));
	float *want = need_nhwc(x->f, name);
	struct spread spread = { 0 };

	spread_add(&spread, got, want, n);
	judge(x->s->tally, k, &spread, "%s mask %s", x->s->label, name);
	free(want);
}

static struct tensor *encode(struct tape *t, void *arg)
{
	const struct hole *x = arg;

	return vae_encode(t, x->s->encoder, tensor_from(t, 1, x->h, x->w, 3, x->picture), NULL, NULL);
}

static void compare_latent(struct hole *x, const struct tensor *y)
{
	const size_t rows = tensor_rows(y), n = rows * y->c / 2;
	float *moments = xmalloc(2 * n * sizeof(float)), *mean = xmalloc(n * sizeof(float));
	float *std = xmalloc(n * sizeof(float)), *noise = need_nhwc(x->f, "vae_noise");

	tensor_download(x->s->p.work.tape, y, moments);
	vae_split_moments(moments, rows, y->c / 2, mean, std, NULL);
	compare(x, KIND_VAE, "masked_mean", mean);
	compare(x, KIND_VAE, "masked_std", std);
	for (size_t i = 0; i < n; i++)
		mean[i] = (mean[i] + std[i] * noise[i]) * x->s->p.config->vae.scaling_factor;
	compare(x, KIND_VAE, "masked_latent", mean);
	free(moments);
	free(mean);
	free(std);
	free(noise);
}

void check_hole(struct subject *s)
{
	struct safetensors *f = open_reference(s->folder, "mask.safetensors");
	const int factor = s->p.config->vae.factor;
	const unsigned char *rgb;
	struct hole x = { .s = s, .f = f };
	struct error e = { 0 };
	struct tensor *y;
	float *small;

	if (!f)
		return;
	x.h = need(f, "picture_mask")->shape[0];
	x.w = need(f, "picture_mask")->shape[1];
	x.mask = safetensors_bytes(f, need(f, "picture_mask"));
	rgb = safetensors_bytes(f, need(f, "picture"));
	small = xmalloc((size_t)x.w * x.h * sizeof(*small));
	x.picture = xmalloc(3 * (size_t)x.w * x.h * sizeof(*x.picture));
	hole_shrink(small, x.w, x.h, 1, x.mask);
	compare(&x, KIND_EXACT, "mask", small);
	hole_shrink(small, x.w / factor, x.h / factor, factor, x.mask);
	compare(&x, KIND_EXACT, "mask_latent", small);
	for (int i = 0; i < 3 * x.w * x.h; i++)
		x.picture[i] = rgb[i] / 127.5f - 1;
	hole_cut(x.picture, x.mask, (size_t)x.w * x.h);
	compare(&x, KIND_LOSSES, "masked_picture", x.picture);
	y = workspace_run(&s->p.work, encode, &x, &e);
	if (y)
		compare_latent(&x, y);
	else
		failed(s->tally, "%s mask: %s", s->label, e.text);
	free(small);
	free(x.picture);
	close_reference(s, f);
}
