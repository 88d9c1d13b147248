/*
 * step.h - forward and backward of one batch: from a batch to losses and gradients.
 *
 * Owns the connection of text encoders, UNet and loss.  Must not know where batches come from or what happens to
 * gradients.
 */
#ifndef TRAIN_STEP_H
#define TRAIN_STEP_H

#include "../model/text_encoders.h"
#include "../model/unet.h"

struct networks {
	const struct unet *unet;
	const struct text_encoders *text;       /* where none is loaded, the batch holds their outputs */
	int chunks;                     /* of a caption; 0: 1 */
	int skip;                       /* the state of the text encoders that is read, as in struct chunk_batch */
};

/* All host memory, NHWC. */
struct batch {
	int n, h, w, c;                 /* latent [n,h,w,c] */
	float *noisy, *target;          /* [n,h,w,c] */
	/* [n,h,w,1+c]: hole and latent of the picture with it, for an inpainting model; else NULL */
	float *beside;
	float *timestep;                /* [n] */
	float *weight;                  /* [n]: prior weight times timestep weight */
	enum loss_kind loss_kind;
	float *loss_c;                  /* [n]; huber and smooth l1 */
	float *mask;                    /* [n,h,w]; NULL: all 1 */
	struct conditioning given;      /* inputs of the UNet that no text encoder makes in this step */
	int length;                     /* tokens a chunk, when the text encoders run: */
	int32_t *ids[TEXT_ENCODERS];    /* [n,chunks,length] for each of them */
	float *weights[TEXT_ENCODERS];  /* of each token; NULL: all 1 */
};

/* Loss of each sample, [n,1,1,1]: weight * mean loss.  *prediction (may be NULL): the UNet's output. */
struct tensor *step_forward(struct tape *t, const struct networks *net, const struct batch *b,
			    struct tensor **prediction);
/* Resets the tape, runs forward, and runs backward of (mean loss of the batch) * share into the adapters' gradients.
 * Returns the loss of each sample, [n,1,1,1]; a device may still be at work on it, which tensor_download() waits for.
 * share: 1 / micro-batches of a step. */
struct tensor *step_run(struct tape *t, const struct networks *net, const struct batch *b, float share);

#endif
