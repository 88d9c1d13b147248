/* The memory that each device takes for itself. */
#include <stdlib.h>
#include <string.h>
#include "plan.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/*
 * cpu: cpu_alloc(), big pages from two of them on; scratch of products and attention a thread, and of
 * convolutions; the program with its libraries, configs and headers, as measured.  cuda: cuda/pool.h's
 * pieces and slabs, the driver's pages behind both; cuda/internal.h's scratch, cuBLAS workspace and fixed things; the
 * context with the kernels' code.
 */
#define CUDA_CONTEXT (450 * MIB)        /* assumed: not yet measured on a card */

static const struct plan_device devices[] = {
	{ "cpu", { .align = 64, .own = 4 * MIB, .page = 2 * MIB }, .context = 11 * MIB,
	  .is_host = true, .thread = MIB, .convolution = cpu_conv2d_scratch },
	{ "cuda", { .align = 256, .own = 32 * MIB, .page = 2 * MIB, .slab = 64 * MIB, .hosts = true },
	  .workspace = (64 + 32) * MIB + 16 * KIB, .context = CUDA_CONTEXT },
};

const struct plan_device *plan_device(const char *name, struct error *e)
{
	size_t i;

	for (i = 0; i < sizeof(devices) / sizeof(*devices); i++)
		if (!strcmp(name, devices[i].name))
			return &devices[i];
	fail(e, EXIT_USAGE, "device '%s' is not known; choose cpu or cuda", name);
	return NULL;
}

void plan_free(struct plan *p)
{
	free(p->batch);
	*p = (struct plan){ 0 };
}
