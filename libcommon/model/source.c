/* Opening a model: folder, single file or hub id; finding one tensor. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/hash.h"
#include "../base/memory.h"
#include "family.h"
#include "hub_cache.h"
#include "single_file_names.h"
#include "source_internal.h"

/* ---- opening ---- */

/* One that cannot be looked at is not one that is missing: CLIP's own would take its place without a word. */
static int find_tokenizers(struct model_files *m, const char *folder, struct error *e)
{
	int there = 0;

	for (int i = 0; i < TEXT_ENCODERS && there >= 0; i++) {
		char *path = xprintf("%s/%s", folder, part_names[COMPONENT_TE1 + i].tokenizer);

		there = path_is_folder(path, e);
		if (there > 0)
			m->tokenizer[i] = path;
		else
			free(path);
	}
	return there < 0 ? -1 : 0;
}

/* A part that no model of the family has. */
static void never_there(struct model_files *m, enum component c)
{
	m->part[c] = (struct part){ .missing = xprintf("%s: %s has no such part", m->path, m->config.family->title) };
}

/* What a folder without the part says, if ever anything asks for it. */
static int lacks(struct model_files *m, enum component c, struct error *e)
{
	if (m->needed & PART(c))
		return -1;
	m->part[c].missing = xstrdup(e->text);
	return 0;
}

static int open_folder(struct model_files *m, bool vae, struct error *e)
{
	if (model_config_read_parts(m->path, vae ? m->needed : m->needed & ~PART(COMPONENT_VAE), &m->config, e))
		return -1;
	if (find_tokenizers(m, m->path, e) < 0)
		return -1;
	for (int c = 0; c < COMPONENTS; c++) {
		struct part *p = &m->part[c];
		char *folder;
		int status = 0;

		if (!(m->config.family->parts & PART(c))) {
			never_there(m, c);
			continue;
		}
		folder = xprintf("%s/%s", m->path, part_names[c].folder);
		*p = (struct part){ .naming = NAMING_DIFFUSERS, .prefix = "",
				    .advice = xprintf("the config files and the weights must be of one model, %s",
						      m->config.family->released) };
		if (c != COMPONENT_VAE || vae)
			status = source_add_folder(m, p, folder, part_names[c].folder, part_names[c].weights, e);
		free(folder);
		if (status < 0 || (status > 0 && lacks(m, c, e) < 0))
			return -1;
	}
	return 0;
}

static bool text_is(const char *text, const char *a, const char *b)
{
	return text && (strcmp(text, a) == 0 || strcmp(text, b) == 0);
}

/* What a single file itself says about its noise: modelspec, or the tensors by which ComfyUI tells. */
static void schedule_from_file(struct model_files *m, bool config_decides)
{
	const struct safetensors *s = m->file[0].s;
	const char *type = safetensors_metadata(s, "modelspec.prediction_type");
	bool v = text_is(type, "v", "v_prediction") || safetensors_find(s, "v_pred");

	if (config_decides && v != (m->config.schedule.prediction == PREDICTION_V) && (v || type))
		warning("%s: the file says that it predicts %s, the scheduler of --model-config says %s; the latter is "
			"taken", m->path,
			v ? "v" : "epsilon", v ? "epsilon" : "v");
	if (config_decides)
		return;
	m->config.schedule.prediction = v ? PREDICTION_V : PREDICTION_EPSILON;
	if (type && !strcmp(type, "flow"))
		model_files_flow(m, 0);
	m->config.schedule.zero_terminal_snr = safetensors_find(s, "ztsnr") != NULL;
}

/* 1: the folder has a scheduler, which decides; 0: the file does; -1: *e. */
static int read_configs(struct model_files *m, const char *folder, struct error *e)
{
	char *scheduler = xprintf("%s/scheduler/scheduler_config.json", folder);
	int decides = -1;

	if (model_config_read_parts(folder, m->needed, &m->config, e) == 0 && find_tokenizers(m, folder, e) == 0)
		decides = path_is_there(scheduler, e);
	free(scheduler);
	return decides;
}

static char *single_advice(const struct family *f, bool config)
{
	return config ? xstrdup("--model-config DIR must be of the same model as the file") :
			xprintf("only %s needs no config files: --model-config DIR gives those of %s of other sizes",
				f->released, f->one);
}

