/*
 * attention_back.cu - backward of o = p v, p = softmax(scale q k^T); p is computed again from the scores and lse:
 *     delta = rowsum(dout * o);  dp = dout v^T;  ds = p (dp - delta)
 *     dq = scale ds k;  dk = scale ds^T q;  dv = p^T dout
 *
 * There are two kernels; one owns the rows of queries that it writes, the other those of keys.  So p and dp are
 * computed twice, but neither atomics nor memory for partial gradients are needed.  Only where keys are few are queries
 * split among blocks, into parts that are added up in their order.
 */
#include "attention.cuh"

/* Up to d = 64 a warp holds both of its operands in registers.  Beyond that they stay in shared memory, which then has
 * room for those of two warps. */
template <int D> struct plan {
	enum { WARPS = D <= 64 ? 4 : 2, THREADS = WARPS * 32, MINE = WARPS * 16, T = D <= 64 ? 32 : 16,
	       STRIDE = D + TILE_PAD,
	       TILE = T * STRIDE, KEPT = D <= 64 ? 0 : MINE * STRIDE, SHARED = 2 * KEPT + 4 * TILE + 4 * T };
};

template <int D, bool SMALL = (D <= 64)> struct operand : held<D> {};
template <int D> struct operand<D, false> : tiled<D> {};

/* This warp's 16 of the block's rows from `row` on;
 * the block's threads call it together, and pass a barrier before the rows are used. */
template <int D> DEV void own(operand<D, true> &a, float *, const struct rows &m, int row)
{
	hold(a, m, row + threadIdx.x / 32 * 16);
}

template <int D> DEV void own(operand<D, false> &a, float *tile, const struct rows &m, int row)
{
	load_tile<D, plan<D>::STRIDE, plan<D>::MINE>(tile, m, row, threadIdx.x, plan<D>::THREADS);
	a.tile = tile + threadIdx.x / 32 * 16 * plan<D>::STRIDE;
}

/* Two tiles of rows that pass by together, in the first or second of their places. */
template <int D> DEV void load_tiles(float *tiles, int odd, const struct rows &x, const struct rows &y, int row)
{
	load_tile<D, plan<D>::STRIDE, plan<D>::T>(tiles + odd * plan<D>::TILE, x, row, threadIdx.x, plan<D>::THREADS);
	load_tile<D, plan<D>::STRIDE, plan<D>::T>(tiles + (2 + odd) * plan<D>::TILE, y, row, threadIdx.x,
						  plan<D>::THREADS);
}

DEV size_t stats_of(const struct attention_shape &a)
{
	return ((size_t)blockIdx.z * a.heads + blockIdx.y) * a.lq;
}

/* ---- delta: a warp a row ---- */

enum { ROW_WARPS = 4 };

__global__ void __launch_bounds__(ROW_WARPS * 32)
attention_delta(float *delta, const float *dout, const float *o, struct attention_shape a)
{
	const struct rows x = rows_of(dout, a.ldo, a.lq, a.d, 0, a.d), y = rows_of(o, a.ldo, a.lq, a.d, 0, a.d);
	const int row = blockIdx.x * ROW_WARPS + threadIdx.x / 32;
	float sum = 0;

	for (int c = threadIdx.x % 32; c < a.d; c += 32)
		sum += element(x, row, c) * element(y, row, c);
	sum = warp_sum(sum);
	if (threadIdx.x % 32 == 0 && row < a.lq)
		delta[stats_of(a) + row] = sum;
}

/* ---- dq: a warp owns 16 queries, keys and values pass by ---- */

