/*
 * body_winograd.h - the three transforms of Winograd's F(4x4, 3x3): 36 products give 16 outputs of a 3x3 filter.  See
 * body.h.
 *
 * A row of six inputs d, filter taps g and four outputs y are related by y = A^T [(G g) * (B^T d)], where product i
 * belongs to the point p = 0, a, -a, b, -b, infinity: B^T's rows are the polynomial x (x^2 - a^2)(x^2 - b^2) without
 * its factor (x - p), G's are 1, p, p^2 over that polynomial's value at p, A's are 1, p, p^2, p^3.  The points decide
 * the rounding error.  Measured against double on 64 to 1280 channels, rms of rms: 1, 2 (the usual choice) 2.4e-6; 1/2,
 * 1 2.4e-6; 3/4, 3/2 1.2e-6; 5/8, 3/2 1.0e-6; no transform at all 3e-7.
 */
#define WA 0.625f
#define WB 1.5f

static inline __attribute__((always_inline)) void input_row(vec *o, vec d0, vec d1, vec d2, vec d3, vec d4, vec d5)
{
	const vec a2 = all(-WA * WA), b2 = all(-WB * WB), both = all(-WA * WA - WB * WB),
		product = all(WA * WA * WB * WB);
	vec even = mul_add(b2, d2, d4), odd = WA * mul_add(b2, d1, d3);

	o[0] = mul_add(product, d0, mul_add(both, d2, d4));
	o[1] = even + odd;
	o[2] = even - odd;
	even = mul_add(a2, d2, d4);
	odd = WB * mul_add(a2, d1, d3);
	o[3] = even + odd;
	o[4] = even - odd;
	o[5] = mul_add(product, d1, mul_add(both, d3, d5));
}

/* pixels[36]: c floats each, or NULL for zeros -> value e of the tile at v + e * stride */
static void winograd_input(float *v, size_t stride, const float *const *pixels, int c)
{
	int i, j, k;

	for (k = 0; k < c; k += LANES) {
		vec d[36], t[6][6], o[6];

#pragma GCC unroll 36
		for (i = 0; i < 36; i++)
			d[i] = pixels[i] ? load_some(pixels[i] + k, c - k) : all(0);
#pragma GCC unroll 6
		for (j = 0; j < 6; j++) {
			input_row(o, d[j], d[6 + j], d[12 + j], d[18 + j], d[24 + j], d[30 + j]);
#pragma GCC unroll 6
			for (i = 0; i < 6; i++)
				t[i][j] = o[i];
		}
#pragma GCC unroll 6
		for (i = 0; i < 6; i++) {
			input_row(o, t[i][0], t[i][1], t[i][2], t[i][3], t[i][4], t[i][5]);
#pragma GCC unroll 6
			for (j = 0; j < 6; j++)
				store_some(v + (i * 6 + j) * stride + k, o[j], c - k);
		}
	}
}

static inline __attribute__((always_inline)) void filter_row(vec *o, vec g0, vec g1, vec g2)
{
	const float at_a = 1 / (2 * WA * WA * (WA * WA - WB * WB)), at_b = 1 / (2 * WB * WB * (WB * WB - WA * WA));
	vec even = at_a * mul_add(all(WA * WA), g2, g0), odd = (at_a * WA) * g1;

	o[0] = (1 / (WA * WA * WB * WB)) * g0;
	o[1] = even + odd;
	o[2] = even - odd;
	even = at_b * mul_add(all(WB * WB), g2, g0);
	odd = (at_b * WB) * g1;
	o[3] = even + odd;
	o[4] = even - odd;
	o[5] = g2;
}

/* taps: nine runs of n floats -> 36 runs, each `stride` floats after the last; n is a multiple of LANES */
static void winograd_filter(float *u, const float *taps, size_t stride, size_t n)
{
	size_t k;
	int i, j;

	for (k = 0; k < n; k += LANES) {
		vec t[6][3], o[6];

#pragma GCC unroll 3
		for (j = 0; j < 3; j++) {
			filter_row(o, load(taps + j * stride + k), load(taps + (3 + j) * stride + k),
				   load(taps + (6 + j) * stride + k));
#pragma GCC unroll 6
			for (i = 0; i < 6; i++)
				t[i][j] = o[i];
		}
#pragma GCC unroll 6
		for (i = 0; i < 6; i++) {
			filter_row(o, t[i][0], t[i][1], t[i][2]);
#pragma GCC unroll 6
			for (j = 0; j < 6; j++)
				store(u + (i * 6 + j) * stride + k, o[j]);
		}
	}
}

static inline __attribute__((always_inline)) void output_row(vec *o, vec m0, vec m1, vec m2, vec m3, vec m4, vec m5)
{
	const vec sum_a = m1 + m2, difference_a = m1 - m2, sum_b = m3 + m4, difference_b = m3 - m4;

	o[0] = m0 + sum_a + sum_b;
	o[1] = mul_add(all(WA), difference_a, WB * difference_b);
	o[2] = mul_add(all(WA * WA), sum_a, (WB * WB) * sum_b);
	o[3] = mul_add(all(WA * WA * WA), difference_a, mul_add(all(WB * WB * WB), difference_b, m5));
}

/* Products e of one tile at m + e * stride -> pixels[16], n floats each, NULL outside the picture */
static void winograd_output(float *const *pixels, const float *m, size_t stride, int n, const float *bias, int add)
{
	int i, j, k;

	for (k = 0; k < n; k += LANES) {
		const vec start = bias ? load_some(bias + k, n - k) : all(0);
		vec t[4][6], o[4];

#pragma GCC unroll 6
		for (j = 0; j < 6; j++) {
			output_row(o, load(m + j * stride + k), load(m + (6 + j) * stride + k),
				   load(m + (12 + j) * stride + k), load(m + (18 + j) * stride + k),
				   load(m + (24 + j) * stride + k), load(m + (30 + j) * stride + k));
#pragma GCC unroll 4
			for (i = 0; i < 4; i++)
				t[i][j] = o[i];
		}
#pragma GCC unroll 4
		for (i = 0; i < 4; i++) {
			output_row(o, t[i][0], t[i][1], t[i][2], t[i][3], t[i][4], t[i][5]);
#pragma GCC unroll 4
			for (j = 0; j < 4; j++)
				if (pixels[i * 4 + j])
					put(pixels[i * 4 + j] + k, o[j] + start, n - k, add);
		}
	}
}
