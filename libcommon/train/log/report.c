/* The events of a run: start, step, save, validation, sample, end. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../adapter/blocks.h"
#include "../../base/cpu.h"
#include "../../base/text.h"
#include "../../io/publish.h"
#include "../settings/adapter.h"
#include "report.h"

#define SMOOTHING 0.98
#define BLOCKS 64                       /* SDXL has 21 */
#define CONFIG_CAP 40000                /* bytes: escaped, a line must stay under 64 KiB */
#define KEY_ROOM 80
#define PROMPT_CAP 8000

/* Adds the keys whose value is not the default, since the list of all has a hundred. */
static void tell_changed(const struct tool *tool, struct json_out *j)
{
	const struct option *o;
	char buffer[KEY_ROOM];

	json_begin_array(j, "changed");
	for (o = tool->table; o->name || o->help; o++)
		if (option_file_key(o, buffer) && !option_is_default(o))
			json_text(j, NULL, option_file_key(o, buffer));
	json_end_array(j);
}

/* ---- what quantising changed ---- */

static double error_of_all(const struct quantising *q)
{
	struct quantise_loss sum = { 0 };

	for (size_t i = 0; i < q->count; i++) {
		sum.off += q->layer[i].loss.off;
		sum.all += q->layer[i].loss.all;
	}
	return quantise_error(&sum);
}

static const struct quantised_layer *worst_layer(const struct quantising *q)
{
	const struct quantised_layer *worst = &q->layer[0];

	for (size_t i = 0; i < q->count; i++)
		if (!(quantise_error(&q->layer[i].loss) <= quantise_error(&worst->loss)))
			worst = &q->layer[i];
	return worst;
}

/* After the start event: a line for each layer. */
static void tell_quantised(struct run_log *l, const struct start_facts *f)
{
	const struct quantising *q = f->quantising;
	const struct quantised_layer *worst;

	if (!q || !q->count)
		return;
	for (size_t i = 0; i < q->count; i++) {
		struct json_out *j = events_begin(&l->events, "quantised", f->step);

		json_text(j, "component", part_names[q->layer[i].component].key);
		json_text(j, "layer", q->layer[i].name);
		json_number(j, "error", quantise_error(&q->layer[i].loss));
		events_tell(&l->events);
	}
	worst = worst_layer(q);
	note("base_precision = %s: %zu frozen weights are %.3g %% off (RMS); most of all %s, %.3g %%",
	     f->base_precision, q->count, 100 * error_of_all(q), worst->name, 100 * quantise_error(&worst->loss));
}

void report_start(struct run_log *l, const struct tool *tool, const struct start_facts *f)
{
	struct json_out *j;

	if (f->resumed)
		report_path(l, f->step, "resume", f->resumed);
	j = events_begin(&l->events, "start", f->step);
	json_int(j, "steps", f->steps);
	json_int(j, "pictures", f->pictures);
	json_int(j, "regularization_pictures", f->regularization);
	json_int(j, "batches_per_epoch", f->batches_per_epoch);
	json_int(j, "modules", f->modules);
	json_big(j, "seed", f->seed);
	json_int(j, "activation_bytes", f->activation_bytes);
	json_int(j, "planned_bytes", f->planned_bytes);
	json_int(j, "blocks", f->blocks);
	json_int(j, "checkpointed_blocks", f->checkpointed);
	json_bool(j, "cheap_again", f->cheap_again);
	json_text(j, "device", f->device);
	if (*f->engine)
		json_text(j, "exchange", f->engine);
	if (*f->not_joined)
		json_text(j, "exchange_why", f->not_joined);
	json_text(j, "instruction_set", cpu_set());
	if (f->held_out)
		json_int(j, "validation_pictures", f->held_out);
	if (f->quantising && f->quantising->count) {
		json_text(j, "base_precision", f->base_precision);
		json_number(j, "base_error", error_of_all(f->quantising));
	}
	if (strlen(f->config) < CONFIG_CAP)
		json_text(j, "config", f->config);
	tell_changed(tool, j);
	events_tell(&l->events);
	tell_quantised(l, f);
	note("%zu pictures, %zu regularisation pictures, %zu batches an epoch; %zu modules of rank %ld; "
	     "steps %ld to %ld", f->pictures, f->regularization, f->batches_per_epoch, f->modules, f->rank,
	     f->step + 1, f->steps);
	loss_mean_begin(&l->mean, f->batches_per_epoch);
	if (f->trains)
		l->progress = progress_begin("training", "steps", f->steps);
}

