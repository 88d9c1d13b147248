/* Trajectories of samplers against diffusers': sample_*.safetensors. */
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/sample/inpaint.h"
#include "subject.h"

/* One file of eight steps or so. */
struct trajectory {
	struct subject *s;
	const char *label;              /* the file's name without ending */
	const struct safetensors *f;
	struct sampler_plan plan;
	double cfg;
	int width, height, h, w, c;
	struct texts texts;             /* prompt, negative prompt */
	struct conditioning read;       /* of both prompts */
	float *x, *input;               /* the latent; two of it, scaled */
	struct painting what;           /* the same, for the functions that lora-sample calls */
	struct image picture;           /* of an inpainting model */
	struct inpaint inpaint;
	int step;
};

static void compare_host(struct trajectory *j, enum kind k, const char *name, const float *got)
{
	size_t n = safetensor_elements(need(j->f, name));
	struct spread spread = { 0 };
	float *want = need_nhwc(j->f, name);

	spread_add(&spread, got, want, n);
	judge(j->s->tally, k, &spread, "%s %s %s", j->s->label, j->label, name);
	free(want);
}

static void check_plan(struct trajectory *j)
{
	float want = atof(need_metadata(j->f, "init_noise_sigma"));
	struct spread spread = { 0 };

	compare_host(j, j->plan.prediction == PREDICTION_FLOW ? KIND_LOSSES : KIND_EXACT, "timesteps",
		     j->plan.timestep + j->plan.first);
	if (safetensors_find(j->f, "sigmas"))
		compare_host(j, KIND_LOSSES, "sigmas", j->plan.sigma + j->plan.first);
	spread_add(&spread, &j->plan.init_sigma, &want, 1);
	judge(j->s->tally, KIND_LOSSES, &spread, "%s %s init_noise_sigma", j->s->label, j->label);
}

/* ---- text ---- */

static struct tensor *encode(struct tape *t, void *arg)
{
	struct trajectory *j = arg;
	const struct model_config *m = j->s->p.config;
	const struct conditioning shape = family_conditioning(m, m->text[0].length);
	const int size[2] = { j->width, j->height }, crop[2] = { 0 };
	struct tensor *made[CONDITIONS] = { NULL };

	text_encoders_forward(t, &j->s->p.text, &j->texts.batch, made);
	conditioning_free(&j->read);
	j->read = conditioning_like(&shape, 2);
	for (int i = 0; i < CONDITIONS; i++)
		if (made[i])
			tensor_download(t, made[i], j->read.of[i].data);
	for (int i = 0; i < 2; i++)
		conditioning_sizes(&j->read, i, size, crop, size);
	return made[CONDITION_CONTEXT];
}

static int encode_prompts(struct trajectory *j, struct error *e)
{
	const char *const prompt[2] = { need_metadata(j->f, "prompt"), need_metadata(j->f, "negative") };

	if (encode_texts_padded(j->s, prompt, 2, &j->texts, e) < 0)
		return -1;
	j->texts.batch.skip = read_skip(j->f);
	return workspace_run(&j->s->p.work, encode, j, e) ? 0 : -1;
}

/* ---- steps ---- */

static struct tensor *predict(struct tape *t, void *arg)
{
	const struct trajectory *j = arg;
	float timestep[2] = { j->plan.timestep[j->step], j->plan.timestep[j->step] };
	struct unet_input in = { .sample = tensor_from(t, 2, j->h, j->w, j->c, j->input), .timestep = timestep };

	if (j->inpaint.beside)
		in.sample = op_concat(t, in.sample, tensor_from(t, 2, j->h, j->w, 1 + j->c, j->inpaint.beside));
	if (j->step == j->plan.first && safetensors_find(j->f, "unet_input.0"))
		compare_tensor(j->s, KIND_SAMPLER, t, in.sample, j->f, "unet_input.0");
	unet_conditions(t, &j->s->p.config->unet, &j->read, in.condition);
	return unet_forward(t, j->s->p.unet, &in, NULL, NULL);
}

/* An ancestral sampler's noise comes with the reference; NULL for the others. */
static float *step_noise_of(const struct trajectory *j, int step)
{
	char *name = xprintf("step_noise.%d", step);
	float *noise = sampler_wants_noise(&j->plan) ? need_nhwc(j->f, name) : NULL;

	free(name);
	return noise;
}

