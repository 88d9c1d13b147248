/*
 * attention_back.cu - backward of o = p v, p = softmax(scale q k^T); p is computed again from the scores and lse:
 *     delta = rowsum(dout * o);  dp = dout v^T;  ds = p (dp - delta)
 *     dq = scale ds k;  dk = scale ds^T q;  dv = p^T dout
 *
 * There are two kernels; one owns the rows of queries that it writes, the other those of keys.  So p and dp are
 * computed twice, but neither atomics nor memory for partial gradients are needed.  The first leaves delta, and the
 * largest gradients, for the second.  Only where keys are few are queries split among blocks, into parts that one more
 * kernel adds up in their order.
 */
#include "attention.cuh"
#include "cast.cuh"

/* Up to d = 64 a warp holds both of its operands in registers.  Beyond that they stay in shared memory.  Sizes are in
 * halves; behind the tiles lie 4 T floats. */
template <int D> struct plan {
	enum { WARPS = D <= 64 ? 4 : 2, THREADS = WARPS * 32, MINE = WARPS * 16, T = D <= 64 ? 32 : 16,
	       TILE = T * (D + TILE_PAD), KEPT = D <= 64 ? 0 : MINE * (D + TILE_PAD),
	       BYTES = (2 * KEPT + 4 * TILE) * 2 + 4 * T * 4 };
};

template <int D, bool SMALL = (D <= 64)> struct operand : held<D> {};
template <int D> struct operand<D, false> : tiled<D> {};

/* This warp's 16 of the block's rows from `row` on;
 * the block's threads call it together, and pass a barrier before the rows are used. */
template <int D, bool H> DEV void own(operand<D, true> &a, __half *, const struct rows<H> &m, int row, float factor = 1)
{
	hold(a, m, row + threadIdx.x / 32 * 16, factor);
}

template <int D, bool H>
DEV void own(operand<D, false> &a, __half *tile, const struct rows<H> &m, int row, float factor = 1)
{
	load_tile<D, plan<D>::MINE, plan<D>::THREADS>(tile, m, row, factor);
	a.tile = tile + threadIdx.x / 32 * 16 * (D + TILE_PAD);
}

DEV size_t stats_of(const struct attention_shape &a)
{
	return ((size_t)blockIdx.z * a.heads + blockIdx.y) * a.lq;
}

/* ---- delta, and the largest of each block's gradients: made by the kernel of dq, whose rows they are ---- */

DEV float4 floats_of(const float4 &v, const struct rows<false> &) { return v; }
DEV float4 floats_of(const uint2 &v, const struct rows<true> &m)
{
	return float4{ of_half((uint16_t)v.x, m.type), of_half((uint16_t)(v.x >> 16), m.type),
		       of_half((uint16_t)v.y, m.type), of_half((uint16_t)(v.y >> 16), m.type) };
}

/* Of rows g and g + 8 of this warp's 16: delta goes to sum[], in each of the four threads of a row, and to memory.
 * Returns the largest magnitude of the block's gradients, which goes to memory as well. */
template <bool H>
DEV float find_delta(float (&sum)[2], float *delta, float *most, const struct values &dout, const struct values &o,
		     const struct attention_shape &a, float *tmp)
{
	const struct rows<H> x = rows_of<H>(dout, a.ldo, a.lq, a.d, 0, a.d);
	const struct rows<H> y = rows_of<H>(o, a.ldo, a.lq, a.d, 0, a.d);
	const int first = (blockIdx.x * blockDim.x + threadIdx.x) / 32 * 16 + threadIdx.x % 32 / 4, t = threadIdx.x % 4;
	float largest = 0;

	UNROLL for (int r = 0; r < 2; r++) {
		sum[r] = 0;
		for (int i = t; i * 4 < a.d; i += 4) {
			const float4 u = floats_of(take_four<512>(x, first + 8 * r, i), x);
			const float4 v = floats_of(take_four<512>(y, first + 8 * r, i), y);

			sum[r] += u.x * v.x + u.y * v.y + u.z * v.z + u.w * v.w;
			largest = fmaxf(largest, fmaxf(fmaxf(fabsf(u.x), fabsf(u.y)), fmaxf(fabsf(u.z), fabsf(u.w))));
		}
		sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 1);
		sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 2);
		if (t == 0 && first + 8 * r < a.lq)
			delta[stats_of(a) + first + 8 * r] = sum[r];
	}
	largest = block_max(largest, tmp);
	if (threadIdx.x == 0)
		most[((size_t)blockIdx.z * a.heads + blockIdx.y) * gridDim.x + blockIdx.x] = largest;
	return largest;
}

