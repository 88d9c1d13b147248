/*
 * output.h - the adapter that a mode of lora-merge writes: modules are added, then all are saved at once.
 *
 * Owns the tensors until then, their names, the metadata and the hashes.  Must not know the modes.
 */
#ifndef MERGE_OUTPUT_H
#define MERGE_OUTPUT_H

#include "../adapter/adapter_file.h"
#include "../adapter/metadata.h"
#include "../adapter/target.h"

struct output;

/* Of one family, whose names are written; blocks: as in struct adapter_file.  type: of new factors in the file (F32,
 * F16 or BF16).  Both pointers must outlive it. */
struct output *output_new(const struct family *family, const struct unet_config *blocks, enum dtype type);
/* Copies are rounded to it too; alphas keep theirs.  False, as it begins: what is copied stays byte for byte. */
void output_of_one_type(struct output *o, bool all);
void output_free(struct output *o);             /* accepts NULL */
/* Before the first module: it is for that target's readers, kohya's where nothing is said.  texts: text encoders will
 * have modules too.  A target whose alphas stand beside the adapter is a folder. */
void output_as(struct output *o, const struct adapter_target *target, bool texts);
/* What it will say of itself: to be added to, before it is saved.  What is about its tensors, it finds out itself. */
struct metadata_list *output_said(struct output *o);

/* A new LoRA on a layer: dW = alpha / rank * up down. */
struct output_lora {
	const struct layer *layer;      /* with its true shape; not read later */
	int rank;
	double alpha;
	float *down, *up;               /* [rank,in,kh,kw], [out,rank]; malloced, taken */
};
void output_add_lora(struct output *o, const struct output_lora *l);
/* What a layer's weight, and what its bias gets, in the layer's shapes; NULL: nothing, or a LoRA's.  malloced, taken */
void output_add_full(struct output *o, const struct layer *l, float *weight, float *bias);
/* A module of an input as it is: the same bytes, under the output's names and in the shapes that its layer gives them.
 * The target takes all of its parts.  a must stay open until output_save(). */
int output_copy(struct output *o, const struct adapter_file *a, const struct file_module *m,
		struct error *e) MUST_CHECK;
/* The same with another alpha, and other numbers in one part and for the bias. */
struct output_change {
	double alpha;
	int part;
	float *numbers, *bias;          /* malloced, taken; NULL: as they are */
	float *lengths;                 /* of the side that the module's are not of; malloced, taken; NULL: its own */
	bool exact;                     /* the part's own type holds the numbers; else they are written as F32 */
};
int output_copy_changed(struct output *o, const struct adapter_file *a, const struct file_module *m,
			const struct output_change *c, struct error *e) MUST_CHECK;
/* Of a module whose weight is written anew: what it adds to the layer's bias, and a DoRA's lengths, if anything. */
int output_copy_bias(struct output *o, const struct adapter_file *a, const struct file_module *m,
		     struct error *e) MUST_CHECK;
void output_copy_lengths(struct output *o, const struct adapter_file *a, const struct file_module *m);

/* EXIT_INPUT where a number is none of the type's. */
int output_save(struct output *o, const char *path, struct error *e) MUST_CHECK;

#endif
