/*
 * attention.cuh - shared by the attention kernels: rows of one head as tiles of half precision in shared memory, and
 * the two products with them.
 *
 * All kernels have one pattern.  A warp owns 16 rows (or 32) of one operand, and goes through the tiles of the other:
 *     scores(): s[16, rows] += mine[16, d] tile[rows, d]^T          weigh(): out[16, d] += s[16, rows] tile[rows, d]
 * Forward and dq own queries and go through keys; dk and dv own keys and go through queries.
 *
 * Fragments are those of mma_f16 (dev.cuh), g = lane/4, t = lane%4.  What scores() leaves for columns 2t and 2t+1 of
 * two neighbouring fragments, weigh() takes as the rows 2t, 2t+1, 2t+8, 2t+9 of its product: no value has to change
 * lanes.
 *
 * Half precision has the fraction of tf32, at twice the rate, but ends at 65504.  Queries, keys and values are
 * multiplied as they are, gradients under a power of two (attention_back.cu).  Wide heads are the VAE's, whose values
 * may be larger: attention_wide.cu has them in tf32.
 */
#ifndef CUDA_ATTENTION_CUH
#define CUDA_ATTENTION_CUH

#include "values.cuh"

#define LOG2E 1.4426950408889634f

/* A tile's row is D + 8 halves long: rows then start 4 banks apart, and neither product's reads meet in one. */
enum { TILE_PAD = 8 };

/* A head's rows: `wide` where four elements may be read at once, two written (of wide heads four).  H: they are half
 * precision, else floats; what is known when a kernel is compiled costs it no registers.  What is written is multiplied
 * by `factor` first. */
template <bool H> struct rows { const void *x; enum dtype type; int ld, count, d; bool wide; };
template <bool H> struct out_rows { void *x; enum dtype type; int ld, count, d; bool wide; int add; float factor; };

DEV unsigned size_of(enum dtype type) { return type == DTYPE_F32 ? 4 : 2; }

DEV bool is_wide(const void *x, enum dtype type, int ld, int d, int elements)
{
	const unsigned size = size_of(type);

	return ((uintptr_t)x | ld * size | d * size) % (elements * size) == 0;
}

DEV void *place_of(const struct values &v, int ld, int count, int d, int first)
{
	return (char *)v.at + ((size_t)blockIdx.z * count * ld + (size_t)blockIdx.y * d + first) * size_of(v.type);
}

/* Columns from `first` on, at most `d` of them, of the head and sample of this block. */
template <bool H>
DEV struct rows<H> rows_of(const struct values &x, int ld, int count, int d, int first, int most)
{
	const void *at = place_of(x, ld, count, d, first);
	int left = d - first < most ? d - first : most;

	if (left <= 0)
		at = x.at;
	return { at, x.type, ld, count, left, is_wide(at, x.type, ld, left, 4) };
}

/* shift: under which power of two the results are */
template <bool H>
DEV struct out_rows<H> out_rows_of(const struct values &x, int shift, int ld, int count, int d, int first, int most,
				int add, int elements = 2)
{
	void *at = place_of(x, ld, count, d, first);
	int left = d - first < most ? d - first : most;

	return { at, x.type, ld, count, left, is_wide(at, x.type, ld, left, elements), add,
		 power_of_two(x.shift - shift) };
}

/* Four of the elements that this thread moves into a tile of D columns; 0 where there are none. */
template <int D> DEV float4 take_four(const struct rows<false> &m, int row, int i)
{
	const int r = row + i / (D / 4), c = i % (D / 4) * 4;
	const bool there = r < m.count && c < m.d;
	const float *from = (const float *)m.x + (there ? (size_t)r * m.ld + c : 0);
	float4 v = { 0, 0, 0, 0 };

	if (m.wide && there)
		v = *(const float4 *)from;
	else if (there)
		v = { from[0], c + 1 < m.d ? from[1] : 0, c + 2 < m.d ? from[2] : 0, c + 3 < m.d ? from[3] : 0 };
	return v;
}

/* Their bits: so they wait in registers as they came. */
template <int D> DEV uint2 take_four(const struct rows<true> &m, int row, int i)
{
	const int r = row + i / (D / 4), c = i % (D / 4) * 4, left = r < m.count ? m.d - c : 0;
	const uint16_t *from = (const uint16_t *)m.x + (left > 0 ? (size_t)r * m.ld + c : 0);
	uint2 bits = { 0, 0 };

	if (m.wide && left > 0)
		bits = *(const uint2 *)from;
	else if (left > 0) {
		bits.x = from[0] | (left > 1 ? (uint32_t)from[1] << 16 : 0);
		bits.y = (left > 2 ? from[2] : 0) | (left > 3 ? (uint32_t)from[3] << 16 : 0);
	}
	return bits;
}