/* Where dq is not wanted, and for wide heads. */
template <bool H> __global__ void __launch_bounds__(128)
attention_delta(float *delta, float *most, struct values dout, struct values o, struct attention_shape a)
{
	SHARED(float, tmp, [32]);
	float sum[2];

	find_delta<H>(sum, delta, most, dout, o, a, tmp);
}

/* The exponent of the power of two under which gradients are multiplied: it brings the largest, of the block's rows or
 * of the head, to 2^2..2^3.  So what is small beside it is still a normal number, and its products with 64 values of
 * 100 each do not leave half precision. */
DEV int shift_of_rows(float largest) { return shift_for(largest) - 11; }

/* rows: of a block */
DEV int shift_of_head(const float *most, float *tmp, int rows, const struct attention_shape &a)
{
	const int blocks = (a.lq + rows - 1) / rows;

	return shift_of(most + ((size_t)blockIdx.z * a.heads + blockIdx.y) * blocks, blocks, tmp) - 11;
}

/* ---- dq: a warp owns 16 queries, keys and values pass by ---- */

/* Wide heads: one block a processor is enough, for a third one ptxas would spill a register on sm_90. */
template <int D, bool H> __global__ void __launch_bounds__(plan<D>::THREADS, D > 128 ? 1 : 0)
attention_dq(struct values dq, float *delta, float *most, struct values dout, struct values o, const float *lse,
	     struct values q, struct values k, struct values v, struct attention_shape a, int add)
{
	enum { MINE = plan<D>::MINE, T = plan<D>::T, TILE = plan<D>::TILE, KEPT = plan<D>::KEPT,
	       THREADS = plan<D>::THREADS };
	DYN_SHARED(__half, shared);
	SHARED(float, tmp, [32]);
	const struct rows<H> keys = rows_of<H>(k, a.ldk, a.lk, a.d, 0, D);
	const struct rows<H> values = rows_of<H>(v, a.ldv, a.lk, a.d, 0, D);
	const int first = blockIdx.x * MINE, row = first + threadIdx.x / 32 * 16, mine = row + threadIdx.x % 32 / 4;
	const int seen = a.causal && first + MINE < a.lk ? first + MINE : a.lk;
	float log_sum[2], mean[2], out[1][D / 8][4];
	const int shift = shift_of_rows(find_delta<H>(mean, delta, most, dout, o, a, tmp));
	const float scale = a.scale * LOG2E, inverse = a.scale * power_of_two(-shift), factor[2] = { inverse, inverse };
	__half *const key_tiles = shared + 2 * KEPT, *const value_tiles = key_tiles + 2 * TILE;
	operand<D> queries[1], douts[1];

