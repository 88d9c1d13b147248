/* Group and layer norm.  Sums are taken relative to a value of the tensor, or to the mean, so that a mean far from 0
 * costs no precision; order and grouping depend on shapes alone. */
#include "values.cuh"

enum { THREADS = 256, WARPS = THREADS / 32, CHUNKS = 128, CHUNK_ROWS = 32 };

DEV float sigmoid(float x)
{
	return 1 / (1 + expf(-x));
}

/* ---- group norm: sums of columns over chunks of rows, then of groups, then every element ---- */

/* struct norm_shape as kernels take it */
/* width: channels a group; rows: a chunk */
struct shape { int hw, c, groups, width, chunks, rows; float eps; bool silu; };

static shape shape_of(const struct norm_shape *s)
{
	const int wanted = (s->hw + CHUNK_ROWS - 1) / CHUNK_ROWS, most = wanted < CHUNKS ? wanted : CHUNKS;
	const int rows = (s->hw + most - 1) / most;

	return { s->hw, s->c, s->groups, s->c / s->groups, (s->hw + rows - 1) / rows, rows, s->eps, s->silu };
}

/* Two sums a column and chunk, and two a group. */
extern "C" size_t group_norm_scratch(const struct norm_shape *s)
{
	return ((size_t)CHUNKS * s->c + s->groups) * s->n * 2;
}

/* What is summed of an element: f(row, column, sums) */
struct moments {
	struct values x; int c;
	__device__ void operator()(const shape &s, int sample, size_t row, int i, float sum[2]) const
	{
		const size_t first = (size_t)sample * s.hw * s.c + i;
		const float v = load(x, first + row * s.c) - load(x, first);

		sum[0] += v;
		sum[1] += v * v;
	}
};

/* backward of y = silu(z), z = xhat gain + bias:  d = dy silu'(z) gain, with xhat beside it */
struct slopes {
	struct values x, dy; const float *stats, *gain, *bias;
	__device__ float at(const shape &s, int sample, size_t row, int i, float *xhat) const
	{
		const float *st = stats + 2 * ((size_t)sample * s.groups + i / s.width);
		const size_t at = ((size_t)sample * s.hw + row) * s.c + i;
		float d = load(dy, at);

		*xhat = (load(x, at) - st[0]) * st[1];
		if (s.silu) {
			const float z = *xhat * gain[i] + bias[i], g = sigmoid(z);

			d *= g * (1 + z * (1 - g));
		}
		return d * gain[i];
	}
	__device__ void operator()(const shape &s, int sample, size_t row, int i, float sum[2]) const
	{
		float xhat;
		const float d = at(s, sample, row, i, &xhat);

		sum[0] += d;
		sum[1] += d * xhat;
	}
};

/* part [n][chunks][c][2].  A block 32 columns of a chunk; its warps share the rows. */
template <class F> __global__ void __launch_bounds__(THREADS) column_kernel(float *part, F f, shape s)
{
	SHARED(float, sums, [WARPS][32][2]);
	const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, i = blockIdx.x * 32 + lane, chunk = blockIdx.y,
		sample = blockIdx.z;
	const int end = min(s.hw, (chunk + 1) * s.rows);
	float sum[2] = { 0, 0 };

	for (int row = chunk * s.rows + warp; row < end && i < s.c; row += WARPS)
		f(s, sample, row, i, sum);
	sums[warp][lane][0] = sum[0];
	sums[warp][lane][1] = sum[1];
	__syncthreads();
	if (warp == 0 && i < s.c) {
		float *to = part + (((size_t)sample * s.chunks + chunk) * s.c + i) * 2;

		for (int k = 1; k < WARPS; k++) {
			sum[0] += sums[k][lane][0];
			sum[1] += sums[k][lane][1];
		}
		to[0] = sum[0];
		to[1] = sum[1];
	}
}

/* Both sums of a group over its columns and chunks, in double; add(i, sum of column i).  A block a group. */
template <class F> DEV void add_group(const float *part, const shape &s, F add)
{
	const int sample = blockIdx.y, group = blockIdx.x;

	for (int k = threadIdx.x; k < s.width * s.chunks; k += THREADS) {
		const int i = group * s.width + k % s.width;
		const float *from = part + (((size_t)sample * s.chunks + k / s.width) * s.c + i) * 2;

		add(i, k / s.width, from);
	}
}

