/*
 * attention.cu - o = softmax(scale q k^T) v, with keys in tiles: each row keeps the greatest score so far and the sum
 * of exponents (online softmax).
 *
 * Up to d = 160 a warp owns whole rows of queries.  Wider heads (the VAE's 512) are cut into columns, 64 a warp: each
 * warp holds its part of the queries and of the output, and the partial scores are added up in shared memory.
 */
#include "attention.cuh"

enum { WARPS = 4, WIDE_WARPS = 8, WIDE_QUERIES = 32, WIDE_KEYS = 16, WIDE_D = 512, SLICE = WIDE_D / WIDE_WARPS };

/* A row's softmax from tile to tile: the greatest score,
 * and this lane's share of the sum of exponents relative to it. */
struct running { float max, sum; };

/* p = exp(scale (s - max)) of two columns of each fragment; returns what earlier sums must be multiplied by. */
template <int N> DEV float take_scores(struct running *a, float (&s)[N][4], int r, float scale)
{
	float most = a->max, factor, shift;

	UNROLL for (int n = 0; n < N; n++)
		most = fmaxf(most, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
	most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
	most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
	shift = most == -INFINITY ? 0 : most * scale;
	factor = exp2_approx(a->max * scale - shift);
	a->max = most;
	a->sum *= factor;
	UNROLL for (int n = 0; n < N; n++)
		UNROLL for (int i = 2 * r; i < 2 * r + 2; i++) {
			s[n][i] = exp2_approx(s[n][i] * scale - shift);
			a->sum += s[n][i];
		}
	return factor;
}

/* A warp owns 16 M queries, a block 64 M; tiles of T keys and values, two of each. */
template <int D, int M, int T> __global__ void __launch_bounds__(WARPS * 32)
attention_kernel(float *o, float *lse, const float *q, const float *k, const float *v, struct attention_shape a)
{
	enum { STRIDE = D + TILE_PAD, TILE = T * STRIDE };
	DYN_SHARED(float, shared);
	const struct rows keys = rows_of(k, a.ldk, a.lk, a.d, 0, D), values = rows_of(v, a.ldv, a.lk, a.d, 0, D);
	const struct rows queries = rows_of(q, a.ldq, a.lq, a.d, 0, D);
	const int row = (blockIdx.x * WARPS + threadIdx.x / 32) * 16 * M, end = (blockIdx.x + 1) * WARPS * 16 * M;
	const int seen = a.causal && end < a.lk ? end : a.lk;
	const float scale = a.scale * LOG2E;
	struct held<D> mine[M];
	struct running state[M][2];
	float out[M][D / 8][4];

	load_tile<D, STRIDE, T>(shared, keys, 0, threadIdx.x, WARPS * 32);
	load_tile<D, STRIDE, T>(shared + 2 * TILE, values, 0, threadIdx.x, WARPS * 32);
	cp_async_commit();
	clear(out);
	UNROLL for (int m = 0; m < M; m++) {
		hold(mine[m], queries, row + 16 * m);
		state[m][0] = state[m][1] = { -INFINITY, 0 };
	}
	for (int key = 0, odd = 0; key < seen; key += T, odd ^= 1) {
		float s[M][T / 8][4];

		cp_async_wait(0);
		__syncthreads();                /* this tile is here, and nobody reads the one before */
		if (key + T < seen) {
			load_tile<D, STRIDE, T>(shared + (odd ^ 1) * TILE, keys, key + T, threadIdx.x, WARPS * 32);
			load_tile<D, STRIDE, T>(shared + (2 + (odd ^ 1)) * TILE, values, key + T, threadIdx.x,
						WARPS * 32);
		}
		cp_async_commit();
		clear(s);
		scores<D, STRIDE>(s, mine, shared + odd * TILE);
		UNROLL for (int m = 0; m < M; m++) {
			if (key + T > a.lk || (a.causal && key + T > row + 16 * m))
				mask(s[m], row + 16 * m, key, a);
			UNROLL for (int r = 0; r < 2; r++) {
				const float factor = take_scores(&state[m][r], s[m], r, scale);

				UNROLL for (int n = 0; n < D / 8; n++) {
					out[m][n][2 * r] *= factor;
					out[m][n][2 * r + 1] *= factor;
				}
			}
		}
		weigh<D, STRIDE>(out, s, shared + (2 + odd) * TILE);
	}
	cp_async_wait(0);
	UNROLL for (int m = 0; m < M; m++) {
		const int first = row + 16 * m;
		float inverse[2];

		UNROLL for (int r = 0; r < 2; r++) {
			const int i = first + threadIdx.x % 32 / 4 + 8 * r;
			float sum = state[m][r].sum;

			sum += __shfl_xor_sync(0xffffffffu, sum, 1);
			sum += __shfl_xor_sync(0xffffffffu, sum, 2);
			inverse[r] = 1 / sum;
			if (threadIdx.x % 4 == 0 && i < a.lq)
				lse[((size_t)blockIdx.z * a.heads + blockIdx.y) * a.lq + i] = state[m][r].max * a.scale
					+ logf(sum);
		}
		store_rows(out_rows_of(o, a.ldo, a.lq, a.d, 0, D, 0), first, out[m], inverse);
	}
}

/* ---- wide heads ---- */

/* Adds up the scores' WIDE_WARPS parts; 8 threads share a row, two columns each.  Leaves exponents in p and the row's
 * factor in *factor. */
DEV void take_parts(struct running *a, float *p, float *factor, const float *parts, int key,
		    const struct attention_shape &s)
{
	const int r = threadIdx.x / 8, c = threadIdx.x % 8 * 2, row = blockIdx.x * WIDE_QUERIES + r;
	const int last = s.causal && row < s.lk ? row : s.lk - 1;
	const float scale = s.scale * LOG2E;
	float x = 0, y = 0, most = a->max, shift;

	UNROLL for (int w = 0; w < WIDE_WARPS; w++) {
		const float2 part = *(const float2 *)(parts + (w * WIDE_QUERIES + r) * WIDE_KEYS + c);

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
template <int N> DEV void put(float *to, int stride, const float (&s)[2][N][4])
{
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

	UNROLL for (int m = 0; m < 2; m++)
		UNROLL for (int n = 0; n < N; n++)
			UNROLL for (int r = 0; r < 2; r++)
				*(float2 *)(to + (m * 16 + r * 8 + g) * stride + n * 8 + 2 * t) =
					{ s[m][n][2 * r], s[m][n][2 * r + 1] };
}

template <int N> DEV void get(float (&s)[2][N][4], const float *from, int stride)
{
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

	UNROLL for (int m = 0; m < 2; m++)
		UNROLL for (int n = 0; n < N; n++)
			UNROLL for (int r = 0; r < 2; r++) {
				const float2 x =
					*(const float2 *)(from + (m * 16 + r * 8 + g) * stride + n * 8 + 2 * t);

				s[m][n][2 * r] = x.x;
				s[m][n][2 * r + 1] = x.y;
			}
}

/* Shared memory of the kernel below, in floats; P_STRIDE keeps put() and get() free of bank conflicts. */
enum {
	P_STRIDE = WIDE_KEYS + 8, WIDE_STRIDE = WIDE_D + TILE_PAD,
	AT_VALUES = WIDE_KEYS * WIDE_STRIDE, AT_PARTS = 2 * AT_VALUES,
	AT_P = AT_PARTS + WIDE_WARPS * WIDE_QUERIES * WIDE_KEYS,
	AT_FACTORS = AT_P + WIDE_QUERIES * P_STRIDE, WIDE_SHARED = AT_FACTORS + WIDE_QUERIES
};

/* A block owns 32 queries, a warp 64 of their columns.  The same columns of keys and values a warp fetches for itself
 * alone. */
__global__ void __launch_bounds__(WIDE_WARPS * 32)
attention_wide(float *o, float *lse, const float *q, const float *k, const float *v, struct attention_shape a)
{
	DYN_SHARED(float, shared);
	const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, first = blockIdx.x * WIDE_QUERIES;
	const struct rows keys = rows_of(k, a.ldk, a.lk, a.d, warp * SLICE, SLICE);
	const struct rows values = rows_of(v, a.ldv, a.lk, a.d, warp * SLICE, SLICE);
	const struct rows queries = rows_of(q, a.ldq, a.lq, a.d, warp * SLICE, SLICE);
	const int seen = a.causal && first + WIDE_QUERIES < a.lk ? first + WIDE_QUERIES : a.lk;
	float *my_keys = shared + warp * SLICE, *my_values = my_keys + AT_VALUES;
	float *parts = shared + AT_PARTS, *p = shared + AT_P, *factors = shared + AT_FACTORS;
	float *mine_of_p = p + threadIdx.x / 8 * P_STRIDE + threadIdx.x % 8 * 2;
	struct running state = { -INFINITY, 0 };
	struct held<SLICE> mine[2];
	float out[2][SLICE / 8][4];

	load_tile<SLICE, WIDE_STRIDE, WIDE_KEYS>(my_keys, keys, 0, lane, 32);
	cp_async_commit();
	load_tile<SLICE, WIDE_STRIDE, WIDE_KEYS>(my_values, values, 0, lane, 32);
	cp_async_commit();
	hold(mine[0], queries, first);
	hold(mine[1], queries, first + 16);
	clear(out);
	for (int key = 0; key < seen; key += WIDE_KEYS) {
		float s[2][WIDE_KEYS / 8][4], factor;

		cp_async_wait(1);               /* the keys; the values are still on their way */
		__syncwarp();
		clear(s);
		scores<SLICE, WIDE_STRIDE>(s, mine, my_keys);
		__syncwarp();
		if (key + WIDE_KEYS < seen)
			load_tile<SLICE, WIDE_STRIDE, WIDE_KEYS>(my_keys, keys, key + WIDE_KEYS, lane, 32);
		cp_async_commit();
		put(parts + warp * WIDE_QUERIES * WIDE_KEYS, WIDE_KEYS, s);
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
		weigh<SLICE, WIDE_STRIDE>(out, s, my_values);
		__syncwarp();
		if (key + WIDE_KEYS < seen)
			load_tile<SLICE, WIDE_STRIDE, WIDE_KEYS>(my_values, values, key + WIDE_KEYS, lane, 32);
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

		store_rows(out_rows_of(o, a.ldo, a.lq, a.d, warp * SLICE, SLICE, 0), first + m * 16, out[m], inverse);
	}
}

/* ---- launchers ---- */

template <int D, int M, int T>
static cudaError_t launch(cudaStream_t st, float *o, float *lse, const float *q, const float *k, const float *v,
			  const struct attention_shape *a)
{
	const size_t shared = 4 * T * (D + TILE_PAD) * sizeof(float);
	const int queries = WARPS * 16 * M;
	cudaError_t status = allow_shared((const void *)attention_kernel<D, M, T>, shared);

	if (status != cudaSuccess)
		return status;
	LAUNCH((attention_kernel<D, M, T>), dim3((a->lq + queries - 1) / queries, a->heads, a->n), WARPS * 32, shared,
	       st, o, lse, q, k, v, *a);
	return cudaGetLastError();
}

static cudaError_t launch_wide(cudaStream_t st, float *o, float *lse, const float *q, const float *k, const float *v,
			       const struct attention_shape *a)
{
	const size_t shared = WIDE_SHARED * sizeof(float);
	cudaError_t status = allow_shared((const void *)attention_wide, shared);

	if (status != cudaSuccess)
		return status;
	LAUNCH(attention_wide, dim3((a->lq + WIDE_QUERIES - 1) / WIDE_QUERIES, a->heads, a->n), WIDE_WARPS * 32, shared,
	       st, o, lse, q, k, v, *a);
	return cudaGetLastError();
}

/* Fewer blocks of 128 queries than this leave some of a card's 80 to 140 multiprocessors idle: blocks of 64 then. */
enum { ENOUGH_BLOCKS = 256 };

cudaError_t k_attention(cudaStream_t st, float *o, float *lse, const float *q, const float *k, const float *v,
			const struct attention_shape *a)
{
	const size_t blocks = (size_t)(a->lq + 127) / 128 * a->heads * a->n;

	if (!attention_shape_fits(a))
		return cudaErrorInvalidValue;
	if (a->d <= 32)
		return launch<32, 1, 32>(st, o, lse, q, k, v, a);
	if (a->d <= 64)
		return blocks < ENOUGH_BLOCKS ? launch<64, 1, 32>(st, o, lse, q, k, v, a) :
			launch<64, 2, 32>(st, o, lse, q, k, v, a);
	if (a->d <= 128)
		return launch<128, 1, 32>(st, o, lse, q, k, v, a);
	if (a->d <= 160)
		return launch<160, 1, 32>(st, o, lse, q, k, v, a);
	return launch_wide(st, o, lse, q, k, v, a);
}
