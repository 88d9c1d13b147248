#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "run_internal.h"

static int attach(struct run *r, struct error *e)
{
	struct pipeline *p = &r->pipeline;
	size_t i;

	r->adapter = xcalloc(r->s->loras.count, sizeof(*r->adapter));
	for (i = 0; i < r->s->loras.count; i++) {
		double weight;
		char *path = sample_lora(r->s->loras.item[i], &weight);
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

static int paint_job(struct run *r, int row, size_t index, struct error *e)
{
	const struct job *j = &r->job[index];
	struct painting what = { .text = j->prompt->text, .negative = j->negative, .zero_negative = r->s->zero_negative, .width = j->width,
				 .height = j->height, .cfg = j->cfg, .sampler = j->sampler, .steps = j->steps };
	size_t at = row * r->jobs + index;
	float *noise;
	int result = sample_noise(r, index, &noise, e);

	what.noise = noise;
	if (!result)
		result = paint(&r->pipeline, &what, &r->latent[at], &r->picture[at], tell_step, r, e);
	free(noise);
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
		return fail(e, EXIT_USAGE, "no model; name one with -m (a diffusers folder or a single-file checkpoint)");
	if (s->compare && !s->loras.count)
		return fail(e, EXIT_USAGE, "--compare without --lora has nothing to compare");
	return 0;
}

/* From what is cheap to check to what takes long to load. */
static int prepare(struct run *r, struct error *e)
{
	const struct sample_settings *s = r->s;

	if (check_usage(s, e) < 0 || sample_jobs_make(r, e) < 0 || sample_noise_open(r, e) < 0 || sample_places_check(s, e) < 0)
		return -1;
	if (pipeline_find(&r->pipeline, s->model, s->model_config, s->vae, e) < 0 || sample_jobs_check(r, e) < 0)
		return -1;
	return pipeline_load(&r->pipeline, s->device, e);
}

static int paint_all(struct run *r, struct error *e)
{
	uint64_t steps = 0;
	size_t i;
	int row;

	r->picture = xcalloc(r->rows * r->jobs, sizeof(*r->picture));
	r->latent = xcalloc(r->rows * r->jobs, sizeof(*r->latent));
	for (i = 0; i < r->jobs; i++)
		steps += r->job[i].steps * r->rows;
	if (attach(r, e) < 0)           /* with --compare too: what is wrong with an adapter shall not show after the first row */
		return -1;
	if (r->s->compare)
		detach(r);
	r->progress = progress_begin("sampling", "steps", steps);
	for (row = 0; row < r->rows; row++) {
		if (row == 1 && attach(r, e) < 0)
			return -1;
		if (paint_row(r, row, e) < 0)
			return -1;
	}
	return sample_save_sheet(r, e) < 0 ? -1 : sample_save_latents(r, e);
}

static void close_all(struct run *r)
{
	size_t i;

	progress_end(r->progress);
	for (i = 0; r->picture && i < r->rows * r->jobs; i++) {
		image_free(&r->picture[i]);
		free(r->latent[i]);
	}
	free(r->picture);
	free(r->latent);
	detach(r);
	free(r->job);
	prompts_free(&r->prompts);
	safetensors_close(r->noise);
	json_free(&r->line);
	pipeline_close(&r->pipeline);
}

int sample_run(const struct sample_settings *s, struct error *e)
{
	struct run r = { .s = s, .rows = s->compare ? 2 : 1 };
	int result = prepare(&r, e);

	if (!result)
		result = paint_all(&r, e);
	close_all(&r);
	return result;
}
