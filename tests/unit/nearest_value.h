/* nearest_value.h - is a value of a type the nearest to a number, of all that the type has?  By its two neighbours. */
#ifndef TESTS_NEAREST_VALUE_H
#define TESTS_NEAREST_VALUE_H

#include <math.h>
#include <stdbool.h>
#include <string.h>
#include "../../libcommon/io/dtype.h"

/* The values of a type in their order: 0 is number 0, and each sign counts from there. */
static inline double value_numbered(enum dtype type, int64_t number)
{
	const int64_t minus = (int64_t)1 << (8 * dtype_size(type) - 1);
	const uint64_t bits = (uint64_t)(number < 0 ? minus - number : number);
	float x = NAN;

	to_float(&x, &bits, type, 1);
	return x;
}

static inline int64_t number_of(enum dtype type, float x)
{
	const int64_t minus = (int64_t)1 << (8 * dtype_size(type) - 1);
	uint64_t bits = 0;

	from_float(&bits, type, &x, 1);
	return (int64_t)bits & minus ? minus - (int64_t)bits : (int64_t)bits;
}

/* Of two that are as near, the one whose last bit is 0. */
static inline bool is_nearest(enum dtype type, float x, double exact)
{
	const int64_t number = number_of(type, x);
	const double off = fabs(x - exact);

	for (int side = -1; side <= 1; side += 2) {
		const double other = fabs(value_numbered(type, number + side) - exact);

		if (other < off || (other == off && number & 1))
			return false;
	}
	return isfinite(x);
}

#endif
