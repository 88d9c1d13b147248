/* lora-sample: names and texts of pictures, and writing them and their latents. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/memory.h"
#include "../base/text.h"
#include "../io/publish.h"
#include "../adapter/adapter_file.h"
#include "run_internal.h"

/* ---- the text in a picture ---- */

int sample_facts(struct run *r, struct error *e)
{
	const struct model_files *m = r->pipeline.files;
	size_t i;

	if (model_files_single(m) && parameters_hash_model(model_files_path(m), r->model_hash, e) < 0)
		return -1;
	r->lora = xcalloc(r->s->loras.count, sizeof(*r->lora));
	for (i = 0; i < r->s->loras.count; i++) {
		double weight;
		char *path;
		int result = weighted_path(r->s->loras.item[i], &path, &weight, e);

		if (!result)
			result = parameters_read_lora(&r->lora[i], path, weight, e);
		free(path);
		if (result < 0)
			return -1;
		r->loras++;
	}
	return 0;
}

static char *parameters(const struct run *r, const struct job *j, struct row row)
{
	const struct parameters p = {
		.prompt = j->prompt->text, .negative = j->negative, .width = j->width, .height = j->height,
		.steps = j->steps, .sampler = sampler_label(j->sampler), .rng = r->torch ? "CPU" : "Philox",
		.cfg = j->cfg, .seed = j->seed, .clip_skip = text_skip_of(r->pipeline.config, r->s->clip_skip),
		.model = r->s->model,
		.model_hash = r->model_hash, .lora = r->lora + row.first, .loras = row.count,
	};

	return parameters_text(&p);
}

/* ---- checks of outputs ---- */

bool sample_is_stream(const struct sample_settings *s)
{
	return s->prompts && !strcmp(s->prompts, "-");
}

bool sample_is_folder(const char *path)
{
	struct stat st;
	size_t n = strlen(path);

	if (!strcmp(path, "-"))
		return false;
	if (n && path[n - 1] == '/')
		return true;
	if (stat(path, &st) == 0)
		return S_ISDIR(st.st_mode);
	return !text_ends(path, ".png");
}

/* /dev/stdout and /dev/fd/3 lead to a file that the caller opened to be written, whatever it is called. */
static bool is_descriptor(const char *path)
{
	return !strncmp(path, "/dev/", 5) || !strncmp(path, "/proc/", 6);
}

/* A name without ".png" is a folder's: a photograph or an adapter of that name was not meant to become a PNG. */
static int refuse_other_file(const char *path, struct error *e)
{
	struct stat st;

	if (text_ends(path, ".png") || is_descriptor(path) || stat(path, &st) || !S_ISREG(st.st_mode))
		return 0;
	return fail(e, EXIT_USAGE, "%s: is there and no folder; name a folder, or a file that ends in .png", path);
}

/* Refuses a terminal as output now; writing the picture would refuse it too, but after loading the model. */
static int refuse_terminal(struct error *e)
{
	if (!isatty(STDOUT_FILENO))
		return 0;
	return fail(e, EXIT_USAGE, "standard output: a terminal shows no binary data; "
				   "redirect it, or name a file with -o");
}

/* Checks that an output can be written, before hours of painting. */
static int check_place(const char *path, struct error *e)
{
	const char *slash = strrchr(path, '/');
	struct stat st;
	char *folder;
	int result = 0;

	if (!strcmp(path, "-"))
		return refuse_terminal(e);
	if (stat(path, &st) || S_ISREG(st.st_mode))
		folder = slash ? xstrndup(path, slash - path + 1) : xstrdup(".");
	else
		folder = xstrdup(path);
	if (access(folder, W_OK))
		result = fail(e, EXIT_IO, "%s: %s; choose another place", path, strerror(errno));
	free(folder);
	return result;
}

int sample_places_check(const struct sample_settings *s, struct error *e)
{
	const char *output = s->output ? s->output : s->grid ? NULL : ".";
	const char *const places[] = { output, s->grid, s->save_latents };
	size_t i;

	if (output && refuse_other_file(output, e) < 0)
		return -1;
	if (output && sample_is_folder(output) && make_folders(output, e) < 0)
		return -1;
	for (i = 0; i < sizeof(places) / sizeof(*places); i++)
		if (places[i] && check_place(places[i], e) < 0)
			return -1;
	return 0;
}

