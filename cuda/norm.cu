/* Group and layer norm.  Sums are taken relative to a value of the tensor, or to the mean, so that a mean far from 0
 * costs no precision; order and grouping depend on shapes alone, so that blocks that add up the same find the same. */
#include "values.cuh"

enum { THREADS = 256, WARPS = THREADS / 32, CHUNKS = 128, CHUNK_ROWS = 32 };

DEV float sigmoid(float x)
{
	return 1 / (1 + expf(-x));
}

/* ---- group norm: moments of groups over chunks of rows; then every element, by blocks that put the moments of their
 * own groups together themselves ---- */

/* A block has a chunk of rows of `together` groups: what fits in some 64 columns, so that its rows are read in whole
 * sectors and its groups' parts are few. */
enum { COLUMNS = 64 };

/* struct norm_shape as kernels take it */
/* width: channels a group; rows: a chunk; lanes: threads beside each other in a row */
struct shape { int hw, c, groups, width, chunks, rows, together, lanes; float eps; bool silu; };

static shape shape_of(const struct norm_shape *s)
{
	const int wanted = (s->hw + CHUNK_ROWS - 1) / CHUNK_ROWS, most = wanted < CHUNKS ? wanted : CHUNKS;
	const int rows = (s->hw + most - 1) / most, width = s->c / s->groups, fit = COLUMNS / width;
	const int together = fit > s->groups ? s->groups : fit > 1 ? fit : 1, columns = together * width;

	return { s->hw, s->c, s->groups, width, (s->hw + rows - 1) / rows, rows, together,
		 columns < THREADS ? columns : THREADS, s->eps, s->silu };
}

static dim3 blocks_of(const shape &s, int n)
{
	return dim3((s.groups + s.together - 1) / s.together, s.chunks, n);
}

/* Two sums a group and chunk. */
extern "C" size_t group_norm_scratch(const struct norm_shape *s)
{
	return (size_t)CHUNKS * s->groups * s->n * 2;
}

/* What a thread has: a column, and every step'th row of the chunk; where a group is wider than a block, every lanes'th
 * column. */
struct place { int group, column, end, row, last, step; size_t first; };

DEV place place_of(const shape &s)
{
	const int group = blockIdx.x * s.together, step = THREADS / s.lanes, at = threadIdx.x / s.lanes;
	const int row = blockIdx.y * s.rows;

	return { group, group * s.width + (int)threadIdx.x % s.lanes, min(group + s.together, s.groups) * s.width,
		 row + at, at < step ? min(row + s.rows, s.hw) : 0, step, (size_t)blockIdx.z * s.hw };
}

/* Thread k of those that have group j of the block, and how many these are. */
DEV int thread_of(const shape &s, int j, int k)
{
	const int width = s.lanes / s.together;

	return k / width * s.lanes + j * width + k % width;
}

DEV int threads_of(const shape &s) { return THREADS / s.lanes * (s.lanes / s.together); }

DEV size_t part_of(const shape &s, int group, int chunk)
{
	return (((size_t)blockIdx.z * s.chunks + chunk) * s.groups + group) * 2;
}

/* square: sum of squares of what is off the mean */
struct moments { float count, mean, square; };

/* Those of n parts together, of which of(k) tells and the first is not empty; by a warp, in each of its lanes. */
template <class F> DEV moments merge(int n, F of)
{
	const float from = of(0).mean;
	float count = 0, sum = 0, square = 0, off;

	for (int k = threadIdx.x % 32; k < n; k += 32) {
		const moments m = of(k);

		count += m.count;
		sum += m.count * (m.mean - from);
	}
	count = warp_sum(count);
	off = warp_sum(sum) / count;
	for (int k = threadIdx.x % 32; k < n; k += 32) {
		const moments m = of(k);
		const float beside = m.mean - from - off;

		square += m.square + m.count * beside * beside;
	}
	return { count, from + off, warp_sum(square) };
}

DEV moments merge_chunks(const float *part, const shape &s, int group)
{
	return merge(s.chunks, [&](int k) {
		const float *m = part + part_of(s, group, k);

		return moments{ (float)(min(s.hw, (k + 1) * s.rows) - k * s.rows) * s.width, m[0], m[1] };
	});
}

