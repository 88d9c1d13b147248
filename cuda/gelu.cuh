/* gelu.cuh - the exact GELU, x times the normal distribution up to x, and its derivative. */
#ifndef CUDA_GELU_CUH
#define CUDA_GELU_CUH

#include "dev.cuh"

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

#endif
