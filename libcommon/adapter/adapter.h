/*
 * adapter.h - adapters: created or loaded from a file, added to a network's layers as branches, saved in kohya's form.
 *
 * Owns ranks, alphas, initial values and the parameters' memory, of any kind (kind.h).  Key names are keys.h's,
 * metadata metadata.h's.  Must not know the training loop.
 */
#ifndef ADAPTER_H
#define ADAPTER_H

#include "../io/safetensors.h"
#include "../model/layers.h"
#include "blocks.h"
#include "kind.h"

/* What a DoRA's trained lengths are of: the columns of a weight or its rows, which are a layer's inputs or outputs. */
enum dora_axis { DORA_OFF, DORA_INPUT, DORA_OUTPUT };
static inline const char *dora_axis_name(enum dora_axis a)
{
	return a == DORA_INPUT ? "input" : "output";
}

struct adapter_module {
	const struct layer *layer;
	char *stem;                     /* kohya's: "lora_unet_input_blocks_4_1_proj_in" */
	char *name;                     /* what a file calls it: the same, unless the kind has another dialect */
	const struct adapter_kind *kind;
	double alpha;
	struct module_form form;        /* of lengths too where they are trained, behind the kind's parts */
	struct branch branch;           /* branch.part[] are the numbers, with grad buffers when trainable */
};

struct adapter {
	struct adapter_module *module;  /* adapted_part()s in their order, each in network order */
	size_t count;
	const struct backend *be;
	struct device *device;
	struct branch_dropout dropout;
	struct branch_constants constants;      /* unset where no module wants any */
	enum dora_axis dora;
	bool borrow_grads;
};

/* What to train. */
struct adapter_spec {
	bool unet, text[TEXT_ENCODERS];
	const struct adapter_kind *kind;        /* NULL: a LoRA */
	struct kind_args args;
	bool lycoris;                           /* as LyCORIS would make them */
	int rank; double alpha;
	int conv_rank;
	double conv_alpha; /* conv_rank 0: the CONV_SET layers get no adapter.  3x3 take these, the set's 1x1 and time
			    * projections take rank and alpha (docs/kohya-contract.md 1.1) */
	uint64_t seed;
	const struct block_plan *blocks;        /* the UNet's ranks and alphas block by block; NULL: all the same */
	const char *start;      /* a file whose values modules begin with; NULL: none */
	bool start_shapes;      /* modules, ranks and alphas are the file's */
	enum dora_axis dora;    /* with lengths, which begin as the norms of W + dW where the file says no other ones */
	struct branch_dropout dropout;            /* dropout in training: probabilities and seed */
	/* no memory of their own for gradients: the tape lends it, from one batch's backward to the next batch */
	bool borrow_grads;
};

/* New modules on the layers that the spec wants.  Values are drawn as the kind's form says, a LoRA's down from U(-b, b)
 * with b = 1/sqrt(fan in), from Philox keyed by (seed, CRC-32C of the stem): independent of which other modules exist.
 * A LoRA's up starts at 0, so in step 0 down gets no gradient.  Trainable. */
struct adapter *adapter_create(const struct layer_list *layers, const struct adapter_spec *spec,
			       const struct backend *be, struct device *d, struct error *e) MUST_CHECK;
/* Dropout in training from now on: probabilities, seed, a mask of ranks. */
int adapter_leave_out(struct adapter *a, const struct branch_dropout *d, struct error *e) MUST_CHECK;
/* A batch of training begins, and with it dropout, if there is any.  The end: no more dropout. */
void adapter_training(struct adapter *a, uint32_t step, uint32_t batch, const float *timestep, int samples);
void adapter_training_ends(struct adapter *a);
/* kohya's scale_weight_norms: a module whose update dW has a Frobenius norm above max is scaled down to it, all its
 * parts alike.  Norms as they are then. */
struct norm_facts { size_t scaled; double mean, greatest; };
struct norm_facts adapter_limit_norms(struct adapter *a, double max);
/* Load a file and add its modules to the layers' branches.  A module without a layer, a shape that does not fit, a lone
 * lora_down, a NaN: EXIT_INPUT naming it.  A missing alpha means rank.  weight multiplies the scale.  trainable:
 * gradient buffers are made, wants_grad is set. */
struct adapter *adapter_load(const char *path, const struct layer_list *layers, double weight, bool trainable,
			     const struct backend *be, struct device *d, struct error *e) MUST_CHECK;
/* The same of the modules that have one of these layers, at weight 1; EXIT_INPUT where none has. */
struct adapter *adapter_load_some(const char *path, const struct layer_list *layers, const struct backend *be,
				  struct device *d, struct error *e) MUST_CHECK;
/* The name of a part in a file and in a state: "lora_down.weight" */
const char *adapter_part_suffix(const struct adapter_module *m, int part);
void adapter_free(struct adapter *a);           /* takes it off its layers; accepts NULL */

/* Download into the tensors of a file, F32, kohya's names and shapes.  names and data are malloced: free with
 * adapter_tensors_free(). */
size_t adapter_tensors(const struct adapter *a, struct safetensors_out **out);
void adapter_tensors_free(struct safetensors_out *t, size_t count);
/* Save in kohya's form: precision F32, F16 or BF16 (alpha too), the metadata given plus modelspec.* and both sshs_
 * hashes.  Refuses to publish a non-finite value (EXIT_DIVERGED). */
int adapter_save(const struct adapter *a, const char *path, enum dtype precision, const struct metadata *metadata,
		 size_t count, struct error *e) MUST_CHECK;

#endif
