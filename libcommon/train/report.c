#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../io/publish.h"
#include "internal.h"
#include "settings/adapter.h"

#define SMOOTHING 0.98
#define BLOCKS 64                       /* SDXL has 21 */
#define CONFIG_CAP 40000                /* bytes: escaped, a line must stay under 64 KiB */
#define KEY_ROOM 80
#define PROMPT_CAP 8000

static void report_resume(struct run *r)
{
	json_text(events_begin(&r->witness.events, "resume", r->course.done), "path", r->keeper.resumed);
	events_tell(&r->witness.events);
}

/* Keys whose value is not the default: what one looks for in a list of a hundred. */
static void tell_changed(const struct run *r, struct json_out *j)
{
	const struct option *o;
	char buffer[KEY_ROOM];

	json_begin_array(j, "changed");
	for (o = r->tool->table; o->name || o->help; o++)
		if (option_file_key(o, buffer) && !option_is_default(o))
			json_text(j, NULL, option_file_key(o, buffer));
	json_end_array(j);
}

void report_start(struct run *r)
{
	struct json_out *j;
	size_t i, pictures = 0, regularization = 0;

	for (i = 0; i < r->data.set.count; i++)
		*(r->data.set.sample[i].regularization ? &regularization : &pictures) += 1;
	if (r->keeper.resumed)
		report_resume(r);
	j = events_begin(&r->witness.events, "start", r->course.done);
	json_int(j, "steps", r->course.total);
	json_int(j, "pictures", pictures);
	json_int(j, "regularization_pictures", regularization);
	json_int(j, "batches_per_epoch", order_batches(r->data.order));
	json_int(j, "modules", r->net.adapter->count);
	json_big(j, "seed", r->course.seed);
	json_int(j, "activation_bytes", r->net.activation_bytes);
	json_int(j, "planned_bytes", r->net.planned_bytes);
	json_text(j, "device", r->net.be->name);
	if (r->data.held_out)
		json_int(j, "validation_pictures", r->data.held_out);
	if (strlen(r->keeper.config) < CONFIG_CAP)
		json_text(j, "config", r->keeper.config);
	tell_changed(r, j);
	events_tell(&r->witness.events);
	note("%zu pictures, %zu regularisation pictures, %zu batches an epoch; %zu modules of rank %ld; steps %ld to %ld",
	     pictures, regularization, order_batches(r->data.order), r->net.adapter->count, r->s->rank, r->course.done + 1, r->course.total);
	if (!r->s->dry_run)
		r->witness.progress = progress_begin("training", "steps", r->course.total);
}

/* ---- a step ---- */

static void smooth(double *curve, double x)
{
	*curve = *curve ? SMOOTHING * *curve + (1 - SMOOTHING) * x : x;
}

static void smooth_curves(struct run *r, const struct step_facts *f)
{
	int i;

	smooth(&r->witness.curves[CURVE_LOSS], f->loss);
	for (i = 0; i < LOSS_BINS; i++)
		if (f->bin_samples[i])
			smooth(&r->witness.curves[CURVE_BIN + i], f->bin_loss[i] / f->bin_samples[i]);
}

static void tell_curves(const struct run *r, struct json_out *j)
{
	int i;

	json_number(j, "loss_smooth", r->witness.curves[CURVE_LOSS]);
	json_begin_array(j, "loss_by_timestep");
	for (i = 0; i < LOSS_BINS; i++)
		if (r->witness.curves[CURVE_BIN + i])
			json_number(j, NULL, r->witness.curves[CURVE_BIN + i]);
		else
			json_none(j, NULL);
	json_end_array(j);
}

/* The rate of the first module of UNet or text encoders; what is not trained has none. */
static void tell_rate(const struct run *r, struct json_out *j, const char *field, bool unet, double multiplier)
{
	size_t i;

	for (i = 0; i < r->course.optimizer.count; i++)
		if (unet == !strncmp(r->course.optimizer.parameter[i].name, "lora_unet_", 10)) {
			json_number(j, field, optimizer_lr(&r->course.optimizer.settings, r->course.optimizer.parameter[i].lr, multiplier, r->course.done));
			return;
		}
}

static long number_after(const char *name, const char *prefix)
{
	size_t n = strlen(prefix);

	return !strncmp(name, prefix, n) && isdigit((unsigned char)name[n]) ? strtol(name + n, NULL, 10) : -1;
}

/* The names that A1111's block weights use: IN04, M00, OUT05; TE1, TE2. */
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

