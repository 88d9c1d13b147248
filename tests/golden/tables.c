/* tables.c - tables.json of a folder of adapters: how widths are split and ranks masked, exactly. */
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/adapter/split.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/json.h"
#include "../../libcommon/nn/branch.h"
#include "subject.h"

/* Counts the values of a table's row, and those that come out otherwise here. */
typedef void row_fn(const json_t *row, size_t *count, size_t *wrong);

static void check_splits(const json_t *row, size_t *count, size_t *wrong)
{
	const char *width;
	json_t *pair;

	json_object_foreach(json_object_get(row, "split"), width, pair) {
		const struct split s = split_width(atoi(width), json_integer_value(json_object_get(row, "factor")));

		*count += 1;
		*wrong += s.small != json_integer_value(json_array_get(pair, 0)) ||
			  s.large != json_integer_value(json_array_get(pair, 1));
	}
}

static void check_ranks(const json_t *row, size_t *count, size_t *wrong)
{
	const json_t *at = json_object_get(row, "timesteps"), *ranks = json_object_get(row, "ranks");
	const int rank = json_integer_value(json_object_get(row, "max_rank"));
	const struct rank_mask m = { .least = json_integer_value(json_object_get(row, "min_rank")),
				     .exponent = json_number_value(json_object_get(row, "exponent")),
				     .timesteps = json_integer_value(json_object_get(row, "max_timestep")) };

	for (size_t i = 0; i < json_array_size(ranks); i++) {
		*count += 1;
		*wrong += rank_at(&m, rank, json_number_value(json_array_get(at, i))) !=
			json_integer_value(json_array_get(ranks, i));
	}
}

static const struct table { const char *name; row_fn *row; } tables[] = {
	{ "lokr_factorization", check_splits },
	{ "tlora", check_ranks },
};

static void check_table(struct tally *t, const struct table *table, const json_t *rows)
{
	size_t i, count = 0, wrong = 0;
	json_t *row;

	json_array_foreach(rows, i, row)
		table->row(row, &count, &wrong);
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
