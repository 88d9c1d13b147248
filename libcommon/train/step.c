/* Forward and backward of one batch: text encoders, UNet, loss. */
#include "step.h"

/* Runs the text encoders on the captions' tokens, for the UNet's inputs. */
static void run_text(struct tape *t, const struct networks *net, const struct batch *b, struct unet_input *in)
{
	struct chunk_batch texts = { .n = b->n, .chunks = net->chunks ? net->chunks : 1, .skip = net->skip };

	for (int i = 0; i < net->text->count; i++) {
		texts.ids[i] = b->ids[i];
		texts.weights[i] = b->weights[i];
	}
	text_encoders_forward(t, net->text, &texts, in->condition);
}

struct tensor *step_forward(struct tape *t, const struct networks *net, const struct batch *b,
			    struct tensor **prediction)
{
	struct unet_input in = { .timestep = b->timestep };
	struct loss_terms terms = { .kind = b->loss_kind };
	struct tensor *y, *target;

	in.sample = tensor_from(t, b->n, b->h, b->w, b->c, b->noisy);
	if (b->beside)
		in.sample = op_concat(t, in.sample, tensor_from(t, b->n, b->h, b->w, 1 + b->c, b->beside));
	target = tensor_from(t, b->n, b->h, b->w, b->c, b->target);
	terms.weight = tensor_from(t, b->n, 1, 1, 1, b->weight)->data;
	if (b->loss_kind == LOSS_HUBER || b->loss_kind == LOSS_SMOOTH_L1)
		terms.c = tensor_from(t, b->n, 1, 1, 1, b->loss_c)->data;
	if (b->mask)
		terms.mask = tensor_from(t, b->n, b->h, b->w, 1, b->mask)->data;
	if (net->text->count)
		run_text(t, net, b, &in);
	unet_conditions(t, unet_config(net->unet), &b->given, in.condition);
	y = unet_forward(t, net->unet, &in, NULL, NULL);
	if (prediction)
		*prediction = y;
	return op_loss(t, y, target, &terms);
}

/* Of what the calls of a step follow from, and mostly differs between batches. */
static uint64_t key_of(const struct batch *b)
{
	const int sizes[] = { b->n, b->h, b->w, b->length, b->mask != NULL, b->loss_kind };
	uint64_t key = b->given.rows;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		key = key * 1000003 + sizes[i];
	for (int i = 0; i < CONDITIONS; i++)
		key = key * 1000003 + b->given.of[i].length;
	return key;
}

/* Gradients of a loss are about one over the number of values that it is the mean of: under it, they are about 1. */
static int gradient_shift(const struct batch *b)
{
	int shift = 0;

	for (size_t n = (size_t)b->n * b->h * b->w * b->c; n > 1; n /= 2)
		shift++;
	return shift;
}

struct tensor *step_run(struct tape *t, const struct networks *net, const struct batch *b, float share)
{
	struct tensor *l;

	tape_gradients_under(t, gradient_shift(b));
	do {
		tape_step_begins(t, key_of(b));
		l = step_forward(t, net, b, NULL);
		tape_backward(t, l, share / b->n);
	} while (tape_step_again(t));
	return l;
}
