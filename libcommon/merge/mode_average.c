/* lora-merge average: one adapter of the saves of one run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "averages.h"
#include "inputs.h"
#include "output.h"
#include "tally.h"
#include "whole_update.h"

struct averaging {
	const struct merge_options *options;
	struct inputs in;
	size_t n;
	double *step, *weight;          /* of each save, in their order */
	bool steps;                     /* the files say theirs; else they are counted */
	const struct adapter_file *last;
	/* the last save with other numbers */
	struct safetensors file;
	struct adapter_file view;
	struct output *out;
	struct tally tally;
};

/* ---- their order ---- */

/* Of a save of ours or of kohya's scripts; 0: it does not say */
static double step_of(const struct safetensors *s)
{
	const char *saved = safetensors_metadata(s, SAVED_KEY), *steps = safetensors_metadata(s, "ss_steps");
	long step = 0;

	if (saved && sscanf(saved, "step=%ld", &step) == 1)
		return step > 0 ? (double)step : 0;
	return steps && sscanf(steps, "%ld", &step) == 1 && step > 0 ? (double)step : 0;
}

static int by_step(const void *left, const void *right)
{
	const double a = step_of(((const struct input *)left)->file->file),
		     b = step_of(((const struct input *)right)->file->file);

	return a < b ? -1 : a > b;
}

/* By their steps where all files say them and no two are the same; else as they were named. */
static void order(struct averaging *a)
{
	struct input *sorted = xmalloc(a->n * sizeof(*sorted));

	memcpy(sorted, a->in.item, a->n * sizeof(*sorted));
	qsort(sorted, a->n, sizeof(*sorted), by_step);
	a->steps = true;
	for (size_t i = 0; i < a->n; i++) {
		a->step[i] = step_of(sorted[i].file->file);
		a->steps &= a->step[i] > (i ? a->step[i - 1] : 0);
	}
	if (a->steps)
		memcpy(a->in.item, sorted, a->n * sizeof(*sorted));
	for (size_t i = 0; i < a->n && !a->steps; i++)
		a->step[i] = (double)i + 1;
	free(sorted);
}

static void weigh(struct averaging *a)
{
	const struct merge_options *o = a->options;

	if (o->width > 0)
		weights_of_power(a->weight, a->step, a->n, gamma_of_width(o->width));
	else if (o->ema > 0)
		weights_of_ema(a->weight, a->n, o->ema);
	else
		weights_of_mean(a->weight, a->n);
	for (size_t i = 0; i < a->n; i++)
		a->in.item[i].weight = a->weight[i];
}

/* What tells one run from another, ours and kohya's; the first that both files say decides. */
static const char *const marks[] = { RUN_KEY, "ss_session_id", "ss_training_started_at" };

static bool of_two_runs(const struct safetensors *a, const struct safetensors *b)
{
	for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
		const char *x = safetensors_metadata(a, marks[i]), *y = safetensors_metadata(b, marks[i]);

		if (x && y)
			return strcmp(x, y) != 0;
	}
	return false;
}

/* Factors of two runs have nothing to do with each other: their mean is no mean of what they do. */
static int check_run(const struct averaging *a, struct error *e)
{
	const struct input *first = &a->in.item[0];

	for (size_t i = 0; i < a->n; i++) {
		const struct input *other = &a->in.item[i];

		if (other->weight != 1)
			return fail(e, EXIT_USAGE, "average takes no weights; lora-merge add FILE:W... does");
		if (of_two_runs(first->file->file, other->file->file))
			return fail(e, EXIT_INPUT,
				    "%s and %s are of different runs, whose factors have no mean; "
				    "lora-merge add FILE:W... adds their updates", first->path, other->path);
	}
	return 0;
}

/* ---- numbers ---- */

static int unlike(const struct averaging *a, size_t i, const char *name, struct error *e)
{
	return fail(e, EXIT_INPUT, "%s: '%.200s' is not as in %s; the saves of one run have the same modules, ranks, "
				   "alphas and types", a->in.item[i].path, name, a->in.item[a->n - 1].path);
}

static const struct file_module *same_module(const struct adapter_file *f, const struct file_module *m)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->module[i].layer->component == m->layer->component && f->module[i].kind == m->kind &&
		    !strcmp(f->module[i].layer->name, m->layer->name))
			return &f->module[i];
	return NULL;
}

static bool same_form(const struct safetensor *a, const struct safetensor *b)
{
	if (!a || !b)
		return a == b;
	return a->dtype == b->dtype && a->bytes == b->bytes && a->dims == b->dims &&
	       !memcmp(a->shape, b->shape, a->dims * sizeof(*a->shape));
}

/* The tensors of a module that are averaged: its parts, a DoRA's lengths, a bias. */
enum { AVERAGED = BRANCH_PARTS + 2 };

static const struct safetensor *tensor_of(const struct file_module *m, int k)
{
	return k < BRANCH_PARTS ? m->part[k] : k == BRANCH_PARTS ? m->lengths : m->bias;
}

/* The square of what rounding took of the numbers, as a share of theirs */
static double share_lost(const double *exact, const float *rounded, size_t n)
{
	double all = 0, lost = 0;

	for (size_t i = 0; i < n; i++) {
		all += exact[i] * exact[i];
		lost += (exact[i] - rounded[i]) * (exact[i] - rounded[i]);
	}
	return all > 0 ? lost / all : 0;
}

