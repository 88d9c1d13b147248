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

/* length: of the name, from its begin */
static char *name_of(const struct naming *row, const char *name, size_t length)
{
	const size_t prefix = strlen(row->prefix);
	char *full = xmalloc(prefix + length + 1);

	memcpy(full, row->prefix, prefix);
	for (size_t i = 0; i < length; i++)
		full[prefix + i] = name[i] == '.' ? row->separator : name[i];
	full[prefix + length] = '\0';
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

/* inner: not the places but what contains them */
static void add_names(struct names *n, const struct naming *row, const struct place *p, size_t place, bool inner)
{
	const char *name = row->blocks == BY_SGM ? p->sgm : p->name;
	char room[512];

	if (row->change)
		name = row->change(name, room, sizeof(room));
	if (!inner)
		add(n, name_of(row, name, strlen(name)), place);
	for (const char *dot = inner ? strchr(name, '.') : NULL; dot; dot = strchr(dot + 1, '.'))
		add(n, name_of(row, name, (size_t)(dot - name)), place);
}

static struct names *all_names(const struct readers_file *f, const struct naming *rows, bool inner)
{
	struct names *n = xcalloc(1, sizeof(*n));

	n->map = map_new(f->count * 4);
	for (const struct naming *row = rows; row->prefix; row++)
		for (size_t i = 0; i < f->count; i++)
			if (covers(row, &f->place[i]))
				add_names(n, row, &f->place[i], i, inner);
	return n;
}

struct names *names_new(const struct readers_file *f, const struct naming *rows)
{
	return all_names(f, rows, false);
}

struct names *names_of_containers(const struct readers_file *f, const struct naming *rows)
{
	return all_names(f, rows, true);
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
