/* The alpha of each module: from its tensor, the header, adapter_config.json, or the rank. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/memory.h"
#include "../io/json.h"
#include "../model/source.h"
#include "adapter_scale.h"
#include "keys.h"
#include "peft_config.h"

#define MOST_CONFIG (16 << 20)                  /* bytes; PEFT's own have some kilobytes */

/* diffusers packs one configuration for each of a pipeline's models, "unet.r", "text_encoder.r"; a model saved alone
 * has none of the prefixes. */
enum { BARE = COMPONENT_VAE, ROOTS };

struct alpha_sources {
	const struct safetensors *file;
	bool header_read, config_read;
	struct peft_config *header[ROOTS], *config;
	json_t *config_json;                    /* NULL: not read, or not there */
	char *config_path;                      /* NULL: there is none */
	bool is_folders;                        /* the file has the name under which PEFT saves in a folder */
	struct error trouble;                   /* or nobody can say */
};

const char *alpha_origin_name(enum alpha_origin o)
{
	static const char *const names[ALPHA_ORIGINS] = { "its tensors", LORA_METADATA_KEY, PEFT_CONFIG_NAME,
							  "the rank" };

	return names[o];
}

/* ---- the header ---- */

static int read_root(struct alpha_sources *s, const json_t *object, int root, const char *where, struct error *e)
{
	char *prefix = root == BARE ? xstrdup("") : xprintf("%s.", part_names[root].folder);
	int status = peft_config_read(object, prefix, where, &s->header[root], e);

	free(prefix);
	return status;
}

/* Prefixes of the fields of each component.  The empty one fits every field, so it is used only where no other fits. */
static int read_header(struct alpha_sources *s, struct error *e)
{
	const char *text = safetensors_metadata(s->file, LORA_METADATA_KEY);
	char *where = xprintf("%s: %s", s->file->path, LORA_METADATA_KEY);
	json_t *object = NULL;
	int status = 0;

	s->header_read = true;
	if (text && !(object = json_parse(where, text, strlen(text), e)))
		status = -1;
	else if (object && !json_is_object(object))
		status = fail(e, EXIT_INPUT, "%s is no JSON object; save the adapter anew", where);
	for (int i = 0; object && i < ROOTS && !status; i++)
		status = read_root(s, object, i, where, e);
	json_decref(object);
	free(where);
	return status;
}

/* ---- the file beside it ---- */

static char *beside(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash ? xstrndup(path, slash - path + 1) : xstrdup(""), *full = xprintf("%s%s", folder, name);

	free(folder);
	return full;
}

/* Beside the name as it was given, else beside the file that it links to.  *config NULL: in neither. */
static int find_config(const char *path, char **config, struct error *e)
{
	char *real = realpath(path, NULL);
	const char *const names[] = { path, real };
	int there = 0;

	for (int i = 0; i < 2 && there == 0 && names[i]; i++) {
		free(*config);
		*config = beside(names[i], PEFT_CONFIG_NAME);
		there = path_is_there(*config, e);
	}
	free(real);
	if (there > 0)
		return 0;
	free(*config);
	*config = NULL;
	return there;
}

static int read_config_json(struct alpha_sources *s, struct error *e)
{
	if (s->trouble.code) {
		*e = s->trouble;
		return -1;
	}
	if (!s->config_path || s->config_json)
		return 0;
	s->config_json = json_read(s->config_path, MOST_CONFIG, e);
	if (!s->config_json)
		return -1;
	if (json_is_object(s->config_json))
		return 0;
	return fail(e, EXIT_INPUT, "%s: is no JSON object; save the adapter anew", s->config_path);
}

static int read_config(struct alpha_sources *s, struct error *e)
{
	if (read_config_json(s, e) < 0)
		return -1;
	s->config_read = true;
	return s->config_json ? peft_config_read(s->config_json, "", s->config_path, &s->config, e) : 0;
}

int alpha_sources_config(struct alpha_sources *s, const json_t **config, const char **path, struct error *e)
{
	if (read_config_json(s, e) < 0)
		return -1;
	*config = s->config_json;
	*path = s->config_path;
	return 0;
}

const struct safetensors *alpha_sources_file(const struct alpha_sources *s)
{
	return s->file;
}

/* By its name, or by that of the file that it links to.  Any folder of adapters may hold one of PEFT's too, whose
 * configuration is about no file of another program's. */
static bool has_folders_name(const char *path)
{
	char *real = realpath(path, NULL);
	const char *const names[] = { path, real };
	bool has = false;

	for (int i = 0; i < 2 && names[i]; i++) {
		const char *slash = strrchr(names[i], '/');

		has |= strcmp(slash ? slash + 1 : names[i], ADAPTER_IN_FOLDER) == 0;
	}
	free(real);
	return has;
}

/* ---- both ---- */

struct alpha_sources *alpha_sources_new(const struct safetensors *f)
{
	struct alpha_sources *s = xcalloc(1, sizeof(*s));

	s->file = f;
	if (find_config(f->path, &s->config_path, &s->trouble) < 0)
		s->config_path = NULL;
	s->is_folders = has_folders_name(f->path);
	return s;
}

void alpha_sources_free(struct alpha_sources *s)
{
	if (!s)
		return;
	for (int i = 0; i < ROOTS; i++)
		peft_config_free(s->header[i]);
	peft_config_free(s->config);
	json_decref(s->config_json);
	free(s->config_path);
	free(s);
}