/* ---- one picture ---- */

static const char *output_of(const struct run *r)
{
	return r->s->output ? r->s->output : ".";
}

static bool into_folder(const struct run *r)
{
	return sample_is_folder(output_of(r)) || r->jobs * r->rows != 1 || sample_is_stream(r->s);
}

static char *numbered_path(const struct run *r, int row, size_t index, size_t number)
{
	char *ending = sample_row_ending(r, row), *name, *path;

	name = xprintf("%05zu-%llu%s.png", number, (unsigned long long)r->job[index].seed, ending);
	path = path_join(output_of(r), name);
	free(name);
	free(ending);
	return path;
}

static bool holds(const char *path, const struct buffer *bytes)
{
	struct stat st;
	struct buffer file = { 0 };
	struct error e;
	bool same = stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == bytes->len;

	same = same && read_file(path, bytes->len, &file, &e) == 0 && file.len == bytes->len &&
		!memcmp(file.data, bytes->data, bytes->len);
	buffer_free(&file);
	return same;
}

/* 1: with `alone`, a file of that name exists, and nothing is written. */
static int write_picture(const char *path, const struct buffer *png, bool alone, struct error *e)
{
	struct publish *out = publish_begin(path, true, e);

	if (out && publish_write(out, png->data, png->len, e) == 0)
		return alone ? publish_end_new(out, e) : publish_end(out, e);
	publish_abandon(out);
	return -1;
}

/* Writes the picture under its own number, or the next one that is free or holds the same picture; other runs may paint
 * into the folder at the same time. */
static int put_into_folder(const struct run *r, int row, size_t index, const struct buffer *png, char **path,
			   struct error *e)
{
	for (size_t number = r->painted + index;; number++) {
		struct stat st;
		int taken;

		*path = numbered_path(r, row, index, number);
		if (holds(*path, png))
			return 0;
		taken = lstat(*path, &st) == 0 ? 1 : write_picture(*path, png, true, e);
		if (taken < 1)
			return taken;
		free(*path);
	}
}

static int tell_picture(struct run *r, const char *path, const struct job *j, struct error *e)
{
	struct json_out *l = &r->line;

	json_begin(l, NULL);
	json_text(l, "event", "sample");
	json_text(l, "path", path);
	json_text(l, "prompt", j->prompt->text);
	json_big(l, "seed", j->seed);
	json_end(l);
	return json_line(l, STDOUT_FILENO, e) < 0 ? fail_at(e, "standard output") : 0;
}

int sample_save_picture(struct run *r, int row, size_t index, struct error *e)
{
	const struct job *j = &r->job[index];
	struct buffer png = { 0 };
	char *text = parameters(r, j, sample_row(r, row)), *path;
	struct png_text chunk = { "parameters", text };
	int result;

	png_encode(&png, &r->picture[row * r->jobs + index], &chunk, 1);
	if (into_folder(r))
		result = put_into_folder(r, row, index, &png, &path, e);
	else
		result = write_picture(path = xstrdup(output_of(r)), &png, false, e);
	if (!result && strcmp(path, "-"))
		result = tell_picture(r, path, j, e);
	buffer_free(&png);
	free(text);
	free(path);
	return result;
}

/* ---- the file of latents ---- */

/* The latents of the last row: "latents" [N,c,h,w] when all have one size, else "latents.K" [c,h,w]; channels first, as
 * in the noise file. */
int sample_save_latents(struct run *r, struct error *e)
{
	int f = r->pipeline.config->vae.factor, c = r->pipeline.config->unet.out_channels;
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
		t[i] = (struct safetensors_out){ xprintf("latents.%zu", i), DTYPE_F32, 3, { c, h, w }, all + at,
						 false };
		at += (size_t)c * h * w;
	}
	if (same) {
		struct safetensors_out one = { "latents", DTYPE_F32, 4, { r->jobs, c, t[0].shape[1], t[0].shape[2] },
					       all, false };
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
