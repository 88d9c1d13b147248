/* lora-sample: checks, loading, and the loop over rows and pictures. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/lines.h"
#include "../base/memory.h"
#include "../adapter/adapter_file.h"
#include "inpaint.h"
#include "run_internal.h"

static int attach(struct run *r, int row, struct error *e)
{
	struct pipeline *p = &r->pipeline;
	const struct row w = sample_row(r, row);
	size_t i;

	r->adapter = xcalloc(w.count, sizeof(*r->adapter));
	for (i = 0; i < w.count; i++) {
		double weight;
		char *path;

		if (weighted_path(r->s->loras.item[w.first + i], &path, &weight, e) == 0)
			r->adapter[i] = adapter_load(path, &p->layers, weight, false, p->be, p->device, e);
		free(path);
		if (!r->adapter[i])
			return -1;
		r->adapters++;
	}
	return 0;
}

static void detach(struct run *r)
{
	size_t i;

	for (i = 0; i < r->adapters; i++)
		adapter_free(r->adapter[i]);
	free(r->adapter);
	r->adapter = NULL;
	r->adapters = 0;
}

/* ---- painting ---- */

static void tell_step(void *arg, int step)
{
	struct run *r = arg;

	progress_at(r->progress, ++r->steps_done, NULL);
}

static void draw_torch(void *arg, int step, float *noise, size_t n)
{
	torch_normal(arg, noise, n);
}

static int paint_job(struct run *r, int row, size_t index, struct error *e)
{
	const struct job *j = &r->job[index];
	struct torch_noise torch;
	struct painting what = { .text = j->prompt->text, .negative = j->negative, .zero_negative = r->s->zero_negative,
				 .plain = r->s->plain, .clip_skip = r->s->clip_skip, .width = j->width,
				 .height = j->height, .cfg = j->cfg, .sampler = j->sampler, .steps = j->steps,
				 .seed = j->seed, .draw = r->torch ? draw_torch : NULL, .draw_arg = &torch };
	size_t at = row * r->jobs + index;
	struct noises noise;
	int result = sample_noise(r, index, &torch, &noise, e);

	what.noise = noise.first;
	if (r->mask) {
		what.picture = &r->image;
		what.hole = r->mask;
		what.picture_noise = noise.picture;
		what.hole_noise = noise.hole;
		what.strength = r->s->strength;
	}
	if (!result)
		result = paint(&r->pipeline, &what, &r->latent[at], &r->picture[at], tell_step, r, e);
	sample_noise_free(&noise);
	return result;
}

