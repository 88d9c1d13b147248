#include <stdlib.h>
#include <string.h>
#include "encode_internal.h"

enum { TEXTS_MOST = 4096 };             /* of a sample: 1024 variants, several captions, one without words */

int encode_open_old(struct encoder *n, struct error *e)
{
	struct old_stream *old = &n->old;

	if (!n->s->reuse)
		return 0;
	if (latent_set_read(&n->s->reuse, 1, &old->set, e) < 0)
		return -1;
	old->latents = map_new(old->set.count);
	old->texts = map_new(old->set.count);
	for (size_t i = 0; i < old->set.count; i++) {
		const struct latent_sample *s = &old->set.sample[i];
		if (*s->latent_id)
			map_put(old->latents, s->latent_id, 64, i);
		for (int k = 0; s->text_id && k < s->variants && k < s->captions && k < TEXTS_MOST; k++)
			map_put(old->texts, s->text_id[k], 64, i * TEXTS_MOST + k);
	}
	return 0;
}

static float *copy_of(const float *x, size_t count)
{
	return x ? memcpy(xmalloc(count * sizeof(*x)), x, count * sizeof(*x)) : NULL;
}

bool encode_take_latent(struct encoder *n, struct waiting *w)
{
	const long at = n->old.latents ? map_get(n->old.latents, w->s.latent_id, 64) : -1;
	const struct latent_sample *o = at < 0 ? NULL : &n->old.set.sample[at];
	size_t count;

	if (!o)
		return false;
	w->s.c = o->c;
	w->s.h = o->h;
	w->s.w = o->w;
	count = (size_t)o->c * o->h * o->w;
	w->s.mean = copy_of(o->mean, count);
	w->s.std = copy_of(o->std, count);
	w->s.flip_mean = copy_of(o->flip_mean, count);
	w->s.flip_std = copy_of(o->flip_std, count);
	n->old.pictures++;
	return true;
}

bool encode_take_text(struct encoder *n, const char *text_id, float *context, float *pooled)
{
	const long at = n->old.texts ? map_get(n->old.texts, text_id, 64) : -1;
	const struct latent_sample *o = at < 0 ? NULL : &n->old.set.sample[at / TEXTS_MOST];
	const size_t each = o ? (size_t)o->length * o->context_width : 0, k = at % TEXTS_MOST;

	if (!o)
		return false;
	memcpy(context, o->context + k * each, each * sizeof(float));
	memcpy(pooled, o->pooled + k * o->pooled_width, o->pooled_width * sizeof(float));
	n->old.captions++;
	return true;
}

void encode_close_old(struct encoder *n)
{
	map_free(n->old.latents);
	map_free(n->old.texts);
	latent_set_free(&n->old.set);
}
