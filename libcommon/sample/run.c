#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/philox.h"
#include "../base/progress.h"
#include "../io/json.h"
#include "../io/publish.h"
#include "paint.h"
#include "prompts.h"
#include "run.h"
#include "sheet.h"

/* One picture to paint: a prompt with every default filled in. */
struct job {
	const struct prompt *prompt;
	const char *negative;
	const struct sampler *sampler;
	long width, height, steps;
	double cfg;
	uint64_t seed;
};

struct run {
	const struct sample_settings *s;
	struct pipeline pipeline;
	struct adapter **adapter; size_t adapters;
	struct prompt_list prompts;
	struct job *job; size_t jobs, capacity;
	int rows;                       /* 2 with --compare: without, then with the adapters */
	struct image *picture;          /* [rows][jobs] */
	float **latent;                 /* [rows][jobs], [h,w,c] */
	struct safetensors *noise;
	struct progress *progress;
	uint64_t steps_done;
	struct json_out line;
};

/* ---- jobs ---- */

static int default_seed(const struct sample_settings *s, uint64_t *seed, struct error *e)
{
	char *end;

	*seed = strtoull(s->seed, &end, 10);
	return *end ? fail(e, EXIT_USAGE, "seed '%s' is no whole number", s->seed) : 0;
}

static int add_jobs(struct run *r, const struct prompt *p, struct error *e)
{
	const struct sample_settings *s = r->s;
	struct job j = { .prompt = p, .negative = p->negative ? p->negative : s->negative ? s->negative : "",
			 .width = p->width ? p->width : s->width, .height = p->height ? p->height : s->height,
			 .steps = p->steps ? p->steps : s->steps, .cfg = p->cfg >= 0 ? p->cfg : s->cfg };
	long i;

	j.sampler = sampler_find(p->sampler ? p->sampler : s->sampler, e);
	if (!j.sampler || default_seed(s, &j.seed, e) < 0)
		return -1;
	if (p->has_seed)
		j.seed = p->seed;
	if (model_size_check(r->pipeline.config, j.width, j.height, e) < 0)
		return -1;
	for (i = 0; i < s->count; i++, j.seed++) {
		GROW(r->job, r->jobs, r->capacity);
		r->job[r->jobs++] = j;
	}
	return 0;
}

static int read_prompts(struct run *r, struct error *e)
{
	const struct sample_settings *s = r->s;
	struct prompt one = { .cfg = -1 };

	if (!s->prompt == !s->prompts)
		return fail(e, EXIT_USAGE, "say what to paint: either -p TEXT or --prompts FILE");
	if (s->prompts)
		return prompts_read(s->prompts, &r->prompts, e);
	one.text = xstrdup(s->prompt);
	GROW(r->prompts.prompt, r->prompts.count, r->prompts.capacity);
	r->prompts.prompt[r->prompts.count++] = one;
	return 0;
}

static int make_jobs(struct run *r, struct error *e)
{
	size_t i;

	for (i = 0; i < r->prompts.count; i++)
		if (add_jobs(r, &r->prompts.prompt[i], e) < 0)
			return -1;
	if (r->s->output && !strcmp(r->s->output, "-") && r->jobs != 1)
		return fail(e, EXIT_USAGE, "-o - takes one picture, these are %zu; name a folder", r->jobs);
	return 0;
}

/* ---- adapters ---- */

/* "FILE:0.8": the number after the last colon, where there is one and no file of the whole name */
static char *split_weight(const char *text, double *weight)
{
	const char *colon = strrchr(text, ':');
	char *end;
	double w;

	*weight = 1;
	if (!colon || access(text, F_OK) == 0)
		return xstrdup(text);
	w = strtod(colon + 1, &end);
	if (end == colon + 1 || *end)
		return xstrdup(text);
	*weight = w;
	return xstrndup(text, colon - text);
}

static int attach(struct run *r, struct error *e)
{
	struct pipeline *p = &r->pipeline;
	size_t i;

	r->adapter = xcalloc(r->s->loras.count, sizeof(*r->adapter));
	for (i = 0; i < r->s->loras.count; i++) {
		double weight;
		char *path = split_weight(r->s->loras.item[i], &weight);
		r->adapter[i] = adapter_load(path, &p->layers, weight, false, p->be, p->device, e);
		free(path);
		if (!r->adapter[i])
			return -1;
		r->adapters++;
	}
	return 0;
}

/* ---- noise ---- */

static int open_noise(struct run *r, struct error *e)
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

