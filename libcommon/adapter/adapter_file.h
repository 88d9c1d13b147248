/*
 * adapter_file.h - an adapter file's tensors, sorted into modules and checked against the layers that they belong to.
 *
 * Owns what a file of any dialect may look like.  Must not know devices; what is done with the numbers is adapter.c's
 * and merge.c's.
 */
#ifndef ADAPTER_FILE_H
#define ADAPTER_FILE_H

#include "../io/safetensors.h"
#include "../model/layers.h"
#include "adapter_scale.h"
#include "kind.h"

struct file_module {
	const struct layer *layer;
	char *name;                             /* as the file calls it */
	const struct adapter_kind *kind;
	const struct safetensor *part[BRANCH_PARTS], *alpha_tensor;     /* NULL: not there */
	struct module_form form;
	/* kind_scale() makes the scale of it; adapter_scale.h tells where it comes from */
	double alpha;
	enum alpha_origin origin;
	const struct safetensor *lengths;       /* DoRA: a length for each output, or each input; NULL: none */
	bool by_input;
	/* [out]: what the layer's bias gets, times the adapter's weight and, where bias_scaled says so, the module's
	 * scale.  A full difference may have this alone. */
	const struct safetensor *bias;
	bool bias_scaled;
	const struct safetensor *scale, *scalar;        /* alpha above has them in it already; NULL: not there */
};

struct adapter_file {
	struct safetensors *file;
	bool lent;                              /* it is closed by somebody else */
	bool by_names;                          /* its layers are no model's */
	struct file_module *module;             /* in the order of the layers */
	size_t count;
	const char *dialect;                    /* of the first module */
	size_t lengths;                         /* modules that have them */
	size_t absent;                          /* tensors for text encoders that were left out */
	struct unet_config blocks;              /* layers_config() of the layers: for adapter_stem() */
	const struct family *family;            /* of the layers; NULL: they do not say */
	/* the modules' layers where no model lends them; NULL: one does */
	struct own_layer { struct layer layer; struct linear linear; struct conv conv; struct norm norm; } *own;
};

/* path: a file, or a folder with one.  Every tensor must find its place: a module without a layer, a shape that does
 * not fit, half a module or a method without a row in kinds.c is EXIT_INPUT.  The numbers are not looked at but for
 * alpha. */
struct adapter_file *adapter_file_open(const char *path, const struct layer_list *layers, struct error *e) MUST_CHECK;
/* The same where text encoders may be without layers in the list: what is for them is left out. */
struct adapter_file *adapter_file_open_present(const char *path, const struct layer_list *layers,
					       struct error *e) MUST_CHECK;
/* The same where only some of the model's layers are listed: what belongs to none of them is left out. */
struct adapter_file *adapter_file_open_some(const char *path, const struct layer_list *layers,
					    struct error *e) MUST_CHECK;
/* The same where no model's weights are at hand.  Each module's layer has the model's name for it and the shape that
 * model's config gives it; NULL: it has the shape that the module's own tensors have, and names are looked up among
 * those of the released model of the family that the file is for.  A kernel that is flattened into a matrix counts as
 * a kernel.  OFT's tensors tell one side of a layer alone; the other is then 1. */
struct adapter_file *adapter_file_open_alone(const char *path, const struct model_config *model,
					     struct error *e) MUST_CHECK;
/* The same of an open file, which must outlive the result. */
struct adapter_file *adapter_file_of_tensors(struct safetensors *file, const struct model_config *model,
					     struct error *e) MUST_CHECK;
/* The same where no family has the layers: a module is what its tensors' names share, its layer has that name and the
 * shape of its tensors, and the component of the name's prefix or, where nobody has that, COMPONENT_VAE.  Tensors that
 * are no adapter's are left out, and a DoRA's lengths are of outputs where nothing tells. */
struct adapter_file *adapter_file_by_names(struct safetensors *file, struct error *e) MUST_CHECK;
void adapter_file_close(struct adapter_file *a);                /* accepts NULL */
/* A note, for who uses the file: its modules' ranks, alphas and scales, and where the alphas come from.  Nothing of a
 * file whose kind has no alpha. */
void adapter_file_tell(const struct adapter_file *a);
/* What the module's lengths have under them beside the norm, by the program whose name they have (lengths.h). */
float lengths_eps(const struct file_module *m);
/* The layer's module; NULL: the file has none, or is NULL. */
const struct file_module *adapter_file_module(const struct adapter_file *a, const struct layer *l);
/* The tensor (m->part[i] or m->lengths) as floats in file order, malloced.  NULL: it holds NaN or infinity and finite
 * was asked for. */
float *adapter_file_floats(const struct adapter_file *a, const struct safetensor *t, bool finite,
			   struct error *e) MUST_CHECK;

/* EXIT_INPUT where a part, the lengths or the bias hold NaN or infinity. */
int adapter_file_check_module(const struct adapter_file *a, const struct file_module *m, struct error *e) MUST_CHECK;
/* Every number that an adapter would take over is one; then adapter_file_tell(). */
int adapter_file_check(const struct adapter_file *a, struct error *e) MUST_CHECK;

/* "FILE:WEIGHT" as options give it: the part after the last colon when it is a number and no file has the whole name.
 * *path malloced. */
int weighted_path(const char *text, char **path, double *weight, struct error *e) MUST_CHECK;

#endif
