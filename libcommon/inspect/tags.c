/* The tags of an adapter's metadata, counted over its folders. */
#include <stdlib.h>
#include <string.h>
#include "../base/map.h"
#include "tags.h"

static int by_count(const void *left, const void *right)
{
	const struct tag *a = left, *b = right;

	return a->count < b->count ? 1 : a->count > b->count ? -1 : strcmp(a->name, b->name);
}

static size_t add_tags(json_t *folders, struct tag **tag)
{
	struct map *names = map_new(64);
	size_t n = 0, capacity = 0;
	const char *folder, *name;
	json_t *tags, *count;

	json_object_foreach(folders, folder, tags)
		json_object_foreach(tags, name, count) {
			long i = map_put(names, name, strlen(name), n);

			if (i < 0) {
				i = n;
				GROW(*tag, n, capacity);
				(*tag)[n++] = (struct tag){ xstrdup(name), 0 };
			}
			(*tag)[i].count += json_number_value(count);
		}
	map_free(names);
	return n;
}

size_t tags_read(const char *says, struct tag **tag)
{
	struct error unsaid;
	json_t *folders = says ? json_parse("ss_tag_frequency", says, strlen(says), &unsaid) : NULL;
	size_t n;

	*tag = NULL;
	n = add_tags(folders, tag);
	if (n)
		qsort(*tag, n, sizeof(**tag), by_count);
	json_decref(folders);
	return n;
}

void counted_tags_free(struct tag *tag, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(tag[i].name);
	free(tag);
}
