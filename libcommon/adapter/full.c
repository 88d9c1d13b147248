/* Full difference: dW is one tensor of the layer's shape, as LyCORIS' algo=full and ComfyUI's extraction write it, and
 * LyCORIS' train_norm of norms.  Its files are read, and none are made here. */
#include <string.h>
#include "full.h"

/* A module that changes a bias alone has no such part (adapter_file.h). */
static bool read_form(struct module_form *f, const struct weight *w, const struct safetensor *const part[BRANCH_PARTS])
{
	const struct safetensor *diff = part[FULL_DIFF];

	*f = (struct module_form){ 0 };
	if (!diff)
		return true;
	f->part[FULL_DIFF] = part_whole(w->out, w->kh, w->kw, w->in, diff->dims > 2);
	if (diff->dims == 1 && w->in * w->kh * w->kw == 1)
		f->part[FULL_DIFF].dims = 1;
	return true;
}

static int missing(const struct safetensor *const part[BRANCH_PARTS])
{
	return -1;
}

static bool guess(struct weight *w, const struct safetensor *const part[BRANCH_PARTS])
{
	const struct safetensor *diff = part[FULL_DIFF];

	return diff && (diff->dims == 1 || diff->dims == 2 || diff->dims == 4) &&
	       weight_of_shape(w, diff->shape[0], diff->dims > 1 ? diff->shape[1] : 1, diff);
}

static void shape(const struct module_form *f, char *text, size_t n)
{
	text_add(text, n, 0, "%s", f->part[FULL_DIFF].n ? "whole weights" : "a bias alone");
}

static double scale(const struct module_form *f, double alpha)
{
	return 1;
}

static void forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
		    const struct adapted *a, const void *pass)
{
	if (b->part[FULL_DIFF].n)
		whole_forward(t, y, x, b, a, pass);
}

static void backward(struct tape *t, const struct tensor *y, const struct tensor *x, struct values dx,
		     const struct branch *b, const struct part_grads *g, const struct adapted *a, const void *pass)
{
	if (b->part[FULL_DIFF].n)
		whole_backward(t, y, x, dx, b, g, a, pass);
}

static void whole(struct tape *t, float *dw, const struct branch *b, const struct weight *w)
{
	tape_backend(t)->axpby(tape_device(t), f32(dw), 1, f32(b->part[FULL_DIFF].data), 0,
			       tensor_count(&b->part[FULL_DIFF]));
}

static void add_delta(const struct delta *d, const struct delta_tile *t, const struct base_rows *base)
{
	const size_t columns = (size_t)d->w->in * d->w->kh * d->w->kw;
	const float *diff = d->part[FULL_DIFF];

	for (size_t i = 0; diff && i < t->rows; i++)
		for (size_t j = 0; j < t->columns; j++)
			t->sum[i * t->step + j] += d->scale * diff[(t->row + i) * columns + t->column + j];
}

static const char *const no_algos[] = { NULL };

static const struct kind_suffix suffixes[] = {
	{ "diff", FULL_DIFF }, { "w_norm", FULL_DIFF }, { NULL, 0 }
};

static const struct kind_arg no_args[] = { { 0 } };

const struct adapter_kind kind_full = {
	.name = "full difference",
	.algos = no_algos,
	.suffixes = suffixes,
	.args = no_args,
	.no_alpha = true,
	.read = read_form,
	.missing = missing,
	.guess = guess,
	.shape = shape,
	.scale = scale,
	.branch = { .forward = forward, .backward = backward, .whole = whole },
	.add_delta = add_delta,
};