	own<D>(queries[0], shared, rows_of<H>(q, a.ldq, a.lq, a.d, 0, D), first);
	own<D>(douts[0], shared + KEPT, rows_of<H>(dout, a.ldo, a.lq, a.d, 0, D), first, power_of_two(shift));
	load_tile<D, T, THREADS>(key_tiles, keys, 0);
	load_tile<D, T, THREADS>(value_tiles, values, 0);
	clear(out);
	UNROLL for (int r = 0; r < 2; r++) {
		log_sum[r] = mine + 8 * r < a.lq ? lse[stats_of(a) + mine + 8 * r] * LOG2E : INFINITY;
		mean[r] *= power_of_two(shift);
	}
	for (int key = 0, odd = 0; key < seen; key += T, odd ^= 1) {
		const bool more = key + T < seen;
		struct fetched<D, T, THREADS, H> next;
		float p[1][T / 8][4], dp[1][T / 8][4];

		__syncthreads();                /* these tiles are here, and nobody reads those before */
		if (more)
			next.take(values, key + T);
		clear(p);
		clear(dp);
		scores<D>(dp, douts, value_tiles + odd * TILE);
		if (more) {
			next.leave(value_tiles + (odd ^ 1) * TILE, values, key + T);
			next.take(keys, key + T);
		}
		scores<D>(p, queries, key_tiles + odd * TILE);
		if (key + T > a.lk || (a.causal && key + T > row))
			mask(p[0], row, key, a);
		UNROLL for (int n = 0; n < T / 8; n++)
			UNROLL for (int i = 0; i < 4; i++)
				dp[0][n][i] =
					exp2_approx(p[0][n][i] * scale - log_sum[i / 2]) * (dp[0][n][i] - mean[i / 2]);
		weigh<D>(out, dp, key_tiles + odd * TILE);
		if (more)
			next.leave(key_tiles + (odd ^ 1) * TILE, keys, key + T);
	}
	store_rows(out_rows_of<H>(dq, dout.shift, a.ldq, a.lq, a.d, 0, D, add), row, out[0], factor);
}

/* ---- dk, dv: a warp owns 16 keys, queries and dout pass by ---- */

/* lse and delta of a tile of queries, the latter under the gradients' factor; a query that is not there weighs
 * nothing. */
template <int T>
DEV void load_stats(float *stats, const float *lse, const float *delta, float factor, int row,
		    const struct attention_shape &a)
{
	const int i = row + threadIdx.x;

	if (threadIdx.x < T) {
		stats[threadIdx.x] = i < a.lq ? lse[stats_of(a) + i] * LOG2E : INFINITY;
		stats[T + threadIdx.x] = i < a.lq ? delta[stats_of(a) + i] * factor : 0;
	}
}

/* Where part `split` of dk (which = 0) or dv (1) of this block's head goes: [splits][2][n][heads][lk][d]. */
DEV struct out_rows<false> part_rows(float *parts, int shift, int split, int which, const struct attention_shape &a)
{
	float *at = parts + ((((size_t)split * 2 + which) * a.n + blockIdx.z) * a.heads + blockIdx.y) * a.lk * a.d;

	return { at, DTYPE_F32, a.d, a.lk, a.d, is_wide(at, DTYPE_F32, a.d, a.d, 2), 0, power_of_two(-shift) };
}

/* Blocks of one tile of keys are neighbours in x, one a split.  parts: NULL where splits is 1.
 * dk or dv may be NULL. */
template <int D, bool H> __global__ void __launch_bounds__(plan<D>::THREADS)
attention_dkv(struct values dk, struct values dv, float *parts, int splits, struct values dout, const float *lse,
	      const float *delta, const float *most, struct values q, struct values k, struct values v,
	      struct attention_shape a, int add_k, int add_v)
{
	enum { MINE = plan<D>::MINE, T = plan<D>::T, TILE = plan<D>::TILE, KEPT = plan<D>::KEPT,
	       THREADS = plan<D>::THREADS };
	DYN_SHARED(__half, shared);
	SHARED(float, tmp, [32]);
	const struct rows<H> queries = rows_of<H>(q, a.ldq, a.lq, a.d, 0, D);
	const struct rows<H> douts = rows_of<H>(dout, a.ldo, a.lq, a.d, 0, D);
	const int first = blockIdx.x / splits * MINE, split = blockIdx.x % splits, row = first + threadIdx.x / 32 * 16;
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, shift = shift_of_head(most, tmp, MINE, a);
	const int share = ((a.lq + T - 1) / T + splits - 1) / splits * T, begin = a.causal ? first / T * T : 0;
	const int from = split * share > begin ? split * share : begin,
		  to = (split + 1) * share < a.lq ? (split + 1) * share : a.lq;
	const float scale = a.scale * LOG2E, times = power_of_two(shift);
	__half *const query_tiles = shared + 2 * KEPT, *const dout_tiles = query_tiles + 2 * TILE;
	float *const stats = (float *)(dout_tiles + 2 * TILE), out_k[1][D / 8][4], out_v[1][D / 8][4];
	operand<D> keys[1], values[1];

