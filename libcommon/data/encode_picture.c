/* Encoding pictures with the VAE, in groups of one size; masks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "encode_internal.h"
#include "mask.h"

/* ---- from bytes to pixels ---- */

static const struct tar_member *picture_member(const struct tar_sample *in, const char *prefix)
{
	char name[32];
	const struct tar_member *m;

	snprintf(name, sizeof(name), "%spng", prefix);
	m = tar_find(in, name);
	snprintf(name, sizeof(name), "%sjpg", prefix);
	return m ? m : tar_find(in, name);
}

static int check_size(const struct encoder *n, const char *label, const struct image *image, struct error *e)
{
	struct error why;

	if (model_size_check(n->config, image->width, image->height, &why) == 0)
		return 0;
	return fail(e, why.code, "%s: %s; prepare the pictures with --bucket-reso-steps %d or a multiple of it, or, "
				 "without buckets, with that --resolution", label, why.text,
		    model_size_step(n->config));
}

/* Refuses a picture whose size is not its bucket's: training would refuse the latent. */
static int check_bucket(const struct waiting *w, const struct image *image, struct error *e)
{
	const json_t *bucket = json_object_get(w->in.json, "bucket");

	if (json_integer_value(json_array_get(bucket, 0)) == image->width &&
	    json_integer_value(json_array_get(bucket, 1)) == image->height)
		return 0;
	return fail(e, EXIT_INPUT, "%s: its picture has %dx%d pixels, 'bucket' says something else; "
				   "prepare the pictures again", w->label, image->width, image->height);
}

static int open_picture(const struct encoder *n, const struct waiting *w, const char *prefix, struct image *image,
			struct error *e)
{
	const struct tar_member *m = picture_member(&w->in, prefix);
	const struct image_options options = { { 255, 255, 255 }, 0 };

	if (!m)
		return 0;
	if (image_decode(w->label, m->bytes.data, m->bytes.len, &options, image, NULL, e) < 0)
		return -1;
	return check_bucket(w, image, e) < 0 ? -1 : check_size(n, w->label, image, e);
}

int encode_open_pictures(struct encoder *n, struct waiting *w, struct error *e)
{
	if (!picture_member(&w->in, ""))
		return fail(e, EXIT_INPUT, "%s holds no picture (png or jpg)", w->label);
	return open_picture(n, w, "", &w->picture[0], e) < 0 ? -1 : open_picture(n, w, "flip.", &w->picture[1], e);
}

/* ---- from pixels to latents ---- */

/* Pictures of one size, each by its sample and its number in that. */
struct group { struct waiting **of; int *which, count; };

static struct image *image_of(const struct group *g, int i)
{
	return &g->of[i]->picture[g->which[i]];
}

/* Of the queue's pictures those of the first one's size, in order. */
static struct group gather(const struct encoder *n)
{
	const long most = n->s->batch;
	struct group g = { xcalloc(most, sizeof(*g.of)), xcalloc(most, sizeof(*g.which)), 0 };

	for (size_t i = 0; i < n->queued; i++)
		for (int k = 0; k < PICTURES && g.count < most; k++) {
			const struct image *p = &n->queue[i].picture[k], *first = g.count ? image_of(&g, 0) : p;
			if (!p->rgb || p->width != first->width || p->height != first->height)
				continue;
			g.of[g.count] = &n->queue[i];
			g.which[g.count++] = k;
		}
	return g;
}

static struct pixels pixels_of(const struct group *g)
{
	const struct image *first = image_of(g, 0);
	const size_t each = (size_t)first->width * first->height * 3;
	struct pixels p = { xmalloc(g->count * each * sizeof(float)), g->count, first->width, first->height };

	for (int k = 0; k < g->count; k++)
		for (size_t i = 0; i < each; i++)
			p.at[k * each + i] = image_of(g, k)->rgb[i] / 127.5f - 1;
	return p;
}

/* Picture i of the group, which is number which of its sample. */
static int keep_latent(const struct encoder *n, struct waiting *w, int which, const struct moments *m, int i,
		       struct error *e)
{
	struct latent_sample *s = &w->s;

	s->c = m->c;
	s->h = m->h;
	s->w = m->w;
	return encode_latent(n, w->label, m, i, which ? &s->flip_mean : &s->mean, which ? &s->flip_std : &s->std, e);
}

static int encode_gathered(struct encoder *n, const struct group *g, struct error *e)
{
	struct pixels p = pixels_of(g);
	struct moments m;
	int i, result = encode_moments(n, &p, &m, e);

	free(p.at);
	if (result)
		return -1;
	for (i = 0; i < g->count && result == 0; i++)
		result = keep_latent(n, g->of[i], g->which[i], &m, i, e);
	free(m.at);
	for (i = 0; i < g->count && result == 0; i++) {
		struct image *picture = image_of(g, i);

		if (n->config->family->inpaints)
			result = encode_holes(n, g->of[i], g->which[i], e);
		image_free(picture);
		*picture = (struct image){ 0 };
	}
	return result;
}

static int open_vae(struct encoder *n, struct error *e)
{
	if (n->vae)
		return 0;
	n->vae = vae_load(n->files, n->be, n->device, true, false, e);
	if (!n->vae)
		return -1;
	vae_set_bands(n->vae, VAE_BAND_LIMIT, VAE_BAND_BYTES);
	return 0;
}

int encode_group(struct encoder *n, struct error *e)
{
	struct group g;
	int result;

	if (open_vae(n, e) < 0)
		return -1;
	g = gather(n);
	result = encode_gathered(n, &g, e);
	free(g.of);
	free(g.which);
	return result;
}

/* ---- masks ---- */

int encode_mask(const struct encoder *n, struct waiting *w, struct error *e)
{
	/* there it is a hole */
	const struct tar_member *m = n->config->family->inpaints ? NULL : tar_find(&w->in, "mask.png");
	const int factor = n->config->vae.factor, latent[2] = { w->s.w, w->s.h },
		size[2] = { w->s.w * factor, w->s.h * factor };

	return m ? mask_read(w->label, m->bytes.data, m->bytes.len, size, latent, &w->s.mask, e) : 0;
}
