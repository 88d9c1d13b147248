/* Activations, GEGLU, sums and products, a thread an element. */
#include "each.cuh"
#include "kernels.h"

DEV float sigmoid(float x)
{
	return 1 / (1 + expf(-x));
}

/* the normal distribution up to x, and its density */
DEV float below(float x)
{
	return 0.5f * (1 + erff(x * 0.70710678118654752f));
}

DEV float density(float x)
{
	return 0.39894228040143268f * expf(-0.5f * x * x);
}

DEV float gelu(float x)
{
	return x * below(x);
}

DEV float gelu_slope(float x)
{
	return below(x) + x * density(x);
}

#define QUICK 1.702f

template <activation K> DEV float value(float x)
{
	return K == ACT_SILU ? x * sigmoid(x) : K == ACT_GELU ? gelu(x) : x * sigmoid(QUICK * x);
}

template <activation K> DEV float slope(float x)
{
	const float k = K == ACT_SILU ? 1 : QUICK, s = sigmoid(k * x);

	return K == ACT_GELU ? gelu_slope(x) : s * (1 + k * x * (1 - s));
}

template <activation K> struct forward {
	float *y; const float *x;
	__device__ void operator()(size_t i) const { y[i] = value<K>(x[i]); }
};

/* backward of y = f(x):  dx = dy f'(x) */
template <activation K> struct backward {
	float *dx; const float *dy, *x; int add;
	__device__ void operator()(size_t i) const { dx[i] = dy[i] * slope<K>(x[i]) + (add ? dx[i] : 0); }
};

extern "C" cudaError_t k_activation(cudaStream_t st, float *y, const float *x, size_t n, enum activation kind)
{
	switch (kind) {
	case ACT_SILU:
		return each(st, forward<ACT_SILU>{ y, x }, n);
	case ACT_GELU:
		return each(st, forward<ACT_GELU>{ y, x }, n);
	default:
		return each(st, forward<ACT_QUICK_GELU>{ y, x }, n);
	}
}

extern "C" cudaError_t k_activation_back(cudaStream_t st, float *dx, const float *dy, const float *x, size_t n,
					 enum activation kind, int add)
{
	switch (kind) {
	case ACT_SILU:
		return each(st, backward<ACT_SILU>{ dx, dy, x, add }, n);
	case ACT_GELU:
		return each(st, backward<ACT_GELU>{ dx, dy, x, add }, n);
	default:
		return each(st, backward<ACT_QUICK_GELU>{ dx, dy, x, add }, n);
	}
}

struct geglu_forward {
	float *y; const float *x; int c;        /* y [rows,c], x [rows,2c] */
	__device__ void operator()(size_t row, int i) const
	{
		y[row * c + i] = x[row * 2 * c + i] * gelu(x[row * 2 * c + c + i]);
	}
};

/* backward of y = a gelu(b):  da = dy gelu(b);  db = dy a gelu'(b) */
struct geglu_backward {
	float *dx; const float *dy, *x; int c, add;
	__device__ void operator()(size_t row, int i) const
	{
		const size_t at = row * 2 * c + i;
		const float a = x[at], b = x[at + c], g = dy[row * c + i], da = g * gelu(b), db = g * a * gelu_slope(b);

		dx[at] = add ? dx[at] + da : da;
		dx[at + c] = add ? dx[at + c] + db : db;
	}
};

extern "C" cudaError_t k_geglu(cudaStream_t st, float *y, const float *x, int rows, int c)
{
	return each_in_rows(st, geglu_forward{ y, x, c }, rows, c);
}

extern "C" cudaError_t k_geglu_back(cudaStream_t st, float *dx, const float *dy, const float *x, int rows, int c,
				    int add)
{
	return each_in_rows(st, geglu_backward{ dx, dy, x, c, add }, rows, c);
}

/* b 0 overwrites what may be NaN */
struct scaled_sum {
	float *y, a; const float *x; float b;
	__device__ void operator()(size_t i) const { y[i] = b != 0 ? a * x[i] + b * y[i] : a * x[i]; }
};

struct over_the_root {
	float *y, a; const float *x, *v; float eps, b;
	__device__ void operator()(size_t i) const
	{
		const float q = a * x[i] / (sqrtf(v[i]) + eps);

		y[i] = b != 0 ? q + b * y[i] : q;
	}
};

struct sum_of_two {
	float *y; const float *x, *z;
	__device__ void operator()(size_t i) const { y[i] = x[i] + z[i]; }
};

extern "C" cudaError_t k_axpby(cudaStream_t st, float *y, float a, const float *x, float b, size_t n)
{
	return each(st, scaled_sum{ y, a, x, b }, n);
}

extern "C" cudaError_t k_over_root(cudaStream_t st, float *y, float a, const float *x, const float *v, float eps,
				   float b, size_t n)
{
	return each(st, over_the_root{ y, a, x, v, eps, b }, n);
}

extern "C" cudaError_t k_add(cudaStream_t st, float *y, const float *x, const float *z, size_t n)
{
	return each(st, sum_of_two{ y, x, z }, n);
}
