/* Operations that move or broadcast rows: sums per sample, upsampling, embedding, gather, columns. */
#include "each.cuh"
#include "kernels.h"

struct add_sample {
	float *y; const float *x, *v; int hw, c;
	__device__ void operator()(size_t row, int i) const { y[row * c + i] = x[row * c + i] + v[row / hw * c + i]; }
};

extern "C" cudaError_t k_add_per_sample(cudaStream_t st, float *y, const float *x, const float *v, int n, int hw, int c)
{
	return each_in_rows(st, add_sample{ y, x, v, hw, c }, (size_t)n * hw, c);
}

struct multiply_row {
	float *y; const float *x, *z; int c; bool shared;
	__device__ void operator()(size_t row, int i) const
	{
		y[row * c + i] = x[row * c + i] * z[(shared ? 0 : row * c) + i];
	}
};

extern "C" cudaError_t k_multiply(cudaStream_t st, float *y, const float *x, const float *z, int rows, int c,
				  bool shared)
{
	return each_in_rows(st, multiply_row{ y, x, z, c, shared }, rows, c);
}

enum { SUM_ROWS = 32 };

/* backward of y = x + v:  dv[n,c] = sum over hw of dy.  A block 32 columns of a sample; its warps share the rows. */
__global__ void __launch_bounds__(32 * SUM_ROWS) sum_kernel(float *dv, const float *dy, int hw, int c, int add)
{
	SHARED(float, part, [SUM_ROWS][33]);
	const int i = blockIdx.x * 32 + threadIdx.x;
	float sum = 0;

	dy += (size_t)blockIdx.y * hw * c;
	for (int r = threadIdx.y; r < hw && i < c; r += SUM_ROWS)
		sum += dy[(size_t)r * c + i];
	part[threadIdx.y][threadIdx.x] = sum;
	__syncthreads();
	if (threadIdx.y == 0 && i < c) {
		float *to = &dv[(size_t)blockIdx.y * c + i];

		sum = add ? *to : 0;
		for (int k = 0; k < SUM_ROWS; k++)
			sum += part[k][threadIdx.x];
		*to = sum;
	}
}

extern "C" cudaError_t k_sum_per_sample(cudaStream_t st, float *dv, const float *dy, int n, int hw, int c, int add)
{
	LAUNCH(sum_kernel, dim3((c + 31) / 32, n), dim3(32, SUM_ROWS), 0, st, dv, dy, hw, c, add);
	return cudaGetLastError();
}

struct copy_column {
	float *y; int ldy; const float *x; int ldx, add;
	__device__ void operator()(size_t row, int i) const
	{
		y[row * ldy + i] = x[row * ldx + i] + (add ? y[row * ldy + i] : 0);
	}
};

extern "C" cudaError_t k_copy_columns(cudaStream_t st, float *y, int ldy, const float *x, int ldx, int rows, int cols,
				      int add)
{
	return each_in_rows(st, copy_column{ y, ldy, x, ldx, add }, rows, cols);
}

/* Rows of y [n,2h,2w,c]: each pixel of x four times. */
struct enlarge {
	float *y; const float *x; int w, c;
	__device__ void operator()(size_t row, int i) const
	{
		const size_t line = row / (2 * w), column = row % (2 * w);

		/* 2h is even: lines of samples do not mix */
		y[row * c + i] = x[(line / 2 * w + column / 2) * c + i];
	}
};

/* backward of it:  dx = the sum of the four */
struct enlarge_back {
	float *dx; const float *dy; int w, c, add;
	__device__ void operator()(size_t row, int i) const
	{
		const float *top = dy + (row / w * 4 * w + row % w * 2) * c + i, *bottom = top + (size_t)2 * w * c;

		dx[row * c + i] = (add ? dx[row * c + i] : 0) + top[0] + top[c] + bottom[0] + bottom[c];
	}
};

extern "C" cudaError_t k_upsample(cudaStream_t st, float *y, const float *x, int n, int h, int w, int c)
{
	return each_in_rows(st, enlarge{ y, x, w, c }, (size_t)n * 4 * h * w, c);
}

extern "C" cudaError_t k_upsample_back(cudaStream_t st, float *dx, const float *dy, int n, int h, int w, int c, int add)
{
	return each_in_rows(st, enlarge_back{ dx, dy, w, c, add }, (size_t)n * h * w, c);
}

DEV float widened(float x) { return x; }
DEV float widened(__half x) { return __half2float(x); }
DEV float widened(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class T> struct look_up {
	float *y; const T *table; const int32_t *index; int c;
	__device__ void operator()(size_t row, int i) const
	{
		y[row * c + i] = widened(table[(size_t)index[row] * c + i]);
	}
};

template <class T>
static cudaError_t look_all_up(cudaStream_t st, float *y, const void *table, const int32_t *index, int rows, int c)
{
	return each_in_rows(st, look_up<T>{ y, (const T *)table, index, c }, rows, c);
}

extern "C" cudaError_t k_embedding(cudaStream_t st, float *y, const struct weight *table, const int32_t *ids, int rows)
{
	switch (table->dtype) {
	case DTYPE_F16:
		return look_all_up<__half>(st, y, table->data, ids, rows, table->in);
	case DTYPE_BF16:
		return look_all_up<__nv_bfloat16>(st, y, table->data, ids, rows, table->in);
	default:
		return look_all_up<float>(st, y, table->data, ids, rows, table->in);
	}
}

extern "C" cudaError_t k_gather_rows(cudaStream_t st, float *y, const float *x, const int32_t *index, int rows, int c)
{
	return look_all_up<float>(st, y, x, index, rows, c);
}

/* A thread a column, row after row: an index may come twice. */
struct scatter {
	float *dx; const float *dy; const int32_t *index; int rows, c;
	__device__ void operator()(size_t i) const
	{
		for (int r = 0; r < rows; r++)
			dx[(size_t)index[r] * c + i] += dy[(size_t)r * c + i];
	}
};

extern "C" cudaError_t k_gather_rows_back(cudaStream_t st, float *dx, const float *dy, const int32_t *index, int rows,
					  int c)
{
	return each(st, scatter{ dx, dy, index, rows, c }, c);
}
