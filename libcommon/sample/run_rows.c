/* lora-sample: rows, which paint the same prompts and noise with different adapters; and the sheet that shows them. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../io/publish.h"
#include "run_internal.h"
#include "sheet.h"

int sample_rows(const struct sample_settings *s)
{
	return s->compare + (s->each ? (int)s->loras.count : 1);
}

struct row sample_row(const struct run *r, int row)
{
	const size_t all = r->s->loras.count;

	row -= r->s->compare;
	if (row < 0)
		return (struct row){ 0, 0 };
	return r->s->each ? (struct row){ row, 1 } : (struct row){ 0, all };
}

/* Does this adapter's name need a number?  Two files of one name do, and one file with two weights.  "base" is the name
 * of the row without adapters. */
static bool is_told_apart(const struct run *r, size_t i)
{
	size_t k, same = !strcmp(r->lora[i].name, "base");

	for (k = 0; k < r->loras; k++)
		same += !strcmp(r->lora[k].name, r->lora[i].name);
	return same == 1;
}

char *sample_row_ending(const struct run *r, int row)
{
	const struct row w = sample_row(r, row);

	if (r->s->compare && row == 0)
		return xstrdup("-base");
	if (!r->s->each)
		return xstrdup("");
	if (is_told_apart(r, w.first))
		return xprintf("-%s", r->lora[w.first].name);
	return xprintf("-%s-%zu", r->lora[w.first].name, w.first + 1);
}

/* "with robot:0.8 + style"; NULL: neither an adapter nor another row */
static char *row_label(const struct run *r, int row)
{
	const struct row w = sample_row(r, row);
	struct buffer out = { 0 };
	size_t i;

	if (!w.count)
		return r->rows > 1 ? xstrdup("without an adapter") : NULL;
	for (i = w.first; i < w.first + w.count; i++) {
		buffer_addf(&out, "%s%s", i == w.first ? "with " : " + ", r->lora[i].name);
		if (r->lora[i].weight != 1)
			buffer_addf(&out, ":%g", r->lora[i].weight);
	}
	return buffer_steal(&out);
}

/* ---- the sheet ---- */

static struct sheet sheet_of(const struct run *r)
{
	return (struct sheet){ .rows = r->rows, .columns = r->jobs, .together = r->s->count };
}

int sample_sheet_check(const struct run *r, struct error *e)
{
	const char *const no_names[1] = { NULL };
	struct sheet sheet = sheet_of(r);
	long w = 1, h = 1;
	size_t i;

	if (!r->s->grid)
		return 0;
	for (i = 0; i < r->jobs; i++) {
		w = r->job[i].width > w ? r->job[i].width : w;
		h = r->job[i].height > h ? r->job[i].height : h;
	}
	sheet.row_label = no_names;
	if (sheet_fits(&sheet, w, h))
		return 0;
	return fail(e, EXIT_USAGE, "--grid %s: %zu pictures make a sheet of more than %d pixels a side; "
				   "paint fewer, or leave --grid out", r->s->grid, r->rows * r->jobs, SHEET_SIDE);
}

static void name_cells(const struct run *r, struct sheet_cell *cells, char **labels, char **rows)
{
	size_t i;

	for (i = 0; i < r->jobs; i++)
		labels[i] = xprintf("%s\nseed %llu", r->job[i].prompt->text, (unsigned long long)r->job[i].seed);
	for (i = 0; i < r->rows * r->jobs; i++)
		cells[i] = (struct sheet_cell){ &r->picture[i], labels[i % r->jobs] };
	for (i = 0; i < (size_t)r->rows; i++)
		rows[i] = row_label(r, i);
}

static void free_texts(char **texts, size_t n)
{
	while (n)
		free(texts[--n]);
	free(texts);
}

int sample_save_sheet(struct run *r, struct error *e)
{
	struct sheet sheet = sheet_of(r);
	struct sheet_cell *cells;
	struct buffer png = { 0 };
	struct image picture;
	char **labels, **rows;
	int result;

	if (!r->s->grid)
		return 0;
	cells = xcalloc(r->rows * r->jobs, sizeof(*cells));
	labels = xcalloc(r->jobs, sizeof(*labels));
	rows = xcalloc(r->rows, sizeof(*rows));
	name_cells(r, cells, labels, rows);
	sheet.cells = cells;
	sheet.row_label = (const char *const *)rows;
	sheet_make(&picture, &sheet);
	png_encode(&png, &picture, NULL, 0);
	result = publish_bytes(r->s->grid, png.data, png.len, e);
	image_free(&picture);
	buffer_free(&png);
	free_texts(labels, r->jobs);
	free_texts(rows, r->rows);
	free(cells);
	return result;
}