/* ---- a step ---- */

static void smooth(double *curve, double x)
{
	*curve = *curve ? SMOOTHING * *curve + (1 - SMOOTHING) * x : x;
}

static void smooth_curves(struct run_log *l, const struct step_facts *f)
{
	int i;

	smooth(&l->curves[CURVE_LOSS], f->loss);
	for (i = 0; i < LOSS_BINS; i++)
		if (f->bin_samples[i])
			smooth(&l->curves[CURVE_BIN + i], f->bin_loss[i] / f->bin_samples[i]);
}

static void tell_curves(const struct run_log *l, struct json_out *j)
{
	int i;

	json_number(j, "loss_smooth", l->curves[CURVE_LOSS]);
	json_begin_array(j, "loss_by_timestep");
	for (i = 0; i < LOSS_BINS; i++)
		if (l->curves[CURVE_BIN + i])
			json_number(j, NULL, l->curves[CURVE_BIN + i]);
		else
			json_none(j, NULL);
	json_end_array(j);
}

/* Adds the learning rate of the first module of UNet or text encoders; nothing where these are not trained. */
static void tell_rate(const struct optimizer *o, struct json_out *j, const char *field, bool unet,
		      const struct step_facts *f)
{
	size_t i;

	for (i = 0; i < o->count; i++)
		if (unet == !strncmp(o->parameter[i].name, "lora_unet_", 10)) {
			json_number(j, field, optimizer_lr(&o->settings, o->parameter[i].lr, f->lr, f->step));
			return;
		}
}

/* Adds the norm of the last update for each block.  With convolutions a block's modules are not adjacent: its
 * attentions come first, and its resnets after the next block's attentions. */
static void tell_update_norms(const struct optimizer *o, struct json_out *j)
{
	struct { char block[BLOCK_NAME]; double sum; } norm[BLOCKS];
	size_t i, k, n = 0;

	for (i = 0; i < o->count; i++) {
		const struct parameter *p = &o->parameter[i];
		char block[BLOCK_NAME];
		block_name(p->name, block);
		for (k = 0; k < n && strcmp(norm[k].block, block); k++)
			;
		if (k == BLOCKS)
			continue;
		if (k == n) {
			strcpy(norm[n].block, block);
			norm[n++].sum = 0;
		}
		norm[k].sum += p->moved * p->moved;
	}
	json_begin(j, "update_norm");
	for (k = 0; k < n; k++)
		json_float(j, norm[k].block, sqrt(norm[k].sum));
	json_end(j);
}

/* The resident memory of the process; 0 where there is no /proc. */
static long resident_bytes(void)
{
	struct buffer text = { 0 };
	struct error ignored;
	long size, resident = 0;

	if (read_file("/proc/self/statm", 4096, &text, &ignored) < 0 ||
	    sscanf(text.data, "%ld %ld", &size, &resident) != 2)
		resident = 0;
	buffer_free(&text);
	return resident * sysconf(_SC_PAGESIZE);
}

static void tell_measures(const struct step_facts *f, struct json_out *j)
{
	json_number(j, "seconds_data", f->data);
	json_number(j, "seconds_compute", f->compute);
	json_number(j, "seconds_optimizer", f->optimizer);
	json_int(j, "memory_bytes", resident_bytes());
	if (f->ranks < 2)
		return;
	json_begin_array(j, "wait_ms");
	for (int r = 0; r < f->ranks; r++)
		json_int(j, NULL, 1000 * f->waited[r]);
	json_end_array(j);
}

static void tell_card(struct run_log *l, const struct step_facts *f, struct json_out *j)
{
	struct card_row row;

	if (!f->use)
		return;
	row = card_row_of(f->use, f->planned_bytes);
	row.step = f->step;
	row.seconds = f->seconds;
	card_tell(&row, j);
	card_rows_add(&l->card, &row);
}

struct card_listener { struct run_log *log; long step; };

