/*
 * attention.cuh - shared by the attention kernels: rows of one head as tiles in shared memory, and the two products
 * with them.
 *
 * All kernels have one pattern.  A warp owns 16 rows (or 32) of one operand, and goes through the tiles of the other:
 *     scores(): s[16, rows] += mine[16, d] tile[rows, d]^T          weigh(): out[16, d] += s[16, rows] tile[rows, d]
 * Forward and dq own queries and go through keys; dk and dv own keys and go through queries.
 *
 * Fragments are those of mma_tf32 (dev.cuh), g = lane/4, t = lane%4.  What scores() leaves for columns 2t and 2t+1,
 * weigh() takes for rows t and t+4 of its product and reads the tile's rows in that order: no value has to change
 * lanes.  Its output's columns are in an order of their own, which lets a lane read and write four at a time: fragment
 * 4j+i holds columns 32j+8t+i and 32j+8t+4+i.
 */
#ifndef CUDA_ATTENTION_CUH
#define CUDA_ATTENTION_CUH

#include "dev.cuh"
#include "kernels.h"

#define LOG2E 1.4426950408889634f

/* A tile's row is D + 4 floats long: rows then start 4 banks apart, and neither product's reads meet in one. */
enum { TILE_PAD = 4 };

/* A head's rows: `wide` where 16 bytes may be read at once. */
struct rows { const float *x; int ld, count, d; bool wide; };
struct out_rows { float *x; int ld, count, d; bool wide; int add; };

DEV bool is_wide(const void *x, int ld, int d)
{
	return ((uintptr_t)x | ld * 4u | d * 4u) % 16 == 0;
}

/* Columns from `first` on, at most `d` of them, of the head and sample of this block. */
DEV struct rows rows_of(const float *x, int ld, int count, int d, int first, int most)
{
	const float *at = x + (size_t)blockIdx.z * count * ld + (size_t)blockIdx.y * d + first;
	int left = d - first < most ? d - first : most;

	if (left <= 0)
		at = x;
	return { at, ld, count, left, is_wide(at, ld, left) };
}

DEV struct out_rows out_rows_of(float *x, int ld, int count, int d, int first, int most, int add)
{
	float *at = x + (size_t)blockIdx.z * count * ld + (size_t)blockIdx.y * d + first;
	int left = d - first < most ? d - first : most;

	return { at, ld, count, left, is_wide(at, ld, left), add };
}

/* tile[N, D] = rows from `row` on, 0 where there are none; by `step` threads, of which this is number i.
 * Comes with the next commit. */
template <int D, int STRIDE, int N> DEV void load_tile(float *tile, const struct rows &m, int row, int i, int step)
{
	for (; i < N * (D / 4); i += step) {
		const int r = i / (D / 4), c = i % (D / 4) * 4;
		const bool there = row + r < m.count && c < m.d;
		const float *from = m.x + (there ? (size_t)(row + r) * m.ld + c : 0);
		float *to = tile + r * STRIDE + c;

		if (m.wide)
			cp_async16(to, from, there);
		else
			UNROLL for (int j = 0; j < 4; j++)
				to[j] = there && c + j < m.d ? from[j] : 0;
	}
}

/* A warp's 16 rows, in registers or in a tile. */
template <int D> struct held { uint32_t f[D / 8][4]; };
template <int D> struct tiled { const float *tile; };

DEV float element(const struct rows &m, int row, int c)
{
	return row < m.count && c < m.d ? m.x[(size_t)row * m.ld + c] : 0;
}

template <int D> DEV void hold(struct held<D> &a, const struct rows &m, int row)
{
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

	UNROLL for (int k = 0; k < D / 8; k++)
		UNROLL for (int i = 0; i < 4; i++)
			a.f[k][i] = to_tf32(element(m, row + g + i % 2 * 8, k * 8 + t + i / 2 * 4));
}

template <int D> DEV void fragment(uint32_t *f, const struct held<D> &a, int k)
{
	UNROLL for (int i = 0; i < 4; i++)
		f[i] = a.f[k][i];
}

DEV void rounded(uint32_t *f)
{
	UNROLL for (int i = 0; i < 4; i++)
		f[i] = to_tf32(__int_as_float(f[i]));
}

template <int D> DEV void fragment(uint32_t *f, const struct tiled<D> &a, int k)
{
	const int lane = threadIdx.x % 32;

	ldsm_x4(f, a.tile + lane % 16 * (D + TILE_PAD) + lane / 16 * 4 + k * 8);
	rounded(f);
}

