/* o = softmax(scale q k^T) v, with keys in tiles: each row keeps the greatest score so far and the sum of exponents
 * (online softmax).  Heads of up to 160 columns, of which a warp owns whole rows. */
#include "attention.cuh"

enum { WARPS = 4, THREADS = WARPS * 32 };

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
template <int D, int M, int T, bool H> __global__ void __launch_bounds__(THREADS)
attention_kernel(struct values o, float *lse, struct values q, struct values k, struct values v,
		 struct attention_shape a)
{
	enum { TILE = T * (D + TILE_PAD) };
	DYN_SHARED(__half, shared);
	const struct rows<H> keys = rows_of<H>(k, a.ldk, a.lk, a.d, 0, D);
	const struct rows<H> values = rows_of<H>(v, a.ldv, a.lk, a.d, 0, D);
	const struct rows<H> queries = rows_of<H>(q, a.ldq, a.lq, a.d, 0, D);
	const int row = (blockIdx.x * WARPS + threadIdx.x / 32) * 16 * M, end = (blockIdx.x + 1) * WARPS * 16 * M;
	const int seen = a.causal && end < a.lk ? end : a.lk;
	const float scale = a.scale * LOG2E;
	__half *const key_tiles = shared, *const value_tiles = shared + 2 * TILE;
	struct held<D> mine[M];
	struct running state[M][2];
	float out[M][D / 8][4];

	load_tile<D, T, THREADS>(key_tiles, keys, 0);
	load_tile<D, T, THREADS>(value_tiles, values, 0);
	clear(out);
	UNROLL for (int m = 0; m < M; m++) {
		hold(mine[m], queries, row + 16 * m);
		state[m][0] = state[m][1] = { -INFINITY, 0 };
	}
	for (int key = 0, odd = 0; key < seen; key += T, odd ^= 1) {
		const bool more = key + T < seen;
		struct fetched<D, T, THREADS, H> next;
		float s[M][T / 8][4];

		__syncthreads();                /* this tile is here, and nobody reads the one before */
		if (more)
			next.take(keys, key + T);
		clear(s);
		scores<D>(s, mine, key_tiles + odd * TILE);
		if (more) {
			next.leave(key_tiles + (odd ^ 1) * TILE, keys, key + T);
			next.take(values, key + T);
		}
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
		weigh<D>(out, s, value_tiles + odd * TILE);
		if (more)
			next.leave(value_tiles + (odd ^ 1) * TILE, values, key + T);
	}
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
		store_rows(out_rows_of<H>(o, 0, a.ldo, a.lq, a.d, 0, D, 0), first, out[m], inverse);
	}
}

/* ---- launchers ---- */

template <int D, int M, int T, bool H>
static cudaError_t launch(cudaStream_t st, struct values o, float *lse, struct values q, struct values k,
			  struct values v, const struct attention_shape *a)
{
	const size_t shared = 4 * T * (D + TILE_PAD) * sizeof(__half);
	const int queries = WARPS * 16 * M;
	cudaError_t status = allow_shared((const void *)attention_kernel<D, M, T, H>, shared);

	if (status != cudaSuccess)
		return status;
	LAUNCH((attention_kernel<D, M, T, H>), dim3((a->lq + queries - 1) / queries, a->heads, a->n), THREADS, shared,
	       st, o, lse, q, k, v, *a);
	return cudaGetLastError();
}

/* Fewer blocks of 128 queries than this leave some of a card's 80 to 140 multiprocessors idle: blocks of 64 then. */
enum { ENOUGH_BLOCKS = 256 };

template <bool H>
static cudaError_t attend(cudaStream_t st, struct values o, float *lse, struct values q, struct values k,
			  struct values v, const struct attention_shape *a)
{
	const size_t blocks = (size_t)(a->lq + 127) / 128 * a->heads * a->n;

	if (a->d <= 32)
		return launch<32, 1, 32, H>(st, o, lse, q, k, v, a);
	if (a->d <= 64)
		return blocks < ENOUGH_BLOCKS ? launch<64, 1, 32, H>(st, o, lse, q, k, v, a) :
			launch<64, 2, 32, H>(st, o, lse, q, k, v, a);
	if (a->d <= 128)
		return launch<128, 1, 32, H>(st, o, lse, q, k, v, a);
	return launch<160, 1, 32, H>(st, o, lse, q, k, v, a);
}

cudaError_t k_attention(cudaStream_t st, struct values o, float *lse, struct values q, struct values k,
			struct values v, const struct attention_shape *a)
{
	if (!attention_shape_fits(a) || !same_types(q, k, v) || q.type != o.type)
		return cudaErrorInvalidValue;
	if (a->d > 160)
		return q.type == DTYPE_F32 ? attention_of_wide_heads(st, o, lse, q, k, v, a) : cudaErrorInvalidValue;
	return q.type == DTYPE_F32 ? attend<false>(st, o, lse, q, k, v, a) : attend<true>(st, o, lse, q, k, v, a);
}
