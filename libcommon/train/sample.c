/* Sample pictures during training: the prompts, when they are due, painting, files. */
#include <stdlib.h>
#include <string.h>
#include "../base/philox.h"
#include "../io/image.h"
#include "../io/publish.h"
#include "../sample/paint.h"
#include "../sample/parameters.h"
#include "../sample/prompts.h"
#include "witness.h"
#include "stop.h"

/* sd-scripts' defaults for prompts; its sizes are multiples of SIZE_STEP. */
enum { DEFAULT_STEPS = 30, SIZE_STEP = 8 };
#define DEFAULT_CFG 7.5

/* What is kept from one picture to the next.  Networks are not: they use the memory of training's activations. */
struct run_samples {
	struct prompt_list prompts;
	struct painting *what;          /* one each, without noise */
	struct pipeline pipeline;
	bool loaded;
	bool asked_first;               /* sample_at_first was looked at */
};

/* ---- what to paint ---- */

static int size_of(long said, int common)
{
	return said ? said < SIZE_STEP ? SIZE_STEP : said - said % SIZE_STEP : common;
}

/* A size that does not fit is told as it was written, before it was rounded down. */
static int check_size(const struct model_config *c, const struct prompt *p, const struct painting *what,
		      struct error *e)
{
	if (model_size_check(c, what->width, what->height, e) == 0)
		return 0;
	return model_size_check(c, p->width ? p->width : what->width, p->height ? p->height : what->height, e);
}

static int plan_prompt(const struct witness *w, const struct prompt *p, const int common[2], struct painting *what,
		       struct error *e)
{
	const struct model_config *c = model_files_config(w->net->files);
	const struct train_settings *s = w->s;

	if (c->family->inpaints)
		return fail(e, EXIT_USAGE, "sample_prompts: an inpainting model paints into pictures, which prompts "
			    "do not name; leave it out and use lora-sample --image --mask");
	*what = (struct painting){ .text = p->text, .negative = p->negative ? p->negative : "",
				   .width = size_of(p->width, common[0]), .height = size_of(p->height, common[1]),
				   .cfg = p->cfg >= 0 ? p->cfg : DEFAULT_CFG,
				   .steps = p->steps ? p->steps : DEFAULT_STEPS,
				   .clip_skip = w->net->step.skip };
	what->sampler = sampler_find(p->sampler ? p->sampler : s->sample_sampler, e);
	if (!what->sampler && !p->sampler)
		return fail_at(e, "sample_sampler");
	if (what->sampler && check_size(c, p, what, e) == 0 &&
	    sampler_prediction_check(what->sampler, c->schedule.prediction, e) == 0)
		return 0;
	return fail_at(e, p->where);
}

int witness_open_samples(struct witness *w, struct error *e)
{
	struct run_samples *x;
	int common[2] = { 0 };
	size_t i;

	if (!w->s->sample_prompts || w->s->replay_step)
		return 0;
	x = w->samples = xcalloc(1, sizeof(*x));
	if (prompts_read(w->s->sample_prompts, &x->prompts, e) < 0)
		return -1;
	data_common_bucket(w->data, common);
	x->what = xcalloc(x->prompts.count, sizeof(*x->what));
	for (i = 0; i < x->prompts.count; i++)
		if (plan_prompt(w, &x->prompts.prompt[i], common, &x->what[i], e) < 0)
			return -1;
	return 0;
}

void samples_free(struct run_samples *x)
{
	if (!x)
		return;
	if (x->loaded)
		pipeline_close(&x->pipeline);
	prompts_free(&x->prompts);
	free(x->what);
	free(x);
}

/* ---- files ---- */

/* "t_e000002_00_42.png" after an epoch, "t_000500_00_42.png" after a step: sd-scripts' names without the clock. */
static char *picture_path(const struct witness *w, bool epoch, size_t index, uint64_t seed)
{
	long per_epoch = data_updates_per_epoch(w->data);
	char *when = epoch ? xprintf("e%06ld", w->course->done / per_epoch) : xprintf("%06ld", w->course->done);
	char *path = xprintf("%s/sample/%s_%s_%02zu_%llu.png", w->s->output_dir, w->s->output_name, when, index,
			     (unsigned long long)seed);

	free(when);
	return path;
}

static int save_picture(const struct witness *w, const char *path, const struct painting *what, uint64_t seed,
			const struct image *picture, struct error *e)
{
	struct buffer png = { 0 };
	const struct parameters p = {
		.prompt = what->text, .negative = what->negative, .width = what->width, .height = what->height,
		.steps = what->steps, .sampler = sampler_label(what->sampler), .rng = "Philox", .cfg = what->cfg,
		.seed = seed, .clip_skip = what->clip_skip,
		.model = w->s->model, .model_hash = "",
	};
	char *text = parameters_text(&p);
	const struct png_text chunk = { "parameters", text };
	int result;

	png_encode(&png, picture, &chunk, 1);
	result = publish_bytes(path, png.data, png.len, e);
	buffer_free(&png);
	free(text);
	return result;
}