template <int M, int N> DEV void clear(float (&x)[M][N][4])
{
	UNROLL for (int m = 0; m < M; m++)
		UNROLL for (int n = 0; n < N; n++)
			UNROLL for (int i = 0; i < 4; i++)
				x[m][n][i] = 0;
}

/* s[16 M, 8 N] += a[16 M, D] tile[8 N, D]^T */
template <int D, int STRIDE, int M, int N, class A>
DEV void scores(float (&s)[M][N][4], const A (&a)[M], const float *tile)
{
	const int lane = threadIdx.x % 32;
	const float *from = tile + (lane % 8 + lane / 16 * 8) * STRIDE + lane / 8 % 2 * 4;

	UNROLL for (int k = 0; k < D / 8; k++) {
		uint32_t f[M][4], b[4];

		UNROLL for (int m = 0; m < M; m++)
			fragment(f[m], a[m], k);
		UNROLL for (int n = 0; n < N; n += 2) {
			ldsm_x4(b, from + n * 8 * STRIDE + k * 8);
			rounded(b);
			UNROLL for (int m = 0; m < M; m++) {
				mma_tf32(s[m][n], f[m], b);
				mma_tf32(s[m][n + 1], f[m], b + 2);
			}
		}
	}
}

/* out[16 M, D] += s[16 M, 8 N] tile[8 N, D] */
template <int D, int STRIDE, int M, int N>
DEV void weigh(float (&out)[M][D / 8][4], const float (&s)[M][N][4], const float *tile)
{
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

	UNROLL for (int k = 0; k < N; k++) {
		const float *from = tile + (k * 8 + 2 * t) * STRIDE + 4 * g;
		uint32_t f[M][4];

		UNROLL for (int m = 0; m < M; m++)
			UNROLL for (int i = 0; i < 4; i++)
				f[m][i] = to_tf32(s[m][k][i % 2 * 2 + i / 2]);
		UNROLL for (int j = 0; j < D / 32; j++) {
			const float4 even = *(const float4 *)(from + j * 32),
				odd = *(const float4 *)(from + STRIDE + j * 32);
			const uint32_t b[4][2] = { { to_tf32(even.x), to_tf32(odd.x) },
						   { to_tf32(even.y), to_tf32(odd.y) },
						   { to_tf32(even.z), to_tf32(odd.z) },
						   { to_tf32(even.w), to_tf32(odd.w) } };

			UNROLL for (int i = 0; i < 4; i++)
				UNROLL for (int m = 0; m < M; m++)
					mma_tf32(out[m][4 * j + i], f[m], b[i]);
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

DEV void store_four(const struct out_rows &y, int row, int c, const float *v)
{
	float *to = y.x + (size_t)row * y.ld + c;

	if (y.wide && c < y.d) {
		float4 x = { v[0], v[1], v[2], v[3] };

		if (y.add) {
			const float4 old = *(const float4 *)to;

			x = { old.x + x.x, old.y + x.y, old.z + x.z, old.w + x.w };
		}
		*(float4 *)to = x;
	} else
		UNROLL for (int i = 0; i < 4; i++)
			if (c + i < y.d)
				to[i] = y.add ? to[i] + v[i] : v[i];
}

/* 16 rows from `row` on of y = (add ? y : 0) + out times factor[0] (rows g), factor[1] (rows g + 8) */
template <int N> DEV void store_rows(const struct out_rows &y, int row, const float (&out)[N][4], const float *factor)
{
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

	UNROLL for (int r = 0; r < 2; r++)
		if (row + g + 8 * r < y.count)
			UNROLL for (int j = 0; j < N / 4 * 2; j++) {
				float v[4];

				UNROLL for (int i = 0; i < 4; i++)
					v[i] = out[j / 2 * 4 + i][2 * r + j % 2] * factor[r];
				store_four(y, row + g + 8 * r, j / 2 * 32 + 8 * t + j % 2 * 4, v);
			}
}

/* ---- launchers ---- */

static inline bool attention_shape_fits(const struct attention_shape *a)
{
	return a->n > 0 && a->n < 65536 && a->heads > 0 && a->heads < 65536 && a->d > 0 && a->d <= 512 && a->lq > 0 &&
		a->lk > 0 &&
	       a->scale > 0 && (!a->causal || a->lq == a->lk);
}

static inline cudaError_t allow_shared(const void *kernel, size_t bytes)
{
	return bytes <= 48 << 10 ? cudaSuccess :
	       cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
}

#endif
