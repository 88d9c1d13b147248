/*
 * nearest_body.h - the loops of nearest.c for one instruction set, in the compiler's own vectors.
 *
 * Included by nearest_*.c with NEAREST_LOOPS defined; no other file includes it.
 */
#include "nearest_loops.h"

typedef double doubles __attribute__((vector_size(32), aligned(8), may_alias));
typedef int64_t longs __attribute__((vector_size(32), aligned(8), may_alias));
typedef float floats __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(16), aligned(4), may_alias));

#define DOUBLES(x) __builtin_convertvector(x, doubles)
#define FLOATS(x) __builtin_convertvector(x, floats)
#define INTS(x) __builtin_convertvector(x, ints)

/* Rounded to odd: cut off, with a last bit that says that something was.  Only a float whose last bit is 0 can be a
 * narrower type's middle. */
static void add(struct nearest_chunk *c, size_t n, bool odd)
{
	const longs sign = { INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN };
	const int32_t mask = odd ? -1 : 0;

	for (size_t i = 0; i < n; i += 4) {
		const doubles x = DOUBLES(*(floats *)(c->before + i)) + *(doubles *)(c->add + i);
		const floats near = FLOATS(x);
		const doubles back = DOUBLES(near);
		const longs beyond = (doubles)(~sign & (longs)back) > (doubles)(~sign & (longs)x), cut = back != x;

		*(doubles *)(c->exact + i) = x;
		*(ints *)(c->sum + i) = ((ints)near + (INTS(beyond) & mask)) | (INTS(cut) & (mask & 1));
	}
}

static void measure(const struct nearest_chunk *c, size_t n, struct nearest_sums *s)
{
	doubles update = { 0 }, error = { 0 };
	ints unsound = { 0 }, lost = { 0 };

	for (size_t i = 0; i < n; i += 4) {
		const floats before = *(floats *)(c->before + i), after = *(floats *)(c->after + i);
		const doubles more = *(doubles *)(c->add + i), off = DOUBLES(after) - *(doubles *)(c->exact + i);
		const floats none = before - before, kept = after - after;      /* 0, or not a number */

		update += more * more;
		error += off * off;
		unsound |= none != none;
		lost |= (kept != kept) & (none == none);
	}
	s->update += (update[0] + update[1]) + (update[2] + update[3]);
	s->error += (error[0] + error[1]) + (error[2] + error[3]);
	s->unsound |= (unsound[0] | unsound[1] | unsound[2] | unsound[3]) != 0;
	s->broken |= (lost[0] | lost[1] | lost[2] | lost[3]) != 0;
}

const struct nearest_loops NEAREST_LOOPS = { add, measure };