static int open_single(struct model_files *m, const char *config_folder, struct error *e)
{
	const char *slash = strrchr(m->path, '/');
	int config_decides = 0;

	m->single = true;
	if (source_add_file(m, m->path, slash ? slash + 1 : m->path, e) < 0)
		return -1;
	if (config_folder)
		config_decides = read_configs(m, config_folder, e);
	else
		m->config = *family_of_file(m->file[0].s)->usual;
	if (config_decides < 0)
		return -1;
	schedule_from_file(m, config_decides);
	for (int c = 0; c < COMPONENTS; c++)
		if (m->config.family->parts & PART(c))
			m->part[c] = (struct part){ .naming = NAMING_SINGLE_FILE, .prefix = m->config.family->prefix[c],
						    .count = 1,
						    .advice = single_advice(m->config.family, config_folder) };
		else
			never_there(m, c);
	return 0;
}

static int open_path(struct model_files *m, const char *path, const char *config_folder, bool vae, struct error *e)
{
	int found;

	if (hub_find(path, HUB_MODEL, vae ? m->needed : m->needed & ~PART(COMPONENT_VAE), &m->path, e) < 0)
		return -1;
	found = m->path ? 1 : path_is_there(path, e);
	if (found <= 0)
		return found < 0 ? -1 : fail(e, EXIT_INPUT,
					     "%s: no such file or folder; "
					     "a model is a diffusers folder, a .safetensors file, "
					     "or ORG/NAME on the hub", path);
	if (!m->path)
		m->path = xstrdup(path);
	found = path_is_folder(m->path, e);
	if (found <= 0)
		return found < 0 ? -1 : open_single(m, config_folder, e);
	if (config_folder)
		return fail(e, EXIT_USAGE, "--model-config %s: %s is a folder with config files of its own; leave the "
			    "option out", config_folder,
			    path);
	return open_folder(m, vae, e);
}

struct model_files *model_files_open_parts(const char *path, const char *config_folder, const char *vae_path,
					   unsigned needed, struct error *e)
{
	struct model_files *m = xcalloc(1, sizeof(*m));
	int status;

	m->needed = needed;
	status = open_path(m, path, config_folder, !vae_path, e);

	if (!status && vae_path)
		status = source_open_vae(m, vae_path, e);
	for (int c = 0; c < COMPONENTS && !status; c++)
		status = source_match(m, c, e);
	if (!status)
		status = source_check_rest(m, e);
	if (!status && m->config.vae_assumed && !vae_path)
		note("%s: no vae/config.json; the scaling factor of %s's own VAE is taken", path,
		     m->config.family->title);
	if (!status)
		return m;
	model_files_close(m);
	return NULL;
}

struct model_files *model_files_open(const char *path, const char *config_folder, const char *vae_path, struct error *e)
{
	return model_files_open_parts(path, config_folder, vae_path, PARTS_ALL, e);
}

bool model_files_has(const struct model_files *m, enum component c)
{
	return !m->part[c].missing;
}

void model_files_close(struct model_files *m)
{
	if (!m)
		return;
	for (int c = 0; c < COMPONENTS; c++) {
		known_tensors_free(&m->part[c].known);
		free(m->part[c].found);
		free(m->part[c].missing);
		free(m->part[c].advice);
		map_free(m->part[c].index);
	}
	for (size_t i = 0; i < m->count; i++) {
		safetensors_close(m->file[i].s);
		free(m->file[i].relative);
		free(m->file[i].used);
	}
	free(m->file);
	for (int i = 0; i < TEXT_ENCODERS; i++)
		free(m->tokenizer[i]);
	free(m->path);
	free(m);
}

const struct model_config *model_files_config(const struct model_files *m)
{
	return &m->config;
}

void model_files_latents(struct model_files *m, int factor)
{
	if (m->config.vae_assumed && factor >= 1 && factor <= 64)
		m->config.vae.factor = factor;
}

void model_files_flow(struct model_files *m, double shift)
{
	struct schedule_config *c = &m->config.schedule;

	c->prediction = PREDICTION_FLOW;
	c->shift = shift ? shift : c->shift ? c->shift : 1;
	m->config.family = family_of(&m->config);
}

const char *model_files_tokenizer(const struct model_files *m, int which)
{
	return m->tokenizer[which - 1];
}

bool model_files_single(const struct model_files *m)
{
	return m->single;
}

const char *model_files_path(const struct model_files *m)
{
	return m->path;
}

/* ---- tensors ---- */

static long find(const struct model_files *m, enum component c, const char *name)
{
	return map_get(m->part[c].index, name, strlen(name));
}

