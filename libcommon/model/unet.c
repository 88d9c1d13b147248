/* The UNet's forward pass: time and sizes, then one stage after another. */
#include <math.h>
#include <stdlib.h>
#include "../base/elementary.h"
#include "../base/memory.h"
#include "unet_parts.h"

void sinusoids(float *out, const float *x, int count, int dim)
{
	int half = dim / 2;

	for (int k = 0; k < half; k++) {
		float f = plain_exp(-plain_log(10000.0) * k / half);
		for (int i = 0; i < count; i++) {
			/* rounded: an argument near 1000 differs from the exact one by 6e-5 */
			float angle = x[i] * f;
			out[(size_t)i * dim + k] = plain_cos((double)angle);
			out[(size_t)i * dim + half + k] = plain_sin((double)angle);
		}
	}
}

/* each sample's `per` numbers as sinusoids side by side: [n,1,1,per*dim] */
static struct tensor *waves(struct tape *t, const float *x, int n, int per, int dim)
{
	float *host = xcalloc((size_t)n * per, dim * sizeof(*host));
	struct tensor *y;

	sinusoids(host, x, n * per, dim);
	y = tensor_from(t, n, 1, 1, per * dim, host);
	free(host);
	return y;
}

void unet_conditions(struct tape *t, const struct unet_config *c, const struct conditioning *k,
		     struct tensor *condition[CONDITIONS])
{
	for (int i = 0; i < CONDITIONS; i++)
		if (k->of[i].data && i == CONDITION_TIME_IDS)
			condition[i] = waves(t, k->of[i].data, k->rows, TIME_IDS, c->time_ids_dim);
		else if (k->of[i].data)
			condition[i] = tensor_from(t, k->rows, k->of[i].length, 1, k->of[i].width, k->of[i].data);
}

static struct tensor *embed(struct tape *t, struct tensor *x, const struct linear layer[2])
{
	return op_linear(t, op_activation(t, op_linear(t, x, &layer[0]), ACT_SILU), &layer[1]);
}

static void show(probe_fn *probe, void *arg, struct tape *t, const char *module, struct tensor *x)
{
	if (probe && module)
		probe(arg, t, module, x);
}

/* silu(time vector): every resnet reads it through the same function, so it is computed once */
static struct tensor *time_vector(struct tape *t, const struct unet *u, const struct unet_input *in, probe_fn *probe,
				  void *arg)
{
	const struct unet_config *c = &u->config;
	int n = in->sample->n;
	struct tensor *time = embed(t, waves(t, in->timestep, n, 1, c->channels[0]), u->time), *sizes;

	show(probe, arg, t, "time_embedding", time);
	if (!u->sizes[0].w.out)
		return op_activation(t, time, ACT_SILU);
	sizes = op_concat(t, in->condition[CONDITION_POOLED], in->condition[CONDITION_TIME_IDS]);
	sizes = embed(t, sizes, u->sizes);
	show(probe, arg, t, "add_embedding", sizes);
	return op_activation(t, op_add(t, time, sizes), ACT_SILU);
}

/* Upsamples x to the size of the skip connection that it is concatenated with: twice, or one row or column less where
 * halving rounded up. */
static struct tensor *upsample(struct tape *t, const struct conv *conv, struct tensor *x, const struct tensor *next)
{
	if (next->h == 2 * x->h && next->w == 2 * x->w)
		return tape_block(t, run_upsample, conv, &x, 1);
	x = last_use(op_upsample(t, x));
	x = last_use(op_crop(t, x, next->h, next->w));
	return tape_block(t, run_conv, conv, &x, 1);
}

/* skip: the newest skip connection; NULL where this stage takes none */
static struct tensor *run_stage(struct tape *t, const struct stage *s, struct tensor *x, struct tensor *skip,
				struct tensor *time, struct tensor *context)
{
	struct tensor *in[] = { x, skip, time };

	switch (s->kind) {
	case STAGE_RESNET:      return tape_block(t, run_resnet, &s->resnet, in, 3);
	case STAGE_TRANSFORMER: return run_transformer(t, &s->transformer, x, context);
	case STAGE_DOWNSAMPLE:  return tape_block(t, run_conv, &s->sampler, in, 1);
	case STAGE_UPSAMPLE:    return upsample(t, &s->sampler, x, skip);
	}
	die(EXIT_OTHER, "stage '%s' has no kind; this is a bug in lora-tools", s->name);
}

static struct tensor *run_head(struct tape *t, const void *unet, struct tensor *const *in)
{
	const struct unet *u = unet;

	return op_conv(t, last_use(op_group_norm(t, last_use(in[0]), &u->norm_out, true)), &u->conv_out);
}

struct tensor *unet_forward(struct tape *t, const struct unet *u, const struct unet_input *in, probe_fn *probe,
			    void *arg)
{
	struct tensor **kept = xcalloc(u->stages + 1, sizeof(struct tensor *));
	struct tensor *time = time_vector(t, u, in, probe, arg);
	struct tensor *context = op_inner(t, in->condition[CONDITION_CONTEXT]);
	struct tensor *x = op_conv(t, in->sample, &u->conv_in);
	bool keeps = true;
	int i, n = 0;

	show(probe, arg, t, "conv_in", x);
	kept[n++] = x;
	for (i = 0; i < u->stages; i++) {
		const struct stage *s = &u->stage[i];
		struct tensor *skip = s->takes_skip ? last_use(kept[--n]) :
			s->kind == STAGE_UPSAMPLE ? kept[n - 1] : NULL;
		x = run_stage(t, s, keeps ? x : last_use(x), skip, time, context);
		keeps = s->keeps;
		if (keeps)
			kept[n++] = x;
		show(probe, arg, t, s->name, x);
		show(probe, arg, t, s->closes, x);
	}
	free(kept);
	x = last_use(x);
	return tape_block(t, run_head, u, &x, 1);
}