/* Columns were summed relative to their first value: sum (x - f) = a, sum (x - f)^2 = b over r rows. */
__global__ void __launch_bounds__(THREADS) group_kernel(float *stats, const float *part, struct values x, shape s)
{
	SHARED(double, tmp, [32]);
	const int sample = blockIdx.y, group = blockIdx.x;
	const double count = (double)s.hw * s.width;
	const size_t first = (size_t)sample * s.hw * s.c;
	double sum = 0, square = 0, mean;

	add_group(part, s, [&](int i, int chunk, const float *p) {
		sum += p[0] + (double)load(x, first + i) * (min(s.hw, (chunk + 1) * s.rows) - chunk * s.rows);
	});
	mean = block_sum(sum, tmp) / count;
	add_group(part, s, [&](int i, int chunk, const float *p) {
		const double off = load(x, first + i) - mean;

		square += p[1] + 2 * off * p[0] + off * off * (min(s.hw, (chunk + 1) * s.rows) - chunk * s.rows);
	});
	square = block_sum(square, tmp) / count;
	if (threadIdx.x == 0) {
		float *to = stats + 2 * ((size_t)sample * s.groups + group);

		to[0] = mean;
		to[1] = 1 / sqrt(square + s.eps);
	}
}

/* Means over a group of d and d*xhat. */
__global__ void __launch_bounds__(THREADS) group_back_kernel(float *means, const float *part, shape s)
{
	SHARED(double, tmp, [32]);
	const double count = (double)s.hw * s.width;
	double sum[2] = { 0, 0 };

	add_group(part, s, [&](int i, int chunk, const float *p) {
		sum[0] += p[0];
		sum[1] += p[1];
	});
	sum[0] = block_sum(sum[0], tmp) / count;
	sum[1] = block_sum(sum[1], tmp) / count;
	if (threadIdx.x == 0) {
		float *to = means + 2 * ((size_t)blockIdx.y * s.groups + blockIdx.x);

		to[0] = sum[0];
		to[1] = sum[1];
	}
}

/* A warp a row. */
__global__ void __launch_bounds__(THREADS)
apply_kernel(struct values y, struct values x, const float *stats, const float *gain, const float *bias, shape s,
	     size_t rows)
{
	const size_t row = (size_t)blockIdx.x * WARPS + threadIdx.x / 32;

	if (row < rows)
		for (int i = threadIdx.x % 32; i < s.c; i += 32) {
			const float *st = stats + 2 * (row / s.hw * s.groups + i / s.width);
			const float z = (load(x, row * s.c + i) - st[0]) * st[1] * gain[i] + bias[i];

			store(y, row * s.c + i, s.silu ? z * sigmoid(z) : z);
		}
}

