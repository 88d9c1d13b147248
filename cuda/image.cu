/* Which kinds of card the kernels were compiled for, and whether this card is one of them.  All files are compiled
 * alike. */
#include "dev.cuh"
#include "kernels.h"

__global__ void __launch_bounds__(32) nothing_kernel() {}

extern "C" cudaError_t k_image(void)
{
	struct cudaFuncAttributes a;

	return cudaFuncGetAttributes(&a, (const void *)nothing_kernel);
}

extern "C" const char *k_built_for(void)
{
	return CUDA_BUILT_FOR;
}
