/*
 * simd_portable.h - four floats at a time in the compiler's own vectors: any machine.  See simd_avx2.h.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __aarch64__
#include <arm_neon.h>
#endif

enum { LANES = 4, TILE_ROWS = 6 };
typedef float vec __attribute__((vector_size(16)));
typedef int32_t ivec __attribute__((vector_size(16)));
typedef float unaligned_vec __attribute__((vector_size(16), aligned(4), may_alias));
typedef double dvec __attribute__((vector_size(16)));
typedef struct { vec half[2]; } octet;

static inline vec all(float x) { return (vec){ x, x, x, x }; }
static inline vec root(vec x) { return (vec){ sqrtf(x[0]), sqrtf(x[1]), sqrtf(x[2]), sqrtf(x[3]) }; }
static inline vec from_int(ivec x) { return (vec){ x[0], x[1], x[2], x[3] }; }
static inline dvec low_doubles(vec x) { return (dvec){ x[0], x[1] }; }
static inline dvec high_doubles(vec x) { return (dvec){ x[2], x[3] }; }
static inline void octet_add(octet *s, size_t i, vec v) { s->half[i / LANES % 2] += v; }
#ifdef __aarch64__
static inline vec mul_add(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
#else
typedef double wide_vec __attribute__((vector_size(32)));
typedef int64_t wide_ivec __attribute__((vector_size(32)));

/* a b is exact in double.  The sum is rounded to odd: where the nearest double is not the sum and its last bit is 0,
 * the neighbour on the sum's side is taken.  A float then comes out of it as if it had been rounded once (Boldo and
 * Melquiond, "Emulation of FMA and correctly rounded sums", 2008). */
static inline vec mul_add(vec a, vec b, vec c)
{
	const wide_vec product = __builtin_convertvector(a, wide_vec) * __builtin_convertvector(b, wide_vec),
		       add = __builtin_convertvector(c, wide_vec), sum = product + add, part = sum - product,
		       rest = (product - (sum - part)) + (add - part);
	const wide_ivec even = ((wide_ivec)sum & 1) - 1, more = rest > 0, less = rest < 0,
			outwards = more ^ ((wide_ivec)sum < 0);

	return __builtin_convertvector((wide_vec)((wide_ivec)sum + (even & (more | less) & (1 | ~outwards))), vec);
}
#endif
static inline ivec widen_u16(const uint16_t *x) { return (ivec){ x[0], x[1], x[2], x[3] }; }
static inline ivec widen_u8(const uint8_t *x) { return (ivec){ x[0], x[1], x[2], x[3] }; }
static inline ivec widen_i8(const uint8_t *x)
{
	return (ivec){ (int8_t)x[0], (int8_t)x[1], (int8_t)x[2], (int8_t)x[3] };
}
static inline ivec nibbles(const uint8_t *x) { return (ivec){ x[0] >> 4, x[0] & 15, x[1] >> 4, x[1] & 15 }; }
static inline vec pick(const float *table, ivec at)
{
	return (vec){ table[at[0]], table[at[1]], table[at[2]], table[at[3]] };
}

static inline vec choose(ivec mask, vec yes, vec no) { return (vec)((mask & (ivec)yes) | (~mask & (ivec)no)); }
static inline vec at_least(vec x, float low) { return choose(x < all(low), all(low), x); }
static inline vec at_most(vec x, float high) { return choose(x > all(high), all(high), x); }
static inline vec greater(vec a, vec b) { return choose(a > b, a, b); }

/* Shift exponent and fraction into place and let a multiplication by 2^112 mend the bias, subnormal numbers
 * included. */
static inline vec widen_f16(const uint16_t *x)
{
	ivec bits = widen_u16(x), special = (bits & 0x7c00) == 0x7c00;
	vec y = (vec)((bits & 0x7fff) << 13) * 0x1p112f;

	return (vec)((ivec)y | (special & 0x7f800000) | (bits & 0x8000) << 16);
}

static inline void transpose(vec *v)
{
	vec a = v[0], b = v[1], c = v[2], d = v[3];
	int i;

	for (i = 0; i < 4; i++)
		v[i] = (vec){ a[i], b[i], c[i], d[i] };
}