void alpha_sources_text(const struct alpha_sources *s, struct buffer *out)
{
	const char *header = safetensors_metadata(s->file, LORA_METADATA_KEY);
	struct buffer config = { 0 };
	struct error e;

	if (header)
		buffer_adds(out, header);
	if (s->config_path && read_file(s->config_path, MOST_CONFIG, &config, &e) == 0)
		buffer_add(out, config.data, config.len);
	buffer_free(&config);
}

/* ---- one module ---- */

static int from_tensor(const struct safetensors *f, const struct safetensor *t, double *out, struct error *e)
{
	float alpha;

	if (safetensor_elements(t) != 1 || to_float(&alpha, safetensors_bytes(f, t), t->dtype, 1) || !isfinite(alpha))
		return fail(e, EXIT_INPUT, "%s: '%.200s' must be one finite number", f->path, t->name);
	*out = alpha;
	if (t->dtype == DTYPE_F64)
		memcpy(out, safetensors_bytes(f, t), sizeof(*out));
	return 0;
}

/* named: by the module's name the file beside can be about it.  NULL with e->code 0: none says anything. */
static const struct peft_config *config_of(struct alpha_sources *s, int component, bool named,
					   enum alpha_origin *origin, struct error *e)
{
	const bool known = component >= 0 && component < BARE;

	*origin = ALPHA_HEADER;
	if (!s->header_read && read_header(s, e) < 0)
		return NULL;
	if (known && s->header[component])
		return s->header[component];
	if (s->header[BARE])
		return s->header[BARE];
	if (!named && !s->is_folders)
		return NULL;
	*origin = ALPHA_CONFIG;
	if (!s->config_read && read_config(s, e) < 0)
		return NULL;
	return s->config;
}

/* From the header, the file beside it, or the rank. */
static int from_config(struct alpha_sources *s, const struct alpha_question *q, struct module_alpha *out,
		       struct error *e)
{
	const struct peft_config *c;
	struct peft_module m = { .type = q->peft, .rank = (int)q->rank, .lengths = q->lengths };
	char *name = xstrndup(q->name, q->length), *path = adapter_key_path(name);
	int status;

	e->code = 0;
	c = config_of(s, q->component, path != NULL, &out->origin, e);
	m.name = name;
	m.path = path ? path : q->path;
	if (!c)
		out->origin = ALPHA_RANK;
	status = c ? peft_config_alpha(c, &m, &out->value, e) : e->code ? -1 : 0;
	free(name);
	free(path);
	return status;
}

static int own_scale(const struct alpha_sources *s, const struct alpha_question *q, struct module_alpha *out,
		     struct error *e)
{
	const struct safetensor *own = q->scale ? q->scale : q->scalar;
	double number = 0;

	if (own && (q->none || !q->rank))
		return fail(e, EXIT_INPUT, "%s: '%.200s' scales a module without a rank, of which every program makes "
					   "something else; save the adapter anew", s->file->path, own->name);
	if (q->scale) {
		out->origin = ALPHA_TENSOR;
		if (from_tensor(s->file, q->scale, &number, e) < 0)
			return -1;
		out->value = number * q->rank;
	}
	if (!q->scalar)
		return 0;
	if (from_tensor(s->file, q->scalar, &number, e) < 0)
		return -1;
	out->value *= number;
	return 0;
}

int alpha_of(struct alpha_sources *s, const struct alpha_question *q, struct module_alpha *out, struct error *e)
{
	int status = 0;

	*out = (struct module_alpha){ q->rank, ALPHA_RANK };
	if (q->tensor && !q->none) {
		out->origin = ALPHA_TENSOR;
		status = from_tensor(s->file, q->tensor, &out->value, e);
	} else if (q->peft && !q->none && !q->scale) {
		status = from_config(s, q, out, e);
	}
	return status ? status : own_scale(s, q, out, e);
}

/* ---- folders ---- */

static const char *const in_folders[] = { ADAPTER_IN_FOLDER, "pytorch_lora_weights.safetensors" };
#define IN_FOLDERS (sizeof(in_folders) / sizeof(*in_folders))

/* *file: malloced, NULL where there is none. */
static int file_in(const char *folder, size_t i, char **file, struct error *e)
{
	int there;

	*file = path_join(folder, in_folders[i]);
	there = path_is_there(*file, e);
	if (there > 0)
		return 0;
	free(*file);
	*file = NULL;
	return there;
}

bool is_adapter_folder(const char *path)
{
	struct error later;             /* who opens it is told */
	bool found = false;

	for (size_t i = 0; i < IN_FOLDERS && !found; i++) {
		char *file;

		found = file_in(path, i, &file, &later) < 0 || file;
		free(file);
	}
	return found;
}

int adapter_named(const char *named, char **file, struct error *e)
{
	char *both[IN_FOLDERS] = { NULL };
	int status = path_is_folder(named, e);

	*file = NULL;
	if (status <= 0) {
		*file = status == 0 ? xstrdup(named) : NULL;
		return status;
	}
	status = 0;
	for (size_t i = 0; i < IN_FOLDERS && status == 0; i++)
		status = file_in(named, i, &both[i], e);
	if (status == 0 && both[0] && both[1])
		status = fail(e, EXIT_INPUT, "%s: holds %s and %s; name one of them", named, in_folders[0],
			      in_folders[1]);
	else if (status == 0 && !both[0] && !both[1])
		status = fail(e, EXIT_INPUT, "%s: a folder without %s or %s; name the adapter's file", named,
			      in_folders[0], in_folders[1]);
	if (status == 0) {
		*file = both[0] ? both[0] : both[1];
		return 0;
	}
	free(both[0]);
	free(both[1]);
	return -1;
}
