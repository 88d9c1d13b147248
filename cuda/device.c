/* The CUDA device: its memory, what it tells of itself, and errors, which end the program. */
#include <stdlib.h>
#include "internal.h"

/* A step that cannot be captured says so at its end (step.c); until then nothing runs, so nothing is lost. */
static bool is_of_a_capture(cudaError_t status)
{
	return status >= cudaErrorStreamCaptureUnsupported && status <= cudaErrorStreamCaptureWrongThread;
}

void cuda_must(cudaError_t status, const char *what)
{
	if (is_of_a_capture(status)) {
		cudaGetLastError();
		return;
	}
	if (status == cudaErrorMemoryAllocation)
		die(EXIT_MEMORY, "device cuda: no memory on the card for %s; lora-train --plan says what a run needs",
		    what);
	if (status != cudaSuccess)
		die(EXIT_MEMORY, "device cuda: %s: %s; nothing that follows could be trusted: "
				 "start again from the last state", what, cudaGetErrorString(status));
}

void blas_must(cublasStatus_t status, const char *what)
{
	if (status == CUBLAS_STATUS_ALLOC_FAILED)
		cuda_must(cudaErrorMemoryAllocation, what);
	if (status != CUBLAS_STATUS_SUCCESS)
		die(EXIT_MEMORY, "device cuda: cuBLAS gave up in %s (status %d); start again from the last state", what,
		    (int)status);
}

void cuda_ran(struct device *d, cudaError_t status, const char *what)
{
	d->operand.of = NULL;
	cuda_must(status, what);
}

void *cuda_scratch(struct device *d, size_t bytes)
{
	if (bytes > SCRATCH_BYTES)
		die(EXIT_MEMORY, "device cuda: an operation wants %zu bytes of scratch, and there are %d; "
				 "use smaller pictures or batches", bytes, SCRATCH_BYTES);
	return d->scratch;
}

/* ---- memory ---- */

void *cuda_alloc(struct device *d, size_t bytes)
{
	return pool_take(d->pool, bytes);
}

void cuda_release(struct device *d, void *p)
{
	if (!p)
		return;
	cuda_must(cudaStreamSynchronize(d->stream), "the work so far");         /* it may still be read */
	d->operand.of = NULL;
	pool_give(d->pool, p);
}

bool cuda_look(struct device *d, struct device_use *now)
{
	char id[32];            /* "0000:65:00.0" */

	if (!d->asked && cudaDeviceGetPCIBusId(id, sizeof(id), 0) == cudaSuccess)
		d->nvml = nvml_open(id, getenv("CUDA_VISIBLE_DEVICES"));
	else if (!d->asked)
		cudaGetLastError();
	d->asked = true;
	if (d->nvml)
		nvml_look(d->nvml, now);
	return d->nvml != NULL;
}
