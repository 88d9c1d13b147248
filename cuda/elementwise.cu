/* Activations, GEGLU, sums and products, a thread an element. */
#include "each.cuh"
#include "gelu.cuh"
#include "values.cuh"

DEV float sigmoid(float x)
{
	return 1 / (1 + expf(-x));
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
	struct values y, x;
	__device__ void operator()(size_t i) const { store(y, i, value<K>(load(x, i))); }
};

/* backward of y = f(x):  dx = dy f'(x) */
template <activation K> struct backward {
	struct values dx, dy, x; int add;
	__device__ void operator()(size_t i) const { store(dx, i, load(dy, i) * slope<K>(load(x, i)), add); }
};

extern "C" cudaError_t k_activation(cudaStream_t st, struct values y, struct values x, size_t n, enum activation kind)
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

extern "C" cudaError_t k_activation_back(cudaStream_t st, struct values dx, struct values dy, struct values x,
					 size_t n, enum activation kind, int add)
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
	struct values y, x; int c;      /* y [rows,c], x [rows,2c] */
	__device__ void operator()(size_t row, int i) const
	{
		const size_t at = row * 2 * c + i;

		store(y, row * c + i, load(x, at) * gelu(load(x, at + c)));
	}
};

/* backward of y = a gelu(b):  da = dy gelu(b);  db = dy a gelu'(b) */
struct geglu_backward {
	struct values dx, dy, x; int c, add;
	__device__ void operator()(size_t row, int i) const
	{
		const size_t at = row * 2 * c + i;
		const float a = load(x, at), b = load(x, at + c), g = load(dy, row * c + i);

		store(dx, at, g * gelu(b), add);
		store(dx, at + c, g * a * gelu_slope(b), add);
	}
};

extern "C" cudaError_t k_geglu(cudaStream_t st, struct values y, struct values x, int rows, int c)
{
	return each_in_rows(st, geglu_forward{ y, x, c }, rows, c);
}

extern "C" cudaError_t k_geglu_back(cudaStream_t st, struct values dx, struct values dy, struct values x, int rows,
				    int c, int add)
{
	return each_in_rows(st, geglu_backward{ dx, dy, x, c, add }, rows, c);
}

/* b 0 overwrites what may be NaN */
struct scaled_sum {
	struct values y; float a; struct values x; float b;
	__device__ void operator()(size_t i) const
	{
		const float v = a * load(x, i);

		store(y, i, b != 0 ? v + b * load(y, i) : v);
	}
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
	struct values y, x, z;
	__device__ void operator()(size_t i) const { store(y, i, load(x, i) + load(z, i)); }
};

extern "C" cudaError_t k_axpby(cudaStream_t st, struct values y, float a, struct values x, float b, size_t n)
{
	return each(st, scaled_sum{ y, a, x, b }, n);
}

extern "C" cudaError_t k_over_root(cudaStream_t st, float *y, float a, const float *x, const float *v, float eps,
				   float b, size_t n)
{
	return each(st, over_the_root{ y, a, x, v, eps, b }, n);
}

extern "C" cudaError_t k_add(cudaStream_t st, struct values y, struct values x, struct values z, size_t n)
{
	return each(st, sum_of_two{ y, x, z }, n);
}