static struct source_tensor tensor_at(const struct model_files *m, enum component c, size_t i)
{
	const struct known_tensor *k = &m->part[c].known.tensor[i];
	const struct found *f = &m->part[c].found[i];
	const struct safetensors *file = m->file[f->file].s;
	struct source_tensor t = {
		.bytes = (const unsigned char *)safetensors_bytes(file, f->tensor) +
			 f->tensor->bytes / f->parts * f->part,
		.dtype = f->tensor->dtype, .dims = k->dims, .transposed = f->transposed, .scale = f->scale,
		.file = file,
	};

	memcpy(t.shape, k->shape, sizeof(t.shape));
	return t;
}

int source_find(const struct model_files *m, enum component c, const char *name, struct source_tensor *t,
		struct error *e)
{
	long i = find(m, c, name);

	if (m->part[c].missing)
		return fail(e, EXIT_INPUT, "%s", m->part[c].missing);
	if (i < 0)
		return fail(e, EXIT_INPUT, "%s: no tensor for '%s'; the file is not of this architecture",
			    m->file[m->part[c].first].s->path, name);
	*t = tensor_at(m, c, i);
	return 0;
}

bool source_has(const struct model_files *m, enum component c, const char *name)
{
	return find(m, c, name) >= 0;
}

/* ---- hash ---- */

static void hash_head(struct sha256 *h, const char *name, const struct source_tensor *t)
{
	char shape[SHAPE_ROOM], *text = xprintf("%s%s%s", dtype_name(t->dtype), t->dims ? " " : "",
						shape_text(shape, t->dims, t->shape, " "));

	sha256_add(h, name, strlen(name) + 1);
	sha256_add(h, text, strlen(text) + 1);
	free(text);
}

/* Turned back, so that a single file and a folder of the same model have one hash. */
static void hash_turned(struct sha256 *h, const struct source_tensor *t)
{
	size_t size = dtype_size(t->dtype), out = t->shape[0], in = t->shape[1];
	unsigned char *row = xmalloc(in * size);

	for (size_t o = 0; o < out; o++) {
		for (size_t i = 0; i < in; i++)
			memcpy(row + i * size, t->bytes + (i * out + o) * size, size);
		sha256_add(h, row, in * size);
	}
	free(row);
}

void model_files_narrow(struct model_files *m, enum dtype to)
{
	m->narrow = to;
}

void model_files_quantise(struct model_files *m, struct quantising *q)
{
	m->quantising = q;
}

/* Of each tensor's data at most so many bytes. */
static void hash_component(const struct model_files *m, enum component c, size_t most, struct sha256 *h)
{
	const struct part *p = &m->part[c];

	for (size_t i = 0; i < p->known.count; i++) {
		const struct source_tensor t = tensor_at(m, c, i);
		const size_t bytes = p->found[i].tensor->bytes / p->found[i].parts;

		hash_head(h, p->known.tensor[i].name, &t);
		if (t.transposed)
			hash_turned(h, &t);
		else
			sha256_add(h, t.bytes, bytes < most ? bytes : most);
		safetensors_release(t.file, t.bytes, bytes);
	}
}

void model_files_hash(const struct model_files *m, enum component c, char hex[65])
{
	struct sha256 h;

	sha256_begin(&h);
	hash_component(m, c, SIZE_MAX, &h);
	sha256_hex(&h, hex);
}

void model_files_mark(const struct model_files *m, char hex[65])
{
	struct sha256 h;

	sha256_begin(&h);
	for (int c = COMPONENT_UNET; c < COMPONENT_VAE; c++)
		hash_component(m, c, 4096, &h);
	sha256_hex(&h, hex);
}

/* ---- the files behind it ---- */

size_t source_files(const struct model_files *m)
{
	return m->count;
}

const struct safetensors *source_file(const struct model_files *m, size_t i)
{
	return m->file[i].s;
}

const char *source_file_path(const struct model_files *m, size_t i)
{
	return m->file[i].relative;
}

size_t source_names(const struct model_files *m, enum component c)
{
	return m->part[c].known.count;
}

const char *source_name(const struct model_files *m, enum component c, size_t i)
{
	return m->part[c].known.tensor[i].name;
}

bool source_place(const struct model_files *m, enum component c, const char *name, struct source_place *place)
{
	long i = find(m, c, name);
	const struct found *f;
	int64_t rows;

	if (i < 0)
		return false;
	f = &m->part[c].found[i];
	rows = f->tensor->shape[0] / f->parts;
	*place = (struct source_place){
		.file = f->file, .tensor = f->tensor, .row = f->part * rows, .rows = rows, .transposed = f->transposed,
		.scale = f->scale,
	};
	return true;
}
