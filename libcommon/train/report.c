/* The events of a run: start, step, save, validation, sample, end. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../io/publish.h"
#include "witness.h"
#include "settings/adapter.h"

#define SMOOTHING 0.98
#define BLOCKS 64                       /* SDXL has 21 */
#define CONFIG_CAP 40000                /* bytes: escaped, a line must stay under 64 KiB */
#define KEY_ROOM 80
#define PROMPT_CAP 8000

static void report_resume(struct witness *w, const char *resumed)
{
	json_text(events_begin(&w->events, "resume", w->course->done), "path", resumed);
	events_tell(&w->events);
}

/* Adds the keys whose value is not the default, since the list of all has a hundred. */
static void tell_changed(const struct witness *w, struct json_out *j)
{
	const struct option *o;
	char buffer[KEY_ROOM];

	json_begin_array(j, "changed");
	for (o = w->tool->table; o->name || o->help; o++)
		if (option_file_key(o, buffer) && !option_is_default(o))
			json_text(j, NULL, option_file_key(o, buffer));
	json_end_array(j);
}

void report_start(struct witness *w, const char *config, const char *resumed)
{
	struct json_out *j;
	size_t i, pictures = 0, regularization = 0;

	for (i = 0; i < w->data->set.count; i++)
		*(w->data->set.sample[i].regularization ? &regularization : &pictures) += 1;
	if (resumed)
		report_resume(w, resumed);
	j = events_begin(&w->events, "start", w->course->done);
	json_int(j, "steps", w->course->total);
	json_int(j, "pictures", pictures);
	json_int(j, "regularization_pictures", regularization);
	json_int(j, "batches_per_epoch", order_batches(w->data->order));
	json_int(j, "modules", w->net->adapter->count);
	json_big(j, "seed", w->course->seed);
	json_int(j, "activation_bytes", w->net->activation_bytes);
	json_int(j, "planned_bytes", w->net->planned_bytes);
	json_text(j, "device", w->net->be->name);
	if (w->data->held_out)
		json_int(j, "validation_pictures", w->data->held_out);
	if (strlen(config) < CONFIG_CAP)
		json_text(j, "config", config);
	tell_changed(w, j);
	events_tell(&w->events);
	note("%zu pictures, %zu regularisation pictures, %zu batches an epoch; %zu modules of rank %ld; "
	     "steps %ld to %ld", pictures, regularization, order_batches(w->data->order), w->net->adapter->count,
	     w->s->rank, w->course->done + 1, w->course->total);
	if (!w->s->dry_run)
		w->progress = progress_begin("training", "steps", w->course->total);
}

/* ---- a step ---- */

static void smooth(double *curve, double x)
{
	*curve = *curve ? SMOOTHING * *curve + (1 - SMOOTHING) * x : x;
}

static void smooth_curves(struct witness *w, const struct step_facts *f)
{
	int i;

	smooth(&w->curves[CURVE_LOSS], f->loss);
	for (i = 0; i < LOSS_BINS; i++)
		if (f->bin_samples[i])
			smooth(&w->curves[CURVE_BIN + i], f->bin_loss[i] / f->bin_samples[i]);
}

static void tell_curves(const struct witness *w, struct json_out *j)
{
	int i;

	json_number(j, "loss_smooth", w->curves[CURVE_LOSS]);
	json_begin_array(j, "loss_by_timestep");
	for (i = 0; i < LOSS_BINS; i++)
		if (w->curves[CURVE_BIN + i])
			json_number(j, NULL, w->curves[CURVE_BIN + i]);
		else
			json_none(j, NULL);
	json_end_array(j);
}

/* Adds the learning rate of the first module of UNet or text encoders; nothing where these are not trained. */
static void tell_rate(const struct witness *w, struct json_out *j, const char *field, bool unet, double multiplier)
{
	size_t i;

	for (i = 0; i < w->course->optimizer.count; i++)
		if (unet == !strncmp(w->course->optimizer.parameter[i].name, "lora_unet_", 10)) {
			json_number(j, field, optimizer_lr(&w->course->optimizer.settings,
							   w->course->optimizer.parameter[i].lr, multiplier,
							   w->course->done));
			return;
		}
}

static long number_after(const char *name, const char *prefix)
{
	size_t n = strlen(prefix);

	return !strncmp(name, prefix, n) && isdigit((unsigned char)name[n]) ? strtol(name + n, NULL, 10) : -1;
}

/* The block of a module, by the names of A1111's block weights: IN04, M00, OUT05; TE1, TE2. */
static void block_of(const char *name, char block[16])
{
	long in = number_after(name, "lora_unet_input_blocks_"), out = number_after(name, "lora_unet_output_blocks_");

	if (in >= 0)
		snprintf(block, 16, "IN%02d", (int)(in % 100));
	else if (out >= 0)
		snprintf(block, 16, "OUT%02d", (int)(out % 100));
	else if (!strncmp(name, "lora_unet_middle_block_", 23))
		strcpy(block, "M00");
	else if (number_after(name, "lora_te") > 0)
		snprintf(block, 16, "TE%d", (int)(number_after(name, "lora_te") % 100));
	else
		strcpy(block, "OTHER");
}

