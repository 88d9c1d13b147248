/*
 * module_update.h - what a module of a file does to its layer's weight, W' - W: norm, inner product, singular
 * values.
 *
 * A matrix [out][in,kh,kw], in double.  Where the base's weights are not at hand, a DoRA's lengths are left out, and of
 * kinds that turn W nothing is known.  Must not know models' files but for the tensor that it reads.
 */
#ifndef ADAPTER_MODULE_UPDATE_H
#define ADAPTER_MODULE_UPDATE_H

#include "adapter_file.h"

struct module_update {
	const struct file_module *module;
	struct delta delta;
	float *base, *lengths;          /* W; a DoRA's lengths.  NULL: not at hand, none */
	double *gain;                   /* lengths over lengths, of inputs; NULL: none are of inputs */
	size_t rows, columns;
};

/* base: of the model that has the module's layer; NULL: none is at hand.  *u is to be closed whatever the result. */
int module_update_open(struct module_update *u, const struct adapter_file *a, const struct file_module *m,
		const struct model_files *base, struct error *e) MUST_CHECK;
void module_update_close(struct module_update *u);
/* false: without W nothing can be said of it, and none of the rest may be asked */
bool module_update_is_known(const struct module_update *u);

double module_update_norm(const struct module_update *u);                     /* Frobenius' */
double module_update_base_norm(const struct module_update *u);                /* of W, which is at hand */
/* Of two on layers of the same shape, which may be of different kinds: the sum of products of their elements. */
double module_update_dot(const struct module_update *a, const struct module_update *b);
/* Descending, malloced; returns how many there are.  The others, up to the shorter side, are 0. */
size_t module_update_values(const struct module_update *u, double **value);

#endif