/* part [n][chunks][groups]: mean, and sum of squares off it */
__global__ void __launch_bounds__(THREADS) moments_kernel(float *part, struct values x, shape s)
{
	SHARED(float, counts, [THREADS]);
	SHARED(float, means, [THREADS]);
	SHARED(float, squares, [THREADS]);
	const place p = place_of(s);
	float first = 0, sum = 0, square = 0, count = 0;

	for (int i = p.column; i < p.end; i += s.lanes)
		for (int row = p.row; row < p.last; row += p.step) {
			const float v = load(x, (p.first + row) * s.c + i);

			if (!count)
				first = v;
			count++;
			sum += v - first;
			square += (v - first) * (v - first);
		}
	counts[threadIdx.x] = count;
	means[threadIdx.x] = count ? first + sum / count : 0;
	squares[threadIdx.x] = count ? square - sum * sum / count : 0;
	__syncthreads();
	for (int j = threadIdx.x / 32; j < s.together && p.group + j < s.groups; j += WARPS) {
		const moments m = merge(threads_of(s), [&](int k) {
			const int t = thread_of(s, j, k);

			return moments{ counts[t], means[t], squares[t] };
		});
		float *to = part + part_of(s, p.group + j, blockIdx.y);

		if (threadIdx.x % 32 == 0) {
			to[0] = m.mean;
			to[1] = m.square;
		}
	}
}

/* stats: given, where part is NULL; else written by the blocks of the first chunk, as all blocks find them */
__global__ void __launch_bounds__(THREADS)
apply_kernel(struct values y, float *stats, struct values x, const float *part, const float *gain, const float *bias,
	     shape s)
{
	SHARED(float, found, [COLUMNS][2]);
	const place p = place_of(s);

	for (int j = threadIdx.x / 32; j < s.together && p.group + j < s.groups; j += WARPS) {
		float *to = stats + 2 * ((size_t)blockIdx.z * s.groups + p.group + j);
		moments m = { 0, 0, 0 };

		if (part)
			m = merge_chunks(part, s, p.group + j);
		if (threadIdx.x % 32 == 0) {
			found[j][0] = part ? m.mean : to[0];
			found[j][1] = part ? 1 / sqrtf(m.square / m.count + s.eps) : to[1];
			if (part && blockIdx.y == 0) {
				to[0] = found[j][0];
				to[1] = found[j][1];
			}
		}
	}
	__syncthreads();
	for (int i = p.column; i < p.end; i += s.lanes) {
		const float *st = found[i / s.width - p.group], times = gain[i], more = bias[i];

		for (int row = p.row; row < p.last; row += p.step) {
			const size_t at = (p.first + row) * s.c + i;
			const float z = (load(x, at) - st[0]) * st[1] * times + more;

			store(y, at, s.silu ? z * sigmoid(z) : z);
		}
	}
}

/* ---- backward of y = silu(z), z = xhat gain + bias:  d = dy silu'(z) gain;
 * of xhat = (x - mean) rstd:  dx = rstd (d - mean(d) - xhat mean(d xhat)) ---- */

/* A column's. */
struct slopes {
	struct values x, dy; float mean, rstd, gain, bias; bool silu;
	__device__ float at(size_t at, float *xhat) const
	{
		float d = load(dy, at);

		*xhat = (load(x, at) - mean) * rstd;
		if (silu) {
			const float z = *xhat * gain + bias, g = sigmoid(z);

			d *= g * (1 + z * (1 - g));
		}
		return d * gain;
	}
};

/* What is read by it. */
struct slope_inputs {
	struct values x, dy; const float *stats, *gain, *bias;
	__device__ slopes of(const shape &s, int i) const
	{
		const float *st = stats + 2 * ((size_t)blockIdx.z * s.groups + i / s.width);

		return { x, dy, st[0], st[1], gain[i], bias[i], s.silu };
	}
};

template <class F> DEV float warp_total(int n, F of)
{
	float sum = 0;

	for (int k = threadIdx.x % 32; k < n; k += 32)
		sum += of(k);
	return warp_sum(sum);
}

