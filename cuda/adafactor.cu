/* Adafactor's step, as rules for the table of parameters, one after another. */
#include "table.cuh"

DEV float moved_mean(float mean, double sum, int count, const adafactor_step &s)
{
	return fma(1 - s.share, (double)mean, __dmul_rn(s.share, sum / count + s.eps));
}

/* A warp a value of row [outer,rows,inner]: the mean of g^2 over cols. */
__global__ void __launch_bounds__(TABLE_THREADS) rows_kernel(table t)
{
	const unsigned row = t.row_of[blockIdx.x];
	const table_row &r = t.row[row];
	const trained &of = r.of;
	const adafactor_step s = ((const adafactor_factors *)(t.steps + row * t.step_size))->step;
	const size_t i = r.each * (blockIdx.x - r.first) + threadIdx.x / 32, inner = of.shape.inner;
	float *mean = (float *)of.state[0];
	double sum = 0;

	if (i < r.n) {
		const float *g = of.grad + i / inner * of.shape.cols * inner + i % inner;

		for (int c = threadIdx.x % 32; c < of.shape.cols; c += 32) {
			const float x = s.grad_scale * g[c * inner];

			sum += (double)x * x;
		}
	}
	sum = warp_sum(sum);
	if (i < r.n && threadIdx.x % 32 == 0)
		mean[i] = moved_mean(mean[i], sum, of.shape.cols, s);
}

/* A thread a value of col [outer,cols,inner]: the mean of g^2 over rows, and its factor. */
struct column_means {
	RULE(column_means, adafactor_factors, 0, 1) { }
	__device__ void operator()(size_t i, bool here, double *) const
	{
		if (here) {
			const size_t width = (size_t)of.shape.cols * of.shape.inner;
			const float *g = of.grad + i / width * of.shape.rows * width + i % width;
			float *mean = (float *)of.state[1];
			double sum = 0;

			for (int r = 0; r < of.shape.rows; r++) {
				const float x = s.step.grad_scale * g[r * width];

				sum += (double)x * x;
			}
			mean[i] = moved_mean(mean[i], sum, of.shape.rows, s.step);
			s.col_factor[i] = 1 / sqrt((double)mean[i]);
		}
	}
};

/* mean [outer,inner] of row over rows */
struct row_means {
	RULE(row_means, adafactor_factors, 0, 1) { }
	__device__ void operator()(size_t i, bool here, double *) const
	{
		if (here) {
			const size_t inner = of.shape.inner;
			const float *row = (const float *)of.state[0] + i / inner * of.shape.rows * inner + i % inner;
			double sum = 0;

			for (int r = 0; r < of.shape.rows; r++)
				sum += row[r * inner];
			s.mean[i] = sum / of.shape.rows;
		}
	}
};

/* A thread a value of row: its factor, of itself and of their mean. */
struct row_factors {
	RULE(row_factors, adafactor_factors, 0, 1) { }
	__device__ void operator()(size_t i, bool here, double *) const
	{
		if (here) {
			const size_t inner = of.shape.inner, outer = i / inner / of.shape.rows;

			s.row_factor[i] = 1 / sqrt(((const float *)of.state[0])[i] / s.mean[outer * inner + i % inner]);
		}
	}
};

/* u = g / sqrt(col row / mean) */
DEV float factored(const trained &of, const adafactor_factors &s, unsigned i)
{
	const unsigned inner = of.shape.inner, width = of.shape.cols * inner, line = i / width, at = i % width;
	const float row = s.row_factor[line * inner + at % inner],
		col = s.col_factor[line / of.shape.rows * width + at];

	return s.step.grad_scale * of.grad[i] * row * col;
}

struct measured {
	RULE(measured, adafactor_factors, 2, 1) { }
	__device__ void operator()(size_t i, bool here, double *sum) const
	{
		if (here) {
			const float u = factored(of, s, i), p = s.step.scaled ? of.p[i] : 0;

			sum[0] += (double)u * u;
			sum[1] += (double)p * p;
		}
	}
};

/* From the sums to how far to go. */
struct way {
	RULE(way, adafactor_factors, 0, 1) { }
	__device__ void operator()(size_t i, bool here, double *) const
	{
		if (here && i == 0) {
			const double rms_u = sqrt(s.squares[0] / of.n), rms_p = sqrt(s.squares[1] / of.n),
				size = (s.step.scaled ? fmax(s.step.least_scale, rms_p) : 1) * s.step.size,
				too_long = fmax(1.0, rms_u / s.step.clip);

			s.way->u = of.state[2] ? (1 - s.step.beta1) * size / too_long : -size / too_long;
			s.way->moment = s.step.beta1;
			s.way->p = 1 - __dmul_rn(s.step.decay, size);
		}
	}
};

struct movement {
	RULE(movement, adafactor_factors, 1, 1) { }
	__device__ void operator()(size_t i, bool here, double *moved) const
	{
		if (here) {
			const adafactor_way w = *s.way;
			const float u = factored(of, s, i);
			float *moment = (float *)of.state[2];

			if (moment) {
				const float m = mixed({ w.u, w.moment }, u, moment[i]);

				moment[i] = m;
				put_weight(&of.p[i], mixed({ -1, w.p }, m, of.p[i]), moved);
			} else {
				put_weight(&of.p[i], mixed({ w.u, w.p }, u, of.p[i]), moved);
			}
		}
	}
};

extern "C" cudaError_t k_adafactor_rows(cudaStream_t st, const struct table *t, double *)
{
	LAUNCH(rows_kernel, t->blocks, ADAFACTOR_ROWS * 32, 0, st, *t);
	return cudaGetLastError();
}

LAUNCHER(k_adafactor_cols, column_means)
LAUNCHER(k_adafactor_means, row_means)
LAUNCHER(k_adafactor_factors, row_factors)
LAUNCHER(k_adafactor_squares, measured)
LAUNCHER(k_adafactor_way, way)
LAUNCHER(k_adafactor_move, movement)
