/*
 * step.h - one forward and backward pass of training: a batch in, losses and gradients out.
 *
 * Owns the wiring of text encoders, UNet and loss.  Must not know where batches come from or what happens to gradients.
 */
#ifndef TRAIN_STEP_H
#define TRAIN_STEP_H

#include "../model/long_text.h"
#include "../model/unet.h"

struct networks {
	const struct unet *unet;
	const struct clip *te1, *te2;   /* NULL: the batch brings context and pooled */
	int chunks;                     /* of a caption; 0: 1 */
};

/* All host memory, NHWC. */
struct batch {
	int n, h, w, c;                 /* latent [n,h,w,c] */
	float *noisy, *target;          /* [n,h,w,c] */
	float *timestep;                /* [n] */
	float *weight;                  /* [n]: prior weight times timestep weight */
	enum loss_kind loss_kind;
	float *loss_c;                  /* [n]; huber and smooth l1 */
	float *mask;                    /* [n,h,w]; NULL: all 1 */
	float *time_ids;                /* [n,6] */
	int length;                     /* tokens a caption */
	int32_t *ids1, *ids2;           /* [n,chunks,length]; when the text encoders run */
	float *weights1, *weights2;     /* of each token; NULL: all 1 */
	float *context, *pooled;        /* [n,length,context], [n,pooled]; when they do not */
};

/* Loss of each sample, [n,1,1,1]: weight * mean loss.  *prediction (may be NULL): the UNet's output. */
struct tensor *step_forward(struct tape *t, const struct networks *net, const struct batch *b, struct tensor **prediction);
/* Forward, then backward of (mean over the batch) * share into the adapters' gradients.  loss host [n].  share: 1 / accumulation steps.
 * Resets the tape first. */
void step_run(struct tape *t, const struct networks *net, const struct batch *b, float share, float *loss);

#endif
