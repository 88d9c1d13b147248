/* What a run holds on its device: networks, adapter, arena.  The same for the dry one, where it is only counted. */
#include <stdlib.h>
#include "internal.h"

bool run_trains_text(const struct train_settings *s)
{
	return !s->unet_only;
}

int run_load_text(struct run *r, struct error *e)
{
	if (chunks_of(r->s->max_token_length, &r->networks.chunks, e) < 0)
		return -1;
	if (r->data.sample[0].variants && !run_trains_text(r->s))
		return 0;
	r->networks.te1 = r->te1 = clip_load(r->files, COMPONENT_TE1, r->be, r->device, e);
	r->networks.te2 = r->te2 = r->te1 ? clip_load(r->files, COMPONENT_TE2, r->be, r->device, e) : NULL;
	if (!r->te2)
		return -1;
	clip_layers(r->te1, &r->layers);
	clip_layers(r->te2, &r->layers);
	return 0;
}

int run_load_unet(struct run *r, struct error *e)
{
	r->networks.unet = r->unet = unet_load_sparing(r->files, r->be, r->device, r->way.text_on_host, e);
	if (!r->unet)
		return -1;
	unet_layers(r->unet, &r->layers);
	return 0;
}

/* ---- activations: each shape of batch once on a dry tape tells the arena's exact size ---- */

static bool seen_before(const struct batch_shape *seen, size_t count, const struct batch_shape *s)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (seen[i].n == s->n && seen[i].h == s->h && seen[i].w == s->w)
			return true;
	return false;
}

size_t run_shapes(const struct run *r, struct batch_shape **shapes)
{
	struct batch_shape *seen = xcalloc(order_batches(r->order), sizeof(*seen));
	size_t i, count = 0;

	for (i = 0; i < order_batches(r->order); i++) {
		const struct order_batch o = order_batch(r->order, 0, i);
		const struct latent_sample *s = &r->data.sample[o.sample[0]];
		seen[count] = (struct batch_shape){ .n = o.n, .h = s->h, .w = s->w, .sample = o.sample[0] };
		count += !seen_before(seen, count, &seen[count]);
	}
	*shapes = seen;
	return count;
}

void run_measure(struct run *r, struct batch_shape *shapes, size_t count)
{
	struct batch b = { 0 };
	float *loss = xmalloc(r->s->batch_size * sizeof(*loss));
	size_t i;

	for (i = 0; i < count; i++) {
		struct tape *dry = tape_new_dry();
		tape_checkpoint_first(dry, r->way.checkpoints);
		run_batch_blank(r, &shapes[i], &b);
		step_run(dry, &r->networks, &b, 1, loss);
		shapes[i].bytes = tape_peak(dry);
		shapes[i].blocks = tape_blocks(dry);
		tape_free(dry);
	}
	optimizer_forget(&r->optimizer);
	run_batch_free(&b);
	free(loss);
}

void run_give_arena(struct run *r)
{
	tape_free(r->tape);
	r->tape = NULL;
}

int run_take_arena(struct run *r, struct error *e)
{
	if (r->tape)
		return 0;
	r->tape = tape_new(r->be, r->device, r->activation_bytes, e);
	if (!r->tape)
		return -1;
	tape_checkpoint_first(r->tape, r->way.checkpoints);
	return 0;
}