/* Adds the norm of the last update for each block.  With convolutions a block's modules are not adjacent: its
 * attentions come first, and its resnets after the next block's attentions. */
static void tell_update_norms(const struct witness *w, struct json_out *j)
{
	struct { char block[16]; double sum; } norm[BLOCKS];
	size_t i, k, n = 0;

	for (i = 0; i < w->course->optimizer.count; i++) {
		const struct parameter *p = &w->course->optimizer.parameter[i];
		char block[16];
		block_of(p->name, block);
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
}

void report_step(struct witness *w, const struct step_facts *f)
{
	struct json_out *j = events_begin(&w->events, "step", w->course->done);
	char words[64];

	if (f->finite)
		smooth_curves(w, f);
	json_int(j, "epoch", f->epoch + 1);
	json_number(j, "loss", f->loss);
	json_number(j, "lr", optimizer_lr(&w->course->optimizer.settings, adapter_settings_rate(w->s), f->lr,
					  w->course->done));
	if (optimizer_d(&w->course->optimizer) > 0)
		json_number(j, "d", optimizer_d(&w->course->optimizer));
	json_number(j, "grad_norm", f->grad_norm);
	json_number(j, "samples_per_s", f->samples / f->seconds);
	json_number(j, "seconds", f->seconds);
	if (!f->finite)
		json_bool(j, "nonfinite", true);
	tell_curves(w, j);
	tell_rate(w, j, "lr_unet", true, f->lr);
	tell_rate(w, j, "lr_te", false, f->lr);
	if (f->finite)
		tell_update_norms(w, j);
	tell_measures(f, j);
	board_step(w, f);
	events_tell(&w->events);
	board_epoch(w);
	snprintf(words, sizeof(words), "loss %.4f", w->curves[CURVE_LOSS]);
	progress_at(w->progress, w->course->done, words);
}

/* ---- other events ---- */

void report_save(struct witness *w, const char *event, const char *path)
{
	json_text(events_begin(&w->events, event, w->course->done), "path", path);
	events_tell(&w->events);
}

void report_finding(struct witness *w, const char *kind, const char *say)
{
	struct json_out *j = events_begin(&w->events, "finding", w->course->done);

	json_text(j, "kind", kind);
	json_text(j, "say", say);
	events_tell(&w->events);
}

void report_nonfinite(struct witness *w, long step, const char *path, const char *say)
{
	struct json_out *j = events_begin(&w->events, "finding", step);

	json_text(j, "kind", "nonfinite");
	json_text(j, "say", say);
	json_text(j, "path", path);
	events_tell(&w->events);
}

void report_validation(struct witness *w, const double *loss, int timesteps, size_t pictures, bool of_step,
		       bool of_epoch)
{
	struct json_out *j = events_begin(&w->events, "validation", w->course->done);
	double sum = 0;
	int i;

	for (i = 0; i < timesteps; i++)
		sum += loss[i] / timesteps;
	json_number(j, "loss", sum);
	json_begin_array(j, "loss_by_timestep");
	for (i = 0; i < timesteps; i++)
		json_number(j, NULL, loss[i]);
	json_end_array(j);
	json_int(j, "pictures", pictures);
	board_validation(w, sum, of_step, of_epoch);
}

void report_sample(struct witness *w, size_t index, const char *path, const char *prompt, uint64_t seed, int width,
		   int height)
{
	struct json_out *j = events_begin(&w->events, "sample", w->course->done);

	json_text(j, "path", path);
	json_int(j, "index", index);
	json_text_n(j, "prompt", prompt, strnlen(prompt, PROMPT_CAP));
	json_big(j, "seed", seed);
	json_int(j, "width", width);
	json_int(j, "height", height);
	events_tell(&w->events);
}

void report_end(struct witness *w, const char *why, const char *adapter)
{
	struct json_out *j = events_begin(&w->events, "end", w->course->done);

	json_text(j, "why", why);
	if (adapter)
		json_text(j, "adapter", adapter);
	events_tell(&w->events);
}

int report_lr(const struct course *c, struct error *e)
{
	struct json_out j = { 0 };
	long k;
	int result = 0;

	optimizer_explain_lr(&c->optimizer.settings);
	for (k = 0; k < c->total && !result; k++) {
		json_begin(&j, NULL);
		json_text(&j, "event", "lr");
		json_int(&j, "step", k + 1);
		json_number(&j, "lr", optimizer_lr(&c->optimizer.settings, adapter_settings_rate(c->s),
						   lr_multiplier(&c->lr, k), k + 1));
		json_end(&j);
		result = json_line(&j, STDOUT_FILENO, e);
	}
	json_free(&j);
	return result < 0 ? fail_at(e, "standard output") : 0;
}

void witness_free(struct witness *w)
{
	progress_end(w->progress);
	samples_free(w->samples);
	events_free(&w->events);
	loss_mean_free(&w->mean);
}