static void card_said(void *to, const char *kind, const char *words)
{
	const struct card_listener *l = to;

	report_finding(l->log, l->step, kind, words);
}

static void show_progress(struct run_log *l, const struct step_facts *f)
{
	char words[64];
	const size_t n = text_add(words, sizeof(words), 0, "loss %.4f", l->curves[CURVE_LOSS]);

	if (f->use && isfinite(f->use->figure[USE_BUSY]))
		text_add(words, sizeof(words), n, ", card %.0f %%", f->use->figure[USE_BUSY]);
	progress_at(l->progress, f->step, words);
}

void report_step(struct run_log *l, const struct train_settings *s, const struct optimizer *o,
		 const struct step_facts *f)
{
	struct json_out *j = events_begin(&l->events, "step", f->step);
	struct card_listener listener = { l, f->step };

	if (f->finite)
		smooth_curves(l, f);
	json_int(j, "epoch", f->epoch + 1);
	json_number(j, "loss", f->loss);
	json_number(j, "lr", optimizer_lr(&o->settings, adapter_settings_rate(s), f->lr, f->step));
	if (optimizer_d(o) > 0)
		json_number(j, "d", optimizer_d(o));
	json_number(j, "grad_norm", f->grad_norm);
	json_number(j, "samples_per_s", f->samples / f->seconds);
	json_number(j, "seconds", f->seconds);
	if (!f->finite)
		json_bool(j, "nonfinite", true);
	tell_curves(l, j);
	tell_rate(o, j, "lr_unet", true, f);
	tell_rate(o, j, "lr_te", false, f);
	if (f->finite)
		tell_update_norms(o, j);
	tell_measures(f, j);
	tell_card(l, f, j);
	board_step(l, s, o, f);
	events_tell(&l->events);
	board_epoch(l, f);
	if (f->use)
		card_findings(&l->said, f->use, card_said, &listener);
	show_progress(l, f);
}

/* ---- other events ---- */

void report_path(struct run_log *l, long step, const char *event, const char *path)
{
	json_text(events_begin(&l->events, event, step), "path", path);
	events_tell(&l->events);
}

void report_finding(struct run_log *l, long step, const char *kind, const char *say)
{
	struct json_out *j = events_begin(&l->events, "finding", step);

	json_text(j, "kind", kind);
	json_text(j, "say", say);
	events_tell(&l->events);
}

void report_nonfinite(struct run_log *l, long step, const char *path, const char *say)
{
	struct json_out *j = events_begin(&l->events, "finding", step);

	json_text(j, "kind", "nonfinite");
	json_text(j, "say", say);
	json_text(j, "path", path);
	events_tell(&l->events);
}

void report_validation(struct run_log *l, const struct validation_facts *f)
{
	struct json_out *j = events_begin(&l->events, "validation", f->step);
	double sum = 0;
	int i;

	for (i = 0; i < f->timesteps; i++)
		sum += f->loss[i] / f->timesteps;
	json_number(j, "loss", sum);
	json_begin_array(j, "loss_by_timestep");
	for (i = 0; i < f->timesteps; i++)
		json_number(j, NULL, f->loss[i]);
	json_end_array(j);
	json_int(j, "pictures", f->pictures);
	board_validation(l, sum, f);
}

void report_sample(struct run_log *l, long step, size_t index, const char *path, const char *prompt, uint64_t seed,
		   int width, int height)
{
	struct json_out *j = events_begin(&l->events, "sample", step);

	json_text(j, "path", path);
	json_int(j, "index", index);
	json_text_n(j, "prompt", prompt, strnlen(prompt, PROMPT_CAP));
	json_big(j, "seed", seed);
	json_int(j, "width", width);
	json_int(j, "height", height);
	events_tell(&l->events);
}

void report_end(struct run_log *l, long step, const char *why, const char *adapter)
{
	struct json_out *j = events_begin(&l->events, "end", step);

	progress_end(l->progress);
	l->progress = NULL;
	card_note(&l->card);
	json_text(j, "why", why);
	if (adapter)
		json_text(j, "adapter", adapter);
	events_tell(&l->events);
}

void run_log_free(struct run_log *l)
{
	progress_end(l->progress);
	events_free(&l->events);
	loss_mean_free(&l->mean);
	card_rows_free(&l->card);
}
