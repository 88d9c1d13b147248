/* lora-merge interference: how much adapters would be in each other's way, before they are merged. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../adapter/keys.h"
#include "../base/memory.h"
#include "../base/print.h"
#include "../base/thread.h"
#include "../data/ring.h"
#include "../io/json.h"
#include "inner.h"
#include "slots.h"

enum { OTHER = SLOTS, ALL, SCOPES };    /* behind the slots: what is in none, and everything */

/* The layer whose updates point most into one direction, or against it. */
struct closest { char *module; double cosine; };

struct measuring {
	struct inputs in;
	size_t n;                       /* adapters */
	struct term_list terms;
	size_t *first;                  /* of each layer's terms; the last one is behind all */
	size_t layers;
	double *gram[SCOPES];           /* [n,n] */
	size_t *common;                 /* [n,n]: layers that both change */
	struct closest *closest;        /* [n,n] */
	struct publish *report;         /* NULL: none is wanted */
	struct error *error;
};

struct measured { bool failed; struct error error; double *gram; };

static const struct term *layer_terms(const struct measuring *m, size_t i, size_t *n)
{
	*n = m->first[i + 1] - m->first[i];
	return &m->terms.item[m->first[i]];
}

static void work(void *context, size_t i, void *slot)
{
	const struct measuring *m = context;
	struct measured *to = slot;
	size_t n;
	const struct term *t = layer_terms(m, i, &n);

	to->gram = xmalloc(n * n * sizeof(*to->gram));
	to->failed = inner_products(to->gram, &m->in, t, n, &to->error) != 0;
}

static void release(void *slot)
{
	free(((struct measured *)slot)->gram);
}

/* NAN where one of them is nothing */
static double cosine(const double *gram, size_t n, size_t a, size_t b)
{
	const double squares = gram[a * n + a] * gram[b * n + b];

	return squares > 0 ? gram[a * n + b] / sqrt(squares) : NAN;
}

/* ---- the report ---- */

/* One pair: what: "module", "block" or "total"; name NULL: of everything */
static int report_pair(struct measuring *m, const char *what, const char *name, const double *gram, size_t n, size_t a,
		       size_t b, const size_t adapter[2], struct error *e)
{
	struct json_out j = { 0 };
	int status;

	if (!m->report)
		return 0;
	json_begin(&j, NULL);
	json_text(&j, "event", what);
	if (name)
		json_text(&j, what, name);
	json_text(&j, "a", m->in.item[adapter[0]].path);
	json_text(&j, "b", m->in.item[adapter[1]].path);
	json_number(&j, "inner", gram[a * n + b]);
	json_number(&j, "norm_a", sqrt(gram[a * n + a]));
	json_number(&j, "norm_b", sqrt(gram[b * n + b]));
	json_number(&j, "cosine", cosine(gram, n, a, b));
	json_end(&j);
	buffer_adds(&j.text, "\n");
	status = publish_write(m->report, j.text.data, j.text.len, e);
	json_free(&j);
	return status;
}

/* ---- layers, in their order ---- */

static void note_closest(struct closest *c, const char *module, double cosine)
{
	if (isnan(cosine) || (c->module && fabs(cosine) <= fabs(c->cosine)))
		return;
	free(c->module);
	*c = (struct closest){ xstrdup(module), cosine };
}

static int add_pair(struct measuring *m, const struct term *t, const double *gram, size_t n, size_t i, size_t j,
		    const char *stem, struct error *e)
{
	const size_t adapter[2] = { t[i].input, t[j].input }, at = adapter[0] * m->n + adapter[1];

	if (i == j)
		return 0;
	m->common[at]++;
	note_closest(&m->closest[at], stem, cosine(gram, n, i, j));
	return report_pair(m, "module", stem, gram, n, i, j, adapter, e);
}

static int add_layer(struct measuring *m, const struct term *t, const double *gram, size_t n, struct error *e)
{
	const struct adapter_file *file = m->in.item[t->input].file;
	const int slot = slot_of_module(file, t->module);
	char *stem = kohya_stem(t->module->layer, &file->blocks);
	int status = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t j = i; j < n && !status; j++) {
			const size_t at = t[i].input * m->n + t[j].input;

			m->gram[slot < 0 ? OTHER : slot][at] += gram[i * n + j];
			m->gram[ALL][at] += gram[i * n + j];
			status = add_pair(m, t, gram, n, i, j, stem, e);
		}
	free(stem);
	return status;
}