template <int D> __global__ void __launch_bounds__(plan<D>::THREADS)
attention_dq(float *dq, const float *dout, const float *lse, const float *delta, const float *q, const float *k,
	     const float *v, struct attention_shape a, int add)
{
	enum { MINE = plan<D>::MINE, T = plan<D>::T, STRIDE = plan<D>::STRIDE, TILE = plan<D>::TILE,
	       KEPT = plan<D>::KEPT };
	DYN_SHARED(float, shared);
	const struct rows keys = rows_of(k, a.ldk, a.lk, a.d, 0, D), values = rows_of(v, a.ldv, a.lk, a.d, 0, D);
	const int first = blockIdx.x * MINE, row = first + threadIdx.x / 32 * 16, mine = row + threadIdx.x % 32 / 4;
	const int seen = a.causal && first + MINE < a.lk ? first + MINE : a.lk;
	const float scale = a.scale * LOG2E, factor[2] = { a.scale, a.scale };
	float *tiles = shared + 2 * KEPT, log_sum[2], mean[2], out[1][D / 8][4];
	operand<D> queries[1], douts[1];

	own<D>(queries[0], shared, rows_of(q, a.ldq, a.lq, a.d, 0, D), first);
	own<D>(douts[0], shared + KEPT, rows_of(dout, a.ldo, a.lq, a.d, 0, D), first);
	load_tiles<D>(tiles, 0, keys, values, 0);
	cp_async_commit();
	clear(out);
	UNROLL for (int r = 0; r < 2; r++) {
		const bool there = mine + 8 * r < a.lq;

		log_sum[r] = there ? lse[stats_of(a) + mine + 8 * r] * LOG2E : INFINITY;
		mean[r] = there ? delta[stats_of(a) + mine + 8 * r] : 0;
	}
	for (int key = 0, odd = 0; key < seen; key += T, odd ^= 1) {
		float p[1][T / 8][4], dp[1][T / 8][4];

		cp_async_wait(0);
		__syncthreads();                /* these tiles are here, and nobody reads those before */
		if (key + T < seen)
			load_tiles<D>(tiles, odd ^ 1, keys, values, key + T);
		cp_async_commit();
		clear(p);
		clear(dp);
		scores<D, STRIDE>(p, queries, tiles + odd * TILE);
		scores<D, STRIDE>(dp, douts, tiles + (2 + odd) * TILE);
		if (key + T > a.lk || (a.causal && key + T > row))
			mask(p[0], row, key, a);
		UNROLL for (int n = 0; n < T / 8; n++)
			UNROLL for (int i = 0; i < 4; i++)
				dp[0][n][i] =
					exp2_approx(p[0][n][i] * scale - log_sum[i / 2]) * (dp[0][n][i] - mean[i / 2]);
		weigh<D, STRIDE>(out, dp, tiles + odd * TILE);
	}
	cp_async_wait(0);
	store_rows(out_rows_of(dq, a.ldq, a.lq, a.d, 0, D, add), row, out[0], factor);
}

/* ---- dk, dv: a warp owns 16 keys, queries and dout pass by ---- */

/* lse and delta of a tile of queries; a query that is not there weighs nothing. */
template <int T>
DEV void load_stats(float *stats, const float *lse, const float *delta, bool means, int row,
		    const struct attention_shape &a)
{
	const int i = row + threadIdx.x;

	if (threadIdx.x < T) {
		stats[threadIdx.x] = i < a.lq ? lse[stats_of(a) + i] * LOG2E : INFINITY;
		stats[T + threadIdx.x] = means && i < a.lq ? delta[stats_of(a) + i] : 0;
	}
}

/* Where part `split` of dk (which = 0) or dv (1) of this block's head goes: [splits][2][n][heads][lk][d]. */
DEV struct out_rows part_rows(float *parts, int split, int which, const struct attention_shape &a)
{
	float *at = parts + ((((size_t)split * 2 + which) * a.n + blockIdx.z) * a.heads + blockIdx.y) * a.lk * a.d;

	return { at, a.d, a.lk, a.d, is_wide(at, a.d, a.d), 0 };
}

/* Blocks of one tile of keys are neighbours in x, one a split.  parts: NULL where splits is 1.
 * dk or dv may be NULL. */