static int noise_from_file(const struct run *r, size_t index, int c, int h, int w, float *out, struct error *e)
{
	const struct safetensor *t = safetensors_find(r->noise, "noise");
	size_t each = (size_t)c * h * w, bytes = each * dtype_size(t->dtype);

	if (t->shape[1] != c || t->shape[2] != h || t->shape[3] != w || (int64_t)index >= t->shape[0])
		return fail(e, EXIT_INPUT, "%s: noise is [%lld,%lld,%lld,%lld], picture %zu wants number %zu of [N,%d,%d,%d]", r->s->noise,
			    (long long)t->shape[0], (long long)t->shape[1], (long long)t->shape[2], (long long)t->shape[3], index + 1,
			    index, c, h, w);
	if (to_float(out, (const unsigned char *)safetensors_bytes(r->noise, t) + index * bytes, t->dtype, each) < 0)
		return fail(e, EXIT_INPUT, "%s: noise of type %s; use F32, F16 or BF16", r->s->noise, dtype_name(t->dtype));
	return 0;
}

static int make_noise(const struct run *r, size_t index, float **out, struct error *e)
{
	const struct job *j = &r->job[index];
	int f = r->pipeline.config->vae.factor, c = r->pipeline.config->unet.in_channels, h = j->height / f, w = j->width / f;
	struct random draw = { j->seed, RANDOM_SAMPLE_NOISE, 0, 0 };

	*out = xmalloc((size_t)c * h * w * sizeof(float));
	if (r->noise)
		return noise_from_file(r, index, c, h, w, *out, e);
	random_normal(&draw, *out, (size_t)c * h * w);
	return 0;
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
	int result = make_noise(r, index, &noise, e);

	what.noise = noise;
	if (!result)
		result = paint(&r->pipeline, &what, &r->latent[at], &r->picture[at], tell_step, r, e);
	free(noise);
	return result;
}

static char *parameters(const struct run *r, const struct job *j, bool adapted)
{
	struct buffer b = { 0 };
	const char *model = strrchr(r->s->model, '/');
	size_t i;

	buffer_adds(&b, j->prompt->text);
	for (i = 0; adapted && i < r->s->loras.count; i++) {
		double weight;
		char *path = split_weight(r->s->loras.item[i], &weight), *base = strrchr(path, '/');
		size_t n = strlen(base ? base + 1 : path);
		base = base ? base + 1 : path;
		if (n > 12 && !strcmp(base + n - 12, ".safetensors"))
			n -= 12;
		buffer_addf(&b, " <lora:%.*s:%g>", (int)n, base, weight);
		free(path);
	}
	if (*j->negative)
		buffer_addf(&b, "\nNegative prompt: %s", j->negative);
	buffer_addf(&b, "\nSteps: %ld, Sampler: %s, CFG scale: %g, Seed: %llu, Size: %ldx%ld, Model: %s, RNG: Philox", j->steps,
		    sampler_label(j->sampler), j->cfg, (unsigned long long)j->seed, j->width, j->height, model && model[1] ? model + 1 : r->s->model);
	return buffer_steal(&b);
}

static bool is_folder(const char *path)
{
	struct stat st;
	size_t n = strlen(path);

	if (n && path[n - 1] == '/')
		return true;
	if (stat(path, &st) == 0)
		return S_ISDIR(st.st_mode);
	return n < 4 || strcmp(path + n - 4, ".png");
}

static char *picture_path(const struct run *r, int row, size_t index)
{
	const char *o = r->s->output ? r->s->output : ".";
	char *name, *path;

	if (!is_folder(o) && r->jobs * r->rows == 1)
		return xstrdup(o);
	name = xprintf("%05zu-%llu%s.png", index, (unsigned long long)r->job[index].seed, r->rows == 2 && row == 0 ? "-base" : "");
	path = path_join(o, name);
	free(name);
	return path;
}

static void tell_picture(struct run *r, const char *path, const struct job *j)
{
	struct json_out *l = &r->line;
	struct error e;

	json_begin(l, NULL);
	json_text(l, "event", "sample");
	json_text(l, "path", path);
	json_text(l, "prompt", j->prompt->text);
	json_big(l, "seed", j->seed);
	json_end(l);
	if (json_line(l, STDOUT_FILENO, &e) < 0)
		warning("%s", e.text);
}

static int save_picture(struct run *r, int row, size_t index, struct error *e)
{
	const struct job *j = &r->job[index];
	struct buffer png = { 0 };
	char *text = parameters(r, j, row == r->rows - 1), *path = picture_path(r, row, index);
	struct png_text chunk = { "parameters", text };
	struct publish *out;
	int result = -1;

	png_encode(&png, &r->picture[row * r->jobs + index], &chunk, 1);
	out = publish_begin(path, true, e);
	if (out && publish_write(out, png.data, png.len, e) == 0)
		result = publish_end(out, e);
	else
		publish_abandon(out);
	if (!result && strcmp(path, "-"))
		tell_picture(r, path, j);
	buffer_free(&png);
	free(text);
	free(path);
	return result;
}

