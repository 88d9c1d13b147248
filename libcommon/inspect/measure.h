/*
 * measure.h - an adapter's modules in numbers: norm, singular values, effective rank; and the same by blocks.
 *
 * Owns which threads measure.  Must not know how figures are printed.
 */
#ifndef INSPECT_MEASURE_H
#define INSPECT_MEASURE_H

#include "../adapter/blocks.h"
#include "../adapter/module_update.h"

struct measure {
	const struct file_module *module;
	char block[BLOCK_NAME];
	bool known;                     /* of kinds that turn W nothing is, where no model is at hand */
	bool without_lengths;           /* a DoRA's, for the same reason */
	double norm, base_norm;         /* base_norm 0: not known */
	double *value; size_t values;   /* singular values; the others, up to the layer's shorter side, are 0 */
	double effective_rank;
};

/* Sums over a block's modules that are known. */
struct block_measure { char name[BLOCK_NAME]; size_t modules, known; double squares, ranks; };

struct measures {
	struct measure *module; size_t count;           /* in the adapter's order */
	struct block_measure *block; size_t blocks;     /* in the UNet's order, then text encoders, then others */
	bool spectrum, base;                            /* singular values, and the norms of W, are there */
};

/* base: the model whose layers the adapter was opened with; NULL: none. */
int measures_take(struct measures *m, const struct adapter_file *a, const struct model_files *base, bool spectrum,
		  struct error *e) MUST_CHECK;
void measures_free(struct measures *m);

#endif
