/*
 * weights.h - drawn weights of every type on both sides, and how far products with them may be apart.
 *
 * Tolerance.  F32 is multiplied as tf32 and F16 as half precision: 11 bits, so each operand is off by 2^-12 at most and
 * a sum of k random products by about 2^-12 of its own spread; BF16 has 8 bits, 2^-9.  Compared is the root mean square
 * of the error over that of the value, with a factor 4 of room.  A wrong row, tap or factor is off by 1.  A product of
 * what a product made is off by both; a card that cuts off errs one way, so both add up.  A quantised weight is F16
 * where it is multiplied: a code times its scale is rounded once more.
 */
#ifndef TESTS_WEIGHTS_H
#define TESTS_WEIGHTS_H

#include "harness.h"
#include "../../libcommon/model/quantise.h"

static inline double tolerance(enum dtype t)
{
	return t == DTYPE_BF16 ? 4 * ldexp(1, -9) : (is_quantised(t) ? 2 : 1) * 4 * ldexp(1, -12);
}

static const char *const type_names[] = { [DTYPE_F32] = "F32", [DTYPE_F16] = "F16", [DTYPE_BF16] = "BF16",
					  [DTYPE_I8] = "int8", [DTYPE_F8_E4M3] = "fp8", [DTYPE_U8] = "nf4" };

struct weights { struct weight of[SIDES]; };

static inline struct weights take_weights(struct rig *r, enum dtype type, int out, int in, int kh, int kw)
{
	const size_t n = (size_t)out * in * kh * kw;
	float *x = drawn(r, n, 1 / sqrtf(in * kh * kw));
	char *host = xmalloc(n * 4 + (out + 64) * sizeof(float));
	const struct weight shape = { .dtype = type, .out = out, .in = in, .kh = kh, .kw = kw };
	struct quantise_loss loss;
	struct weights w;
	int s;

	if (is_quantised(type))
		quantise(host, x, &shape, &loss);
	else if (type == DTYPE_F32)
		memcpy(host, x, n * 4);
	else
		from_float(host, type, x, n);
	for (s = 0; s < SIDES; s++) {
		w.of[s] = shape;
		if (r->be[s]->prepare(r->device[s], &w.of[s], host))
			die(EXIT_MEMORY, "no memory for the test");
	}
	free(x);
	free(host);
	return w;
}

static inline void give_weights(struct rig *r, struct weights *w)
{
	int s;

	for (s = 0; s < SIDES; s++)
		r->be[s]->unprepare(r->device[s], &w->of[s]);
}

#endif