static int take(void *context, size_t i, void *slot)
{
	struct measuring *m = context;
	const struct measured *from = slot;
	size_t n;
	const struct term *t = layer_terms(m, i, &n);

	if (!from->failed)
		return add_layer(m, t, from->gram, n, m->error);
	*m->error = from->error;
	return -1;
}

/* ---- what is said ---- */

static int tell_block(struct measuring *m, struct buffer *text, int slot, size_t a, size_t b, struct error *e)
{
	const struct slot_name name = slot_name(slot == OTHER ? -1 : slot);
	const double value = cosine(m->gram[slot], m->n, a, b);
	const size_t pair[2] = { a, b };

	if (isnan(value))
		return 0;
	buffer_addf(text, "  %-6s %8.4f\n", name.text, value);
	return report_pair(m, "block", name.text, m->gram[slot], m->n, a, b, pair, e);
}

static int tell_pair(struct measuring *m, struct buffer *text, size_t a, size_t b, struct error *e)
{
	const struct closest *c = &m->closest[a * m->n + b];

	buffer_add_printable(text, m->in.item[a].path, strlen(m->in.item[a].path));
	buffer_adds(text, " and ");
	buffer_add_printable(text, m->in.item[b].path, strlen(m->in.item[b].path));
	buffer_addf(text, ": %zu layers of both, ", m->common[a * m->n + b]);
	if (isnan(cosine(m->gram[ALL], m->n, a, b)))
		buffer_adds(text, "and one of them is nothing\n");
	else
		buffer_addf(text, "cosine %.4f\n", cosine(m->gram[ALL], m->n, a, b));
	if (c->module)
		buffer_addf(text, "  most in %s: %.4f\n", c->module, c->cosine);
	for (int i = 0; i <= OTHER; i++)
		if (tell_block(m, text, i, a, b, e))
			return -1;
	return report_pair(m, "total", NULL, m->gram[ALL], m->n, a, b, (const size_t[2]){ a, b }, e);
}

static int tell(struct measuring *m, struct error *e)
{
	struct buffer text = { 0 };
	int status = 0;

	for (size_t a = 0; a < m->n && !status; a++)
		for (size_t b = a + 1; b < m->n && !status; b++)
			status = tell_pair(m, &text, a, b, e);
	if (!status)
		status = print_text(text.data, text.len, e);
	buffer_free(&text);
	return status;
}

/* ---- the whole ---- */

static void make_room(struct measuring *m)
{
	m->n = m->in.count;
	for (int i = 0; i < SCOPES; i++)
		m->gram[i] = xcalloc(m->n * m->n, sizeof(*m->gram[i]));
	m->common = xcalloc(m->n * m->n, sizeof(*m->common));
	m->closest = xcalloc(m->n * m->n, sizeof(*m->closest));
	m->first = xcalloc(m->terms.count + 1, sizeof(*m->first));
	for (size_t at = 0; at < m->terms.count; m->layers++) {
		m->first[m->layers] = at;
		at += terms_of_layer(&m->terms.item[at], m->terms.count - at);
	}
	m->first[m->layers] = m->terms.count;
}

static void close_all(struct measuring *m)
{
	for (int i = 0; i < SCOPES; i++)
		free(m->gram[i]);
	for (size_t i = 0; m->closest && i < m->n * m->n; i++)
		free(m->closest[i].module);
	free(m->common);
	free(m->closest);
	free(m->first);
	free(m->terms.item);
	inputs_close(&m->in);
	publish_abandon(m->report);
}

static int measure(struct measuring *m, struct error *e)
{
	const struct ring_job layers = { .count = m->layers, .threads = threads_default(),
					 .slot = sizeof(struct measured), .context = m, .work = work, .take = take,
					 .release = release };
	struct publish *report = m->report;

	m->error = e;
	if (ring_run(&layers) || tell(m, e))
		return -1;
	m->report = NULL;
	return report ? publish_end(report, e) : 0;
}

int merge_interference(const struct merge_options *o, struct error *e)
{
	struct measuring m = { 0 };
	int status = inputs_open(&m.in, o, e);

	if (!status)
		status = inputs_terms(&m.in, &m.terms, e);
	if (!status && o->report && !(m.report = publish_begin(o->report, false, e)))
		status = -1;
	if (!status) {
		make_room(&m);
		status = measure(&m, e);
	}
	close_all(&m);
	return status;
}
