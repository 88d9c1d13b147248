/* tables.c - tables.json of a folder of adapters: how widths are split, exactly. */
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/adapter/split.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/json.h"
#include "subject.h"

/* One value of a table: 1 right, 0 wrong. */
typedef int right_fn(const json_t *row, const char *key, const json_t *value);

static int right_split(const json_t *row, const char *key, const json_t *value)
{
	const struct split s = split_width(atoi(key), json_integer_value(json_object_get(row, "factor")));

	return s.small == json_integer_value(json_array_get(value, 0)) && s.large == json_integer_value(json_array_get(value, 1));
}

/* A table is a list of rows; each holds an object of values under the name given here. */
static const struct table { const char *name, *values; right_fn *right; } tables[] = {
	{ "lokr_factorization", "split", right_split },
};

static void check_table(struct tally *t, const struct table *table, const json_t *rows)
{
	size_t i, count = 0, wrong = 0;
	const char *key;
	json_t *row, *value;

	json_array_foreach(rows, i, row)
		json_object_foreach(json_object_get(row, table->values), key, value) {
			count++;
			wrong += !table->right(row, key, value);
		}
	if (wrong || !count)
		failed(t, "tables.json %s: %zu of %zu differ", table->name, wrong, count);
	else
		passed(t, "tables.json %s: %zu exactly", table->name, count);
}

void check_tables(struct tally *t, const char *folder)
{
	char *path = path_join(folder, "tables.json");
	struct error e = { 0 };
	json_t *all = json_read(path, 1 << 24, &e), *rows;
	const char *name;

	if (!all)
		die(e.code, "%s", e.text);
	json_object_foreach(all, name, rows) {
		const struct table *table = tables, *end = tables + sizeof(tables) / sizeof(*tables);

		while (table < end && strcmp(table->name, name))
			table++;
		if (table < end)
			check_table(t, table, rows);
		else
			skipped(t, "tables.json %s: nothing here makes such sizes; not compared", name);
	}
	json_decref(all);
	free(path);
}
