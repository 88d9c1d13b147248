/* Optimizer steps, a launch for each parameter, with the formulas and the mix of float and double of cpu/. */
#include "dev.cuh"
#include "kernels.h"

enum { THREADS = 256 };

static int blocks_of(size_t n)
{
	return (n + THREADS - 1) / THREADS;
}

/* What the steps below read of a struct adamw_step, rounded once on the host. */
struct factors { float keep, step, lr, beta1, share1, beta2, share2, eps, root2, grad_scale; };

static factors factors_of(const struct adamw_step *s)
{
	return { (float)(1 - (double)s->lr * s->decay), (float)((double)s->lr / s->correction1), s->lr, (float)s->beta1,
		 (float)(1 - s->beta1),
		 (float)s->beta2, (float)(1 - s->beta2), s->eps, (float)sqrt(s->correction2), s->grad_scale };
}

__global__ void __launch_bounds__(THREADS)
adamw_kernel(float *p, float *m, float *v, const float *grad, size_t n, factors f)
{
	const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;

	if (i < n) {
		const float g = f.grad_scale * grad[i], m1 = m[i] + f.share1 * (g - m[i]),
			v1 = f.beta2 * v[i] + f.share2 * g * g;

		m[i] = m1;
		v[i] = v1;
		p[i] = f.keep * p[i] - f.step * m1 / (sqrtf(v1) / f.root2 + f.eps);
	}
}

extern "C" cudaError_t k_adamw(cudaStream_t st, float *p, float *m, float *v, const float *grad, size_t n,
			       const struct adamw_step *s)
{
	LAUNCH(adamw_kernel, blocks_of(n), THREADS, 0, st, p, m, v, grad, n, factors_of(s));
	return cudaGetLastError();
}

__global__ void __launch_bounds__(THREADS) lion_kernel(float *p, float *m, const float *grad, size_t n, factors f)
{
	const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;

	if (i < n) {
		const float g = f.grad_scale * grad[i], way = f.beta1 * m[i] + f.share1 * g,
			sign = (way > 0) - (way < 0);

		p[i] = f.keep * p[i] - f.lr * sign;
		m[i] = f.beta2 * m[i] + f.share2 * g;
	}
}

extern "C" cudaError_t k_lion(cudaStream_t st, float *p, float *m, const float *grad, size_t n,
			      const struct adamw_step *s)
{
	LAUNCH(lion_kernel, blocks_of(n), THREADS, 0, st, p, m, grad, n, factors_of(s));
	return cudaGetLastError();
}

/* ---- moments in bytes: a thread an element, a block of threads a block of codes ---- */

/* The entry of an ascending map that is nearest to x. */
DEV int nearest_entry(const float *map, float x)
{
	int i = 0;

	for (int bit = 128; bit; bit >>= 1)
		i += map[i + bit] <= x ? bit : 0;
	return i < 255 && x - map[i] > map[i + 1] - x ? i + 1 : i;
}

/* absmax of the block; here: this thread has an element */
DEV float encode(uint8_t *code, float x, bool here, const float *map, float *tmp)
{
	const float absmax = block_max(here ? fabsf(x) : 0, tmp);

	if (here) {
		const int c = nearest_entry(map, absmax > 0 ? x / absmax : 0);

		*code = x < 0 && map[c] >= 0 ? c - 1 : c;
	}
	return absmax;
}

__global__ void __launch_bounds__(ADAM8_BLOCK)
adamw8bit_kernel(float *p, adam8_moments q, const float *grad, size_t n, factors f)
{
	SHARED(float, tmp, [32]);
	SHARED(float, map1, [256]);
	SHARED(float, map2, [256]);
	const size_t i = (size_t)blockIdx.x * ADAM8_BLOCK + threadIdx.x;
	const bool here = i < n;
	float m1 = 0, v1 = 0, absmax1, absmax2;

	map1[threadIdx.x] = q.map1[threadIdx.x];
	map2[threadIdx.x] = q.map2[threadIdx.x];
	__syncthreads();
	if (here) {
		const float g = f.grad_scale * grad[i];

		m1 = f.beta1 * (map1[q.code1[i]] * q.absmax1[blockIdx.x]) + f.share1 * g;
		v1 = f.beta2 * (map2[q.code2[i]] * q.absmax2[blockIdx.x]) + f.share2 * g * g;
		p[i] = f.keep * (p[i] - f.step * (m1 / (sqrtf(v1) + f.eps)));
	}
	__syncthreads();                /* the old absmax was read by all */
	absmax1 = encode(&q.code1[i], m1, here, map1, tmp);
	absmax2 = encode(&q.code2[i], v1, here, map2, tmp);
	if (threadIdx.x == 0) {
		q.absmax1[blockIdx.x] = absmax1;
		q.absmax2[blockIdx.x] = absmax2;
	}
}

