/* lora-merge convert: an adapter under the names that other readers want, as a LoRA where they read nothing else. */
#include <math.h>
#include <stdlib.h>
#include "../adapter/full.h"
#include "../adapter/lora.h"
#include "../base/memory.h"
#include "combine.h"
#include "lengths_turned.h"
#include "whole_update.h"
#include "output.h"
#include "tally.h"

struct conversion {
	const struct merge_options *options;
	const struct adapter_target *to;
	struct inputs in;
	const struct adapter_file *from;
	struct term_list terms;
	struct output *out;
	struct tally tally;
};

/* ---- what stays as it is ---- */

/* Its readers take every part of it. */
static bool is_taken(const struct conversion *c, const struct file_module *m)
{
	if (m->layer->norm || (m->kind == &kind_full && !m->part[FULL_DIFF]))
		return c->to->kinds;    /* no LoRA can be it */
	if (m->lengths && c->options->rank)
		return false;
	if (m->kind != &kind_lora && !c->options->keep_kind)
		return false;
	for (int i = 0; i < BRANCH_PARTS; i++)
		if (m->part[i] && !target_suffix(c->to, m->kind, i))
			return false;
	return true;
}

static int refuse(const struct conversion *c, const struct file_module *m, const char *why, const char *advice,
		  struct error *e)
{
	return fail(e, EXIT_INPUT, "%s: '%.200s' %s; %s", c->from->file->path, m->name, why, advice);
}

static const char *side(bool by_input)
{
	return by_input ? "inputs" : "outputs";
}

static bool is_turned(const struct conversion *c, const struct file_module *m)
{
	return m->lengths && m->by_input != c->to->by_input && !c->options->rank;
}

static int check_lengths(const struct conversion *c, const struct file_module *m, struct error *e)
{
	if (!m->lengths && c->to->row && c->from->lengths)
		return refuse(c, m, "has no lengths, and other modules have: PEFT's use_dora is of all or none",
			      "--to kohya and --to comfy can say it", e);
	return 0;
}

/* A row's gain is no column's: W + dW times the one is another matrix than times any of the other, but where all gains
 * are equal. */
static int refuse_lengths(const struct conversion *c, const struct file_module *m, struct error *e)
{
	char *why = xprintf("has a DoRA's lengths of its %s, and %s reads them as of its %s", side(m->by_input),
			    c->to->name, side(c->to->by_input));

	refuse(c, m, why,
	       c->in.files ? "no lengths of the others give the same weights; say --rank R for the nearest LoRA"
			   : "say -m MODEL to find whether lengths of the others give the same weights, with --rank R "
			     "for the nearest LoRA", e);
	free(why);
	return -1;
}

static int turn_lengths(struct conversion *c, const struct file_module *m, struct error *e)
{
	struct tally_line line = { .layer = m->layer, .rank = m->form.rank, .alpha = m->alpha, .adapters = 1 };
	struct output_change change = { .alpha = m->alpha };

	if (!c->in.files || !is_taken(c, m))
		return refuse_lengths(c, m, e);
	if (lengths_turned(&change.lengths, c->from, m, c->in.files, e))
		return -1;
	if (!change.lengths)
		return refuse_lengths(c, m, e);
	if (output_copy_changed(c->out, c->from, m, &change, e) || update_norm(&line.update, c->from, m, e))
		return -1;
	return tally_module(&c->tally, &line, e);
}

/* ---- what becomes a LoRA ---- */

static int add_lora(struct conversion *c, const struct file_module *m, const struct output_lora *l, double update,
		    double lost, struct error *e)
{
	const struct tally_line line = { .layer = m->layer, .rank = l->rank, .alpha = l->alpha, .adapters = 1,
					 .update = update, .lost = lost };

	output_add_lora(c->out, l);
	return tally_module(&c->tally, &line, e) ? -1 : output_copy_bias(c->out, c->from, m, e);
}

static int add_exactly(struct conversion *c, const struct file_module *m, const struct delta *d, struct error *e)
{
	struct delta_factors f;

	delta_factors(d, &f);
	return add_lora(c, m, &(struct output_lora){ m->layer, (int)f.rank, (double)f.rank, f.down, f.up },
			delta_norm(d), 0, e);
}

