#include <math.h>
#include <stdlib.h>
#include "../base/memory.h"
#include "adapter.h"

/* |up down|^2 is the sum of (up^T up) * (down down^T), element by element: two small matrices in place of a large one. */
static double product_norm(const struct adapter *a, const struct adapter_module *m, float *gram, float *host)
{
	const int r = m->rank, in = tensor_count(&m->lora.down) / r, out = tensor_count(&m->lora.up) / r;
	const size_t square = (size_t)r * r;
	double sum = 0;

	a->be->gemm(a->device, 1, 0, r, r, out, 1, m->lora.up.data, r, m->lora.up.data, r, 0, gram, r);
	a->be->gemm(a->device, 0, 1, r, r, in, 1, m->lora.down.data, in, m->lora.down.data, in, 0, gram + square, r);
	a->be->download(a->device, host, gram, 2 * square * sizeof(float));
	for (size_t i = 0; i < square; i++)
		sum += (double)host[i] * host[square + i];
	return sqrt(fmax(sum, 0)) * fabs(m->alpha / r);
}

static void multiply(const struct adapter *a, struct tensor *t, float by)
{
	a->be->axpby(a->device, t->data, by, t->data, 0, tensor_count(t));
}

/* sd-scripts takes half of max as the least norm, which changes nothing: such a module is never scaled. */
struct norm_facts adapter_limit_norms(struct adapter *a, double max)
{
	struct norm_facts facts = { 0 };
	int most = 0;
	float *gram, *host;

	for (size_t i = 0; i < a->count; i++)
		most = a->module[i].rank > most ? a->module[i].rank : most;
	host = xmalloc(2 * (size_t)most * most * sizeof(float));
	gram = a->be->alloc(a->device, 2 * (size_t)most * most * sizeof(float));
	if (!gram)
		die(EXIT_MEMORY, "no device memory to measure the adapter's norms; use a smaller rank");
	for (size_t i = 0; i < a->count; i++) {
		struct adapter_module *m = &a->module[i];
		const double norm = product_norm(a, m, gram, host), kept = norm > max ? max : norm;

		facts.mean += kept / a->count;
		facts.greatest = fmax(facts.greatest, kept);
		if (!(norm > max))
			continue;
		multiply(a, &m->lora.down, sqrt(max / norm));
		multiply(a, &m->lora.up, sqrt(max / norm));
		facts.scaled++;
	}
	a->be->release(a->device, gram);
	free(host);
	return facts;
}
