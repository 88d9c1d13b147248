/* Sums rounded to the nearest value of a type, a chunk at a time. */
#include <string.h>
#include "../base/cpu.h"
#include "nearest_loops.h"

static const struct nearest_loops *best_loops(void)
{
#ifdef __x86_64__
	if (cpu_has_avx2())
		return &nearest_avx2;
#endif
	return &nearest_portable;
}

static nearest_adder *adder_of(const struct nearest_loops *l, enum dtype dtype)
{
	return dtype == DTYPE_F32 ? l->add : dtype == DTYPE_BF16 ? l->add_odd_subnormal : l->add_odd;
}

void nearest_add_by(const struct nearest_loops *loops, void *out, const void *in, enum dtype dtype, const double *add,
		    size_t n, struct nearest_sums *s)
{
	const size_t size = dtype_size(dtype);
	struct nearest_chunk c;
	double last[NEAREST_CHUNK];

	for (size_t at = 0; at < n; at += NEAREST_CHUNK) {
		const size_t part = n - at < NEAREST_CHUNK ? n - at : NEAREST_CHUNK, whole = (part + 3) / 4 * 4;
		const double *more = part < whole ? last : add + at;

		if (part < whole)
			memcpy(last, add + at, part * sizeof(*add));
		for (size_t i = part; i < whole; i++)
			c.before[i] = c.after[i] = last[i] = 0;
		to_float(c.before, (const unsigned char *)in + at * size, dtype, part);
		adder_of(loops, dtype)(&c, more, whole);
		from_float((unsigned char *)out + at * size, dtype, c.sum, part);
		to_float(c.after, (unsigned char *)out + at * size, dtype, part);
		loops->measure(&c, more, whole, s);
	}
}

void nearest_add(void *out, const void *in, enum dtype dtype, const double *add, size_t n, struct nearest_sums *s)
{
	nearest_add_by(best_loops(), out, in, dtype, add, n, s);
}
