/* Opening and closing a card, and what is said of one that cannot be used. */
#include <stdlib.h>
#include "internal.h"

enum { CAPABILITY_MAJOR = 8 };  /* bf16 and tf32 on tensor cores, cp.async */

/* 13000 is 13.0; 0 is no driver at all */
static int old_driver(struct error *e)
{
	int has = 0, needed = 0;

	cudaDriverGetVersion(&has);
	cudaRuntimeGetVersion(&needed);
	if (!has)
		return fail(e, EXIT_MEMORY, "device cuda: no NVIDIA card: there is no driver (libcuda.so.1); "
					    "lora(7) says which one is needed; use --device cpu");
	return fail(e, EXIT_MEMORY, "device cuda: the driver is one for CUDA %d.%d, the backend was built with %d.%d; "
				    "lora(7) says which driver that needs; use --device cpu",
		    has / 1000, has % 1000 / 10, needed / 1000, needed % 1000 / 10);
}

/* The backend has machine code for some kinds of card, and PTX, which the driver translates. */
static int check_image(int major, int minor, struct error *e)
{
	struct cudaDeviceProp card = { .name = "the card" };
	const cudaError_t status = k_image();

	if (status == cudaSuccess)
		return 0;
	cudaGetDeviceProperties(&card, 0);
	if (status != cudaErrorNoKernelImageForDevice && status != cudaErrorUnsupportedPtxVersion)
		return fail(e, EXIT_MEMORY, "device cuda: %s cannot be used: %s; use --device cpu", card.name,
			    cudaGetErrorString(status));
	return fail(e, EXIT_MEMORY, "device cuda: no code for %s (compute capability %d.%d): built was %s: %s; "
				    "build it on this machine (make cuda CUDA_ARCHS=%d%d), or take a newer driver; "
				    "use --device cpu", card.name, major, minor, k_built_for(),
		    cudaGetErrorString(status), major, minor);
}

static int check_card(struct error *e)
{
	int count = 0, major = 0, minor = 0;
	cudaError_t status = cudaGetDeviceCount(&count);

	if (status == cudaErrorInsufficientDriver)
		return old_driver(e);
	if (status != cudaSuccess || !count)
		return fail(e, EXIT_MEMORY, "device cuda: no NVIDIA card: %s; "
					    "looked for a driver (libcuda.so.1) and a card of compute capability 8.0 "
					    "or newer; use --device cpu", status == cudaSuccess ? "none found" :
					    cudaGetErrorString(status));
	if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) != cudaSuccess ||
	    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0) != cudaSuccess)
		return fail(e, EXIT_MEMORY, "device cuda: the card does not say what it is; use --device cpu");
	if (major < CAPABILITY_MAJOR)
		return fail(e, EXIT_MEMORY, "device cuda: the card has compute capability %d.%d, "
					    "8.0 is needed (RTX 30, A4000 and newer); "
					    "CUDA_VISIBLE_DEVICES chooses among cards, --device cpu does without",
					    major, minor);
	return check_image(major, minor, e);
}

static bool open_memory(struct device *d)
{
	const struct fixed start = { .one = 1, .inverse = 1 };
	bool guard = getenv("LORA_CUDA_GUARD") != NULL;

	d->pool = pool_open(guard ? 0 : SLAB_BYTES);
	d->staging = staging_new();
	d->steps = steps_new();
	d->scratch = d->pool ? pool_take(d->pool, SCRATCH_BYTES) : NULL;
	d->fixed = d->scratch ? pool_take(d->pool, sizeof(*d->fixed)) : NULL;
	return d->staging && d->steps && d->fixed &&
	       staging_upload(d->staging, d->stream, d->fixed, &start, sizeof(start)) == cudaSuccess;
}

/* With a workspace of its own and one stream, cuBLAS gives the same bytes every time. */
static bool open_blas(struct device *d)
{
	return cublasCreate(&d->blas) == CUBLAS_STATUS_SUCCESS &&
	       cublasSetStream(d->blas, d->stream) == CUBLAS_STATUS_SUCCESS &&
	       cublasSetWorkspace(d->blas, d->scratch + OPERANDS_BYTES, WORKSPACE_BYTES) == CUBLAS_STATUS_SUCCESS;
}

struct device *cuda_open(struct error *e)
{
	struct device *d;

	if (check_card(e) < 0) {
		cudaGetLastError();
		return NULL;
	}
	d = calloc(1, sizeof(*d));
	if (!d || cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking) != cudaSuccess || !open_memory(d) ||
	    !open_blas(d)) {
		cuda_close(d);
		fail(e, EXIT_MEMORY, "device cuda: no memory on the card to begin with; "
				     "is another program on it (nvidia-smi)? use --device cpu");
		return NULL;
	}
	return d;
}

enum dtype cuda_inner(struct device *d, enum dtype weights, int head)
{
	return inner_on_card(weights, head);
}

/* cuBLAS loads the code of a product when it first runs, and takes memory for that. */
size_t cuda_room(struct device *d)
{
	size_t free = 0, total = 0;

	if (!d->products_ran)
		run_each_product(d);
	d->products_ran = true;
	cuda_must(cudaMemGetInfo(&free, &total), "its memory");
	return free > KEPT_BACK_BYTES ? free - KEPT_BACK_BYTES : 0;
}

void cuda_close(struct device *d)
{
	if (!d)
		return;
	if (d->stream)
		cudaStreamSynchronize(d->stream);
	nccl_close(d->nccl);
	if (d->blas)
		cublasDestroy(d->blas);
	steps_free(d->steps);
	visits_free(d->visits);
	staging_free(d->staging);
	pool_close(d->pool);
	if (d->stream)
		cudaStreamDestroy(d->stream);
	cudaGetLastError();
	nvml_close(d->nvml);
	free(d);
}
