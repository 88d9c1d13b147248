/* What a run holds on its device: networks, adapter, arena.  The same for the dry one, where it is only counted. */
#include <stdlib.h>
#include "internal.h"

bool run_trains_text(const struct train_settings *s)
{
	return !s->unet_only;
}

int run_load_text(struct run *r, struct error *e)
{
	if (chunks_of(r->s->max_token_length, &r->net.step.chunks, e) < 0)
		return -1;
	if (r->data.set.sample[0].variants && !run_trains_text(r->s))
		return 0;
	r->net.step.te1 = r->net.te1 = clip_load(r->net.files, COMPONENT_TE1, r->net.be, r->net.device, e);
	r->net.step.te2 = r->net.te2 = r->net.te1 ? clip_load(r->net.files, COMPONENT_TE2, r->net.be, r->net.device, e) : NULL;
	if (!r->net.te2)
		return -1;
	clip_layers(r->net.te1, &r->net.layers);
	clip_layers(r->net.te2, &r->net.layers);
	return 0;
}

int run_load_unet(struct run *r, struct error *e)
{
	r->net.step.unet = r->net.unet = unet_load_sparing(r->net.files, r->net.be, r->net.device, r->net.way.text_on_host, e);
	if (!r->net.unet)
		return -1;
	unet_layers(r->net.unet, &r->net.layers);
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
	struct batch_shape *seen = xcalloc(order_batches(r->data.order), sizeof(*seen));
	size_t i, count = 0;

	for (i = 0; i < order_batches(r->data.order); i++) {
		const struct order_batch o = order_batch(r->data.order, 0, i);
		const struct latent_sample *s = &r->data.set.sample[o.sample[0]];
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
		tape_checkpoint_first(dry, r->net.way.checkpoints);
		run_batch_blank(r, &shapes[i], &b);
		step_run(dry, &r->net.step, &b, 1, loss);
		shapes[i].bytes = tape_peak(dry);
		shapes[i].blocks = tape_blocks(dry);
		tape_free(dry);
	}
	optimizer_forget(&r->course.optimizer);
	run_batch_free(&b);
	free(loss);
}

void run_give_arena(struct run *r)
{
	tape_free(r->net.tape);
	r->net.tape = NULL;
}

int run_take_arena(struct run *r, struct error *e)
{
	if (r->net.tape)
		return 0;
	r->net.tape = tape_new(r->net.be, r->net.device, r->net.activation_bytes, e);
	if (!r->net.tape)
		return -1;
	tape_checkpoint_first(r->net.tape, r->net.way.checkpoints);
	return 0;
}
