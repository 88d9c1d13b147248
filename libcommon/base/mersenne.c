/* MT19937, the 32-bit Mersenne Twister. */
#include "mersenne.h"

enum { MIDDLE = 397 };

void mersenne_seed(struct mersenne *m, uint32_t seed)
{
	uint32_t i;

	m->word[0] = seed;
	for (i = 1; i < MERSENNE_WORDS; i++)
		m->word[i] = 1812433253u * (m->word[i - 1] ^ m->word[i - 1] >> 30) + i;
	m->next = MERSENNE_WORDS;
}

static void next_words(uint32_t word[MERSENNE_WORDS])
{
	int i;

	for (i = 0; i < MERSENNE_WORDS; i++) {
		uint32_t mixed = (word[i] & 0x80000000u) | (word[(i + 1) % MERSENNE_WORDS] & 0x7fffffffu);
		word[i] = word[(i + MIDDLE) % MERSENNE_WORDS] ^ mixed >> 1 ^ (mixed & 1 ? 0x9908b0dfu : 0);
	}
}

uint32_t mersenne_next(struct mersenne *m)
{
	uint32_t x;

	if (m->next == MERSENNE_WORDS) {
		next_words(m->word);
		m->next = 0;
	}
	x = m->word[m->next++];
	x ^= x >> 11;
	x ^= x << 7 & 0x9d2c5680u;
	x ^= x << 15 & 0xefc60000u;
	return x ^ x >> 18;
}