/* backward of xhat = (x - mean) rstd:  dx = rstd (d - mean(d) - xhat mean(d xhat)) */
__global__ void __launch_bounds__(THREADS)
apply_back_kernel(struct values dx, slopes f, const float *means, shape s, size_t rows, int add)
{
	const size_t row = (size_t)blockIdx.x * WARPS + threadIdx.x / 32;

	if (row < rows)
		for (int i = threadIdx.x % 32; i < s.c; i += 32) {
			const int sample = row / s.hw;
			const size_t group = (size_t)sample * s.groups + i / s.width;
			float xhat;
			const float d = f.at(s, sample, row % s.hw, i, &xhat);
			const float g = f.stats[2 * group + 1] * (d - means[2 * group] - xhat * means[2 * group + 1]);

			store(dx, row * s.c + i, g, add);
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
	const size_t rows = (size_t)n->n * n->hw;

	LAUNCH(column_kernel<moments>, dim3((s.c + 31) / 32, s.chunks, n->n), THREADS, 0, st, scratch,
	       moments{ x, s.c }, s);
	LAUNCH(group_kernel, dim3(s.groups, n->n), THREADS, 0, st, stats, scratch, x, s);
	LAUNCH(apply_kernel, row_blocks(rows), THREADS, 0, st, y, x, stats, gain, bias, s, rows);
	return cudaGetLastError();
}

extern "C" cudaError_t k_group_norm_apply(cudaStream_t st, float *y, const float *stats, const float *x,
					  const float *gain, const float *bias, const struct norm_shape *n)
{
	const size_t rows = (size_t)n->n * n->hw;

	LAUNCH(apply_kernel, row_blocks(rows), THREADS, 0, st, f32(y), f32(x), stats, gain, bias, shape_of(n),
	       rows);
	return cudaGetLastError();
}

/* ---- a sample in bands: sums relative to its first pixel, total [c][2] in double, then that pixel ---- */

__global__ void __launch_bounds__(THREADS) begin_kernel(double *total, float *first, const float *x, int c)
{
	const int i = blockIdx.x * THREADS + threadIdx.x;

	if (i < c) {
		total[2 * i] = total[2 * i + 1] = 0;
		first[i] = x[i];
	}
}

struct band_moments {
	const float *x, *first;
	__device__ void operator()(const shape &s, int sample, size_t row, int i, float sum[2]) const
	{
		const float v = x[row * s.c + i] - first[i];

		sum[0] += v;
		sum[1] += v * v;
	}
};

__global__ void __launch_bounds__(THREADS) fold_kernel(double *total, const float *part, int chunks, int c)
{
	const int i = blockIdx.x * THREADS + threadIdx.x;

	for (int k = 0; i < c && k < chunks; k++) {
		total[2 * i] += part[((size_t)k * c + i) * 2];
		total[2 * i + 1] += part[((size_t)k * c + i) * 2 + 1];
	}
}

/* A thread a group: once a picture. */
__global__ void __launch_bounds__(THREADS) totals_kernel(float *stats, const double *total, const float *first, shape s)
{
	const int group = blockIdx.x * THREADS + threadIdx.x, from = group * s.width;
	const double count = (double)s.hw * s.width;
	double mean = 0, square = 0;

	if (group < s.groups) {
		for (int i = from; i < from + s.width; i++)
			mean += total[2 * i] + (double)first[i] * s.hw;
		mean /= count;
		for (int i = from; i < from + s.width; i++) {
			const double off = first[i] - mean;

			square += total[2 * i + 1] + 2 * off * total[2 * i] + off * off * s.hw;
		}
		stats[2 * group] = mean;
		stats[2 * group + 1] = 1 / sqrt(square / count + s.eps);
	}
}

static unsigned thread_blocks(int n)
{
	return (n + THREADS - 1) / THREADS;
}

extern "C" cudaError_t k_group_norm_sums(cudaStream_t st, float *stats, float *sums, const float *x, int at, int pixels,
					 const struct norm_shape *n, float *scratch)
{
	const struct norm_shape band = { 1, pixels, n->c, n->groups, n->eps, n->silu };
	const shape b = shape_of(&band), s = shape_of(n);
	double *total = (double *)sums;
	float *first = (float *)(total + 2 * n->c);

	if (!at)
		LAUNCH(begin_kernel, thread_blocks(n->c), THREADS, 0, st, total, first, x, n->c);
	LAUNCH(column_kernel<band_moments>, dim3((b.c + 31) / 32, b.chunks, 1), THREADS, 0, st, scratch,
	       band_moments{ x, first }, b);
	LAUNCH(fold_kernel, thread_blocks(n->c), THREADS, 0, st, total, scratch, b.chunks, n->c);
	if (at + pixels == n->hw)
		LAUNCH(totals_kernel, thread_blocks(n->groups), THREADS, 0, st, stats, total, first, s);
	return cudaGetLastError();
}

extern "C" cudaError_t k_group_norm_back(cudaStream_t st, struct values dx, struct values dy, struct values x,
					 const float *stats, const float *gain, const float *bias,
					 const struct norm_shape *n, int add, float *scratch)
{
	const shape s = shape_of(n);
	const size_t rows = (size_t)n->n * n->hw;
	const slopes f = { x, dy, stats, gain, bias };
	float *means = scratch + (size_t)n->n * CHUNKS * s.c * 2;

	LAUNCH(column_kernel<slopes>, dim3((s.c + 31) / 32, s.chunks, n->n), THREADS, 0, st, scratch, f, s);
	LAUNCH(group_back_kernel, dim3(s.groups, n->n), THREADS, 0, st, means, scratch, s);
	LAUNCH(apply_back_kernel, row_blocks(rows), THREADS, 0, st, dx, f, means, s, rows, add);
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
 * dx = rstd (d - mean(d) - xhat mean(d xhat)) */
__global__ void __launch_bounds__(THREADS)
layer_norm_back_kernel(struct values dx, struct values dy, struct values x, const float *stats, const float *gain,
		       size_t rows, int c, int add)
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

		store(dx, first + i, rstd * (d - sum - xhat * with_x), add);
	}
}

extern "C" cudaError_t k_layer_norm(cudaStream_t st, struct values y, float *stats, float *sum, struct values x,
				    struct values z, const float *gain, const float *bias, int rows, int c, float eps)
{
	LAUNCH(layer_norm_kernel, row_blocks(rows), THREADS, 0, st, y, stats, sum, x, z, gain, bias, rows, c, eps);
	return cudaGetLastError();
}

extern "C" cudaError_t k_layer_norm_back(cudaStream_t st, struct values dx, struct values dy, struct values x,
					 const float *stats, const float *gain, int rows, int c, int add)
{
	LAUNCH(layer_norm_back_kernel, row_blocks(rows), THREADS, 0, st, dx, dy, x, stats, gain, rows, c, add);
	return cudaGetLastError();
}