	own<D>(keys[0], shared, rows_of<H>(k, a.ldk, a.lk, a.d, 0, D), first);
	own<D>(values[0], shared + KEPT, rows_of<H>(v, a.ldv, a.lk, a.d, 0, D), first);
	load_tile<D, T, THREADS>(query_tiles, queries, from);
	load_tile<D, T, THREADS>(dout_tiles, douts, from, times);
	load_stats<T>(stats, lse, delta, times, from, a);
	clear(out_k);
	clear(out_v);
	for (int i = from, odd = 0; i < to; i += T, odd ^= 1) {
		const float *log_sums = stats + odd * 2 * T + 2 * t, *means = log_sums + T;
		const bool more = i + T < to;
		struct fetched<D, T, THREADS, H> next;
		float p[1][T / 8][4], dp[1][T / 8][4];

		__syncthreads();                /* these tiles are here, and nobody reads those before */
		if (more) {
			next.take(douts, i + T);
			load_stats<T>(stats + (odd ^ 1) * 2 * T, lse, delta, times, i + T, a);
		}
		clear(p);
		scores<D>(p, keys, query_tiles + odd * TILE);
		UNROLL for (int n = 0; n < T / 8; n++)
			UNROLL for (int e = 0; e < 4; e++) {
				const bool hidden = a.causal && i + n * 8 + 2 * t + e % 2 < row + g + e / 2 * 8;

				p[0][n][e] = hidden ? 0 : exp2_approx(p[0][n][e] * scale - log_sums[n * 8 + e % 2]);
			}
		if (dv.at)
			weigh<D>(out_v, p, dout_tiles + odd * TILE);
		if (more) {
			next.leave(dout_tiles + (odd ^ 1) * TILE, douts, i + T, times);
			next.take(queries, i + T);
		}
		if (dk.at) {
			clear(dp);
			scores<D>(dp, values, dout_tiles + odd * TILE);
			UNROLL for (int n = 0; n < T / 8; n++)
				UNROLL for (int e = 0; e < 4; e++)
					dp[0][n][e] = p[0][n][e] * (dp[0][n][e] - means[n * 8 + e % 2]);
			weigh<D>(out_k, dp, query_tiles + odd * TILE);
		}
		if (more)
			next.leave(query_tiles + (odd ^ 1) * TILE, queries, i + T);
	}
	const float over = 1 / times, factor_k[2] = { a.scale * over, a.scale * over }, factor_v[2] = { over, over };

	if (parts) {
		if (dk.at)
			store_rows(part_rows(parts, dout.shift, split, 0, a), row, out_k[0], factor_k);
		if (dv.at)
			store_rows(part_rows(parts, dout.shift, split, 1, a), row, out_v[0], factor_v);
	} else {
		if (dk.at)
			store_rows(out_rows_of<H>(dk, dout.shift, a.ldk, a.lk, a.d, 0, D, add_k), row, out_k[0],
				   factor_k);
		if (dv.at)
			store_rows(out_rows_of<H>(dv, dout.shift, a.ldv, a.lk, a.d, 0, D, add_v), row, out_v[0],
				   factor_v);
	}
}

/* dk and dv [n, j, head] = (add ? itself : 0) + its parts, in order of split; a thread an element of each, heads and
 * samples as blocks */
