/* lora-sample: the list of pictures to paint, and the noise that each starts from. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/philox.h"
#include "../config/seed.h"
#include "run_internal.h"

/* ---- jobs ---- */

static int add_jobs(struct run *r, const struct prompt *p, struct error *e)
{
	const struct sample_settings *s = r->s;
	struct job j = { .prompt = p, .negative = p->negative ? p->negative : s->negative ? s->negative : "",
			 .width = p->width ? p->width : s->width, .height = p->height ? p->height : s->height,
			 .steps = p->steps ? p->steps : s->steps, .cfg = p->cfg >= 0 ? p->cfg : s->cfg };
	long i;

	j.sampler = sampler_find(p->sampler ? p->sampler : s->sampler, e);
	if (!j.sampler || seed_read("seed", s->seed, &j.seed, e) < 0)
		return -1;
	if (p->has_seed)
		j.seed = p->seed;
	for (i = 0; i < s->count; i++, j.seed++) {
		GROW(r->job, r->jobs, r->capacity);
		r->job[r->jobs++] = j;
	}
	return 0;
}

static int check_usage(struct run *r, struct error *e)
{
	const struct sample_settings *s = r->s;

	r->torch = !strcmp(s->rng, "torch");
	if (!r->torch && strcmp(s->rng, "philox"))
		return fail(e, EXIT_USAGE, "--rng '%s' is neither philox nor torch", s->rng);
	if (!s->prompt == !s->prompts)
		return fail(e, EXIT_USAGE, "say what to paint: either -p TEXT or --prompts FILE");
	if (!sample_is_stream(s))
		return 0;
	if (s->compare || s->each || s->grid || s->save_latents || s->noise)
		return fail(e, EXIT_USAGE,
			    "--prompts - paints each line as it comes; %s wants all of them, from a file",
			    s->compare ? "--compare" : s->each ? "--each" : s->grid ? "--grid" : s->noise ? "--noise" :
			    "--save-latents");
	if (s->output && !sample_is_folder(s->output))
		return fail(e, EXIT_USAGE, "-o %s takes one picture, --prompts - may be many; name a folder",
			    s->output);
	return 0;
}

static int read_prompts(struct run *r, struct error *e)
{
	const struct sample_settings *s = r->s;
	struct prompt one = { .cfg = -1 };

	if (sample_is_stream(s))
		return 0;
	if (s->prompts)
		return prompts_read(s->prompts, &r->prompts, e);
	one.text = xstrdup(s->prompt);
	GROW(r->prompts.prompt, r->prompts.count, r->prompts.capacity);
	r->prompts.prompt[r->prompts.count++] = one;
	return 0;
}

static int add_all_jobs(struct run *r, struct error *e)
{
	size_t i;

	for (i = 0; i < r->prompts.count; i++)
		if (add_jobs(r, &r->prompts.prompt[i], e) < 0)
			return -1;
	return 0;
}

/* Checks the defaults for a stream of prompts, which has no jobs yet. */
static int check_defaults(const struct sample_settings *s, struct error *e)
{
	uint64_t seed;

	return sampler_find(s->sampler, e) ? seed_read("seed", s->seed, &seed, e) : -1;
}

int sample_jobs_make(struct run *r, struct error *e)
{
	if (check_usage(r, e) < 0 || check_defaults(r->s, e) < 0 || read_prompts(r, e) < 0 || add_all_jobs(r, e) < 0)
		return -1;
	if (r->s->output && !sample_is_folder(r->s->output) && r->jobs * r->rows != 1)
		return fail(e, EXIT_USAGE, "-o %s takes one picture, these are %zu; name a folder", r->s->output,
			    r->jobs * r->rows);
	return 0;
}

int sample_jobs_of_line(struct run *r, int number, char *line, struct error *e)
{
	prompts_free(&r->prompts);
	r->jobs = 0;
	if (prompt_parse_line("standard input", number, line, &r->prompts, e) < 0 || add_all_jobs(r, e) < 0)
		return -1;
	return sample_jobs_check(r, e);
}

/* ---- noise ---- */

int sample_noise_open(struct run *r, struct error *e)
{
	const struct safetensor *t;

	if (!r->s->noise)
		return 0;
	r->noise = safetensors_open(r->s->noise, e);
	if (!r->noise)
		return -1;
	t = safetensors_find(r->noise, "noise");
	if (!t || t->dims != 4)
		return fail(e, EXIT_INPUT, "%s: no tensor \"noise\" of four dimensions [N,c,h,w] in it", r->s->noise);
	return 0;
}

static int check_noise(const struct run *r, size_t index, struct error *e)
{
	const struct safetensor *t = safetensors_find(r->noise, "noise");
	const struct model_config *m = r->pipeline.config;
	int c = m->unet.in_channels, h = r->job[index].height / m->vae.factor, w = r->job[index].width / m->vae.factor;

	if (t->shape[1] == c && t->shape[2] == h && t->shape[3] == w && (int64_t)index < t->shape[0])
		return 0;
	return fail(e, EXIT_INPUT, "%s: noise is [%lld,%lld,%lld,%lld], picture %zu wants [N,%d,%d,%d] with N of at "
				   "least %zu", r->s->noise,
		    (long long)t->shape[0], (long long)t->shape[1], (long long)t->shape[2], (long long)t->shape[3],
		    index + 1, c, h, w, index + 1);
}

int sample_jobs_check(const struct run *r, struct error *e)
{
	size_t i;

	for (i = 0; i < r->jobs; i++)
		if (model_size_check(r->pipeline.config, r->job[i].width, r->job[i].height, e) < 0 ||
		    sampler_steps_check(&r->pipeline.schedule, r->job[i].steps, e) < 0 ||
		    sampler_prediction_check(r->job[i].sampler, r->pipeline.schedule.prediction, e) < 0 ||
		    (r->noise && check_noise(r, i, e) < 0))
			return -1;
	return 0;
}

static int noise_from_file(const struct run *r, size_t index, size_t each, float *out, struct error *e)
{
	const struct safetensor *t = safetensors_find(r->noise, "noise");
	size_t i, bytes = each * dtype_size(t->dtype);

	if (to_float(out, (const unsigned char *)safetensors_bytes(r->noise, t) + index * bytes, t->dtype, each) < 0)
		return fail(e, EXIT_INPUT, "%s: noise of type %s; use F32, F16 or BF16", r->s->noise,
			    dtype_name(t->dtype));
	for (i = 0; i < each; i++)
		if (!isfinite(out[i]))
			return fail(e, EXIT_INPUT, "%s: noise number %zu holds a NaN or an infinity", r->s->noise,
				    index + 1);
	return 0;
}

int sample_noise(const struct run *r, size_t index, struct torch_noise *torch, float **out, struct error *e)
{
	const struct job *j = &r->job[index];
	int f = r->pipeline.config->vae.factor, c = r->pipeline.config->unet.in_channels, h = j->height / f,
		w = j->width / f;
	struct random draw = { j->seed, RANDOM_SAMPLE_NOISE, 0, 0 };

	*out = xmalloc((size_t)c * h * w * sizeof(float));
	torch_seed(torch, j->seed);
	if (r->noise)
		return noise_from_file(r, index, (size_t)c * h * w, *out, e);
	if (r->torch)
		torch_normal(torch, *out, (size_t)c * h * w);
	else
		random_normal(&draw, *out, (size_t)c * h * w);
	return 0;
}
