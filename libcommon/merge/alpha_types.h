/*
 * alpha_types.h - the types that a file's alphas had as tensors, kept through dialects that have none.
 *
 * kohya's files have alphas in the type of the factors, in F32 beside F16, as I64, or none at all.  diffusers' and
 * PEFT's have numbers in JSON.  Where the way back would give another tensor, the metadata says which it was.
 */
#ifndef MERGE_ALPHA_TYPES_H
#define MERGE_ALPHA_TYPES_H

#include "../adapter/adapter_file.h"
#include "../adapter/metadata.h"

#define ALPHA_TYPES_KEY "lora_tools.alpha_types"

/* Beside an enum dtype: the file had no such tensor; or nobody knows. */
enum { ALPHA_ABSENT = -1, ALPHA_UNSAID = -2 };

/* What a file says of them, for alpha_type_was(); NULL: nothing.  json_decref() frees. */
json_t *alpha_types_said(const struct safetensors *file);
/* What the module's alpha was in the file that it comes from in the end; F32 where it was changed since, to what that
 * type does not hold. */
int alpha_type_was(const json_t *said, const struct adapter_file *a, const struct file_module *m);
/* The type of a tensor for it: of the factors, F32 where that would round the number. */
enum dtype alpha_type_new(const struct file_module *m);
enum dtype alpha_type_for(double alpha, enum dtype factors);
/* false: as an F32 it would be infinite, or 0 where it is not. */
bool alpha_fits(double alpha);
/* The number that is written for one that was changed; was: the tensor of the one before, NULL: it had none. */
double alpha_as_written(const struct safetensor *was, double alpha);
void *alpha_bytes(double alpha, enum dtype t);          /* malloced */

/* A note for each module of an output, for its metadata. */
struct alpha_types {
	struct alpha_note { char *module; int type; bool plain; } *item;
	size_t count, capacity;
};
/* plain: it is what a reader of the output would take it for. */
void alpha_types_add(struct alpha_types *l, const struct layer *layer, int type, bool plain);
void alpha_types_tell(const struct alpha_types *l, struct metadata_list *list);
void alpha_types_free(struct alpha_types *l);

#endif
