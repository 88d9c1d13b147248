/*
 * philox.h - Philox4x32-10 (Salmon et al. 2011): random numbers as a pure function of a key and a counter.
 *
 * There is no stream and no state: the number for (seed, purpose, step, item, index) is the same whoever asks, in
 * whatever order, on whatever device.  That is what makes a resumed run equal an uninterrupted one.
 */
#ifndef BASE_PHILOX_H
#define BASE_PHILOX_H

#include <stddef.h>
#include <stdint.h>

/* What a draw is for.  Part of the counter, so draws for different purposes never share a number.  Values are part of
 * what a seed means: never renumber. */
enum purpose {
	RANDOM_ADAPTER_INIT = 1,        /* lora_down's first values */
	RANDOM_ORDER,                   /* order of the samples in an epoch */
	RANDOM_TIMESTEP,
	RANDOM_NOISE,                   /* what training adds to a latent */
	RANDOM_LATENT,                  /* the sample drawn from a latent's mean and std */
	RANDOM_FLIP,
	RANDOM_CAPTION,
	RANDOM_DROPOUT,
	RANDOM_SAMPLE_NOISE,            /* where sampling starts */
	RANDOM_SAMPLE_STEP,             /* what an ancestral sampler adds */
	RANDOM_TEST,
	RANDOM_VALIDATION = 32,         /* which pictures are held out, and their noise */
	RANDOM_NOISE_OFFSET = 48,       /* one normal a channel */
	RANDOM_NOISE_STRENGTH,          /* uniform: 0 of the offset, 1 of the input noise */
	RANDOM_MULTIRES,                /* the coarser noises, one after another */
	RANDOM_MULTIRES_RATIO,
	RANDOM_INPUT_NOISE,
	RANDOM_NETWORK_DROPOUT,         /* of an adapter: single values, whole ranks, whole modules */
	RANDOM_RANK_DROPOUT,
	RANDOM_MODULE_DROPOUT,
	RANDOM_HOLE = 64,               /* what an inpainting model is to fill in */
	RANDOM_HOLE_CHOICE,             /* which of a picture's holes a visit sees */
	RANDOM_HOLE_LATENT,             /* the sample drawn from the latent of the picture with it */
	RANDOM_SKETCH = 80,             /* of a matrix, for its singular values */
	RANDOM_DARE = 96,               /* which elements of an update stay, in lora-merge add */
};

struct random {
	uint64_t seed;
	uint32_t purpose;
	uint32_t step;
	uint32_t item;
};

/* Four words for block `index` of this draw.  key = seed; counter = (index, item, step, purpose). */
void philox(const struct random *r, uint32_t index, uint32_t out[4]);

/* Uniform in 0..n-1, n > 0, unbiased to 2^-32. */
uint32_t random_below(const struct random *r, uint32_t index, uint32_t n);
float random_uniform(const struct random *r, uint32_t index);                   /* [0, 1), 24 bits */

/* x[i] ~ N(0,1), i < n: Box-Muller in double on pairs of words of block i/4, rounded to float once, so that every
 * libm that is right to half a unit of a double gives the same float. */
void random_normal(const struct random *r, float *x, size_t n);
void random_uniforms(const struct random *r, float *x, size_t n, float low, float high);
void random_permutation(const struct random *r, uint32_t *order, uint32_t n);   /* Fisher-Yates of 0..n-1 */

#endif
