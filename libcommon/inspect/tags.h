/*
 * tags.h - the tags that an adapter was trained with, by its metadata.
 */
#ifndef INSPECT_TAGS_H
#define INSPECT_TAGS_H

#include "../io/json.h"

struct tag { char *name; double count; };

/* ss_tag_frequency's text, {"folder": {"tag": count}}; NULL: none.  The most frequent first, of all folders together;
 * malloced.  Returns how many there are. */
size_t tags_read(const char *says, struct tag **tag);
void counted_tags_free(struct tag *tag, size_t n);

#endif