template <int D> __global__ void __launch_bounds__(plan<D>::THREADS)
attention_dkv(float *dk, float *dv, float *parts, int splits, const float *dout, const float *lse, const float *delta,
	      const float *q, const float *k, const float *v, struct attention_shape a, int add_k, int add_v)
{
	enum { MINE = plan<D>::MINE, T = plan<D>::T, STRIDE = plan<D>::STRIDE, TILE = plan<D>::TILE,
	       KEPT = plan<D>::KEPT };
	DYN_SHARED(float, shared);
	const struct rows queries = rows_of(q, a.ldq, a.lq, a.d, 0, D), douts = rows_of(dout, a.ldo, a.lq, a.d, 0, D);
	const int first = blockIdx.x / splits * MINE, split = blockIdx.x % splits, row = first + threadIdx.x / 32 * 16;
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
	const int share = ((a.lq + T - 1) / T + splits - 1) / splits * T, begin = a.causal ? first / T * T : 0;
	const int from = split * share > begin ? split * share : begin,
		  to = (split + 1) * share < a.lq ? (split + 1) * share : a.lq;
	const float scale = a.scale * LOG2E, factor[2] = { a.scale, a.scale }, one[2] = { 1, 1 };
	float *tiles = shared + 2 * KEPT, *stats = tiles + 4 * TILE, out_k[1][D / 8][4], out_v[1][D / 8][4];
	operand<D> keys[1], values[1];

	own<D>(keys[0], shared, rows_of(k, a.ldk, a.lk, a.d, 0, D), first);
	own<D>(values[0], shared + KEPT, rows_of(v, a.ldv, a.lk, a.d, 0, D), first);
	load_tiles<D>(tiles, 0, queries, douts, from);
	load_stats<T>(stats, lse, delta, dk != NULL, from, a);
	cp_async_commit();
	clear(out_k);
	clear(out_v);
	for (int i = from, odd = 0; i < to; i += T, odd ^= 1) {
		const float *log_sums = stats + odd * 2 * T + 2 * t, *means = log_sums + T;
		float p[1][T / 8][4], dp[1][T / 8][4];

		cp_async_wait(0);
		__syncthreads();                /* these tiles are here, and nobody reads those before */
		if (i + T < to) {
			load_tiles<D>(tiles, odd ^ 1, queries, douts, i + T);
			load_stats<T>(stats + (odd ^ 1) * 2 * T, lse, delta, dk != NULL, i + T, a);
		}
		cp_async_commit();
		clear(p);
		scores<D, STRIDE>(p, keys, tiles + odd * TILE);
		UNROLL for (int n = 0; n < T / 8; n++)
			UNROLL for (int e = 0; e < 4; e++) {
				const bool hidden = a.causal && i + n * 8 + 2 * t + e % 2 < row + g + e / 2 * 8;

				p[0][n][e] = hidden ? 0 : exp2_approx(p[0][n][e] * scale - log_sums[n * 8 + e % 2]);
			}
		if (dv)
			weigh<D, STRIDE>(out_v, p, tiles + (2 + odd) * TILE);
		if (dk) {
			clear(dp);
			scores<D, STRIDE>(dp, values, tiles + (2 + odd) * TILE);
			UNROLL for (int n = 0; n < T / 8; n++)
				UNROLL for (int e = 0; e < 4; e++)
					dp[0][n][e] = p[0][n][e] * (dp[0][n][e] - means[n * 8 + e % 2]);
			weigh<D, STRIDE>(out_k, dp, tiles + odd * TILE);
		}
	}
	cp_async_wait(0);
	if (dk)
		store_rows(parts ? part_rows(parts, split, 0, a) : out_rows_of(dk, a.ldk, a.lk, a.d, 0, D, add_k), row,
			   out_k[0], factor);
	if (dv)
		store_rows(parts ? part_rows(parts, split, 1, a) : out_rows_of(dv, a.ldv, a.lk, a.d, 0, D, add_v), row,
			   out_v[0], one);
}

/* y[n, j, head] = (add ? y : 0) + its parts, in order of split; a thread an element, heads and samples as blocks */
__global__ void __launch_bounds__(256)
attention_add_parts(float *y, const float *parts, int which, int splits, struct attention_shape a, int ld, int add)
{
	const int i = blockIdx.x * 256 + threadIdx.x;
	float *to = y + ((size_t)blockIdx.z * a.lk + i / a.d) * ld + blockIdx.y * a.d + i % a.d, sum = 0;

	if (i >= a.lk * a.d)
		return;
	for (int split = 0; split < splits; split++)
		sum += parts[((((size_t)split * 2 + which) * a.n + blockIdx.z) * a.heads + blockIdx.y) * a.lk * a.d +
			     i];
	*to = add ? *to + sum : sum;
}

/* ---- heads of more than 160 columns: correct, not fast, as training has none.  A warp owns a row, a lane every 32nd
 * of its columns. ---- */

enum { LANE_COLUMNS = 512 / 32 };

DEV void load_row(float (&x)[LANE_COLUMNS], const struct rows &m, int row)
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

