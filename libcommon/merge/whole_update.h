/*
 * whole_update.h - the whole update of one module of an adapter as a matrix: of any kind, and with a DoRA's lengths.
 *
 * Must not know what is done with the matrix.
 */
#ifndef MERGE_WHOLE_UPDATE_H
#define MERGE_WHOLE_UPDATE_H

#include "../adapter/adapter_file.h"
#include "../model/source.h"

/* What the kinds' functions want, at weight 1 and without lengths.  delta_end() frees, after a failure too. */
int file_module_delta(struct delta *d, const struct adapter_file *a, const struct file_module *m,
		      struct error *e) MUST_CHECK;
/* W of a layer goes into the update. */
bool update_needs_base(const struct file_module *m);
/* The Frobenius norm at weight 1; NAN: W goes into it.  Biases do not count. */
int update_norm(double *norm, const struct adapter_file *a, const struct file_module *m, struct error *e) MUST_CHECK;
/* EXIT_USAGE where the update needs a model and none is at hand (files NULL). */
int update_check_base(const struct adapter_file *a, const struct file_module *m, const struct model_files *files,
		      struct error *e) MUST_CHECK;
/* *dw [out,in*kh*kw], malloced: at weight 1, in double, or rounded to floats.  files: of the model; NULL: none is at
 * hand, and the module must need none.  After a failure *dw is NULL. */
int whole_update_exact(double **dw, const struct adapter_file *a, const struct file_module *m,
		       struct model_files *files, struct error *e) MUST_CHECK;
int whole_update(float **dw, const struct adapter_file *a, const struct file_module *m, struct model_files *files,
		  struct error *e) MUST_CHECK;

#endif