/* With convolutions a block's modules are no neighbours: its attentions come first, its resnets after the next block's attentions. */
static void tell_update_norms(const struct run *r, struct json_out *j)
{
	struct { char block[16]; double sum; } norm[BLOCKS];
	size_t i, k, n = 0;

	for (i = 0; i < r->course.optimizer.count; i++) {
		const struct parameter *p = &r->course.optimizer.parameter[i];
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

/* What the process really occupies; 0 where no /proc tells. */
static long resident_bytes(void)
{
	struct buffer text = { 0 };
	struct error ignored;
	long size, resident = 0;

	if (read_file("/proc/self/statm", 4096, &text, &ignored) < 0 || sscanf(text.data, "%ld %ld", &size, &resident) != 2)
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

void report_step(struct run *r, const struct step_facts *f)
{
	struct json_out *j = events_begin(&r->witness.events, "step", r->course.done);
	char words[64];

	if (f->finite)
		smooth_curves(r, f);
	json_int(j, "epoch", f->epoch + 1);
	json_number(j, "loss", f->loss);
	json_number(j, "lr", optimizer_lr(&r->course.optimizer.settings, adapter_settings_rate(r->s), f->lr, r->course.done));
	if (optimizer_d(&r->course.optimizer) > 0)
		json_number(j, "d", optimizer_d(&r->course.optimizer));
	json_number(j, "grad_norm", f->grad_norm);
	json_number(j, "samples_per_s", f->samples / f->seconds);
	json_number(j, "seconds", f->seconds);
	if (!f->finite)
		json_bool(j, "nonfinite", true);
	tell_curves(r, j);
	tell_rate(r, j, "lr_unet", true, f->lr);
	tell_rate(r, j, "lr_te", false, f->lr);
	if (f->finite)
		tell_update_norms(r, j);
	tell_measures(f, j);
	board_step(r, f);
	events_tell(&r->witness.events);
	board_epoch(r);
	snprintf(words, sizeof(words), "loss %.4f", r->witness.curves[CURVE_LOSS]);
	progress_at(r->witness.progress, r->course.done, words);
}

/* ---- the rest ---- */

void report_save(struct run *r, const char *event, const char *path)
{
	json_text(events_begin(&r->witness.events, event, r->course.done), "path", path);
	events_tell(&r->witness.events);
}

void report_finding(struct run *r, const char *kind, const char *say)
{
	struct json_out *j = events_begin(&r->witness.events, "finding", r->course.done);

	json_text(j, "kind", kind);
	json_text(j, "say", say);
	events_tell(&r->witness.events);
}

void report_nonfinite(struct run *r, long step, const char *path, const char *say)
{
	struct json_out *j = events_begin(&r->witness.events, "finding", step);

	json_text(j, "kind", "nonfinite");
	json_text(j, "say", say);
	json_text(j, "path", path);
	events_tell(&r->witness.events);
}

void report_validation(struct run *r, const double *loss, int timesteps, size_t pictures, bool of_step, bool of_epoch)
{
	struct json_out *j = events_begin(&r->witness.events, "validation", r->course.done);
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
	board_validation(r, sum, of_step, of_epoch);
}

void report_sample(struct run *r, size_t index, const char *path, const char *prompt, uint64_t seed, int width, int height)
{
	struct json_out *j = events_begin(&r->witness.events, "sample", r->course.done);

	json_text(j, "path", path);
	json_int(j, "index", index);
	json_text_n(j, "prompt", prompt, strnlen(prompt, PROMPT_CAP));
	json_big(j, "seed", seed);
	json_int(j, "width", width);
	json_int(j, "height", height);
	events_tell(&r->witness.events);
}

void report_end(struct run *r, const char *why, bool done)
{
	struct json_out *j = events_begin(&r->witness.events, "end", r->course.done);
	char *adapter = done && !r->data.replaying ? run_adapter_path(r) : NULL;

	json_text(j, "why", why);
	if (adapter)
		json_text(j, "adapter", adapter);
	events_tell(&r->witness.events);
	free(adapter);
}

int report_lr(const struct run *r, struct error *e)
{
	struct json_out j = { 0 };
	long k;
	int result = 0;

	optimizer_explain_lr(&r->course.optimizer.settings);
	for (k = 0; k < r->course.total && !result; k++) {
		json_begin(&j, NULL);
		json_text(&j, "event", "lr");
		json_int(&j, "step", k + 1);
		json_number(&j, "lr", optimizer_lr(&r->course.optimizer.settings, adapter_settings_rate(r->s), lr_multiplier(&r->course.lr, k), k + 1));
		json_end(&j);
		result = json_line(&j, STDOUT_FILENO, e);
	}
	json_free(&j);
	return result < 0 ? fail_at(e, "standard output") : 0;
}
