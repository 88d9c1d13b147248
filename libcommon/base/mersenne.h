/*
 * mersenne.h - MT19937 (Matsumoto and Nishimura 1998), the generator that PyTorch uses on the CPU.
 *
 * Used only where numbers must equal another program's.  Our own come from philox.h, which has no state.
 */
#ifndef BASE_MERSENNE_H
#define BASE_MERSENNE_H

#include <stdint.h>

enum { MERSENNE_WORDS = 624 };

struct mersenne { uint32_t word[MERSENNE_WORDS]; int next; };

void mersenne_seed(struct mersenne *m, uint32_t seed);
uint32_t mersenne_next(struct mersenne *m);

#endif