static int run_steps(struct trajectory *j, struct error *e)
{
	const size_t n = (size_t)j->h * j->w * j->c;
	float *output = xmalloc(2 * n * sizeof(float));
	int result = 0;

	memcpy(output, j->x, n * sizeof(float));
	sampler_begin(&j->plan, j->x, j->inpaint.latent, output, n);
	for (j->step = j->plan.first; j->step < j->plan.evaluations && !result; j->step++) {
		char *name = xprintf("latents.%d", j->step - j->plan.first);
		struct tensor *y;
		float *noise;
		sampler_input(&j->plan, j->step, j->input, j->x, n);
		memcpy(j->input + n, j->input, n * sizeof(float));
		y = workspace_run(&j->s->p.work, predict, j, e);
		if (y) {
			tensor_download(j->s->p.work.tape, y, output);
			guide(output, output + n, output, j->cfg, n);
			noise = step_noise_of(j, j->step);
			sampler_step(&j->plan, j->step, j->x, output, noise, n);
			free(noise);
			compare_host(j, KIND_SAMPLER, name, j->x);
		}
		result = y ? 0 : -1;
		free(name);
	}
	free(output);
	return result;
}

static struct tensor *decode(struct tape *t, void *arg)
{
	struct trajectory *j = arg;
	size_t i, n = (size_t)j->h * j->w * j->c;

	for (i = 0; i < n; i++)
		j->input[i] = j->x[i] / j->s->p.config->vae.scaling_factor;
	return vae_decode(t, j->s->p.vae, tensor_from(t, 1, j->h, j->w, j->c, j->input), NULL, NULL);
}

static int check_picture(struct trajectory *j, struct error *e)
{
	struct tensor *y = workspace_run(&j->s->p.work, decode, j, e);
	float *got;

	if (!y)
		return -1;
	got = xmalloc(tensor_count(y) * sizeof(*got));
	tensor_download(j->s->p.work.tape, y, got);
	compare_host(j, KIND_PICTURE, "image", got);
	free(got);
	return 0;
}

static void draw_from_file(void *arg, int step, float *noise, size_t n)
{
	const struct trajectory *j = arg;
	char *name = xprintf("step_noise.%d", step);
	float *given = need_floats(j->f, name);

	memcpy(noise, given, n * sizeof(*noise));
	free(given);
	free(name);
}

/* The same picture by the function that lora-sample calls. */
static int check_paint(struct trajectory *j, struct error *e)
{
	float *latent = NULL;
	char *last = xprintf("latents.%d", j->plan.evaluations - 1 - j->plan.first);
	struct spread spread = { 0 };
	float *want = need_nhwc(j->f, last);
	int result = paint(&j->s->p, &j->what, &latent, NULL, NULL, NULL, e);

	if (!result) {
		spread_add(&spread, latent, want, safetensor_elements(need(j->f, last)));
		judge(j->s->tally, KIND_SAMPLER, &spread, "%s %s %s by paint()", j->s->label, j->label, last);
	}
	free(last);
	free(want);
	free(latent);
	return result;
}

static void fill_painting(struct trajectory *j)
{
	const char *strength = safetensors_metadata(j->f, "strength");

	j->what = (struct painting){
		.text = need_metadata(j->f, "prompt"), .negative = need_metadata(j->f, "negative"),
		.width = j->width, .height = j->height, .strength = strength ? atof(strength) : 1,
		.clip_skip = read_skip(j->f), .cfg = j->cfg, .sampler = j->plan.sampler, .steps = j->plan.steps,
		.noise = need_floats(j->f, "noise"), .draw = draw_from_file, .draw_arg = j,
	};
}

/* What an inpainting model reads of the picture, against the file's, but for the noisy latent */
static int open_picture(struct trajectory *j, struct error *e)
{
	const size_t pixels = (size_t)j->width * j->height, cells = (size_t)j->h * j->w;
	float *mask, *masked;

	if (!safetensors_find(j->f, "picture_mask"))
		return 0;
	j->picture = (struct image){ j->width, j->height, xmalloc(3 * pixels) };
	memcpy(j->picture.rgb, safetensors_bytes(j->f, need(j->f, "picture")), 3 * pixels);
	j->what.picture = &j->picture;
	j->what.hole = safetensors_bytes(j->f, need(j->f, "picture_mask"));
	j->what.hole_noise = need_floats(j->f, "vae_noise");
	if (safetensors_find(j->f, "picture_vae_noise"))
		j->what.picture_noise = need_floats(j->f, "picture_vae_noise");
	if (inpaint_make(&j->s->p, &j->what, &j->inpaint, e) < 0)
		return -1;
	mask = xmalloc(cells * sizeof(*mask));
	masked = xmalloc(cells * j->c * sizeof(*masked));
	for (size_t i = 0; i < cells; i++) {
		mask[i] = j->inpaint.beside[i * (1 + j->c)];
		memcpy(masked + i * j->c, j->inpaint.beside + i * (1 + j->c) + 1, j->c * sizeof(*masked));
	}
	compare_host(j, KIND_EXACT, "mask_latent", mask);
	compare_host(j, KIND_VAE, "masked_latent", masked);
	if (j->inpaint.latent)
		compare_host(j, KIND_VAE, "picture_latent", j->inpaint.latent);
	free(mask);
	free(masked);
	return 0;
}