DEV uint32_t pair(float x, float y)
{
	const __half2 h = __floats2half2_rn(x, y);
	uint32_t bits;

	memcpy(&bits, &h, sizeof(bits));
	return bits;
}

DEV uint32_t pair(uint32_t bits, enum dtype type, float factor)
{
	return pair(of_half((uint16_t)bits, type) * factor, of_half((uint16_t)(bits >> 16), type) * factor);
}

DEV uint2 halves_of(const float4 &v, const struct rows<false> &, float factor)
{
	return uint2{ pair(v.x * factor, v.y * factor), pair(v.z * factor, v.w * factor) };
}

DEV uint2 halves_of(const uint2 &v, const struct rows<true> &m, float factor)
{
	return uint2{ pair(v.x, m.type, factor), pair(v.y, m.type, factor) };
}

template <int D, class V, bool H>
DEV void leave_four(__half *tile, int i, const V &v, const struct rows<H> &m, float factor)
{
	*(uint2 *)(tile + i / (D / 4) * (D + TILE_PAD) + i % (D / 4) * 4) = halves_of(v, m, factor);
}

/* tile[N, D] = rows from `row` on, by STEP threads */
template <int D, int N, int STEP, bool H>
DEV void load_tile(__half *tile, const struct rows<H> &m, int row, float factor = 1)
{
	UNROLL for (int k = 0; k < N * D / 4 / STEP; k++)
		leave_four<D>(tile, threadIdx.x + k * STEP, take_four<D>(m, row, threadIdx.x + k * STEP), m, factor);
}

template <bool H> struct four { typedef float4 type; };
template <> struct four<true> { typedef uint2 type; };

/* The same in two parts: rows are taken into registers while the tile before them is multiplied, and left in shared
 * memory behind that.  Where D is above 128 there are no registers for it, and all is done behind. */
template <int D, int N, int STEP, bool H> struct fetched {
	enum { LATE = D > 128, FOURS = N * D / 4 / STEP };
	typename four<H>::type v[LATE ? 1 : FOURS];

	__device__ void take(const struct rows<H> &m, int row)
	{
		if (!LATE)
			UNROLL for (int k = 0; k < FOURS; k++)
				v[k] = take_four<D>(m, row, threadIdx.x + k * STEP);
	}

	__device__ void leave(__half *tile, const struct rows<H> &m, int row, float factor = 1) const
	{
		if (LATE)
			UNROLL_BY(2) for (int k = 0; k < FOURS; k++)
				leave_four<D>(tile, threadIdx.x + k * STEP,
					      take_four<D>(m, row, threadIdx.x + k * STEP), m, factor);
		else
			UNROLL for (int k = 0; k < FOURS; k++)
				leave_four<D>(tile, threadIdx.x + k * STEP, v[k], m, factor);
	}
};

/* A warp's 16 rows, in registers or in a tile. */
template <int D> struct held { uint32_t f[D / 16][4]; };
template <int D> struct tiled { const __half *tile; };

template <bool H> DEV float element(const struct rows<H> &m, int row, int c)
{
	const size_t at = (size_t)row * m.ld + c;

	if (row >= m.count || c >= m.d)
		return 0;
	return !H ? ((const float *)m.x)[at] : of_half(((const uint16_t *)m.x)[at], m.type);
}

template <int D, bool H> DEV void hold(struct held<D> &a, const struct rows<H> &m, int row, float factor = 1)
{
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

	UNROLL for (int k = 0; k < D / 16; k++)
		UNROLL for (int i = 0; i < 4; i++) {
			const int r = row + g + i % 2 * 8, c = k * 16 + 2 * t + i / 2 * 8;

			a.f[k][i] = pair(element(m, r, c) * factor, element(m, r, c + 1) * factor);
		}
}

template <int D> DEV void fragment(uint32_t *f, const struct held<D> &a, int k)
{
	UNROLL for (int i = 0; i < 4; i++)
		f[i] = a.f[k][i];
}

template <int D> DEV void fragment(uint32_t *f, const struct tiled<D> &a, int k)
{
	const int lane = threadIdx.x % 32;

	ldsm_x4(f, a.tile + lane % 16 * (D + TILE_PAD) + lane / 16 * 8 + k * 16);
}

template <int M, int N> DEV void clear(float (&x)[M][N][4])
{
	UNROLL for (int m = 0; m < M; m++)
		UNROLL for (int n = 0; n < N; n++)
			UNROLL for (int i = 0; i < 4; i++)
				x[m][n][i] = 0;
}