static int paint_row(struct run *r, int row, struct error *e)
{
	size_t i;

	for (i = 0; i < r->jobs; i++) {
		if (paint_job(r, row, i, e) < 0)
			return -1;
		if ((r->s->output || !r->s->grid) && sample_save_picture(r, row, i, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- the run ---- */

static int check_usage(const struct sample_settings *s, struct error *e)
{
	if (!s->model)
		return fail(e, EXIT_USAGE,
			    "no model; name one with -m (a diffusers folder or a single-file checkpoint)");
	if ((s->compare || s->each) && !s->loras.count)
		return fail(e, EXIT_USAGE, "%s without --lora has nothing to compare",
			    s->compare ? "--compare" : "--each");
	return 0;
}

/* As the first picture will be: before gigabytes are read */
static int sample_picture_check(const struct run *r, struct error *e)
{
	const struct painting what = {
		.width = r->jobs ? r->job[0].width : r->image.width,
		.height = r->jobs ? r->job[0].height : r->image.height,
		.picture = r->mask ? &r->image : NULL, .hole = r->mask,
	};

	return inpaint_check(&r->pipeline, &what, e);
}

/* Checks and loads everything, cheap checks first and the model last. */
static int prepare(struct run *r, struct error *e)
{
	const struct sample_settings *s = r->s;

	if (check_usage(s, e) < 0 || sample_image_open(r, e) < 0 || sample_jobs_make(r, e) < 0 ||
	    sample_noise_open(r, e) < 0 || sample_places_check(s, e) < 0)
		return -1;
	if (pipeline_find(&r->pipeline, s->model, s->model_config, s->vae, e) < 0)
		return -1;
	sample_jobs_size(r);
	if (s->flow_model || r->pipeline.schedule.prediction == PREDICTION_FLOW)
		pipeline_flow(&r->pipeline, s->flow_shift);
	if (sample_picture_check(r, e) < 0 || sample_jobs_check(r, e) < 0 || sample_sheet_check(r, e) < 0)
		return -1;
	if (r->pipeline.config->schedule.other_spacing)
		warning("%s: its scheduler's timestep_spacing is not followed; "
			"the steps are spaced as \"leading\" here", s->model);
	sample_idle_tell(r);
	return pipeline_load(&r->pipeline, s->device, e);
}

static void pictures_begin(struct run *r)
{
	uint64_t steps = 0;
	size_t i;

	r->picture = xcalloc(r->rows * r->jobs, sizeof(*r->picture));
	r->latent = xcalloc(r->rows * r->jobs, sizeof(*r->latent));
	for (i = 0; i < r->jobs; i++)
		steps += (uint64_t)sampler_evaluations(r->job[i].sampler, r->job[i].steps) * r->rows;
	r->steps_done = 0;
	r->progress = progress_begin("sampling", "steps", steps);
}

static void pictures_end(struct run *r)
{
	size_t i;

	progress_end(r->progress);
	for (i = 0; r->picture && i < r->rows * r->jobs; i++) {
		image_free(&r->picture[i]);
		free(r->latent[i]);
	}
	free(r->picture);
	free(r->latent);
	r->progress = NULL;
	r->picture = NULL;
	r->latent = NULL;
}

static int paint_all(struct run *r, struct error *e)
{
	int row;

	pictures_begin(r);
	for (row = 0; row < r->rows; row++) {
		if (r->rows > 1 && attach(r, row, e) < 0)
			return -1;
		if (paint_row(r, row, e) < 0)
			return -1;
		if (r->rows > 1)
			detach(r);
	}
	return sample_save_sheet(r, e) < 0 ? -1 : sample_save_latents(r, e);
}

/* Attaches each row's adapters once, so that a bad adapter shows before the first picture.  A single row stays
 * attached. */
static int try_adapters(struct run *r, struct error *e)
{
	int row;

	for (row = 0; row < r->rows; row++) {
		if (attach(r, row, e) < 0)
			return -1;
		if (r->rows > 1)
			detach(r);
	}
	return 0;
}

/* ---- a stream of prompts ---- */

static int paint_line(struct run *r, int number, char *line, struct error *e)
{
	int result = sample_jobs_of_line(r, number, line, e);

	if (result || !r->jobs)
		return result;
	pictures_begin(r);
	result = paint_row(r, 0, e);
	pictures_end(r);
	r->painted += r->jobs;
	return result;
}

/* Reports a line that cannot be painted, and goes on with the next: the model stays loaded. */
static int paint_stream(struct run *r, struct error *e)
{
	struct line_reader lines = { .file = stdin };
	int number = 0, bad = 0, result = 0;
	ssize_t n;

	while (!result && (n = line_next(&lines)) >= 0) {
		number++;
		if (strlen(lines.line) != (size_t)n)
			result = fail(e, EXIT_USAGE, "standard input:%d: holds a NUL byte; prompts are text", number);
		else
			result = paint_line(r, number, lines.line, e);
		if (!result || e->code != EXIT_USAGE)
			continue;
		warning("%s; line %d is left out", e->text, number);
		bad++;
		result = 0;
	}
	line_reader_free(&lines);
	if (!result && ferror(stdin))
		return fail(e, EXIT_IO, "standard input: %s", strerror(errno));
	if (!result && bad)
		return fail(e, EXIT_USAGE, "%d of %d lines of standard input were left out", bad, number);
	return result;
}

static void close_all(struct run *r)
{
	size_t i;

	pictures_end(r);
	detach(r);
	for (i = 0; i < r->loras; i++)
		free(r->lora[i].name);
	free(r->lora);
	free(r->job);
	prompts_free(&r->prompts);
	free(r->negative);
	safetensors_close(r->noise);
	image_free(&r->image);
	free(r->mask);
	json_free(&r->line);
	pipeline_close(&r->pipeline);
}

int sample_run(const struct sample_settings *s, struct error *e)
{
	struct run r = { .s = s, .rows = sample_rows(s) };
	int result = prepare(&r, e);

	if (!result)
		result = try_adapters(&r, e);
	if (!result)
		result = sample_facts(&r, e);
	if (!result)
		result = sample_is_stream(s) ? paint_stream(&r, e) : paint_all(&r, e);
	close_all(&r);
	return result;
}