DEV void store_row(const struct out_rows &y, int row, const float (&x)[LANE_COLUMNS], float factor)
{
	UNROLL for (int i = 0; i < LANE_COLUMNS; i++) {
		const int c = threadIdx.x % 32 + i * 32;
		float *to = y.x + (size_t)row * y.ld + c;

		if (row < y.count && c < y.d)
			*to = y.add ? *to + x[i] * factor : x[i] * factor;
	}
}

__global__ void __launch_bounds__(ROW_WARPS * 32)
attention_wide_dq(float *dq, const float *dout, const float *lse, const float *delta, const float *q, const float *k,
		  const float *v, struct attention_shape a, int add)
{
	const struct rows keys = rows_of(k, a.ldk, a.lk, a.d, 0, a.d), values = rows_of(v, a.ldv, a.lk, a.d, 0, a.d);
	const int row = blockIdx.x * ROW_WARPS + threadIdx.x / 32;
	const int seen = row >= a.lq ? 0 : a.causal ? row + 1 : a.lk;
	float mine[LANE_COLUMNS], mine_dout[LANE_COLUMNS], other[LANE_COLUMNS], out[LANE_COLUMNS] = { 0 };

	load_row(mine, rows_of(q, a.ldq, a.lq, a.d, 0, a.d), row);
	load_row(mine_dout, rows_of(dout, a.ldo, a.lq, a.d, 0, a.d), row);
	for (int j = 0; j < seen; j++) {
		float p, dp;

		load_row(other, values, j);
		dp = dot(mine_dout, other);
		load_row(other, keys, j);
		p = exp2_approx((dot(mine, other) * a.scale - lse[stats_of(a) + row]) * LOG2E);
		add_scaled(out, p * (dp - delta[stats_of(a) + row]), other);
	}
	store_row(out_rows_of(dq, a.ldq, a.lq, a.d, 0, a.d, add), row, out, a.scale);
}

__global__ void __launch_bounds__(ROW_WARPS * 32)
attention_wide_dkv(float *dk, float *dv, const float *dout, const float *lse, const float *delta, const float *q,
		   const float *k, const float *v, struct attention_shape a, int add_k, int add_v)
{
	const struct rows queries = rows_of(q, a.ldq, a.lq, a.d, 0, a.d),
		douts = rows_of(dout, a.ldo, a.lq, a.d, 0, a.d);
	const int row = blockIdx.x * ROW_WARPS + threadIdx.x / 32;
	float key[LANE_COLUMNS], value[LANE_COLUMNS], query[LANE_COLUMNS], its_dout[LANE_COLUMNS];
	float out_k[LANE_COLUMNS] = { 0 }, out_v[LANE_COLUMNS] = { 0 };

	load_row(key, rows_of(k, a.ldk, a.lk, a.d, 0, a.d), row);
	load_row(value, rows_of(v, a.ldv, a.lk, a.d, 0, a.d), row);
	for (int i = a.causal ? row : 0; i < a.lq && row < a.lk; i++) {
		float p;

		load_row(query, queries, i);
		load_row(its_dout, douts, i);
		p = exp2_approx((dot(query, key) * a.scale - lse[stats_of(a) + i]) * LOG2E);
		add_scaled(out_v, p, its_dout);
		if (dk)
			add_scaled(out_k, p * (dot(its_dout, value) - delta[stats_of(a) + i]), query);
	}
	if (dk)
		store_row(out_rows_of(dk, a.ldk, a.lk, a.d, 0, a.d, add_k), row, out_k, a.scale);
	if (dv)
		store_row(out_rows_of(dv, a.ldv, a.lk, a.d, 0, a.d, add_v), row, out_v, 1);
}

/* ---- launchers ---- */