/* module: of each save, in their order; data: of the view.  *lost: share_lost() is added */
static int average_tensor(const struct averaging *a, const struct file_module *const *module, int k,
			  unsigned char *data, double *lost, struct error *e)
{
	const struct safetensor *t = tensor_of(module[a->n - 1], k);
	const size_t count = safetensor_elements(t);
	double *sum = xcalloc(count + 1, sizeof(*sum));
	float *rounded;

	for (size_t i = 0; i < a->n; i++) {
		float *x = adapter_file_floats(a->in.item[i].file, tensor_of(module[i], k), true, e);

		for (size_t j = 0; x && j < count; j++)
			sum[j] += a->weight[i] * x[j];
		free(x);
		if (!x) {
			free(sum);
			return -1;
		}
	}
	rounded = xmalloc((count + 1) * sizeof(*rounded));
	for (size_t j = 0; j < count; j++)
		rounded[j] = (float)sum[j];
	if (t->dtype == DTYPE_F64) {
		memcpy(data + t->offset, sum, t->bytes);
	} else {
		if (from_float(data + t->offset, t->dtype, rounded, count))
			die(EXIT_OTHER, "bug: factors of type %s", dtype_name(t->dtype));
		to_float(rounded, data + t->offset, t->dtype, count);
		*lost += share_lost(sum, rounded, count);
	}
	free(sum);
	free(rounded);
	return 0;
}

/* The errors of its parts are small, and add up as those of a product's factors do. */
static int tally(struct averaging *a, const struct file_module *m, double lost, struct error *e)
{
	struct tally_line line = { .layer = m->layer, .rank = m->form.rank, .alpha = m->alpha, .adapters = a->n };

	if (update_norm(&line.update, &a->view, m, e))
		return -1;
	line.lost = line.update * sqrt(lost);
	return tally_module(&a->tally, &line, e);
}

static int average_module(struct averaging *a, const struct file_module *m, unsigned char *data, struct error *e)
{
	const struct file_module **module = xcalloc(a->n, sizeof(*module));
	double lost = 0;
	int status = 0;

	for (size_t i = 0; i < a->n && !status; i++) {
		module[i] = same_module(a->in.item[i].file, m);
		if (!module[i] || module[i]->alpha != m->alpha || module[i]->by_input != m->by_input)
			status = unlike(a, i, m->name, e);
		for (int k = 0; k < AVERAGED && !status; k++)
			if (!same_form(tensor_of(module[i], k), tensor_of(m, k)))
				status = unlike(a, i, m->name, e);
	}
	for (int k = 0; k < AVERAGED && !status; k++)
		if (tensor_of(m, k))
			status = average_tensor(a, module, k, data, k < BRANCH_PARTS ? &lost : &(double){ 0 }, e);
	free(module);
	return status ? status : tally(a, m, lost, e);
}

/* ---- the whole ---- */

static int average(struct averaging *a, unsigned char *data, struct error *e)
{
	const struct adapter_file *last = a->last;

	for (size_t i = 0; i + 1 < a->n; i++)
		if (a->in.item[i].file->count != last->count)
			return fail(e, EXIT_INPUT, "%s has %zu modules and %s %zu; the saves of one run have the same",
				    a->in.item[i].path, a->in.item[i].file->count, a->in.item[a->n - 1].path,
				    last->count);
	a->file = *last->file;
	a->file.data = data;
	a->view = *last;
	a->view.file = &a->file;
	a->out = output_new(last->family, &last->blocks, DTYPE_F32);
	for (size_t i = 0; i < a->n; i++)
		a->in.item[i].weight = a->weight[i];
	inputs_tell(a->in.item, a->n, output_said(a->out));
	if (tally_begin(&a->tally, a->options->report, &last->blocks, e))
		return -1;
	for (size_t i = 0; i < last->count; i++)
		if (average_module(a, &last->module[i], data, e) ||
		    output_copy(a->out, &a->view, &last->module[i], e))
			return -1;
	return output_save(a->out, a->options->out, e);
}

static void tell(const struct averaging *a)
{
	struct buffer text = { 0 };

	buffer_addf(&text, "%s: %s of %zu saves, ", a->options->out,
		    a->options->width > 0 ? "power average" : a->options->ema > 0 ? "moving average" : "mean", a->n);
	buffer_adds(&text, a->steps ? "at steps" : "in the order given");
	for (size_t i = 0; i < a->n && a->steps; i++)
		buffer_addf(&text, " %.0f", a->step[i]);
	buffer_adds(&text, ", weights");
	for (size_t i = 0; i < a->n; i++)
		buffer_addf(&text, " %.3g", a->weight[i]);
	note("%s", text.data);
	buffer_free(&text);
}

static int run(struct averaging *a, struct error *e)
{
	unsigned char *data;
	size_t bytes;
	int status;

	if (check_run(a, e))
		return -1;
	order(a);
	weigh(a);
	a->last = a->in.item[a->n - 1].file;
	bytes = a->last->file->file_bytes - a->last->file->data_start;
	data = xmalloc(bytes + 1);
	memcpy(data, a->last->file->data, bytes);
	status = average(a, data, e);
	if (!status) {
		tell(a);
		status = tally_end(&a->tally, a->options->out, e);
	}
	tally_free(&a->tally);
	output_free(a->out);
	free(data);
	return status;
}

int merge_average(const struct merge_options *o, struct error *e)
{
	struct averaging a = { .options = o, .n = o->adapters };
	int status;

	if (o->ema > 0 && o->width > 0)
		return fail(e, EXIT_USAGE, "--ema and --sigma-rel are two averages; say one");
	a.step = xcalloc(a.n, sizeof(*a.step));
	a.weight = xcalloc(a.n, sizeof(*a.weight));
	status = inputs_open(&a.in, o, e);
	if (!status)
		status = run(&a, e);
	inputs_close(&a.in);
	free(a.step);
	free(a.weight);
	return status;
}
