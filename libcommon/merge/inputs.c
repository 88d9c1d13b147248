/* The adapters that a mode works on. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../model/family.h"
#include "inputs.h"

/* ---- files ---- */

static int open_model(struct inputs *in, const struct merge_options *o, struct error *e)
{
	if (!o->model)
		return 0;
	in->files = model_files_open_parts(o->model, o->model_config, NULL, PART(COMPONENT_UNET), e);
	return in->files ? outline_of_files(&in->outline, in->files, e) : -1;
}

static int open_adapter(struct inputs *in, const char *named, bool negated, struct error *e)
{
	struct input *to = &in->item[in->count++];
	const struct adapter_file *first;

	if (weighted_path(named, &to->path, &to->weight, e))
		return -1;
	if (negated)
		to->weight = -to->weight;
	to->file = in->files ? adapter_file_open(to->path, &in->outline.layers, e)
			     : adapter_file_open_alone(to->path, NULL, e);
	if (!to->file)
		return -1;
	first = in->item[0].file;
	if (to->file->family != first->family && to->file->family && first->family)
		return fail(e, EXIT_INPUT, "%s is for %s and %s for %s; adapters of one model go together", to->path,
			    to->file->family->title, in->item[0].path, first->family->title);
	adapter_file_tell(to->file);
	return 0;
}

int inputs_open(struct inputs *in, const struct merge_options *o, struct error *e)
{
	*in = (struct inputs){ .item = xcalloc(o->adapters + 1, sizeof(*in->item)) };
	in->shares = shares_new(&o->shares, o->adapters, e);
	if (!in->shares || open_model(in, o, e))
		return -1;
	for (size_t i = 0; i < o->adapters; i++)
		if (open_adapter(in, o->adapter[i], o->negated, e) ||
		    shares_tell(in->shares, i, in->item[i].file, in->item[i].weight, e))
			return -1;
	return shares_check(in->shares, e);
}

void inputs_close(struct inputs *in)
{
	for (size_t i = 0; i < in->count; i++) {
		adapter_file_close(in->item[i].file);
		free(in->item[i].path);
	}
	free(in->item);
	shares_free(in->shares);
	outline_free(&in->outline);
	model_files_close(in->files);
}

enum dtype inputs_dtype(const struct inputs *in, const struct merge_options *o)
{
	int all = -1;

	if (o->save_precision)
		return dtype_from_precision(o->save_precision);
	for (size_t i = 0; i < in->count; i++)
		for (size_t k = 0; k < in->item[i].file->count; k++)
			for (int p = 0; p < BRANCH_PARTS; p++) {
				const struct safetensor *t = in->item[i].file->module[k].part[p];

				if (t && all >= 0 && all != (int)t->dtype)
					return DTYPE_F32;
				all = t ? (int)t->dtype : all;
			}
	return all == DTYPE_F16 || all == DTYPE_BF16 ? all : DTYPE_F32;
}

/* ---- modules ---- */

#define COMPARE(a, b) do { if ((a) != (b)) return (a) < (b) ? -1 : 1; } while (0)

static int by_layer(const void *left, const void *right)
{
	const struct term *a = left, *b = right;
	const struct layer *x = a->module->layer, *y = b->module->layer;
	const int names = strcmp(x->name, y->name);

	COMPARE(x->component, y->component);
	COMPARE(names, 0);
	COMPARE(a->input, b->input);
	return 0;
}

/* A module that is kept byte for byte, or of which only the model tells the update, is read by nobody else. */
int inputs_terms(const struct inputs *in, struct term_list *l, struct error *e)
{
	for (size_t i = 0; i < in->count; i++)
		for (size_t k = 0; k < in->item[i].file->count; k++) {
			const struct file_module *m = &in->item[i].file->module[k];
			double share;
			bool kept;

			if (share_of(in->shares, i, in->item[i].file, m, &share, &kept, e))
				return -1;
			if (!kept || share * in->item[i].weight == 0)
				continue;
			if (adapter_file_check_module(in->item[i].file, m, e))
				return -1;
			GROW(l->item, l->count, l->capacity);
			l->item[l->count++] = (struct term){ i, m, share * in->item[i].weight };
		}
	if (!l->count)
		return fail(e, EXIT_USAGE, "nothing is left: every module has the weight 0 or is left out");
	qsort(l->item, l->count, sizeof(*l->item), by_layer);
	return 0;
}

size_t terms_of_layer(const struct term *first, size_t rest)
{
	const struct layer *l = first->module->layer;
	size_t n = 1;

	while (n < rest && first[n].module->layer->component == l->component &&
	       !strcmp(first[n].module->layer->name, l->name))
		n++;
	return n;
}