static int paint_row(struct run *r, int row, struct error *e)
{
	size_t i;

	for (i = 0; i < r->jobs; i++) {
		if (paint_job(r, row, i, e) < 0)
			return -1;
		if ((r->s->output || !r->s->grid) && save_picture(r, row, i, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- what is made of all of them ---- */

static int save_sheet(struct run *r, struct error *e)
{
	static const char *const names[2] = { "without the adapter", "with the adapter" };
	struct sheet_cell *cells;
	struct image sheet;
	struct buffer png = { 0 };
	size_t i;
	int result;

	if (!r->s->grid)
		return 0;
	cells = xcalloc(r->rows * r->jobs, sizeof(*cells));
	for (i = 0; i < r->rows * r->jobs; i++)
		cells[i] = (struct sheet_cell){ &r->picture[i], r->job[i % r->jobs].prompt->text };
	sheet_make(&sheet, cells, r->rows, r->jobs, r->rows == 2 ? names : NULL);
	png_encode(&png, &sheet, NULL, 0);
	result = publish_bytes(r->s->grid, png.data, png.len, e);
	image_free(&sheet);
	buffer_free(&png);
	free(cells);
	return result;
}

/* "latents" [N,c,h,w] when all have one size, else "latents.K" [c,h,w]; the last row's, NCHW as the noise file */
static int save_latents(struct run *r, struct error *e)
{
	int f = r->pipeline.config->vae.factor, c = r->pipeline.config->unet.in_channels;
	struct safetensors_out *t;
	size_t i, first = (r->rows - 1) * r->jobs, at = 0, total = 0;
	bool same = true;
	float *all;
	int result;

	if (!r->s->save_latents)
		return 0;
	for (i = 0; i < r->jobs; i++) {
		same &= r->job[i].width == r->job[0].width && r->job[i].height == r->job[0].height;
		total += (size_t)c * (r->job[i].height / f) * (r->job[i].width / f);
	}
	all = xmalloc(total * sizeof(*all));
	t = xcalloc(r->jobs, sizeof(*t));
	for (i = 0; i < r->jobs; i++) {
		int h = r->job[i].height / f, w = r->job[i].width / f;
		nchw_from_nhwc(all + at, r->latent[first + i], 1, h, w, c);
		t[i] = (struct safetensors_out){ xprintf("latents.%zu", i), DTYPE_F32, 3, { c, h, w }, all + at, false };
		at += (size_t)c * h * w;
	}
	if (same) {
		struct safetensors_out one = { "latents", DTYPE_F32, 4, { r->jobs, c, t[0].shape[1], t[0].shape[2] }, all, false };
		result = safetensors_save(r->s->save_latents, &one, 1, NULL, 0, e);
	} else {
		result = safetensors_save(r->s->save_latents, t, r->jobs, NULL, 0, e);
	}
	for (i = 0; i < r->jobs; i++)
		free((void *)t[i].name);
	free(t);
	free(all);
	return result;
}

/* ---- the run ---- */

static int prepare(struct run *r, struct error *e)
{
	const struct sample_settings *s = r->s;

	if (!s->model)
		return fail(e, EXIT_USAGE, "no model; name one with -m (a diffusers folder or a single-file checkpoint)");
	if (s->compare && !s->loras.count)
		return fail(e, EXIT_USAGE, "--compare without --lora has nothing to compare");
	if (read_prompts(r, e) < 0 || open_noise(r, e) < 0)
		return -1;
	if (s->output && strcmp(s->output, "-") && is_folder(s->output) && make_folders(s->output, e) < 0)
		return -1;
	if (pipeline_open(&r->pipeline, s->model, s->model_config, s->vae, s->device, e) < 0)
		return -1;
	return make_jobs(r, e);
}

static int paint_all(struct run *r, struct error *e)
{
	uint64_t steps = 0;
	size_t i;
	int row;

	r->rows = r->s->compare ? 2 : 1;
	r->picture = xcalloc(r->rows * r->jobs, sizeof(*r->picture));
	r->latent = xcalloc(r->rows * r->jobs, sizeof(*r->latent));
	for (i = 0; i < r->jobs; i++)
		steps += r->job[i].steps * r->rows;
	if (!r->s->compare && attach(r, e) < 0)
		return -1;
	r->progress = progress_begin("sampling", "steps", steps);
	for (row = 0; row < r->rows; row++) {
		if (row == 1 && attach(r, e) < 0)
			return -1;
		if (paint_row(r, row, e) < 0)
			return -1;
	}
	return save_sheet(r, e) < 0 ? -1 : save_latents(r, e);
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
	for (i = 0; i < r->adapters; i++)
		adapter_free(r->adapter[i]);
	free(r->adapter);
	free(r->job);
	prompts_free(&r->prompts);
	safetensors_close(r->noise);
	json_free(&r->line);
	pipeline_close(&r->pipeline);
}

int sample_run(const struct sample_settings *s, struct error *e)
{
	struct run r = { .s = s };
	int result = prepare(&r, e);

	if (!result)
		result = paint_all(&r, e);
	close_all(&r);
	return result;
}