__global__ void __launch_bounds__(256)
attention_add_parts(struct values dk, struct values dv, const float *parts, int splits, struct attention_shape a,
		    int add_k, int add_v)
{
	const int i = blockIdx.x * 256 + threadIdx.x;
	const size_t row = (size_t)blockIdx.z * a.lk + i / a.d, column = (size_t)blockIdx.y * a.d + i % a.d;
	const size_t all = (size_t)a.n * a.heads * a.lk * a.d;
	const float *from = parts + ((size_t)blockIdx.z * a.heads + blockIdx.y) * a.lk * a.d + i;
	float sum[2] = { 0, 0 };

	if (i >= a.lk * a.d)
		return;
	for (int split = 0; split < splits; split++, from += 2 * all) {
		sum[0] += dk.at ? from[0] : 0;
		sum[1] += dv.at ? from[all] : 0;
	}
	if (dk.at)
		store(dk, row * a.ldk + column, sum[0], add_k);
	if (dv.at)
		store(dv, row * a.ldv + column, sum[1], add_v);
}

/* ---- heads of more than 160 columns: correct, not fast, as training has none.  A warp owns a row, a lane every 32nd
 * of its columns. ---- */

enum { ROW_WARPS = 4, LANE_COLUMNS = 512 / 32 };

DEV void load_row(float (&x)[LANE_COLUMNS], const struct rows<false> &m, int row)
{
	UNROLL for (int i = 0; i < LANE_COLUMNS; i++)
		x[i] = element(m, row, threadIdx.x % 32 + i * 32);
}

DEV float dot(const float (&x)[LANE_COLUMNS], const float (&y)[LANE_COLUMNS])
{
	float sum = 0;

	UNROLL for (int i = 0; i < LANE_COLUMNS; i++)
		sum += x[i] * y[i];
	return warp_sum(sum);
}

DEV void add_scaled(float (&y)[LANE_COLUMNS], float a, const float (&x)[LANE_COLUMNS])
{
	UNROLL for (int i = 0; i < LANE_COLUMNS; i++)
		y[i] += a * x[i];
}

DEV void store_row(const struct out_rows<false> &y, int row, const float (&x)[LANE_COLUMNS], float factor)
{
	UNROLL for (int i = 0; i < LANE_COLUMNS; i++)
		if (row < y.count && (int)threadIdx.x % 32 + i * 32 < y.d)
			store_one(y, (size_t)row * y.ld + threadIdx.x % 32 + i * 32, x[i] * factor * y.factor);
}

__global__ void __launch_bounds__(ROW_WARPS * 32)
attention_wide_dq(struct values dq, struct values dout, const float *lse, const float *delta, struct values q,
		  struct values k, struct values v, struct attention_shape a, int add)
{
	const struct rows<false> keys = rows_of<false>(k, a.ldk, a.lk, a.d, 0, a.d);
	const struct rows<false> values = rows_of<false>(v, a.ldv, a.lk, a.d, 0, a.d);
	const int row = blockIdx.x * ROW_WARPS + threadIdx.x / 32;
	const int seen = row >= a.lq ? 0 : a.causal ? row + 1 : a.lk;
	float mine[LANE_COLUMNS], mine_dout[LANE_COLUMNS], other[LANE_COLUMNS], out[LANE_COLUMNS] = { 0 };

	load_row(mine, rows_of<false>(q, a.ldq, a.lq, a.d, 0, a.d), row);
	load_row(mine_dout, rows_of<false>(dout, a.ldo, a.lq, a.d, 0, a.d), row);
	for (int j = 0; j < seen; j++) {
		float p, dp;

		load_row(other, values, j);
		dp = dot(mine_dout, other);
		load_row(other, keys, j);
		p = exp2_approx((dot(mine, other) * a.scale - lse[stats_of(a) + row]) * LOG2E);
		add_scaled(out, p * (dp - delta[stats_of(a) + row]), other);
	}
	store_row(out_rows_of<false>(dq, dout.shift, a.ldq, a.lq, a.d, 0, a.d, add), row, out, a.scale);
}

