/*
 * attention_wide.cu - attention of wide heads (the VAE's one has 512 columns), forward, in tf32.
 *
 * Queries are cut into columns, 64 a warp: each warp holds its part of them and of the output, and the partial scores
 * are added up in shared memory.
 *
 * Fragments are those of mma_tf32 (dev.cuh).  What scores_of_slice() leaves for columns 2t and 2t+1, weigh_slice()
 * takes for rows t and t+4 of its product and reads the tile's rows in that order.  Its output's columns are in an
 * order of their own, which lets a lane read and write four at a time: fragment 4j+i holds columns 32j+8t+i and
 * 32j+8t+4+i.
 */
#include "attention.cuh"

enum { WARPS = 8, QUERIES = 32, KEYS = 16, WIDEST = 512, SLICE = WIDEST / WARPS };

/* Rows of keys and values in shared memory: 4 banks apart. */
enum { STRIDE = WIDEST + 4 };

/* tile[KEYS, SLICE] = rows from `row` on, 0 where there are none, by one warp.  Arrives with the next
 * cp_async_commit(). */
DEV void load_slice(float *tile, const struct rows<false> &m, int row)
{
	for (int i = threadIdx.x % 32; i < KEYS * (SLICE / 4); i += 32) {
		const int r = i / (SLICE / 4), c = i % (SLICE / 4) * 4;
		const bool there = row + r < m.count && c < m.d;
		const float *from = (const float *)m.x + (there ? (size_t)(row + r) * m.ld + c : 0);
		float *to = tile + r * STRIDE + c;

		if (m.wide)
			cp_async16(to, from, there);
		else
			UNROLL for (int j = 0; j < 4; j++)
				to[j] = element(m, row + r, c + j);
	}
}

/* 16 rows of a warp's columns */
struct slice { uint32_t f[SLICE / 8][4]; };

DEV void hold(struct slice &a, const struct rows<false> &m, int row)
{
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

	UNROLL for (int k = 0; k < SLICE / 8; k++)
		UNROLL for (int i = 0; i < 4; i++)
			a.f[k][i] = to_tf32(element(m, row + g + i % 2 * 8, k * 8 + t + i / 2 * 4));
}

/* s[32, KEYS] += a[32, SLICE] tile[KEYS, SLICE]^T */
DEV void scores_of_slice(float (&s)[2][KEYS / 8][4], const struct slice (&a)[2], const float *tile)
{
	const int lane = threadIdx.x % 32;
	const float *from = tile + (lane % 8 + lane / 16 * 8) * STRIDE + lane / 8 % 2 * 4;

	UNROLL for (int k = 0; k < SLICE / 8; k++)
		UNROLL for (int n = 0; n < KEYS / 8; n += 2) {
			uint32_t b[4];

			ldsm_x4(b, from + n * 8 * STRIDE + k * 8);
			UNROLL for (int i = 0; i < 4; i++)
				b[i] = to_tf32(__int_as_float(b[i]));
			UNROLL for (int m = 0; m < 2; m++) {
				mma_tf32(s[m][n], a[m].f[k], b);
				mma_tf32(s[m][n + 1], a[m].f[k], b + 2);
			}
		}
}

/* out[32, SLICE] += s[32, KEYS] tile[KEYS, SLICE] */
DEV void weigh_slice(float (&out)[2][SLICE / 8][4], const float (&s)[2][KEYS / 8][4], const float *tile)
{
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

	UNROLL for (int k = 0; k < KEYS / 8; k++) {
		const float *from = tile + (k * 8 + 2 * t) * STRIDE + 4 * g;
		uint32_t f[2][4];

		UNROLL for (int m = 0; m < 2; m++)
			UNROLL for (int i = 0; i < 4; i++)
				f[m][i] = to_tf32(s[m][k][i % 2 * 2 + i / 2]);
		UNROLL for (int j = 0; j < SLICE / 32; j++) {
			const float4 even = *(const float4 *)(from + j * 32),
				odd = *(const float4 *)(from + STRIDE + j * 32);
			const uint32_t b[4][2] = { { to_tf32(even.x), to_tf32(odd.x) },
						   { to_tf32(even.y), to_tf32(odd.y) },
						   { to_tf32(even.z), to_tf32(odd.z) },
						   { to_tf32(even.w), to_tf32(odd.w) } };

			UNROLL for (int i = 0; i < 4; i++)
				UNROLL for (int m = 0; m < 2; m++)
					mma_tf32(out[m][4 * j + i], f[m], b[i]);
		}
	}
}