/* part [n][chunks][groups]: sums of d and of d xhat */
__global__ void __launch_bounds__(THREADS) slopes_kernel(float *part, slope_inputs f, shape s)
{
	SHARED(float, sums, [2][THREADS]);
	const place p = place_of(s);
	float sum = 0, with_x = 0;

	for (int i = p.column; i < p.end; i += s.lanes) {
		const slopes of = f.of(s, i);

		for (int row = p.row; row < p.last; row += p.step) {
			float xhat;
			const float d = of.at((p.first + row) * s.c + i, &xhat);

			sum += d;
			with_x += d * xhat;
		}
	}
	sums[0][threadIdx.x] = sum;
	sums[1][threadIdx.x] = with_x;
	__syncthreads();
	for (int j = threadIdx.x / 32; j < s.together && p.group + j < s.groups; j += WARPS)
		for (int k = 0; k < 2; k++) {
			const float all = warp_total(threads_of(s), [&](int t) { return sums[k][thread_of(s, j, t)]; });

			if (threadIdx.x % 32 == 0)
				part[part_of(s, p.group + j, blockIdx.y) + k] = all;
		}
}

__global__ void __launch_bounds__(THREADS)
apply_back_kernel(struct values dx, const float *part, slope_inputs f, shape s, int add)
{
	SHARED(float, means, [COLUMNS][2]);
	const place p = place_of(s);

	for (int j = threadIdx.x / 32; j < s.together && p.group + j < s.groups; j += WARPS)
		for (int k = 0; k < 2; k++) {
			const float all = warp_total(s.chunks, [&](int chunk) {
				return part[part_of(s, p.group + j, chunk) + k];
			});

			if (threadIdx.x % 32 == 0)
				means[j][k] = all / ((float)s.hw * s.width);
		}
	__syncthreads();
	for (int i = p.column; i < p.end; i += s.lanes) {
		const slopes of = f.of(s, i);
		const float *mean = means[i / s.width - p.group];

		for (int row = p.row; row < p.last; row += p.step) {
			const size_t at = (p.first + row) * s.c + i;
			float xhat;
			const float d = of.at(at, &xhat);

			store(dx, at, of.rstd * (d - mean[0] - xhat * mean[1]), add);
		}
	}
}

static unsigned row_blocks(size_t rows)
{
	return (rows + WARPS - 1) / WARPS;
}

extern "C" cudaError_t k_group_norm(cudaStream_t st, struct values y, float *stats, struct values x,
				    const float *gain, const float *bias, const struct norm_shape *n, float *scratch)
{
	const shape s = shape_of(n);

	LAUNCH(moments_kernel, blocks_of(s, n->n), THREADS, 0, st, scratch, x, s);
	LAUNCH(apply_kernel, blocks_of(s, n->n), THREADS, 0, st, y, stats, x, scratch, gain, bias, s);
	return cudaGetLastError();
}

extern "C" cudaError_t k_group_norm_apply(cudaStream_t st, float *y, const float *stats, const float *x,
					  const float *gain, const float *bias, const struct norm_shape *n)
{
	const shape s = shape_of(n);

	LAUNCH(apply_kernel, blocks_of(s, n->n), THREADS, 0, st, f32(y), (float *)stats, f32(x), NULL, gain, bias, s);
	return cudaGetLastError();
}

extern "C" cudaError_t k_group_norm_back(cudaStream_t st, struct values dx, struct values dy, struct values x,
					 const float *stats, const float *gain, const float *bias,
					 const struct norm_shape *n, int add, float *scratch)
{
	const shape s = shape_of(n);
	const slope_inputs f = { x, dy, stats, gain, bias };

	LAUNCH(slopes_kernel, blocks_of(s, n->n), THREADS, 0, st, scratch, f, s);
	LAUNCH(apply_back_kernel, blocks_of(s, n->n), THREADS, 0, st, dx, scratch, f, s, add);
	return cudaGetLastError();
}

/* ---- a sample in bands: the moments of those before go along in double, total [groups][2] ---- */

/* A warp a group; s: of this band, of `before` pixels before it.  stats: where it is the last. */
__global__ void __launch_bounds__(THREADS)
band_kernel(double *total, float *stats, const float *part, shape s, int before)
{
	const int group = blockIdx.x * WARPS + threadIdx.x / 32;

	if (group < s.groups) {
		const moments m = merge_chunks(part, s, group);
		const double old = (double)before * s.width, all = old + m.count;
		double *to = total + 2 * group;

		if (threadIdx.x % 32 == 0) {
			const double off = before ? m.mean - to[0] : 0;

			to[0] = before ? to[0] + off * (m.count / all) : m.mean;
			to[1] = (before ? to[1] : 0) + m.square + off * off * old * (m.count / all);
			if (stats) {
				stats[2 * group] = to[0];
				stats[2 * group + 1] = 1 / sqrt(to[1] / all + s.eps);
			}
		}
	}
}