/* All that backward reads and writes. */
struct back {
	cudaStream_t st;
	float *dq, *dk, *dv;
	const float *dout, *o, *lse, *q, *k, *v;
	const struct attention_shape *a;
	const int *add;
	float *delta, *parts;
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

/* floats, whole 16 bytes of them */
static size_t delta_size(const struct attention_shape *a) { return ((size_t)a->n * a->heads * a->lq + 3) / 4 * 4; }

size_t attention_back_scratch(const struct attention_shape *a)
{
	const int splits = splits_of(a);

	return delta_size(a) + (splits > 1 ? (size_t)splits * 2 * a->n * a->heads * a->lk * a->d : 0);
}

static cudaError_t launch_delta(const struct back *b)
{
	LAUNCH(attention_delta, dim3(over(b->a->lq, ROW_WARPS), b->a->heads, b->a->n), ROW_WARPS * 32, 0, b->st,
	       b->delta, b->dout, b->o, *b->a);
	return cudaGetLastError();
}

static cudaError_t launch_add_parts(const struct back *b, float *y, int which, int ld)
{
	LAUNCH(attention_add_parts, dim3(over(b->a->lk * b->a->d, 256), b->a->heads, b->a->n), 256, 0, b->st, y,
	       b->parts, which, b->splits, *b->a, ld, b->add[1 + which]);
	return cudaGetLastError();
}

template <int D> static cudaError_t launch_dq(const struct back *b)
{
	const size_t shared = plan<D>::SHARED * sizeof(float);
	cudaError_t status = allow_shared((const void *)attention_dq<D>, shared);

	if (status != cudaSuccess)
		return status;
	LAUNCH(attention_dq<D>, dim3(over(b->a->lq, plan<D>::MINE), b->a->heads, b->a->n), plan<D>::THREADS, shared,
	       b->st, b->dq, b->dout, b->lse, b->delta, b->q, b->k, b->v, *b->a, b->add[0]);
	return cudaGetLastError();
}

template <int D> static cudaError_t launch_dkv(const struct back *b)
{
	const size_t shared = plan<D>::SHARED * sizeof(float);
	cudaError_t status = allow_shared((const void *)attention_dkv<D>, shared);

	if (status != cudaSuccess)
		return status;
	LAUNCH(attention_dkv<D>, dim3(over(b->a->lk, plan<D>::MINE) * b->splits, b->a->heads, b->a->n),
	       plan<D>::THREADS, shared, b->st,
	       b->dk, b->dv, b->splits > 1 ? b->parts : NULL, b->splits, b->dout, b->lse, b->delta, b->q, b->k, b->v,
	       *b->a, b->add[1], b->add[2]);
	status = cudaGetLastError();
	if (status == cudaSuccess && b->splits > 1 && b->dk)
		status = launch_add_parts(b, b->dk, 0, b->a->ldk);
	if (status == cudaSuccess && b->splits > 1 && b->dv)
		status = launch_add_parts(b, b->dv, 1, b->a->ldv);
	return status;
}

template <int D> static cudaError_t launch(const struct back *b)
{
	cudaError_t status = b->dq ? launch_dq<D>(b) : cudaSuccess;

	return status == cudaSuccess && (b->dk || b->dv) ? launch_dkv<D>(b) : status;
}

static cudaError_t launch_wide(const struct back *b)
{
	const struct attention_shape *a = b->a;

	if (b->dq)
		LAUNCH(attention_wide_dq, dim3(over(a->lq, ROW_WARPS), a->heads, a->n), ROW_WARPS * 32, 0, b->st, b->dq,
		       b->dout, b->lse, b->delta, b->q, b->k, b->v, *a, b->add[0]);
	if (b->dk || b->dv)
		LAUNCH(attention_wide_dkv, dim3(over(a->lk, ROW_WARPS), a->heads, a->n), ROW_WARPS * 32, 0, b->st,
		       b->dk, b->dv, b->dout, b->lse, b->delta, b->q, b->k, b->v, *a, b->add[1], b->add[2]);
	return cudaGetLastError();
}

cudaError_t k_attention_back(cudaStream_t st, float *dq, float *dk, float *dv, const float *dout, const float *o,
			     const float *lse, const float *q, const float *k, const float *v,
			     const struct attention_shape *a, const int add[3], float *scratch)
{
	cudaError_t status = cudaSuccess;

	if (!attention_shape_fits(a))
		return cudaErrorInvalidValue;
	const struct back b = { st, dq, dk, dv, dout, o, lse, q, k, v, a, add, scratch, scratch + delta_size(a),
				splits_of(a) };
	if (dq || dk)
		status = launch_delta(&b);
	if (status != cudaSuccess)
		return status;
	if (a->d <= 32)
		return launch<32>(&b);
	if (a->d <= 64)
		return launch<64>(&b);
	if (a->d <= 128)
		return launch<128>(&b);
	if (a->d <= 160)
		return launch<160>(&b);
	return launch_wide(&b);
}