DEV void store_four(const struct out_rows<false> &y, int row, int c, const float *v)
{
	float *to = (float *)y.x + (size_t)row * y.ld + c;

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
				store_one(y, (size_t)row * y.ld + c + i, v[i]);
}

/* 16 rows from `row` on of y = (add ? y : 0) + out times factor[0] (rows g), factor[1] (rows g + 8) */
DEV void store_slice(const struct out_rows<false> &y, int row, const float (&out)[SLICE / 8][4], const float *factor)
{
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

	UNROLL for (int r = 0; r < 2; r++)
		if (row + g + 8 * r < y.count)
			UNROLL for (int j = 0; j < SLICE / 16; j++) {
				float v[4];

				UNROLL for (int i = 0; i < 4; i++)
					v[i] = out[j / 2 * 4 + i][2 * r + j % 2] * factor[r];
				store_four(y, row + g + 8 * r, j / 2 * 32 + 8 * t + j % 2 * 4, v);
			}
}

/* Adds up the scores' WARPS parts; 8 threads share a row, two columns each.  Leaves exponents in p and the row's
 * factor in *factor. */
DEV void take_parts(struct running *a, float *p, float *factor, const float *parts, int key,
		    const struct attention_shape &s)
{
	const int r = threadIdx.x / 8, c = threadIdx.x % 8 * 2, row = blockIdx.x * QUERIES + r;
	const int last = s.causal && row < s.lk ? row : s.lk - 1;
	const float scale = s.scale * LOG2E;
	float x = 0, y = 0, most = a->max, shift;

	UNROLL for (int w = 0; w < WARPS; w++) {
		const float2 part = *(const float2 *)(parts + (w * QUERIES + r) * KEYS + c);

		x += part.x;
		y += part.y;
	}
	x = key + c > last ? -INFINITY : x;
	y = key + c + 1 > last ? -INFINITY : y;
	most = fmaxf(most, fmaxf(x, y));
	UNROLL for (int i = 1; i < 8; i *= 2)
		most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, i));
	shift = most == -INFINITY ? 0 : most * scale;
	*factor = exp2_approx(a->max * scale - shift);
	p[0] = exp2_approx(x * scale - shift);
	p[1] = exp2_approx(y * scale - shift);
	a->sum = a->sum * *factor + p[0] + p[1];
	a->max = most;
}

/* A warp's fragments of two blocks of 16 rows, to and from rows in shared memory. */
DEV void put(float *to, int stride, const float (&s)[2][KEYS / 8][4])
{
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

	UNROLL for (int m = 0; m < 2; m++)
		UNROLL for (int n = 0; n < KEYS / 8; n++)
			UNROLL for (int r = 0; r < 2; r++)
				*(float2 *)(to + (m * 16 + r * 8 + g) * stride + n * 8 + 2 * t) =
					{ s[m][n][2 * r], s[m][n][2 * r + 1] };
}

DEV void get(float (&s)[2][KEYS / 8][4], const float *from, int stride)
{
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

	UNROLL for (int m = 0; m < 2; m++)
		UNROLL for (int n = 0; n < KEYS / 8; n++)
			UNROLL for (int r = 0; r < 2; r++) {
				const float2 x =
					*(const float2 *)(from + (m * 16 + r * 8 + g) * stride + n * 8 + 2 * t);

				s[m][n][2 * r] = x.x;
				s[m][n][2 * r + 1] = x.y;
			}
}

/* Shared memory of the kernel below, in floats; P_STRIDE keeps put() and get() free of bank conflicts. */
enum {
	P_STRIDE = KEYS + 8, AT_VALUES = KEYS * STRIDE, AT_PARTS = 2 * AT_VALUES,
	AT_P = AT_PARTS + WARPS * QUERIES * KEYS,
	AT_FACTORS = AT_P + QUERIES * P_STRIDE, SHARED_FLOATS = AT_FACTORS + QUERIES
};

/* A block owns 32 queries, a warp 64 of their columns.  The same columns of keys and values a warp fetches for itself
 * alone. */
