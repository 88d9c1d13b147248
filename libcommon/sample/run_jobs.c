/* lora-sample: the list of pictures to paint, and the noise that each starts from. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/philox.h"
#include "../config/seed.h"
#include "../model/family.h"
#include "run_internal.h"

/* ---- jobs ---- */

/* A picture is painted in its own size, unless another is asked for. */
static long size_of(const struct run *r, const char *option, long of_prompt, long said, int of_picture)
{
	if (of_prompt)
		return of_prompt;
	return r->mask && !option_is_set(option) ? of_picture : said;
}

static int add_jobs(struct run *r, const struct prompt *p, struct error *e)
{
	const struct sample_settings *s = r->s;
	struct job j = { .prompt = p, .negative = p->negative ? p->negative : r->negative,
			 .width = size_of(r, "width", p->width, s->width, r->image.width),
			 .height = size_of(r, "height", p->height, s->height, r->image.height),
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
	if (!s->texts.count == !s->prompts)
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

	if (sample_is_stream(s))
		return 0;
	if (s->prompts)
		return prompts_read(s->prompts, &r->prompts, e);
	for (size_t i = 0; i < s->texts.count; i++) {
		GROW(r->prompts.prompt, r->prompts.count, r->prompts.capacity);
		r->prompts.prompt[r->prompts.count++] = (struct prompt){ .text = xstrdup(s->texts.item[i]), .cfg = -1 };
	}
	return 0;
}

static void leave_adapters(const struct prompt *p)
{
	prompt_leave_adapters(p->where ? p->where : "prompt", p->text);
	if (p->negative)
		prompt_leave_adapters(p->where, p->negative);
}

static int add_all_jobs(struct run *r, struct error *e)
{
	size_t i;

	for (i = 0; i < r->prompts.count; i++) {
		leave_adapters(&r->prompts.prompt[i]);
		if (add_jobs(r, &r->prompts.prompt[i], e) < 0)
			return -1;
	}
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
	r->negative = xstrdup(r->s->negative ? r->s->negative : "");
	prompt_leave_adapters("negative", r->negative);
	if (check_usage(r, e) < 0 || check_defaults(r->s, e) < 0 || read_prompts(r, e) < 0 || add_all_jobs(r, e) < 0)
		return -1;
	if (r->s->output && !sample_is_folder(r->s->output) && r->jobs * r->rows != 1)
		return fail(e, EXIT_USAGE, "-o %s takes one picture, these are %zu; name a folder", r->s->output,
			    r->jobs * r->rows);
	return 0;
}

void sample_jobs_size(struct run *r)
{
	const int side = r->pipeline.config->family->side;

	for (size_t i = 0; i < r->jobs; i++) {
		struct job *j = &r->job[i];

		j->width = j->width ? j->width : side;
		j->height = j->height ? j->height : side;
	}
}

int sample_jobs_of_line(struct run *r, int number, char *line, struct error *e)
{
	prompts_free(&r->prompts);
	r->jobs = 0;
	if (prompt_parse_line("standard input", number, line, &r->prompts, e) < 0 || add_all_jobs(r, e) < 0)
		return -1;
	sample_jobs_size(r);
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
	int c = m->unet.out_channels, h = r->job[index].height / m->vae.factor, w = r->job[index].width / m->vae.factor;

	if (t->shape[1] == c && t->shape[2] == h && t->shape[3] == w && (int64_t)index < t->shape[0])
		return 0;
	return fail(e, EXIT_INPUT, "%s: noise is [%lld,%lld,%lld,%lld], picture %zu wants [N,%d,%d,%d] with N of at "
				   "least %zu", r->s->noise,
		    (long long)t->shape[0], (long long)t->shape[1], (long long)t->shape[2], (long long)t->shape[3],
		    index + 1, c, h, w, index + 1);
}

static int check_job(const struct run *r, const struct job *j, struct error *e)
{
	if (model_size_check(r->pipeline.config, j->width, j->height, e) == 0 &&
	    sampler_steps_check(&r->pipeline.schedule, j->steps, e) == 0 &&
	    sampler_prediction_check(j->sampler, r->pipeline.schedule.prediction, e) == 0)
		return 0;
	return j->prompt->where ? fail_at(e, j->prompt->where) : -1;
}

int sample_jobs_check(const struct run *r, struct error *e)
{
	size_t i;

	for (i = 0; i < r->jobs; i++)
		if (check_job(r, &r->job[i], e) < 0 || (r->noise && check_noise(r, i, e) < 0))
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

static void draw_one(const struct run *r, size_t index, struct torch_noise *torch, const struct random *philox,
		     float **out, size_t n)
{
	struct random draw = *philox;

	draw.seed = r->job[index].seed;
	*out = xmalloc(n * sizeof(float));
	if (r->torch)
		torch_normal(torch, *out, n);
	else
		random_normal(&draw, *out, n);
}

/* PyTorch's numbers depend on their order, which is diffusers': the picture's, the first noise, that of the picture
 * with the hole. */
int sample_noise(const struct run *r, size_t index, struct torch_noise *torch, struct noises *out, struct error *e)
{
	static const struct random first = { .purpose = RANDOM_SAMPLE_NOISE }, hole = { .purpose = RANDOM_HOLE_LATENT },
				   whole = { .purpose = RANDOM_HOLE_LATENT, .step = 1 };
	const struct job *j = &r->job[index];
	const int f = r->pipeline.config->vae.factor, c = r->pipeline.config->unet.out_channels;
	const size_t n = (size_t)c * (j->height / f) * (j->width / f);

	*out = (struct noises){ 0 };
	torch_seed(torch, j->seed);
	if (r->mask && r->s->strength < 1)
		draw_one(r, index, torch, &whole, &out->picture, n);
	if (r->noise) {
		out->first = xmalloc(n * sizeof(float));
		if (noise_from_file(r, index, n, out->first, e) < 0)
			return -1;
	} else {
		draw_one(r, index, torch, &first, &out->first, n);
	}
	if (r->mask)
		draw_one(r, index, torch, &hole, &out->hole, n);
	return 0;
}

void sample_noise_free(struct noises *x)
{
	free(x->first);
	free(x->picture);
	free(x->hole);
}

/* ---- an inpainting model's picture ---- */

static int read_mask(struct run *r, struct error *e)
{
	const struct image_options options = { { 255, 255, 255 }, 0 };
	const size_t n = (size_t)r->image.width * r->image.height;
	struct image mask;

	if (image_read(r->s->mask, &options, &mask, NULL, e) < 0)
		return -1;
	if (mask.width != r->image.width || mask.height != r->image.height) {
		fail(e, EXIT_INPUT, "%s: the mask is %dx%d, its picture %dx%d; they must be alike", r->s->mask,
		     mask.width, mask.height, r->image.width, r->image.height);
		image_free(&mask);
		return -1;
	}
	r->mask = xmalloc(n);
	for (size_t i = 0; i < n; i++)
		r->mask[i] = mask.rgb[3 * i];
	image_free(&mask);
	return 0;
}

int sample_image_open(struct run *r, struct error *e)
{
	const struct image_options options = { { 255, 255, 255 }, 0 };

	if (!r->s->image && !r->s->mask)
		return 0;
	if (!r->s->image || !r->s->mask)
		return fail(e, EXIT_USAGE, "--image and --mask belong together; give both");
	return image_read(r->s->image, &options, &r->image, NULL, e) < 0 ? -1 : read_mask(r, e);
}