extern "C" cudaError_t k_group_norm_sums(cudaStream_t st, float *stats, float *sums, const float *x, int at, int pixels,
					 const struct norm_shape *n, float *scratch)
{
	const struct norm_shape band = { 1, pixels, n->c, n->groups, n->eps, n->silu };
	const shape s = shape_of(&band);

	LAUNCH(moments_kernel, blocks_of(s, 1), THREADS, 0, st, scratch, f32(x), s);
	LAUNCH(band_kernel, (s.groups + WARPS - 1) / WARPS, THREADS, 0, st, (double *)sums,
	       at + pixels == n->hw ? stats : NULL, scratch, s, at);
	return cudaGetLastError();
}

/* ---- layer norm: a warp a row, which stays in the first cache from pass to pass ---- */

/* x + z is left in sum, where the passes after the first one read it: each lane what it wrote itself. */
__global__ void __launch_bounds__(THREADS)
layer_norm_kernel(struct values y, float *stats, float *sum, struct values x, struct values z,
		  const float *gain, const float *bias, size_t rows, int c, float eps)
{
	const size_t row = (size_t)blockIdx.x * WARPS + threadIdx.x / 32;
	/* a warp without a row takes part in the sums */
	const int lane = threadIdx.x % 32, end = row < rows ? c : 0;
	const size_t first = row * c;
	const struct values s = sum ? values{ sum, DTYPE_F32, 0 } : x;
	float total = 0, square = 0, mean, rstd;

	for (int i = lane; i < end; i += 32) {
		float v = load(x, first + i);

		if (sum)
			sum[first + i] = v += load(z, first + i);
		total += v;
	}
	mean = warp_sum(total) / c;
	for (int i = lane; i < end; i += 32) {
		const float off = load(s, first + i) - mean;

		square += off * off;
	}
	rstd = 1 / sqrtf(warp_sum(square) / c + eps);
	for (int i = lane; i < end; i += 32)
		store(y, first + i, (load(s, first + i) - mean) * rstd * gain[i] + bias[i]);
	if (lane == 0 && end) {
		stats[2 * row] = mean;
		stats[2 * row + 1] = rstd;
	}
}

/* backward of y = xhat gain + bias, xhat = (x - mean) rstd:  d = dy gain;
 * dx = rstd (d - mean(d) - xhat mean(d xhat)).  What is left in `also`, which may be dy, each lane has read itself. */
__global__ void __launch_bounds__(THREADS)
layer_norm_back_kernel(struct values dx, struct values also, struct values dy, struct values x, const float *stats,
		       const float *gain, size_t rows, int c, int add)
{
	const size_t row = (size_t)blockIdx.x * WARPS + threadIdx.x / 32;
	const int lane = threadIdx.x % 32, end = row < rows ? c : 0;
	const float mean = end ? stats[2 * row] : 0, rstd = end ? stats[2 * row + 1] : 0;
	const size_t first = row * c;
	float sum = 0, with_x = 0;

	for (int i = lane; i < end; i += 32) {
		const float d = load(dy, first + i) * gain[i];

		sum += d;
		with_x += d * ((load(x, first + i) - mean) * rstd);
	}
	sum = warp_sum(sum) / c;
	with_x = warp_sum(with_x) / c;
	for (int i = lane; i < end; i += 32) {
		const float d = load(dy, first + i) * gain[i], xhat = (load(x, first + i) - mean) * rstd;
		float g = rstd * (d - sum - xhat * with_x);

		if (add)
			g += load(dx, first + i);
		store(dx, first + i, g);
		if (also.at)
			store(also, first + i, g);
	}
}

extern "C" cudaError_t k_layer_norm(cudaStream_t st, struct values y, float *stats, float *sum, struct values x,
				    struct values z, const float *gain, const float *bias, int rows, int c, float eps)
{
	LAUNCH(layer_norm_kernel, row_blocks(rows), THREADS, 0, st, y, stats, sum, x, z, gain, bias, rows, c, eps);
	return cudaGetLastError();
}

extern "C" cudaError_t k_layer_norm_back(cudaStream_t st, struct values dx, struct values also, struct values dy,
					 struct values x, const float *stats, const float *gain, int rows, int c,
					 int add)
{
	LAUNCH(layer_norm_back_kernel, row_blocks(rows), THREADS, 0, st, dx, also, dy, x, stats, gain, rows, c, add);
	return cudaGetLastError();
}
