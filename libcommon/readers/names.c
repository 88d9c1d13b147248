/* The names by which a reader knows a model's modules. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

struct names {
	struct map *map;
	char **name;
	size_t count, capacity;
};

static bool is_without(const struct naming *row, const char *name)
{
	for (const char *const *w = row->without; *w; w++)
		if (strncmp(name, *w, strlen(*w)) == 0)
			return true;
	return false;
}

static bool covers(const struct naming *row, const struct place *p)
{
	return row->component == p->component && !(row->scope == TEXT_LAYERS && !p->layer) &&
	       !(row->blocks == BY_SGM && !p->sgm) && !is_without(row, p->name);
}

static char *name_of(const struct naming *row, const struct place *p)
{
	const char *name = row->blocks == BY_SGM ? p->sgm : p->name;
	char room[512], *full;

	if (row->change)
		name = row->change(name, room, sizeof(room));
	full = xprintf("%s%s", row->prefix, name);
	for (char *c = full + strlen(row->prefix); *c; c++)
		if (*c == '.')
			*c = row->separator;
	return full;
}

static void add(struct names *n, char *name, size_t place)
{
	if (map_put(n->map, name, strlen(name), (long)place) >= 0) {
		free(name);
		return;
	}
	GROW(n->name, n->count, n->capacity);
	n->name[n->count++] = name;
}

struct names *names_new(const struct readers_file *f, const struct naming *rows)
{
	struct names *n = xcalloc(1, sizeof(*n));

	n->map = map_new(f->count * 4);
	for (const struct naming *row = rows; row->prefix; row++)
		for (size_t i = 0; i < f->count; i++)
			if (covers(row, &f->place[i]))
				add(n, name_of(row, &f->place[i]), i);
	return n;
}

long names_find(const struct names *n, const char *name, size_t length)
{
	return map_get(n->map, name, length);
}

void names_free(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->name[i]);
	free(n->name);
	map_free(n->map);
	free(n);
}