/* The first singular values, and what the factors lack of the whole once they are floats. */
static int add_nearest(struct conversion *c, const struct file_module *m, struct error *e)
{
	struct combined nearest = { 0 };
	float *dw;
	int status;

	if (whole_update(&dw, c->from, m, c->in.files, e))
		return -1;
	combined_nearest(&nearest, m->layer, dw, (size_t)c->options->rank, DTYPE_F32);
	free(dw);
	status = add_lora(c, m, &nearest.lora, nearest.update, nearest.lost, e);
	nearest.lora = (struct output_lora){ 0 };
	combined_free(&nearest);
	return status;
}

/* Where the parts say dW as a product that --rank leaves room for, it is one; else what is nearest to it. */
static int make_lora(struct conversion *c, const struct file_module *m, struct error *e)
{
	const struct weight *w = layer_weight(m->layer);
	const size_t rows = w->out, columns = (size_t)w->in * w->kh * w->kw, most = rows < columns ? rows : columns;
	const size_t room = c->options->rank ? (size_t)c->options->rank : most;
	struct delta d = { 0 };
	size_t rank = 0;
	int status = 0;

	if (m->layer->norm || (m->kind == &kind_full && !m->part[FULL_DIFF]))
		return refuse(c, m, "changes a norm or a bias, which no LoRA does",
			      "--to kohya and --to comfy keep it", e);
	if (!update_needs_base(m)) {
		status = file_module_delta(&d, c->from, m, e);
		rank = status ? 0 : delta_factors_rank(&d);
	}
	if (!status && rank && rank <= room)
		status = add_exactly(c, m, &d, e);
	else if (!status && c->options->rank)
		status = add_nearest(c, m, e);
	else if (!status)
		status = refuse(c, m, "is no LoRA of a rank below its sides",
				update_needs_base(m) && !c->in.files
					? "say --rank R and -m MODEL for the nearest one"
					: "say --rank R for the nearest one", e);
	delta_end(&d);
	return status;
}

/* ---- the whole ---- */

static int copy(struct conversion *c, const struct file_module *m, struct error *e)
{
	struct tally_line line = { .layer = m->layer, .rank = m->form.rank, .alpha = m->alpha, .adapters = 1,
				   .copied = true };

	if (update_norm(&line.update, c->from, m, e) || tally_module(&c->tally, &line, e))
		return -1;
	return output_copy(c->out, c->from, m, e);
}

static int convert_module(struct conversion *c, const struct file_module *m, struct error *e)
{
	if (check_lengths(c, m, e))
		return -1;
	if (is_turned(c, m))
		return turn_lengths(c, m, e);
	if (!is_taken(c, m))
		return make_lora(c, m, e);
	return copy(c, m, e);
}

static int open_all(struct conversion *c, struct error *e)
{
	if (inputs_open(&c->in, c->options, e))
		return -1;
	if (c->in.item[0].weight != 1)
		return fail(e, EXIT_USAGE, "'%.200s': convert takes no weight; name the file alone",
			    c->options->adapter[0]);
	c->from = c->in.item[0].file;
	return inputs_terms(&c->in, &c->terms, e);
}

static int convert(struct conversion *c, struct error *e)
{
	bool texts = false;

	for (size_t i = 0; i < c->terms.count; i++)
		texts |= c->terms.item[i].module->layer->component != COMPONENT_UNET;
	c->out = output_new(c->from->family, &c->from->blocks, DTYPE_F32);
	output_as(c->out, c->to, texts);
	inputs_tell(c->in.item, c->in.count, output_said(c->out));
	if (tally_begin(&c->tally, c->options->report, &c->from->blocks, e))
		return -1;
	for (size_t i = 0; i < c->terms.count; i++)
		if (convert_module(c, c->terms.item[i].module, e))
			return -1;
	return output_save(c->out, c->options->out, e) ? -1 : tally_end(&c->tally, c->options->out, e);
}

int merge_convert(const struct merge_options *o, struct error *e)
{
	struct conversion c = { .options = o };
	int status;

	if (!o->to)
		return fail(e, EXIT_USAGE, "for which readers? say --to kohya, diffusers, peft or comfy");
	c.to = adapter_target(o->to);
	status = open_all(&c, e);
	if (!status)
		status = convert(&c, e);
	tally_free(&c.tally);
	output_free(c.out);
	free(c.terms.item);
	inputs_close(&c.in);
	return status;
}
