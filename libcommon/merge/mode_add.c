/* lora-merge add: an adapter whose update is the sum of others', times their weights. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/thread.h"
#include "../config/seed.h"
#include "../data/ring.h"
#include "combine.h"
#include "tally.h"

struct adding {
	struct inputs in;
	struct term_list terms;
	size_t *first;                  /* of each layer's terms; the last one is behind all */
	size_t layers;
	struct combining how;
	struct output *out;
	struct tally tally;
	struct error *error;
};

struct added { bool failed; struct error error; struct combined sum; };

static void work(void *context, size_t i, void *slot)
{
	const struct adding *a = context;
	struct added *to = slot;

	to->failed = combine(&to->sum, &a->how, &a->terms.item[a->first[i]], a->first[i + 1] - a->first[i],
			     &to->error) != 0;
}

static void release(void *slot)
{
	combined_free(&((struct added *)slot)->sum);
}

/* ---- what becomes of a layer ---- */

static int put(struct adding *a, struct combined *c, struct error *e)
{
	const struct term *t = c->term;
	int status = 0;

	switch (c->how) {
	case COMBINED_COPY:
		return output_copy(a->out, a->in.item[t->input].file, t->module, e);
	case COMBINED_CHANGED:
		status = output_copy_changed(a->out, a->in.item[t->input].file, t->module, &c->change, e);
		c->change = (struct output_change){ 0 };
		return status;
	case COMBINED_LORA:
		output_add_lora(a->out, &c->lora);
		c->lora.up = c->lora.down = NULL;
		break;
	case COMBINED_FULL:
		break;
	}
	output_add_full(a->out, c->layer, c->weight, c->bias);
	c->weight = c->bias = NULL;
	return 0;
}

static int tell(struct adding *a, const struct combined *c, size_t adapters, struct error *e)
{
	const bool lora = c->how == COMBINED_LORA, kept = c->how == COMBINED_COPY || c->how == COMBINED_CHANGED;
	const struct tally_line l = { .layer = c->layer, .adapters = adapters,
				      .rank = lora ? c->lora.rank : kept ? c->term->module->form.rank : 0,
				      .alpha = lora ? c->lora.alpha : c->how == COMBINED_CHANGED ? c->change.alpha :
					       kept ? c->term->module->alpha : 0,
				      .copied = c->how == COMBINED_COPY, .update = c->update, .lost = c->lost };

	return tally_module(&a->tally, &l, e);
}

static int take(void *context, size_t i, void *slot)
{
	struct adding *a = context;
	struct added *to = slot;

	if (to->failed) {
		*a->error = to->error;
		return -1;
	}
	if (tell(a, &to->sum, a->first[i + 1] - a->first[i], a->error))
		return -1;
	return put(a, &to->sum, a->error);
}

/* ---- the whole ---- */

static void find_layers(struct adding *a)
{
	const size_t n = a->terms.count;

	a->first = xcalloc(n + 1, sizeof(*a->first));
	for (size_t at = 0; at < n; a->layers++) {
		a->first[a->layers] = at;
		at += terms_of_layer(&a->terms.item[at], n - at);
	}
	a->first[a->layers] = n;
}

static int add_all(struct adding *a, const struct merge_options *o, struct error *e)
{
	const struct adapter_file *first = a->in.item[0].file;
	const struct ring_job layers = { .count = a->layers, .threads = threads_default(),
					 .slot = sizeof(struct added), .context = a, .work = work, .take = take,
					 .release = release };

	a->error = e;
	a->how = (struct combining){ &a->in, inputs_dtype(&a->in, o), o->rank,
				     o->method ? merge_method(o->method) : NULL, o->density };
	a->out = output_new(first->family, &first->blocks, a->how.type);
	output_of_one_type(a->out, o->save_precision != NULL);
	if (seed_read("seed", o->seed, &a->how.seed, e))
		return -1;
	inputs_tell(a->in.item, a->in.count, output_said(a->out));
	return ring_run(&layers) || output_save(a->out, o->out, e) ? -1 : 0;
}

int merge_add(const struct merge_options *o, struct error *e)
{
	struct adding a = { 0 };
	int status = 0;

	if (o->exact && o->method)
		return fail(e, EXIT_USAGE, "--exact: what --method %s leaves over has no exact factors; say --rank R",
			    o->method);
	if (o->exact && o->rank)
		return fail(e, EXIT_USAGE, "--exact and --rank both say what rank the sum has; say one");
	memory_keep();          /* every layer needs the same large blocks anew */
	status = inputs_open(&a.in, o, e);
	if (!status)
		status = inputs_terms(&a.in, &a.terms, e);
	if (!status)
		status = tally_begin(&a.tally, o->report, &a.in.item[0].file->blocks, e);
	if (!status) {
		find_layers(&a);
		status = add_all(&a, o, e);
		if (!status)
			status = tally_end(&a.tally, o->out, e);
	}
	tally_free(&a.tally);
	output_free(a.out);
	free(a.first);
	free(a.terms.item);
	inputs_close(&a.in);
	return status;
}

int merge_negate(const struct merge_options *o, struct error *e)
{
	struct merge_options negated = *o;

	negated.negated = true;
	return merge_add(&negated, e);
}
