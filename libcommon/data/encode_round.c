/* Rounding to the stream's precision. */
#include <math.h>
#include "encode_internal.h"

int encode_round(const struct encoder *n, const char *label, float *x, size_t count, struct error *e)
{
	uint16_t half[256];
	size_t i, k, part;

	if (n->precision == DTYPE_F32)
		return 0;
	for (i = 0; i < count; i += part) {
		part = count - i < 256 ? count - i : 256;
		from_float(half, n->precision, x + i, part);
		to_float(x + i, half, n->precision, part);
		for (k = i; k < i + part; k++)
			if (!isfinite(x[k]))
				return fail(e, EXIT_INPUT, "%s: a value does not fit %s; use --precision bf16 or fp32",
					    label, n->s->precision);
	}
	return 0;
}
