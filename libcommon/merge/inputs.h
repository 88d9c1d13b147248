/*
 * inputs.h - the adapters that a mode works on: their files, weights and shares, and their modules layer by layer.
 *
 * Must not know what is made of them.
 */
#ifndef MERGE_INPUTS_H
#define MERGE_INPUTS_H

#include "../adapter/adapter_file.h"
#include "../adapter/metadata.h"
#include "../model/outline.h"
#include "merge.h"
#include "shares.h"

struct input { char *path; struct adapter_file *file; double weight; };

struct inputs {
	struct input *item;
	size_t count;
	struct shares *shares;
	/* of o->model, whose layers the modules then have; NULL: none was named */
	struct model_files *files;
	struct outline outline;
};

/* All of one family.  in is to be closed whatever the result. */
int inputs_open(struct inputs *in, const struct merge_options *o, struct error *e) MUST_CHECK;
void inputs_close(struct inputs *in);

/* One adapter's module of a layer, and its weight with the share. */
struct term { size_t input; const struct file_module *module; double weight; };
struct term_list { struct term *item; size_t count, capacity; };
/* All modules whose weight is not 0: by components, by the names of layers, by adapters.  item malloced.  EXIT_INPUT
 * where one holds NaN or infinity */
int inputs_terms(const struct inputs *in, struct term_list *l, struct error *e) MUST_CHECK;
/* How many from the first on are of one layer. */
size_t terms_of_layer(const struct term *first, size_t rest);

/* F16 or BF16 where all factors of all adapters are of it, else F32.  o->save_precision decides where it is said. */
enum dtype inputs_dtype(const struct inputs *in, const struct merge_options *o);

/* What an output says of the adapters that it is made of: what all of them say alike, their tags together, and who they
 * were, with weights and hashes. */
void inputs_tell(const struct input *in, size_t n, struct metadata_list *list);

#endif