__global__ void __launch_bounds__(ROW_WARPS * 32)
attention_wide_dkv(struct values dk, struct values dv, struct values dout, const float *lse, const float *delta,
		   struct values q, struct values k, struct values v, struct attention_shape a, int add_k, int add_v)
{
	const struct rows<false> queries = rows_of<false>(q, a.ldq, a.lq, a.d, 0, a.d),
		douts = rows_of<false>(dout, a.ldo, a.lq, a.d, 0, a.d);
	const int row = blockIdx.x * ROW_WARPS + threadIdx.x / 32;
	float key[LANE_COLUMNS], value[LANE_COLUMNS], query[LANE_COLUMNS], its_dout[LANE_COLUMNS];
	float out_k[LANE_COLUMNS] = { 0 }, out_v[LANE_COLUMNS] = { 0 };

	load_row(key, rows_of<false>(k, a.ldk, a.lk, a.d, 0, a.d), row);
	load_row(value, rows_of<false>(v, a.ldv, a.lk, a.d, 0, a.d), row);
	for (int i = a.causal ? row : 0; i < a.lq && row < a.lk; i++) {
		float p;

		load_row(query, queries, i);
		load_row(its_dout, douts, i);
		p = exp2_approx((dot(query, key) * a.scale - lse[stats_of(a) + i]) * LOG2E);
		add_scaled(out_v, p, its_dout);
		if (dk.at)
			add_scaled(out_k, p * (dot(its_dout, value) - delta[stats_of(a) + i]), query);
	}
	if (dk.at)
		store_row(out_rows_of<false>(dk, dout.shift, a.ldk, a.lk, a.d, 0, a.d, add_k), row, out_k, a.scale);
	if (dv.at)
		store_row(out_rows_of<false>(dv, dout.shift, a.ldv, a.lk, a.d, 0, a.d, add_v), row, out_v, 1);
}

/* ---- launchers ---- */

/* All that backward reads and writes. */
struct back {
	cudaStream_t st;
	struct values dq, dk, dv, dout, o;
	const float *lse;
	struct values q, k, v;
	const struct attention_shape *a;
	const int *add;
	float *delta, *most, *parts;
	int splits;
};

enum { ENOUGH_BLOCKS = 256, LEAST_QUERIES = 256 };

static int over(int n, int by) { return (n + by - 1) / by; }

/* Into how many parts the queries go: 77 keys of 10 heads are 20 blocks, and a card has 48 to 148 multiprocessors. */
static int splits_of(const struct attention_shape *a)
{
	const size_t blocks = (size_t)over(a->lk, a->d <= 64 ? 64 : 32) * a->heads * a->n;
	const int most = over(a->lq, LEAST_QUERIES);

	if (a->d > 160 || blocks >= ENOUGH_BLOCKS / 2)
		return 1;
	return over(ENOUGH_BLOCKS, (int)blocks) < most ? over(ENOUGH_BLOCKS, (int)blocks) : most;
}

/* floats, whole 16 bytes of them: delta, and the largest gradients of blocks of 32 rows or more */
static size_t delta_size(const struct attention_shape *a) { return ((size_t)a->n * a->heads * a->lq + 3) / 4 * 4; }
static size_t most_size(const struct attention_shape *a)
{
	return ((size_t)a->n * a->heads * over(a->lq, plan<160>::MINE) + 3) / 4 * 4;
}

size_t attention_back_scratch(const struct attention_shape *a)
{
	const int splits = splits_of(a);

	return delta_size(a) + most_size(a) + (splits > 1 ? (size_t)splits * 2 * a->n * a->heads * a->lk * a->d : 0);
}

template <int D, bool H> static cudaError_t launch_delta(const struct back *b)
{
	LAUNCH(attention_delta<H>, dim3(over(b->a->lq, plan<D>::MINE), b->a->heads, b->a->n), plan<D>::THREADS, 0,
	       b->st, b->delta, b->most, b->dout, b->o, *b->a);
	return cudaGetLastError();
}

