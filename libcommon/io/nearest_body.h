/*
 * nearest_body.h - the loops of nearest.c for one instruction set, in the compiler's own vectors.
 *
 * Included by nearest_*.c with WIDEN(), four floats at a place as doubles, NARROW(), doubles as floats, and
 * NEAREST_LOOPS defined; no other file includes it.
 */
#include "nearest_loops.h"

typedef double doubles __attribute__((vector_size(32), aligned(8), may_alias));
typedef int64_t longs __attribute__((vector_size(32), aligned(8), may_alias));
typedef float floats __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(16), aligned(4), may_alias));

#define INTS(x) __builtin_convertvector(x, ints)

static void add(struct nearest_chunk *c, const double *more, size_t n)
{
	for (size_t i = 0; i < n; i += 4) {
		const doubles x = WIDEN(c->before + i) + *(const doubles *)(more + i);

		*(doubles *)(c->exact + i) = x;
		*(floats *)(c->sum + i) = NARROW(x);
	}
}

/* Rounded to odd: the 29 bits that a float lacks are cut off, and the last one that stays says whether any was set.
 * Only a float whose last bit is 0 can be a narrower type's middle. */
static void add_odd(struct nearest_chunk *c, const double *more, size_t n)
{
	const int64_t lacking = (1 << 29) - 1;

	for (size_t i = 0; i < n; i += 4) {
		const doubles x = WIDEN(c->before + i) + *(const doubles *)(more + i);
		const longs bits = (longs)x, odd = (bits | ((bits & lacking) + lacking)) & ~lacking;

		*(doubles *)(c->exact + i) = x;
		*(floats *)(c->sum + i) = NARROW((doubles)odd);
	}
}

/* The same where the float may be a subnormal number, which lacks more bits: from the nearest one towards zero. */
static void add_odd_subnormal(struct nearest_chunk *c, const double *more, size_t n)
{
	const int64_t size = INT64_MAX;

	add(c, more, n);
	for (size_t i = 0; i < n; i += 4) {
		const doubles x = *(doubles *)(c->exact + i), back = WIDEN(c->sum + i);
		const longs beyond = (doubles)((longs)back & size) > (doubles)((longs)x & size), cut = back != x;

		*(ints *)(c->sum + i) = (*(ints *)(c->sum + i) + INTS(beyond)) | (INTS(cut) & 1);
	}
}

static void measure(const struct nearest_chunk *c, const double *more, size_t n, struct nearest_sums *s)
{
	doubles update = { 0 }, error = { 0 };
	floats before = { 0 }, after = { 0 };           /* 0, or not a number */

	for (size_t i = 0; i < n; i += 4) {
		const floats was = *(floats *)(c->before + i), is = *(floats *)(c->after + i);
		const doubles change = *(const doubles *)(more + i), off = WIDEN(c->after + i) -
									    *(doubles *)(c->exact + i);

		update += change * change;
		error += off * off;
		before += was - was;
		after += is - is;
	}
	s->update += (update[0] + update[1]) + (update[2] + update[3]);
	s->error += (error[0] + error[1]) + (error[2] + error[3]);
	s->unsound |= before[0] + before[1] + before[2] + before[3] != 0;
	s->broken |= after[0] + after[1] + after[2] + after[3] != 0;
}

const struct nearest_loops NEAREST_LOOPS = { add, add_odd, add_odd_subnormal, measure };
