/* lora-merge resize: every module's update at another rank, by its singular values. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../adapter/full.h"
#include "../adapter/lora.h"
#include "../adapter/lowrank.h"
#include "../base/memory.h"
#include "../base/thread.h"
#include "../data/ring.h"
#include "alpha_types.h"
#include "inputs.h"
#include "whole_update.h"
#include "output.h"
#include "ranks.h"
#include "tally.h"

struct resizing {
	const struct merge_options *options;
	const struct rank_rule *rule;   /* NULL: --rank alone */
	double parameter;
	struct inputs in;
	const struct adapter_file *a;
	struct term_list terms;         /* its modules that are not left out */
	struct output *out;
	enum dtype type;                /* of the factors */
	struct tally tally;
	struct error *error;
};

/* What becomes of a module.  up NULL: it is copied. */
struct resized {
	bool failed;
	struct error error;
	size_t rank;
	float *up, *down;
	double update, lost;            /* Frobenius norms, with the scale */
};

/* ---- one module ---- */

/* The products of more factors are multiplied out: two QRs of them would take longer than turns with the whole. */
enum { MOST_FACTORS = 512 };

/* dW, rows of it at a time in double */
static float *whole_of(const struct delta *d, size_t columns)
{
	enum { ROWS = 16 };
	const size_t rows = d->w->out;
	double *sum = xmalloc(ROWS * columns * sizeof(*sum));
	float *all = xmalloc(rows * columns * sizeof(*all));

	for (size_t o = 0; o < rows; o += ROWS) {
		const size_t n = rows - o < ROWS ? rows - o : ROWS;
		const struct delta_tile tile = { o, n, 0, columns, sum, columns };

		memset(sum, 0, n * columns * sizeof(*sum));
		d->kind->add_delta(d, &tile, NULL);
		for (size_t i = 0; i < n * columns; i++)
			all[o * columns + i] = (float)sum[i];
	}
	free(sum);
	return all;
}

/* --conv-rank counts where sd-scripts' new_conv_rank does: for each convolution of the model, 1x1 too. */
static size_t most_of(const struct resizing *r, const struct file_module *m)
{
	const struct merge_options *o = r->options;

	return m->layer->convolution && o->conv_rank ? o->conv_rank : o->rank;
}

static size_t rank_of(const struct resizing *r, const struct file_module *m, const struct lowrank *l, bool all_known)
{
	double sum = 0;
	struct spectrum s = { l->value, l->known, l->rows < l->columns ? l->rows : l->columns, l->squares, -1 };

	for (size_t i = 0; i < l->known; i++)
		sum += l->value[i];
	if (all_known)
		s.sum = sum;
	return rank_kept(r->rule, r->parameter, most_of(r, m), &s);
}

/* The new factors as the file will have them. */
static struct factors make_factors(const struct resizing *r, const struct lowrank *l, struct resized *to)
{
	to->up = xmalloc(l->rows * to->rank * sizeof(*to->up));
	to->down = xmalloc(to->rank * l->columns * sizeof(*to->down));
	lowrank_factors(l, to->rank, to->up, to->down);
	round_floats(to->up, r->type, l->rows * to->rank);
	round_floats(to->down, r->type, to->rank * l->columns);
	return (struct factors){ to->up, to->down, to->rank };
}

/* A LoRA's own factors with zeros behind them, which lose nothing. */
static struct factors pad_factors(const struct resizing *r, const struct factors *was, size_t rows, size_t columns,
				  struct resized *to)
{
	to->up = xcalloc(rows * to->rank, sizeof(*to->up));
	to->down = xcalloc(to->rank * columns, sizeof(*to->down));
	for (size_t o = 0; o < rows; o++)
		memcpy(to->up + o * to->rank, was->up + o * was->rank, was->rank * sizeof(*to->up));
	memcpy(to->down, was->down, was->rank * columns * sizeof(*to->down));
	round_floats(to->up, r->type, rows * to->rank);
	round_floats(to->down, r->type, to->rank * columns);
	return (struct factors){ to->up, to->down, to->rank };
}

