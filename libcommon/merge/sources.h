/*
 * sources.h - what an adapter says of the files that it is made of, and its own name.
 *
 * Must not know how it was made.
 */
#ifndef MERGE_SOURCES_H
#define MERGE_SOURCES_H

#include "../adapter/metadata.h"

/* what: "sha256" of an adapter's tensors, "mark" of a model (model/source.h) */
struct source { const char *path, *what; double weight; char hash[65]; };
/* Who they were, by the last parts of their paths. */
void sources_tell(const struct source *s, size_t n, struct metadata_list *list);
/* The name of what is saved as path, unless it has one: the file's, without folders and ".safetensors". */
void name_tell(const char *path, struct metadata_list *list);

#endif
