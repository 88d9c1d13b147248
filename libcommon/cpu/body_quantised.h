/* body_quantised.h - quantised weights (struct weight) to floats.  See body.h. */

/* Fields moved to a float's places are the number times 2^-120, subnormal ones too.  NaN does not occur. */
static inline vec widen_e4m3(ivec code)
{
	return (vec)((ivec)((vec)((code & 0x7f) << 20) * 0x1p120f) | (code & 0x80) << 24);
}

static inline vec dequantised(const uint8_t *code, enum dtype dtype)
{
	if (dtype == DTYPE_I8)
		return from_int(widen_i8(code));
	return dtype == DTYPE_U8 ? pick(nf4_values, nibbles(code)) : widen_e4m3(widen_u8(code));
}

/* What is left at an end, or begins within a vector of the row before. */
static float dequantised_one(const uint8_t *codes, enum dtype dtype, size_t i)
{
	uint8_t some[LANES] = { 0 };

	if (dtype == DTYPE_U8)
		return nf4_values[codes[i / 2] >> (i % 2 ? 0 : 4) & 15];
	some[0] = codes[i];
	return dequantised(some, dtype)[0];
}

static inline __attribute__((always_inline)) void dequantise_of(float *y, const uint8_t *codes, const float *scale,
								size_t at, size_t n, enum dtype dtype)
{
	const bool nf4 = dtype == DTYPE_U8;
	size_t i = 0;

	/* The NF4 numbers of a vec have one scale, and the first is an upper half. */
	if (!nf4 || at % LANES == 0)
		for (; i + LANES <= n; i += LANES) {
			const vec x = dequantised(codes + (nf4 ? (at + i) / 2 : at + i), dtype);
			store(y + i, x * scale[nf4 ? (at + i) / NF4_BLOCK : 0]);
		}
	for (; i < n; i++)
		y[i] = dequantised_one(codes, dtype, at + i) * scale[nf4 ? (at + i) / NF4_BLOCK : 0];
}

static void dequantise(float *y, const void *codes, enum dtype dtype, const float *scale, size_t at, size_t n)
{
	switch (dtype) {
	case DTYPE_I8: dequantise_of(y, codes, scale, at, n, DTYPE_I8); break;
	case DTYPE_U8: dequantise_of(y, codes, scale, at, n, DTYPE_U8); break;
	default: dequantise_of(y, codes, scale, at, n, DTYPE_F8_E4M3);
	}
}
