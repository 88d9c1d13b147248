/* lora-inspect: the figures of an adapter's modules and blocks, as JSON and as tables. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "../base/text.h"
#include "internal.h"
#include "measure.h"

/* Singular values in JSON; of a matrix without factors there are as many as its shorter side. */
enum { MOST_VALUES = 256 };

/* ---- modules ---- */

static void begin_module(struct sheet *s, const struct measure *x)
{
	json_begin(&s->json, NULL);
	json_text(&s->json, "module", x->module->name);
	json_text(&s->json, "block", x->block);
	json_int(&s->json, "rank", x->module->form.rank);
}

static void put_norms(struct sheet *s, const struct measures *m)
{
	json_begin_array(&s->json, "norms");
	for (size_t i = 0; i < m->count; i++) {
		const struct measure *x = &m->module[i];

		begin_module(s, x);
		json_float(&s->json, "alpha", x->module->alpha);
		if (x->known)
			json_number(&s->json, "norm", x->norm);
		if (x->known && x->without_lengths)
			json_bool(&s->json, "without_lengths", true);
		if (x->known && m->base) {
			json_number(&s->json, "base_norm", x->base_norm);
			json_number(&s->json, "relative", x->norm / x->base_norm);
		}
		json_end(&s->json);
	}
	json_end_array(&s->json);
}

static void put_spectrum(struct sheet *s, const struct measures *m)
{
	json_begin_array(&s->json, "spectrum");
	for (size_t i = 0; i < m->count && m->spectrum; i++) {
		const struct measure *x = &m->module[i];

		if (!x->known)
			continue;
		begin_module(s, x);
		json_number(&s->json, "effective_rank", x->effective_rank);
		json_int(&s->json, "values", x->values);
		json_begin_array(&s->json, "singular_values");
		for (size_t k = 0; k < x->values && k < MOST_VALUES; k++)
			json_number(&s->json, NULL, x->value[k]);
		json_end_array(&s->json);
		json_end(&s->json);
	}
	json_end_array(&s->json);
}

static bool is_dead(const struct measure *x)
{
	return x->known && x->norm == 0;
}

static void put_dead(struct sheet *s, const struct measures *m)
{
	size_t n = 0;

	json_begin_array(&s->json, "dead");
	for (size_t i = 0; i < m->count; i++)
		if (is_dead(&m->module[i])) {
			json_text(&s->json, NULL, m->module[i].module->name);
			n++;
		}
	json_end_array(&s->json);
	if (n)
		sheet_line(s, "dead", "%zu modules change nothing", n);
}

static void put_blocks(struct sheet *s, const struct measures *m)
{
	json_begin_array(&s->json, "blocks");
	for (size_t i = 0; i < m->blocks; i++) {
		const struct block_measure *b = &m->block[i];

		json_begin(&s->json, NULL);
		json_text(&s->json, "block", b->name);
		json_int(&s->json, "modules", b->modules);
		json_int(&s->json, "known", b->known);
		json_number(&s->json, "norm", sqrt(b->squares));
		if (m->spectrum && b->known)
			json_number(&s->json, "effective_rank", b->ranks / b->known);
		json_end(&s->json);
	}
	json_end_array(&s->json);
}

/* ---- tables ---- */

/* Adds one column, 10 wide, and two blanks; "-" where the number is not known. */
static size_t column(char *row, size_t n, size_t at, bool known, double x)
{
	char text[32] = "-";

	if (known)
		snprintf(text, sizeof(text), "%.5g", x);
	return text_add(row, n, at, "%-10s ", text);
}

/* "whole" of a LoKr; "-" of kinds whose shape is longer */
static void rank_text(char text[8], const struct file_module *m)
{
	char shape[40] = "-";

	if (!m->form.rank && m->kind->shape)
		m->kind->shape(&m->form, shape, sizeof(shape));
	if (m->form.rank)
		snprintf(text, 8, "%d", m->form.rank);
	else
		snprintf(text, 8, "%.7s", strlen(shape) < 8 ? shape : "-");
}

static void table_row(struct sheet *s, const struct measures *m, const struct measure *x)
{
	char row[200], rank[8];
	size_t at = column(row, sizeof(row), 0, x->known, x->norm);

	if (m->base)
		at = column(row, sizeof(row), at, x->known, x->norm / x->base_norm);
	if (m->spectrum) {
		at = column(row, sizeof(row), at, x->known && x->values, x->values ? x->value[0] : 0);
		at = column(row, sizeof(row), at, x->known, x->effective_rank);
	}
	rank_text(rank, x->module);
	sheet_row(s, "  %s%-5s %s", row, rank, x->module->name);
}

static void heading(struct sheet *s, const struct measures *m, const char *rest)
{
	sheet_row(s, "  %-10s %s%s%s", "norm", m->base ? "of |W|     " : "",
		  m->spectrum ? "largest    eff. rank  " : "", rest);
}

/* What only a model's weights would tell. */
static void say_unknown(struct sheet *s, const struct measures *m)
{
	size_t lengths = 0, unknown = 0;

	for (size_t i = 0; i < m->count; i++) {
		lengths += m->module[i].without_lengths;
		unknown += !m->module[i].known;
	}
	if (lengths)
		sheet_line(s, "norms", "without the lengths of %zu DoRA modules; -m MODEL gives the true update",
			   lengths);
	if (unknown)
		sheet_line(s, "norms", "%zu modules turn the model's own weights; -m MODEL gives the update", unknown);
}

static void say_tables(struct sheet *s, const struct measures *m)
{
	say_unknown(s, m);
	if (m->blocks > 1)
		sheet_row(s, "  %-10s %s%s", "norm", m->spectrum ? "eff. rank  " : "", "modules block");
	for (size_t i = 0; i < m->blocks && m->blocks > 1; i++) {
		const struct block_measure *b = &m->block[i];
		char row[100];
		size_t at = column(row, sizeof(row), 0, b->known, sqrt(b->squares));

		if (m->spectrum)
			at = column(row, sizeof(row), at, b->known, b->ranks / b->known);
		sheet_row(s, "  %s%-7zu %s", row, b->modules, b->name);
	}
	heading(s, m, "rank  module");
	for (size_t i = 0; i < m->count; i++)
		table_row(s, m, &m->module[i]);
}

int sheet_measures(struct sheet *s, const struct adapter_file *a, const struct model_files *base, struct error *e)
{
	struct measures m;
	const int status = measures_take(&m, a, base, s->options->spectrum, e);

	if (!status) {
		put_dead(s, &m);
		put_blocks(s, &m);
		put_norms(s, &m);
		if (m.spectrum)
			put_spectrum(s, &m);
		say_tables(s, &m);
	}
	measures_free(&m);
	return status;
}
