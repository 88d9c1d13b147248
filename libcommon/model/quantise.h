/*
 * quantise.h - weights of 8 and 4 bits made of floats, and what the rounding cost (struct weight says how they lie).
 *
 *   int8  for each of out: scale = largest magnitude / 127, code = the nearest whole number
 *   fp8   for each of out: scale = the least power of two with which the largest magnitude is at most E4M3's 448: a
 *         weight that was E4M3 in its file stays what it is, to the bit
 *   nf4   for each 64 numbers in a row: scale = largest magnitude, code = the nearest of the sixteen values, as
 *         bitsandbytes quantises a matrix
 *
 * A scale's numbers of which one is infinite or none become all NaN: they show in the first loss.  Must not know files.
 */
#ifndef MODEL_QUANTISE_H
#define MODEL_QUANTISE_H

#include "../backend.h"
#include "config.h"

/* sums of squares: of what rounding changed, and of the weights */
struct quantise_loss { double off, all; };
/* to [weight_bytes(w)]; x [out][kh][kw][in], as w->data will be; w: dtype and sizes */
void quantise(void *to, const float *x, const struct weight *w, struct quantise_loss *loss);
/* sqrt(off / all); 0 where there is nothing */
double quantise_error(const struct quantise_loss *loss);

/* "int8", "fp8", "nf4"; F32 for "fp16" and any other */
enum dtype quantise_type(const char *word);

/* What is quantised of a model: the linear layers and convolutions of UNet and text encoders that lie between its ends.
 * The ends (conv_in, conv_out, time and size embeddings, text_projection: 0.3 % of SDXL's weights), norms, biases,
 * tables of tokens and the VAE stay what they are. */
struct quantised_layer { enum component component; char *name; struct quantise_loss loss; };
struct quantising {
	enum dtype type;                /* F32: nothing is */
	bool closed;                    /* layers that are loaded from now on are not written down */
	struct quantised_layer *layer;
	size_t count, capacity;
};
void quantising_free(struct quantising *q);

#endif