static void run(struct trajectory *j)
{
	const struct safetensor *noise = need(j->f, "noise");
	struct error e = { 0 };

	j->c = noise->shape[1];
	j->h = noise->shape[2];
	j->w = noise->shape[3];
	j->x = need_nhwc(j->f, "noise");
	j->input = xcalloc(2 * safetensor_elements(noise), sizeof(float));
	fill_painting(j);
	if (sampler_plan_strength(&j->plan, j->what.strength, &e) < 0 || open_picture(j, &e) < 0)
		failed(j->s->tally, "%s %s: %s", j->s->label, j->label, e.text);
	check_plan(j);
	if (encode_prompts(j, &e) < 0 || run_steps(j, &e) < 0 || check_picture(j, &e) < 0 || check_paint(j, &e) < 0)
		failed(j->s->tally, "%s %s: %s", j->s->label, j->label, e.text);
	free(j->x);
	free(j->input);
	inpaint_free(&j->inpaint);
	image_free(&j->picture);
	free((float *)j->what.noise);
	free((float *)j->what.hole_noise);
	free((float *)j->what.picture_noise);
	conditioning_free(&j->read);
	free_texts(&j->texts);
}

/* Settings of which one value, or none, is all that there is here: "a|b". */
static const struct { const char *key, *values; } settings[] = {
	{ "timestep_spacing", "leading" }, { "karras", "false" }, { "prediction_type", "epsilon|v_prediction|flow" },
};

static bool is_one_of(const char *values, const char *value)
{
	const size_t n = strlen(value);

	for (; *values; values += strcspn(values, "|"), values += *values == '|')
		if (strcspn(values, "|") == n && !strncmp(values, value, n))
			return true;
	return false;
}

/* Named, and not compared: a sampler or a setting that is not here. */
static bool left_out(const struct subject *s, const char *label, const struct safetensors *f)
{
	struct error e = { 0 };

	for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
		const char *value = safetensors_metadata(f, settings[i].key);

		if (!value || is_one_of(settings[i].values, value))
			continue;
		skipped(s->tally, "%s %s: not compared: %s %s is not here", s->label, label, settings[i].key, value);
		return true;
	}
	if (sampler_find(need_metadata(f, "sampler"), &e))
		return false;
	skipped(s->tally, "%s %s: not compared: %s", s->label, label, e.text);
	return true;
}

static enum prediction prediction_named(const char *name)
{
	return !strcmp(name, "v_prediction") ? PREDICTION_V :
		!strcmp(name, "flow") ? PREDICTION_FLOW : PREDICTION_EPSILON;
}

void check_sample(struct subject *s, const char *file)
{
	struct safetensors *f = open_reference(s->folder, file);
	char *label = xstrndup(file, strcspn(file, "."));
	struct trajectory j = { .s = s, .f = f, .label = label };
	struct error e = { 0 };
	const struct sampler *sampler = sampler_find(need_metadata(f, "sampler"), &e);
	const char *predicted = safetensors_metadata(f, "prediction_type");
	const struct noise_schedule usual = s->p.schedule;
	const bool compared = !left_out(s, label, f);

	if (compared) {
		if (predicted)
			s->p.schedule.prediction = prediction_named(predicted);
		if (safetensors_metadata(f, "shift"))
			s->p.schedule.shift = atof(safetensors_metadata(f, "shift"));
		j.cfg = atof(need_metadata(f, "cfg"));
		j.width = atoi(need_metadata(f, "width"));
		j.height = atoi(need_metadata(f, "height"));
		sampler_plan_init(&j.plan, sampler, &s->p.schedule, atoi(need_metadata(f, "steps")),
				  s->p.config->schedule.steps_offset);
		run(&j);
		sampler_plan_free(&j.plan);
		s->p.schedule = usual;
	}
	free(label);
	close_reference(compared ? s : NULL, f);
}