/* s[16 M, 8 N] += a[16 M, D] tile[8 N, D]^T */
template <int D, int M, int N, class A> DEV void scores(float (&s)[M][N][4], const A (&a)[M], const __half *tile)
{
	const int lane = threadIdx.x % 32;
	const __half *from = tile + (lane % 8 + lane / 16 * 8) * (D + TILE_PAD) + lane / 8 % 2 * 8;

	UNROLL for (int k = 0; k < D / 16; k++) {
		uint32_t f[M][4], b[4];

		UNROLL for (int m = 0; m < M; m++)
			fragment(f[m], a[m], k);
		UNROLL for (int n = 0; n < N; n += 2) {
			ldsm_x4(b, from + n * 8 * (D + TILE_PAD) + k * 16);
			UNROLL for (int m = 0; m < M; m++) {
				mma_f16(s[m][n], f[m], b);
				mma_f16(s[m][n + 1], f[m], b + 2);
			}
		}
	}
}

/* out[16 M, D] += s[16 M, 8 N] tile[8 N, D] */
template <int D, int M, int N>
DEV void weigh(float (&out)[M][D / 8][4], const float (&s)[M][N][4], const __half *tile)
{
	const int lane = threadIdx.x % 32;
	const __half *from = tile + lane % 16 * (D + TILE_PAD) + lane / 16 * 8;

	UNROLL for (int k = 0; k < N; k += 2) {
		uint32_t f[M][4], b[4];

		UNROLL for (int m = 0; m < M; m++)
			UNROLL for (int i = 0; i < 4; i++)
				f[m][i] = pair(s[m][k + i / 2][i % 2 * 2], s[m][k + i / 2][i % 2 * 2 + 1]);
		UNROLL for (int n = 0; n < D / 8; n += 2) {
			ldsm_x4_t(b, from + k * 8 * (D + TILE_PAD) + n * 8);
			UNROLL for (int m = 0; m < M; m++) {
				mma_f16(out[m][n], f[m], b);
				mma_f16(out[m][n + 1], f[m], b + 2);
			}
		}
	}
}

/* -infinity where the key is not there, or comes after the query */
template <int N> DEV void mask(float (&s)[N][4], int row, int key, const struct attention_shape &a)
{
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

	UNROLL for (int i = 0; i < 4; i++) {
		const int last = a.causal && row + g + i / 2 * 8 < a.lk ? row + g + i / 2 * 8 : a.lk - 1;

		UNROLL for (int n = 0; n < N; n++)
			if (key + n * 8 + 2 * t + i % 2 > last)
				s[n][i] = -INFINITY;
	}
}

template <bool H> DEV void store_one(const struct out_rows<H> &y, size_t at, float a)
{
	if (H) {
		uint16_t *to = (uint16_t *)y.x + at;

		*to = to_half(y.add ? of_half(*to, y.type) + a : a, y.type);
	} else {
		float *to = (float *)y.x + at;

		*to = y.add ? *to + a : a;
	}
}

template <bool H> DEV void store_two(const struct out_rows<H> &y, int row, int c, float a, float b)
{
	const size_t at = (size_t)row * y.ld + c;

	if (y.wide && c < y.d) {
		store_pair((char *)y.x + at * (H ? 2 : 4), H ? y.type : DTYPE_F32, a, b, y.add);
		return;
	}
	if (c < y.d)
		store_one(y, at, a);
	if (c + 1 < y.d)
		store_one(y, at + 1, b);
}

/* 16 rows from `row` on of y = (add ? y : 0) + out times factor[0] (rows g), factor[1] (rows g + 8) */
template <int N, bool H>
DEV void store_rows(const struct out_rows<H> &y, int row, const float (&out)[N][4], const float *factor)
{
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

	UNROLL for (int r = 0; r < 2; r++) {
		const float times = factor[r] * y.factor;

		if (row + g + 8 * r < y.count)
			UNROLL for (int n = 0; n < N; n++)
				store_two(y, row + g + 8 * r, n * 8 + 2 * t, out[n][2 * r] * times,
					  out[n][2 * r + 1] * times);
	}
}

/* A row's softmax from tile to tile: the greatest score,
 * and this lane's share of the sum of exponents relative to it. */
struct running { float max, sum; };

/* ---- launchers ---- */

static inline bool attention_shape_fits(const struct attention_shape *a)
{
	return a->n > 0 && a->n < 65536 && a->heads > 0 && a->heads < 65536 && a->d > 0 && a->d <= 512 && a->lq > 0 &&
		a->lk > 0 &&
	       a->scale > 0 && (!a->causal || a->lq == a->lk);
}

static inline bool same_types(struct values x, struct values y, struct values z)
{
	return x.type == y.type && x.type == z.type;
}

static inline cudaError_t allow_shared(const void *kernel, size_t bytes)
{
	return bytes <= 48 << 10 ? cudaSuccess :
	       cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
}

/* attention_wide.cu: heads of up to 512 columns */
cudaError_t attention_of_wide_heads(cudaStream_t st, struct values o, float *lse, struct values q, struct values k,
				    struct values v, const struct attention_shape *a);

#endif
