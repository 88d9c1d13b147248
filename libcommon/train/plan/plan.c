/* The memory that each device takes for itself. */
#include <stdlib.h>
#include <string.h>
#include "plan.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/*
 * cpu: cpu_alloc(); the program with its libraries, configs and headers, as measured (4 MiB of these are pages of the
 * executable and of libraries), within 1 MiB since base/memory.h's memory_return().  cuda: cuda/pool.h's pieces and
 * slabs, the driver's pages behind both; cuda/internal.h's scratch and fixed things; the context with
 * the kernels' code.  What is kept back there for the code of products and for the driver is not the run's, and left
 * free where there is a choice.
 */
#define CUDA_CONTEXT (450 * MIB)        /* assumed: not yet measured on a card */

static const struct plan_device devices[] = {
	{ "cpu", { .align = 64, .own = 4 * MIB, .page = 4 * KIB }, .context = 6 * MIB + 600 * KIB,
	  .is_host = true, .saved = 2 * MIB, .products = cpu_product_scratch, .convolution = cpu_conv2d_scratch },
	{ "cuda", { .align = 256, .own = 32 * MIB, .page = 2 * MIB, .slab = 64 * MIB, .small = 8 * MIB,
		    .hosts = true, .halves = true },
	  .workspace = 72 * MIB + 16 * KIB, .context = CUDA_CONTEXT, .kept_back = 256 * MIB },
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