static void resize_product(const struct resizing *r, const struct file_module *m, const struct delta *d,
			   struct resized *to)
{
	const size_t rows = d->w->out, columns = (size_t)d->w->in * d->w->kh * d->w->kw;
	const bool plain = m->kind == &kind_lora && !m->part[LORA_MID];
	struct delta_factors f;
	struct factors was, now;
	struct lowrank l;

	delta_factors(d, &f);
	was = (struct factors){ f.up, f.down, f.rank };
	lowrank_of_product(&l, f.up, f.down, rows, columns, f.rank);
	to->rank = rank_of(r, m, &l, true);
	to->update = sqrt(l.squares);
	if (!plain || to->rank != f.rank) {
		now = plain && to->rank > f.rank ? pad_factors(r, &was, rows, columns, to) : make_factors(r, &l, to);
		to->lost = lowrank_lost_of_product(&was, rows, columns, &now);
	}
	lowrank_free(&l);
	delta_factors_free(&f);
}

static int resize_whole(const struct resizing *r, const struct file_module *m, const struct delta *d,
			struct resized *to)
{
	const size_t rows = d->w->out, columns = (size_t)d->w->in * d->w->kh * d->w->kw, most = most_of(r, m);
	struct factors now;
	struct lowrank l;
	float *all;

	if (!most || (r->rule && r->rule->needs_sum))
		return fail(&to->error, EXIT_USAGE,
			    "%s: '%.200s' is a %s of full rank; say --rank R, which --keep, sv_ratio and sv_fro then "
			    "do not exceed", r->a->file->path, m->name, m->kind->name);
	all = whole_of(d, columns);
	lowrank_of_matrix(&l, all, rows, columns, most);
	to->rank = rank_of(r, m, &l, false);
	to->update = sqrt(l.squares);
	now = make_factors(r, &l, to);
	to->lost = lowrank_lost_of_matrix(all, rows, columns, &now);
	lowrank_free(&l);
	free(all);
	return 0;
}

/* A LoRA, or a kind that becomes one: not what is added whole to a layer, a norm or a bias. */
static bool has_rank(const struct file_module *m)
{
	return m->kind != &kind_full && !m->layer->norm;
}

/* alpha / rank stays as it was, as sd-scripts leaves it. */
static double new_alpha(const struct file_module *m, const struct resized *to)
{
	return kind_scale(m->kind, &m->form, m->alpha) * to->rank;
}

/* What the alpha loses as a number of a file, of the whole update. */
static double lost_in_alpha(double alpha)
{
	return alpha != 0 ? fabs(alpha_as_written(NULL, alpha) / alpha - 1) : 0;
}

static int resize_module(const struct resizing *r, const struct file_module *m, struct resized *to)
{
	const double scale = fabs(kind_scale(m->kind, &m->form, m->alpha));
	struct delta d = { 0 };
	size_t factors;
	int status;

	if (m->kind->needs_base)
		return fail(&to->error, EXIT_INPUT,
			    "%s: '%.200s' is an %s, which turns the weights of a model and has no rank; make it a LoRA "
			    "first: lora-merge convert", r->a->file->path, m->name, m->kind->name);
	status = file_module_delta(&d, r->a, m, &to->error);
	d.scale = 1;                    /* as sd-scripts has singular values, for what is nothing to it */
	factors = status ? 0 : delta_factors_rank(&d);
	if (!status && factors && factors <= MOST_FACTORS)
		resize_product(r, m, &d, to);
	else if (!status)
		status = resize_whole(r, m, &d, to);
	to->update *= scale;
	to->lost *= scale;
	if (to->up)
		to->lost = hypot(to->lost, to->update * lost_in_alpha(new_alpha(m, to)));
	delta_end(&d);
	return status;
}

/* ---- all of them ---- */

static void work(void *context, size_t i, void *slot)
{
	const struct resizing *r = context;
	const struct file_module *m = r->terms.item[i].module;
	struct resized *to = slot;

	to->update = NAN;
	to->failed = has_rank(m) && resize_module(r, m, to);
}