template <int D, bool H> static cudaError_t launch_dq(const struct back *b)
{
	const size_t shared = plan<D>::BYTES;
	cudaError_t status = allow_shared((const void *)attention_dq<D, H>, shared);

	if (status != cudaSuccess)
		return status;
	LAUNCH((attention_dq<D, H>), dim3(over(b->a->lq, plan<D>::MINE), b->a->heads, b->a->n), plan<D>::THREADS,
	       shared, b->st, b->dq, b->delta, b->most, b->dout, b->o, b->lse, b->q, b->k, b->v, *b->a, b->add[0]);
	return cudaGetLastError();
}

template <int D, bool H> static cudaError_t launch_dkv(const struct back *b)
{
	const size_t shared = plan<D>::BYTES;
	cudaError_t status = allow_shared((const void *)attention_dkv<D, H>, shared);

	if (status != cudaSuccess)
		return status;
	LAUNCH((attention_dkv<D, H>), dim3(over(b->a->lk, plan<D>::MINE) * b->splits, b->a->heads, b->a->n),
	       plan<D>::THREADS, shared, b->st,
	       b->dk, b->dv, b->splits > 1 ? b->parts : NULL, b->splits, b->dout, b->lse, b->delta, b->most, b->q, b->k,
	       b->v, *b->a, b->add[1], b->add[2]);
	if (b->splits > 1)
		LAUNCH(attention_add_parts, dim3(over(b->a->lk * b->a->d, 256), b->a->heads, b->a->n), 256, 0, b->st,
		       b->dk, b->dv, b->parts, b->splits, *b->a, b->add[1], b->add[2]);
	return cudaGetLastError();
}

/* Delta is made before dk and dv are, by whom ever. */
template <int D, bool H> static cudaError_t launch(const struct back *b)
{
	cudaError_t status = b->dq.at ? launch_dq<D, H>(b) : launch_delta<D, H>(b);

	return status == cudaSuccess && (b->dk.at || b->dv.at) ? launch_dkv<D, H>(b) : status;
}

static cudaError_t launch_wide(const struct back *b)
{
	const struct attention_shape *a = b->a;
	cudaError_t status = launch_delta<160, false>(b);

	if (status != cudaSuccess)
		return status;
	if (b->dq.at)
		LAUNCH(attention_wide_dq, dim3(over(a->lq, ROW_WARPS), a->heads, a->n), ROW_WARPS * 32, 0, b->st, b->dq,
		       b->dout, b->lse, b->delta, b->q, b->k, b->v, *a, b->add[0]);
	if (b->dk.at || b->dv.at)
		LAUNCH(attention_wide_dkv, dim3(over(a->lk, ROW_WARPS), a->heads, a->n), ROW_WARPS * 32, 0, b->st,
		       b->dk, b->dv, b->dout, b->lse, b->delta, b->q, b->k, b->v, *a, b->add[1], b->add[2]);
	return cudaGetLastError();
}

template <bool H> static cudaError_t launch_any(const struct back *b)
{
	const int d = b->a->d;

	if (d <= 32)
		return launch<32, H>(b);
	if (d <= 64)
		return launch<64, H>(b);
	if (d <= 128)
		return launch<128, H>(b);
	if (d <= 160)
		return launch<160, H>(b);
	return launch_wide(b);
}

cudaError_t k_attention_back(cudaStream_t st, struct values dq, struct values dk, struct values dv,
			     struct values dout, struct values o, const float *lse, struct values q, struct values k,
			     struct values v, const struct attention_shape *a, const int add[3], float *scratch)
{
	const bool floats = q.type == DTYPE_F32;

	if (!attention_shape_fits(a) || !same_types(q, k, v) || !same_types(q, dout, o) || (!floats && a->d > 160) ||
	    (dq.at && dq.type != q.type) || (dk.at && dk.type != q.type) || (dv.at && dv.type != q.type))
		return cudaErrorInvalidValue;
	const struct back b = { st, dq, dk, dv, dout, o, lse, q, k, v, a, add, scratch, scratch + delta_size(a),
				scratch + delta_size(a) + most_size(a), splits_of(a) };

	return floats ? launch_any<false>(&b) : launch_any<true>(&b);
}
