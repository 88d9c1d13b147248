/* Dropout, with the same elements as on the CPU (base/philox.c; Salmon et al. 2011). */
#include "each.cuh"
#include "kernels.h"

DEV void philox_block(const struct random &r, uint32_t index, uint32_t out[4])
{
	uint32_t k0 = (uint32_t)r.seed, k1 = (uint32_t)(r.seed >> 32), c0 = index, c1 = r.item, c2 = r.step,
		c3 = r.purpose;

	for (int round = 0; round < 10; round++) {
		const uint64_t p0 = (uint64_t)0xd2511f53 * c0, p1 = (uint64_t)0xcd9e8d57 * c2;

		c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
		c1 = (uint32_t)p1;
		c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
		c3 = (uint32_t)p0;
		k0 += 0x9e3779b9;
		k1 += 0xbb67ae85;
	}
	out[0] = c0;
	out[1] = c1;
	out[2] = c2;
	out[3] = c3;
}

struct drop {
	float *x; const struct random *at; struct random r; uint64_t limit; float keep; int rows, c; bool shared;
	__device__ void operator()(size_t row, int i) const
	{
		const size_t place = (shared ? row / rows : row) * c + i;
		uint32_t word[4];

		philox_block(at ? *at : r, place / 4, word);
		/* no index into word: a runtime one would put it into memory */
		const uint32_t w = place % 4 < 2 ? place % 2 ? word[1] : word[0] : place % 2 ? word[3] : word[2];

		x[row * c + i] = w < limit ? 0 : x[row * c + i] * keep;
	}
};

extern "C" cudaError_t k_dropout(cudaStream_t st, float *x, const struct random *r, const struct random *at,
				 double p, int n, int rows, int c, bool shared)
{
	return each_in_rows(st, drop{ x, at, *r, (uint64_t)(p * 0x1p32), (float)(1 / (1 - p)), rows, c, shared },
			    (size_t)n * rows, c);
}
