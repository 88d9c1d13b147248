/* Operations that move or broadcast rows: sums per sample, upsampling, embedding, gather, columns. */
#include "each.cuh"
#include "values.cuh"

struct add_sample {
	struct values y, x, v; int hw, c;
	__device__ void operator()(size_t row, int i) const
	{
		store(y, row * c + i, load(x, row * c + i) + load(v, row / hw * c + i));
	}
};

extern "C" cudaError_t k_add_per_sample(cudaStream_t st, struct values y, struct values x, struct values v, int n,
					int hw, int c)
{
	return each_in_rows(st, add_sample{ y, x, v, hw, c }, (size_t)n * hw, c);
}

struct multiply_row {
	struct values y, x, z; int c; bool shared;
	__device__ void operator()(size_t row, int i) const
	{
		store(y, row * c + i, load(x, row * c + i) * load(z, (shared ? 0 : row * c) + i));
	}
};

extern "C" cudaError_t k_multiply(cudaStream_t st, struct values y, struct values x, struct values z, int rows, int c,
				  bool shared)
{
	return each_in_rows(st, multiply_row{ y, x, z, c, shared }, rows, c);
}

enum { SUM_ROWS = 32 };

/* backward of y = x + v:  dv[n,c] = sum over hw of dy.  A block 32 columns of a sample; its warps share the rows. */
__global__ void __launch_bounds__(32 * SUM_ROWS) sum_kernel(struct values dv, struct values dy, int hw, int c, int add)
{
	SHARED(float, part, [SUM_ROWS][33]);
	const int i = blockIdx.x * 32 + threadIdx.x;
	const size_t first = (size_t)blockIdx.y * hw * c + i, to = (size_t)blockIdx.y * c + i;
	float sum = 0;

	for (int r = threadIdx.y; r < hw && i < c; r += SUM_ROWS)
		sum += load(dy, first + (size_t)r * c);
	part[threadIdx.y][threadIdx.x] = sum;
	__syncthreads();
	if (threadIdx.y == 0 && i < c) {
		sum = add ? load(dv, to) : 0;
		for (int k = 0; k < SUM_ROWS; k++)
			sum += part[k][threadIdx.x];
		store(dv, to, sum);
	}
}

extern "C" cudaError_t k_sum_per_sample(cudaStream_t st, struct values dv, struct values dy, int n, int hw, int c,
					int add)
{
	LAUNCH(sum_kernel, dim3((c + 31) / 32, n), dim3(32, SUM_ROWS), 0, st, dv, dy, hw, c, add);
	return cudaGetLastError();
}

struct copy_column {
	struct values y; int ldy; struct values x; int ldx, add;
	__device__ void operator()(size_t row, int i) const
	{
		store(y, row * ldy + i, load(x, row * ldx + i), add);
	}
};

extern "C" cudaError_t k_copy_columns(cudaStream_t st, struct values y, int ldy, struct values x, int ldx, int rows,
				      int cols, int add)
{
	return each_in_rows(st, copy_column{ y, ldy, x, ldx, add }, rows, cols);
}

/* Rows of y [n,2h,2w,c]: each pixel of x four times. */
struct enlarge {
	struct values y, x; int w, c;
	__device__ void operator()(size_t row, int i) const
	{
		const size_t line = row / (2 * w), column = row % (2 * w);

		/* 2h is even: lines of samples do not mix */
		store(y, row * c + i, load(x, (line / 2 * w + column / 2) * c + i));
	}
};

/* backward of it:  dx = the sum of the four */
struct enlarge_back {
	struct values dx, dy; int w, c, add;
	__device__ void operator()(size_t row, int i) const
	{
		size_t at = (row / w * 4 * w + row % w * 2) * c + i;
		float sum = add ? load(dx, row * c + i) : 0;

		/* One after another: all at once spill on sm_90. */
		UNROLL_BY(1) for (int k = 0; k < 4; k++) {
			sum += load(dy, at);
			at += k == 1 ? (size_t)(2 * w - 1) * c : c;
		}
		store(dx, row * c + i, sum);
	}
};

extern "C" cudaError_t k_upsample(cudaStream_t st, struct values y, struct values x, int n, int h, int w, int c)
{
	return each_in_rows(st, enlarge{ y, x, w, c }, (size_t)n * 4 * h * w, c);
}

extern "C" cudaError_t k_upsample_back(cudaStream_t st, struct values dx, struct values dy, int n, int h, int w, int c,
				       int add)
{
	return each_in_rows(st, enlarge_back{ dx, dy, w, c, add }, (size_t)n * h * w, c);
}

struct look_up {
	struct values y, table; const int32_t *index; int c;
	__device__ void operator()(size_t row, int i) const
	{
		store(y, row * c + i, load(table, (size_t)index[row] * c + i));
	}
};

extern "C" cudaError_t k_embedding(cudaStream_t st, float *y, const struct weight *table, const int32_t *ids, int rows)
{
	return k_gather_rows(st, f32(y), { table->data, table->dtype, 0 }, ids, rows, table->in);
}

extern "C" cudaError_t k_gather_rows(cudaStream_t st, struct values y, struct values x, const int32_t *index, int rows,
				     int c)
{
	return each_in_rows(st, look_up{ y, x, index, c }, rows, c);
}

/* A thread a column, row after row: an index may come twice. */
struct scatter {
	struct values dx, dy; const int32_t *index; int rows, c;
	__device__ void operator()(size_t i) const
	{
		for (int r = 0; r < rows; r++)
			store(dx, (size_t)index[r] * c + i, load(dy, (size_t)r * c + i), 1);
	}
};

extern "C" cudaError_t k_gather_rows_back(cudaStream_t st, struct values dx, struct values dy, const int32_t *index,
					  int rows, int c)
{
	return each(st, scatter{ dx, dy, index, rows, c }, c);
}
