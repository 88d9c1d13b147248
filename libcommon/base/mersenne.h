/*
 * mersenne.h - MT19937 (Matsumoto and Nishimura 1998): the stream of numbers that PyTorch's generator on the CPU is.
 *
 * For equality with another program only; our own numbers come from philox.h, which has no state.
 */
#ifndef BASE_MERSENNE_H
#define BASE_MERSENNE_H

#include <stdint.h>

enum { MERSENNE_WORDS = 624 };

struct mersenne { uint32_t word[MERSENNE_WORDS]; int next; };

void mersenne_seed(struct mersenne *m, uint32_t seed);
uint32_t mersenne_next(struct mersenne *m);

#endif
