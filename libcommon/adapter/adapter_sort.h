/*
 * adapter_sort.h - the steps of opening an adapter's file: tensors are sorted onto layers, then checked as modules.
 *
 * Private to adapter_file.c and adapter_alone.c.
 */
#ifndef ADAPTER_ADAPTER_SORT_H
#define ADAPTER_ADAPTER_SORT_H

#include "adapter_file.h"
#include "keys.h"

/* A file's tensors on the layers of a list. */
struct adapter_sorting {
	const struct layer_list *layers;
	struct file_module *module;             /* one a layer; its own layer NULL: the file has none there */
	size_t misses;                          /* tensors without a layer */
	const char *first_miss;                 /* its name; NULL: there is none */
	/* the same of text encoders that the family has and the list says nothing of */
	size_t absent;
	const char *first_absent;
	bool listed[COMPONENTS];                /* parts with a layer in the list */
	const char *dialect;                    /* of the first tensor with a layer; NULL: there is none */
};

/* path: a file, or a folder with one */
struct safetensors *adapter_file_tensors(const char *path, struct error *e) MUST_CHECK;
/* *out is to be freed whatever the status. */
int adapter_sort(struct adapter_sorting *out, const struct safetensors *s, const struct layer_list *layers,
		 struct error *e) MUST_CHECK;
/* Puts a tensor, by what its name says of it, into its module. */
int adapter_sort_into(struct file_module *m, const struct safetensors *s, const struct safetensor *t,
		      const struct key_part *part, struct error *e) MUST_CHECK;
void adapter_sorting_free(struct adapter_sorting *s);
/* Takes the modules over and checks them.  what: the model, in messages ("this model").  place: gives a module its
 * layer before its shapes are looked at; NULL: it stays on the list's. */
int adapter_file_take(struct adapter_file *a, struct adapter_sorting *s, const char *what,
		      void (*place)(struct adapter_file *a, struct file_module *m), struct error *e) MUST_CHECK;

#endif