__global__ void __launch_bounds__(WARPS * 32)
attention_wide(struct values o, float *lse, struct values q, struct values k, struct values v,
	       struct attention_shape a)
{
	DYN_SHARED(float, shared);
	const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, first = blockIdx.x * QUERIES;
	const struct rows<false> keys = rows_of<false>(k, a.ldk, a.lk, a.d, warp * SLICE, SLICE);
	const struct rows<false> values = rows_of<false>(v, a.ldv, a.lk, a.d, warp * SLICE, SLICE);
	const struct rows<false> queries = rows_of<false>(q, a.ldq, a.lq, a.d, warp * SLICE, SLICE);
	const int seen = a.causal && first + QUERIES < a.lk ? first + QUERIES : a.lk;
	float *my_keys = shared + warp * SLICE, *my_values = my_keys + AT_VALUES;
	float *parts = shared + AT_PARTS, *p = shared + AT_P, *factors = shared + AT_FACTORS;
	float *mine_of_p = p + threadIdx.x / 8 * P_STRIDE + threadIdx.x % 8 * 2;
	struct running state = { -INFINITY, 0 };
	struct slice mine[2];
	float out[2][SLICE / 8][4];

	load_slice(my_keys, keys, 0);
	cp_async_commit();
	load_slice(my_values, values, 0);
	cp_async_commit();
	hold(mine[0], queries, first);
	hold(mine[1], queries, first + 16);
	clear(out);
	for (int key = 0; key < seen; key += KEYS) {
		float s[2][KEYS / 8][4], factor;

		cp_async_wait(1);               /* the keys; the values are still on their way */
		__syncwarp();
		clear(s);
		scores_of_slice(s, mine, my_keys);
		__syncwarp();
		if (key + KEYS < seen)
			load_slice(my_keys, keys, key + KEYS);
		cp_async_commit();
		put(parts + warp * QUERIES * KEYS, KEYS, s);
		__syncthreads();
		take_parts(&state, mine_of_p, &factor, parts, key, a);
		if (threadIdx.x % 8 == 0)
			factors[threadIdx.x / 8] = factor;
		__syncthreads();
		get(s, p, P_STRIDE);
		UNROLL for (int m = 0; m < 2; m++)
			UNROLL for (int n = 0; n < SLICE / 8; n++)
				UNROLL for (int i = 0; i < 4; i++)
					out[m][n][i] *= factors[m * 16 + g + i / 2 * 8];
		cp_async_wait(1);               /* the values; the next keys are on their way */
		__syncwarp();
		weigh_slice(out, s, my_values);
		__syncwarp();
		if (key + KEYS < seen)
			load_slice(my_values, values, key + KEYS);
		cp_async_commit();
	}
	cp_async_wait(0);
	UNROLL for (int i = 1; i < 8; i *= 2)
		state.sum += __shfl_xor_sync(0xffffffffu, state.sum, i);
	__syncthreads();
	if (threadIdx.x % 8 == 0) {
		const int i = first + threadIdx.x / 8;

		factors[threadIdx.x / 8] = 1 / state.sum;
		if (i < a.lq)
			lse[((size_t)blockIdx.z * a.heads + blockIdx.y) * a.lq + i] = state.max * a.scale
				+ logf(state.sum);
	}
	__syncthreads();
	UNROLL for (int m = 0; m < 2; m++) {
		const float inverse[2] = { factors[m * 16 + g], factors[m * 16 + g + 8] };

		store_slice(out_rows_of<false>(o, 0, a.ldo, a.lq, a.d, warp * SLICE, SLICE, 0, 4), first + m * 16,
			    out[m], inverse);
	}
}

/* ---- launcher ---- */

cudaError_t attention_of_wide_heads(cudaStream_t st, struct values o, float *lse, struct values q, struct values k,
				    struct values v, const struct attention_shape *a)
{
	const size_t shared = SHARED_FLOATS * sizeof(float);
	cudaError_t status = allow_shared((const void *)attention_wide, shared);

	if (status != cudaSuccess)
		return status;
	LAUNCH(attention_wide, dim3((a->lq + QUERIES - 1) / QUERIES, a->heads, a->n), WARPS * 32, shared,
	       st, o, lse, q, k, v, *a);
	return cudaGetLastError();
}