/* Counts 2 bytes a pixel, which a photo as PNG has. */
double witness_samples_ahead(const struct witness *w, double *bytes)
{
	const struct train_settings *s = w->s;
	const struct run_samples *x = w->samples;
	const long every = s->sample_every_epochs ? s->sample_every_epochs * data_updates_per_epoch(w->data) :
			   s->sample_every_steps;
	double pixels = 0;
	size_t i;

	*bytes = 0;
	if (!x || !x->prompts.count)
		return 0;
	for (i = 0; i < x->prompts.count; i++)
		pixels += (double)x->what[i].width * x->what[i].height;
	*bytes = 2 * pixels / x->prompts.count;
	return x->prompts.count * (double)((every ? w->course->total / every - w->course->done / every : 0)
					   + (s->sample_at_first && !w->course->done));
}

/* ---- painting ---- */

static void draw_noise(const struct witness *w, const struct painting *what, uint64_t seed, float **noise)
{
	const struct model_config *c = model_files_config(w->net->files);
	size_t n = (size_t)c->unet.out_channels * (what->width / c->vae.factor) * (what->height / c->vae.factor);

	*noise = xmalloc(n * sizeof(**noise));
	random_normal(&(struct random){ seed, RANDOM_SAMPLE_NOISE, 0, 0 }, *noise, n);
}

static int paint_one(struct witness *w, size_t index, bool epoch, struct error *e)
{
	struct run_samples *x = w->samples;
	const struct prompt *p = &x->prompts.prompt[index];
	struct painting what = x->what[index];
	uint64_t seed = p->has_seed ? p->seed : w->course->seed;
	char *path = picture_path(w, epoch, index, seed);
	struct image picture = { 0 };
	float *noise;
	int result;

	draw_noise(w, &what, seed, &noise);
	what.noise = noise;
	what.seed = seed;
	result = paint(&x->pipeline, &what, NULL, &picture, NULL, NULL, e);
	if (!result)
		result = save_picture(w, path, &what, seed, &picture, e);
	if (!result)
		report_sample(&w->log, w->course->done, index, path, what.text, seed, what.width, what.height);
	image_free(&picture);
	free(noise);
	free(path);
	return result;
}

static int load(struct witness *w, struct error *e)
{
	struct run_samples *x = w->samples;
	char *folder = path_join(w->s->output_dir, "sample");
	int result = make_folders(folder, e);

	free(folder);
	if (!x->loaded)
		pipeline_borrow(&x->pipeline, w->net->files, w->net->be, w->net->device, w->net->unet,
				&w->net->text);
	x->loaded = true;
	return result < 0 ? -1 : pipeline_complete(&x->pipeline, e);
}

static int paint_all(struct witness *w, bool epoch, struct error *e)
{
	size_t i;
	int result;

	networks_give_arena(w->net);
	result = load(w, e) < 0 ? -1 : course_show_average(w->course, e);

	for (i = 0; i < w->samples->prompts.count && !result; i++)
		result = paint_one(w, i, epoch, e);
	course_end_average(w->course);
	pipeline_shed(&w->samples->pipeline);
	return result;
}

int samples_need(const struct run_samples *x, struct run_networks *n, size_t *activations, struct error *e)
{
	struct pipeline p;
	size_t i;
	int result;

	pipeline_borrow(&p, n->files, n->be, n->device, n->unet, &n->text);
	result = pipeline_networks(&p, e);
	for (i = 0; i < x->prompts.count && !result; i++) {
		const size_t need = paint_need(&p, &x->what[i]);
		*activations = need > *activations ? need : *activations;
	}
	pipeline_close(&p);
	return result;
}

/* ---- when ---- */

static bool due(struct witness *w, bool *epoch)
{
	const struct train_settings *s = w->s;
	long per_epoch = data_updates_per_epoch(w->data);
	bool asked = sample_wanted(), first = !w->samples->asked_first;

	w->samples->asked_first = true;
	*epoch = s->sample_every_epochs != 0 || w->course->done == 0;
	if (first)
		return w->course->done == 0 && s->sample_at_first;
	if (s->sample_every_epochs ? w->course->done % (s->sample_every_epochs * per_epoch) == 0 :
	    s->sample_every_steps && w->course->done % s->sample_every_steps == 0)
		return true;
	*epoch = false;
	return asked;
}

void witness_sample(struct witness *w)
{
	struct error e;
	bool epoch;

	if (!w->samples) {
		if (sample_wanted())
			warning("SIGUSR2 asks for samples, but there are no sample_prompts");
		return;
	}
	if (!due(w, &epoch) || paint_all(w, epoch, &e) == 0)
		return;
	warning("samples: %s; training goes on", e.text);
	report_finding(&w->log, w->course->done, "sample", e.text);
}
