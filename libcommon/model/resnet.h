/*
 * resnet.h - the blocks that UNet and VAE share: a residual block of two convolutions, and a change of size.
 *
 * Must not know which network they are in.
 */
#ifndef MODEL_RESNET_H
#define MODEL_RESNET_H

#include "inventory.h"

struct resnet {
	struct norm norm1, norm2;
	struct conv conv1, conv2;
	struct linear time;             /* w.out 0: the VAE's has none */
	struct linear shortcut;         /* w.out 0: in and out have the same width */
};

struct resnet_size { int in, out, time, groups; float eps; };   /* time: width of the time vector, 0: none */
void take_resnet(struct inventory *v, const char *name, const struct resnet_size *s, struct resnet *r);

/* A block_fn of struct resnet.  in: x; a tensor to concatenate with it first, or NULL; silu(time vector), or NULL. */
struct tensor *run_resnet(struct tape *t, const void *resnet, struct tensor *const *in);

/* Block_fns of struct conv: the convolution alone (half size where its stride is 2); the VAE's halving; doubling. */
struct tensor *run_conv(struct tape *t, const void *conv, struct tensor *const *in);
struct tensor *run_downsample_pad_end(struct tape *t, const void *conv, struct tensor *const *in);
struct tensor *run_upsample(struct tape *t, const void *conv, struct tensor *const *in);

#endif
