/* Residual block and change of size, for UNet and VAE. */
#include "resnet.h"

void take_resnet(struct inventory *v, const char *name, const struct resnet_size *s, struct resnet *r)
{
	take_norm(v, name, "norm1", s->in, s->groups, s->eps, &r->norm1);
	take_conv(v, LAYER_CONV_SET, name, "conv1", s->out, s->in, 3, 1, &r->conv1);
	if (s->time)
		take_linear(v, LAYER_CONV_SET, name, "time_emb_proj", s->out, s->time, true, &r->time);
	take_norm(v, name, "norm2", s->out, s->groups, s->eps, &r->norm2);
	take_conv(v, LAYER_CONV_SET, name, "conv2", s->out, s->out, 3, 1, &r->conv2);
	if (s->in != s->out)
		take_conv1x1(v, LAYER_CONV_SET, name, "conv_shortcut", s->out, s->in, &r->shortcut);
}

struct tensor *run_resnet(struct tape *t, const void *resnet, struct tensor *const *in)
{
	const struct resnet *r = resnet;
	struct tensor *x = in[1] ? op_concat(t, last_use(in[0]), last_use(in[1])) : in[0];
	struct tensor *h = op_conv_inner(t, last_use(op_group_norm(t, x, &r->norm1, true)), &r->conv1);

	if (r->time.w.out)
		h = op_add_per_sample(t, last_use(h), op_linear(t, in[2], &r->time));
	h = op_conv_inner(t, last_use(op_group_norm(t, last_use(h), &r->norm2, true)), &r->conv2);
	if (r->shortcut.w.out)
		x = op_linear(t, last_use(x), &r->shortcut);
	return op_add(t, last_use(x), last_use(h));
}

struct tensor *run_conv(struct tape *t, const void *conv, struct tensor *const *in)
{
	return op_conv(t, last_use(in[0]), conv);
}

struct tensor *run_downsample_pad_end(struct tape *t, const void *conv, struct tensor *const *in)
{
	return op_conv_pad_end(t, in[0], conv);
}

struct tensor *run_upsample(struct tape *t, const void *conv, struct tensor *const *in)
{
	return op_conv(t, last_use(op_upsample(t, last_use(in[0]))), conv);
}
