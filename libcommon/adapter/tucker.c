/* A middle factor between two small matrices, forward and backward. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/product.h"
#include "tucker.h"

float *tucker_now(struct tape *t, const struct branch *b, int core, int factor)
{
	const struct tensor *k = &b->part[core], *f = &b->part[factor];
	const int rows = tensor_rows(k), in = f->c;
	float *out = tape_scratch(t, (size_t)rows * in);

	tape_backend(t)->gemm(tape_device(t), 0, 0, rows, in, k->c, 1, f32(k->data), k->c, f32(f->data), in, 0,
			      f32(out), in);
	return out;
}

/* backward of P = K F:  dK = dP F^T;  dF = K^T dP */
void tucker_back(struct tape *t, const float *dproduct, const struct branch *b, const struct part_grads *g, int core,
		 int factor)
{
	const struct backend *be = tape_backend(t);
	const struct tensor *k = &b->part[core], *f = &b->part[factor];
	const int rows = tensor_rows(k), in = f->c, r = k->c;

	if (g->at[core])
		be->gemm(tape_device(t), 0, 1, rows, r, in, 1, f32(dproduct), in, f32(f->data), in, g->add[core],
			 f32(g->at[core]), r);
	if (g->at[factor])
		be->gemm(tape_device(t), 1, 0, r, in, rows, 1, f32(k->data), r, f32(dproduct), in, g->add[factor],
			 f32(g->at[factor]), in);
}

void tucker_rows(double *out, const float *core, const float *b, int r, int in, int taps)
{
	const size_t n = (size_t)r * in;
	double *one = xmalloc(n * sizeof(*one));
	const struct matrix right = { b, NULL, in, 1 };

	for (int k = 0; k < taps; k++) {
		const struct matrix left = { core + k, NULL, (size_t)r * taps, taps };

		memset(one, 0, n * sizeof(*one));
		product_add(one, in, 1, &left, &right, r, in, r);
		for (size_t i = 0; i < n; i++)
			out[i * taps + k] = one[i];
	}
	free(one);
}