static int put(struct resizing *r, const struct file_module *m, struct resized *to)
{
	if (!to->up)
		return output_copy(r->out, r->a, m, r->error);
	output_add_lora(r->out, &(struct output_lora){ m->layer, (int)to->rank, new_alpha(m, to), to->down, to->up });
	to->up = to->down = NULL;
	output_copy_lengths(r->out, r->a, m);
	return output_copy_bias(r->out, r->a, m, r->error);
}

static int tell(struct resizing *r, const struct file_module *m, const struct resized *to)
{
	struct tally_line line = { .layer = m->layer, .rank = m->form.rank, .adapters = 1, .alpha = m->alpha,
				   .copied = !to->up, .update = to->update, .lost = to->lost };

	if (to->up) {
		line.rank = (int)to->rank;
		line.alpha = new_alpha(m, to);
	}
	return tally_module(&r->tally, &line, r->error);
}

static int take(void *context, size_t i, void *slot)
{
	struct resizing *r = context;
	struct resized *to = slot;

	if (to->failed) {
		*r->error = to->error;
		return -1;
	}
	if (tell(r, r->terms.item[i].module, to))
		return -1;
	return put(r, r->terms.item[i].module, to);
}

static void release(void *slot)
{
	struct resized *to = slot;

	free(to->up);
	free(to->down);
}

static int choose_rule(struct resizing *r, struct error *e)
{
	const struct merge_options *o = r->options;
	const bool keep = o->keep > 0;

	if (keep && o->dynamic_method)
		return fail(e, EXIT_USAGE, "--keep and --dynamic-method both choose the rank; say one");
	if (!keep && !o->dynamic_method && !o->rank)
		return fail(e, EXIT_USAGE, "no rank; say --rank R, --keep SHARE or --dynamic-method");
	if (!o->dynamic_method != !(o->dynamic_param > 0))
		return fail(e, EXIT_USAGE, "--dynamic-method and --dynamic-param belong together");
	r->parameter = keep ? o->keep : o->dynamic_param;
	r->rule = keep ? rank_rule("keep") : o->dynamic_method ? rank_rule(o->dynamic_method) : NULL;
	if (r->rule && (r->parameter < r->rule->least || (r->rule->most > 0 && r->parameter > r->rule->most)))
		return fail(e, EXIT_USAGE, "--dynamic-param %g: %s takes a %s", r->parameter, r->rule->name,
			    r->rule->most > 0 ? "share, above 0 and at most 1" : "ratio, at least 1");
	return 0;
}

static int open_adapter(struct resizing *r, struct error *e)
{
	if (inputs_open(&r->in, r->options, e))
		return -1;
	if (r->in.item[0].weight != 1)
		return fail(e, EXIT_USAGE, "'%.200s': resize takes no weight; lora-merge add gives it one",
			    r->options->adapter[0]);
	r->a = r->in.item[0].file;
	return inputs_terms(&r->in, &r->terms, e);
}

static int resize_all(struct resizing *r, struct error *e)
{
	const struct ring_job modules = { .count = r->terms.count, .threads = threads_default(),
					  .slot = sizeof(struct resized), .context = r, .work = work, .take = take,
					  .release = release };

	r->type = inputs_dtype(&r->in, r->options);
	r->error = e;
	r->out = output_new(r->a->family, &r->a->blocks, r->type);
	output_of_one_type(r->out, r->options->save_precision != NULL);
	inputs_tell(r->in.item, r->in.count, output_said(r->out));
	return ring_run(&modules) || output_save(r->out, r->options->out, e) ? -1 : 0;
}

int merge_resize(const struct merge_options *o, struct error *e)
{
	struct resizing r = { .options = o };
	int status = choose_rule(&r, e);

	if (!status)
		status = open_adapter(&r, e);
	if (!status)
		status = tally_begin(&r.tally, o->report, &r.a->blocks, e);
	if (!status)
		status = resize_all(&r, e);
	if (!status)
		status = tally_end(&r.tally, o->out, e);
	tally_free(&r.tally);
	output_free(r.out);
	free(r.terms.item);
	inputs_close(&r.in);
	return status;
}
