/* internal.h - of op_*.c alone. */
#ifndef NN_INTERNAL_H
#define NN_INTERNAL_H

#include <stdbool.h>
#include "ops.h"

/* Shapes are our own affair: a mismatch is a bug in a network. */
static inline void must(bool holds, const char *what)
{
	if (!holds)
		die(EXIT_OTHER, "shapes do not fit (%s); this is a bug in lora-tools", what);
}

/* lora_dropout.c: is the whole module left out now? */
bool lora_is_out(const struct lora *l);
/* z [n,rows,rank] = x down^T, or its gradient: what is left out becomes 0.  Its own transpose. */
void lora_leave_out(struct tape *t, const struct lora *l, float *z, int n, int rows);

/* adapted.c: a frozen layer with the adapters that hang on it.  Linear (shape NULL) and convolution differ in their products alone. */
struct adapted { const struct weight *w; const float *bias; struct lora *lora; const struct conv_shape *shape; };
bool adapted_trains(const struct adapted *a);
void adapted_forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct adapted *a);
/* from y->grad */
void adapted_backward(struct tape *t, const struct tensor *y, struct tensor *x, const struct adapted *a);

/* dora.c: the layer's modules with magnitudes that are not left out, as parameters are now; in scratch, to be given back.  NULL: none. */
#define DORA_EPS 1e-12f         /* beside a norm: a row of zeros stays one */
struct dora {
	const struct lora *lora;
	float *norm2, *gain;            /* [out]: |W + scale up down|^2; magnitude / that norm */
	float *up;                      /* [rank,out]: gain * up, transposed */
};
struct doras *doras_now(struct tape *t, const struct adapted *a);
const float *doras_factor(const struct doras *k);
const struct dora *dora_of(const struct doras *k, const struct lora *l);        /* NULL: a plain one; k may be NULL */
void doras_give(struct tape *t, struct doras *k);

#endif
