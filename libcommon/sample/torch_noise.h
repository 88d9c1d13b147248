/*
 * torch_noise.h - the noise that PyTorch draws on the CPU for a seed:
 * torch.randn(shape, generator=Generator("cpu").manual_seed(seed)).
 *
 * Equal to PyTorch's to the last bit or two: its vectorised logarithm, sine and cosine differ from one kind of
 * processor to another.  A draw depends on how much was drawn before it, and in which portions.
 */
#ifndef SAMPLE_TORCH_NOISE_H
#define SAMPLE_TORCH_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include "../base/mersenne.h"

struct torch_noise {
	struct mersenne stream;
	bool has_second;                /* the second number of a pair waits for the next call; see torch_normal() */
	double second;
};

void torch_seed(struct torch_noise *t, uint64_t seed);          /* its lower 32 bits count, as there */
void torch_normal(struct torch_noise *t, float *x, size_t n);   /* one randn() of n elements */

#endif