extern "C" cudaError_t k_adamw8bit(cudaStream_t st, float *p, const struct adam8_moments *q, const float *grad,
				   size_t n, const struct adamw_step *s)
{
	const double root2 = sqrt(s->correction2);
	factors f = factors_of(s);

	f.step = s->lr * root2 / s->correction1;
	f.eps = root2 * s->eps;
	LAUNCH(adamw8bit_kernel, (n + ADAM8_BLOCK - 1) / ADAM8_BLOCK, ADAM8_BLOCK, 0, st, p, *q, grad, n, f);
	return cudaGetLastError();
}

/* ---- Adafactor ---- */

DEV float moved(float mean, double sum, int count, double share, float eps)
{
	return (1 - share) * mean + share * (sum / count + eps);
}

/* A warp a value of row [outer,rows,inner]: the mean of g^2 over cols. */
__global__ void __launch_bounds__(THREADS)
row_kernel(float *row, const float *grad, factored_shape s, double share, float eps)
{
	const size_t i = ((size_t)blockIdx.x * THREADS + threadIdx.x) / 32, count = (size_t)s.outer * s.rows * s.inner;
	double sum = 0;

	if (i < count) {
		const float *g = grad + i / s.inner * s.cols * s.inner + i % s.inner;

		for (int c = threadIdx.x % 32; c < s.cols; c += 32)
			sum += (double)g[(size_t)c * s.inner] * g[(size_t)c * s.inner];
	}
	sum = warp_sum(sum);
	if (i < count && threadIdx.x % 32 == 0)
		row[i] = moved(row[i], sum, s.cols, share, eps);
}

/* A thread a value of col [outer,cols,inner]: the mean of g^2 over rows. */
__global__ void __launch_bounds__(THREADS)
col_kernel(float *col, const float *grad, factored_shape s, double share, float eps)
{
	const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x, width = (size_t)s.cols * s.inner;
	double sum = 0;

	if (i < s.outer * width) {
		const float *g = grad + i / width * s.rows * width + i % width;

		for (int r = 0; r < s.rows; r++)
			sum += (double)g[r * width] * g[r * width];
		col[i] = moved(col[i], sum, s.rows, share, eps);
	}
}

/* mean [outer,inner] of row over rows */
__global__ void __launch_bounds__(THREADS) mean_kernel(double *mean, const float *row, factored_shape s)
{
	const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
	double sum = 0;

	if (i < (size_t)s.outer * s.inner) {
		for (int r = 0; r < s.rows; r++)
			sum += row[(i / s.inner * s.rows + r) * s.inner + i % s.inner];
		mean[i] = sum / s.rows;
	}
}

__global__ void __launch_bounds__(THREADS)
factored_kernel(float *u, const float *row, const float *col, const double *mean, const float *grad, factored_shape s)
{
	const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x, width = (size_t)s.cols * s.inner;

	if (i < s.outer * s.rows * width) {
		const size_t line = i / width, outer = line / s.rows, inner = i % s.inner;
		const float row_factor = 1 / sqrt(row[line * s.inner + inner] / mean[outer * s.inner + inner]);
		const float col_factor = 1 / sqrt((double)col[outer * width + i % width]);

		u[i] = grad[i] * row_factor * col_factor;
	}
}

extern "C" cudaError_t k_adafactor(cudaStream_t st, float *u, float *row, float *col, const float *grad,
				   const struct factored_shape *s, double share, float eps, double *scratch)
{
	const size_t rows = (size_t)s->outer * s->rows, width = (size_t)s->cols * s->inner;

	LAUNCH(row_kernel, blocks_of(rows * s->inner * 32), THREADS, 0, st, row, grad, *s, share, eps);
	LAUNCH(col_kernel, blocks_of(s->outer * width), THREADS, 0, st, col, grad, *s, share, eps);
	LAUNCH(mean_kernel, blocks_of((size_t)s->outer * s->inner), THREADS, 0, st, scratch, row, *s);
	LAUNCH(factored_kernel, blocks_of(rows * width), THREADS, 0, st, u, row, col, scratch, grad, *s);
	return cudaGetLastError();
}
