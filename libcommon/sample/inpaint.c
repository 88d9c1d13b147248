/* Inpainting: from a picture and a mask to the channels beside the noisy latent. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../data/hole.h"
#include "inpaint.h"
#include "paint.h"

struct encode { const struct pipeline *p; const float *pixels; int w, h; };

static struct tensor *encode_forward(struct tape *t, void *arg)
{
	const struct encode *x = arg;

	return vae_encode(t, x->p->vae, tensor_from(t, 1, x->h, x->w, 3, x->pixels), NULL, NULL);
}

/* A sample of such moments, scaled, [h,w,c], malloced.  noise [c,h,w] */
static float *draw(const struct pipeline *p, const struct tensor *y, const float *noise)
{
	const int c = y->c / 2;
	const size_t rows = tensor_rows(y), n = rows * c;
	float *moments = xmalloc(2 * n * sizeof(*moments)), *mean = xmalloc(n * sizeof(*mean));
	float *std = xmalloc(n * sizeof(*std)), *eps = xmalloc(n * sizeof(*eps));

	tensor_download(p->work.tape, y, moments);
	vae_split_moments(moments, rows, c, mean, std, NULL);
	nhwc_from_nchw(eps, noise, 1, c, y->h, y->w);
	for (size_t i = 0; i < n; i++)
		mean[i] = (mean[i] + std[i] * eps[i]) * p->config->vae.scaling_factor;
	free(moments);
	free(std);
	free(eps);
	return mean;
}

/* hole NULL: of the whole picture */
static float *latent_of(struct pipeline *p, const struct painting *w, const uint8_t *hole, const float *noise,
			struct error *e)
{
	const size_t pixels = (size_t)w->width * w->height;
	float *rgb = xmalloc(3 * pixels * sizeof(*rgb));
	struct encode x = { p, rgb, w->width, w->height };
	struct tensor *y;

	for (size_t i = 0; i < 3 * pixels; i++)
		rgb[i] = w->picture->rgb[i] / 127.5f - 1;
	if (hole)
		hole_cut(rgb, hole, pixels);
	y = workspace_run(&p->work, encode_forward, &x, e);
	free(rgb);
	return y ? draw(p, y, noise) : NULL;
}

static float *put_beside(const struct pipeline *p, const struct painting *w, const float *latent)
{
	const int f = p->config->vae.factor, c = p->config->vae.latent_channels;
	const int h = w->height / f, width = w->width / f;
	const size_t cells = (size_t)h * width;
	float *hole = xmalloc(cells * sizeof(*hole)), *out = xmalloc(2 * cells * (1 + c) * sizeof(*out)), *to = out;

	hole_shrink(hole, width, h, f, w->hole);
	for (size_t i = 0; i < cells; i++) {
		*to++ = hole[i];
		memcpy(to, latent + i * c, c * sizeof(*to));
		to += c;
	}
	memcpy(to, out, cells * (1 + c) * sizeof(*out));
	free(hole);
	return out;
}

int inpaint_check(const struct pipeline *p, const struct painting *w, struct error *e)
{
	const struct family *f = p->config->family;

	if (!f->inpaints && w->picture)
		return fail(e, EXIT_USAGE, "a picture and its mask are for an inpainting model, and this is %s; "
			    "leave them out", f->title);
	if (f->inpaints && !(w->picture && w->hole))
		return fail(e, EXIT_USAGE, "the model is for inpainting; give a picture and its mask "
			    "(lora-sample --image FILE --mask FILE)");
	if (w->picture && (w->picture->width != w->width || w->picture->height != w->height))
		return fail(e, EXIT_USAGE, "the picture is %dx%d, and %dx%d is to be painted; give -W and -H of the "
			    "picture", w->picture->width, w->picture->height, w->width, w->height);
	return 0;
}

int inpaint_make(struct pipeline *p, const struct painting *w, struct inpaint *out, struct error *e)
{
	float *masked;

	*out = (struct inpaint){ 0 };
	if (inpaint_check(p, w, e) < 0)
		return -1;
	if (!w->picture)
		return 0;
	masked = latent_of(p, w, w->hole, w->hole_noise, e);
	if (!masked)
		return -1;
	out->beside = put_beside(p, w, masked);
	free(masked);
	if (!w->strength || w->strength >= 1)
		return 0;
	out->latent = latent_of(p, w, NULL, w->picture_noise, e);
	return out->latent ? 0 : -1;
}

void inpaint_free(struct inpaint *x)
{
	free(x->beside);
	free(x->latent);
}
