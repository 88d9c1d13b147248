/* lora-inspect: measuring an adapter's modules, on all processors. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../adapter/keys.h"
#include "../base/memory.h"
#include "../base/progress.h"
#include "../base/singular.h"
#include "../base/thread.h"
#include "../data/ring.h"
#include "measure.h"

struct measuring {
	struct measures *all;
	const struct adapter_file *a;
	const struct model_files *base;
	struct progress *progress;
	struct error *e;
};

struct measured { struct measure m; int status; struct error e; };

/* ---- a module ---- */

static void take_values(struct measure *m, const struct module_update *u)
{
	m->values = module_update_values(u, &m->value);
	m->effective_rank = effective_rank(m->value, m->values);
}

static void measure_module(void *context, size_t i, void *slot)
{
	const struct measuring *x = context;
	struct measured *out = slot;
	struct measure *m = &out->m;
	struct module_update u;

	m->module = &x->a->module[i];
	out->status = module_update_open(&u, x->a, m->module, x->base, &out->e);
	m->known = !out->status && module_update_is_known(&u);
	m->without_lengths = m->module->lengths && !x->base;
	if (m->known)
		m->norm = module_update_norm(&u);
	if (m->known && x->base)
		m->base_norm = module_update_base_norm(&u);
	if (m->known && x->all->spectrum)
		take_values(m, &u);
	module_update_close(&u);
}

static int take_module(void *context, size_t i, void *slot)
{
	struct measuring *x = context;
	struct measured *done = slot;
	char *stem;

	if (done->status) {
		*x->e = done->e;
		return -1;
	}
	stem = done->m.module->layer->family ? kohya_stem(done->m.module->layer, &x->a->blocks)
					     : xstrdup(done->m.module->name);
	block_name(stem, done->m.block);
	free(stem);
	x->all->module[x->all->count++] = done->m;
	done->m.value = NULL;
	if (x->progress)
		progress_at(x->progress, i + 1, NULL);
	return 0;
}

static void release_module(void *slot)
{
	free(((struct measured *)slot)->m.value);
}

/* ---- blocks ---- */

/* IN before M before OUT before TE before OTHER */
static int place_of(const char *block)
{
	static const char *const order[] = { "IN", "M", "OUT", "TE" };
	size_t i = 0;

	while (i < sizeof(order) / sizeof(*order) && strncmp(block, order[i], strlen(order[i])))
		i++;
	return (int)i;
}

static int by_place(const void *left, const void *right)
{
	const struct block_measure *a = left, *b = right;
	const int difference = place_of(a->name) - place_of(b->name);

	return difference ? difference : strcmp(a->name, b->name);
}

static struct block_measure *block_of(struct measures *m, const char *name)
{
	for (size_t i = 0; i < m->blocks; i++)
		if (!strcmp(m->block[i].name, name))
			return &m->block[i];
	strcpy(m->block[m->blocks].name, name);
	return &m->block[m->blocks++];
}

static void sum_blocks(struct measures *m)
{
	m->block = xcalloc(m->count + 1, sizeof(*m->block));
	for (size_t i = 0; i < m->count; i++) {
		struct block_measure *b = block_of(m, m->module[i].block);

		b->modules++;
		b->known += m->module[i].known;
		b->squares += m->module[i].norm * m->module[i].norm;
		b->ranks += m->module[i].effective_rank;
	}
	qsort(m->block, m->blocks, sizeof(*m->block), by_place);
}

/* ---- all ---- */

/* Multiplications of a decomposition without factors, above which somebody is waiting. */
#define LONG 1e11
/* Threads that decompose whole layers: the largest of SDXL takes 300 MB. */
enum { MOST_WHOLE = 4 };

static bool takes_long(const struct adapter_file *a, const struct model_files *base)
{
	double work = 0;

	for (size_t i = 0; i < a->count; i++) {
		const struct weight *w = layer_weight(a->module[i].layer);
		const double columns = (double)w->in * w->kh * w->kw, shorter = fmin(w->out, columns);

		if (base && (a->module[i].lengths || a->module[i].kind->needs_base))
			work += w->out * columns * shorter;
	}
	return work > LONG;
}

int measures_take(struct measures *m, const struct adapter_file *a, const struct model_files *base, bool spectrum,
		  struct error *e)
{
	const bool whole = spectrum && takes_long(a, base);
	struct measuring x = { m, a, base, NULL, e };
	const int all = threads_default();
	const struct ring_job job = { .count = a->count, .threads = whole && all > MOST_WHOLE ? MOST_WHOLE : all,
				      .slot = sizeof(struct measured), .context = &x, .work = measure_module,
				      .take = take_module, .release = release_module };
	int status;

	*m = (struct measures){ .module = xcalloc(a->count + 1, sizeof(*m->module)), .spectrum = spectrum,
				.base = base != NULL };
	if (whole)
		x.progress = progress_begin("measuring", "modules", a->count);
	status = ring_run(&job);
	progress_end(x.progress);
	sum_blocks(m);
	return status;
}

void measures_free(struct measures *m)
{
	for (size_t i = 0; i < m->count; i++)
		free(m->module[i].value);
	free(m->module);
	free(m->block);
}
