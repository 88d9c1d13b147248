/* lora-inspect: training states, checkpoints in one file or a folder, and safetensors of other kinds. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../io/publish.h"
#include "../adapter/adapter_scale.h"
#include "../model/hub_cache.h"
#include "../model/family.h"
#include "../model/source_internal.h"
#include "internal.h"
#include "../adapter/metadata.h"

struct amount { size_t tensors; uint64_t parameters; };

static void say_amount(struct sheet *s, enum component part, const struct amount *a)
{
	char *parameters = thousands(a->parameters);

	if (a->tensors)
		sheet_line(s, part_names[part].label, "%zu tensors, %s parameters", a->tensors, parameters);
	else
		sheet_line(s, part_names[part].label, "none");
	json_begin(&s->json, part_names[part].key);
	json_int(&s->json, "tensors", a->tensors);
	json_int(&s->json, "parameters", a->parameters);
	json_end(&s->json);
	free(parameters);
}

/* ---- files ---- */

static struct amount amount_under(const struct safetensors *f, const char *prefix)
{
	struct amount a = { 0 };

	for (size_t i = 0; i < f->count; i++) {
		if (strncmp(f->tensor[i].name, prefix, strlen(prefix)))
			continue;
		a.tensors++;
		a.parameters += safetensor_elements(&f->tensor[i]);
	}
	return a;
}

static int verify_model(struct sheet *s, const struct safetensors *f, struct error *e)
{
	if (!s->options->verify)
		return 0;
	return verify_modelspec(s, f, e) || verify_values(s, f, e) ? -1 : 0;
}

static void say_size(struct sheet *s, uint64_t n)
{
	char *bytes = thousands(n);

	sheet_line(s, "size", "%s bytes", bytes);
	free(bytes);
}

static int inspect_checkpoint(struct sheet *s, const struct family *family, const struct safetensors *f,
			      struct error *e)
{
	char *kind = xprintf("a checkpoint, single file, %s", family->title);

	sheet_text(s, "kind", kind, "checkpoint");
	free(kind);
	sheet_text(s, "form", NULL, "single file");
	say_size(s, f->file_bytes);
	sheet_text(s, "dtype", "dtype", dtypes_of(f));
	sheet_text(s, "name", "name", safetensors_metadata(f, "modelspec.title"));
	sheet_text(s, "base", "base", safetensors_metadata(f, "modelspec.architecture"));
	sheet_text(s, "hash", "hash", safetensors_metadata(f, "modelspec.hash_sha256"));
	for (int c = 0; c < COMPONENTS; c++) {
		struct amount a;

		if (!(family->parts & PART(c)))
			continue;
		a = amount_under(f, family->prefix[c]);
		say_amount(s, c, &a);
	}
	return verify_model(s, f, e);
}

/* NULL: not every part of a model is there. */
static const struct family *whole_model(const struct safetensors *f)
{
	const struct family *family = family_of_file(f);

	for (int c = 0; c < COMPONENTS; c++)
		if (c != COMPONENT_VAE && family->parts & PART(c) && !amount_under(f, family->prefix[c]).tensors)
			return NULL;
	return family;
}

static int inspect_state(struct sheet *s, const struct safetensors *f, struct error *e)
{
	struct amount parameters = amount_under(f, "param.");

	sheet_text(s, "kind", "the state of a training run", "state");
	say_size(s, f->file_bytes);
	sheet_text(s, "step", "step", safetensors_metadata(f, "step"));
	sheet_int(s, "tensors", "trained", parameters.tensors);
	sheet_int(s, "parameters", "parameters", parameters.parameters);
	sheet_text(s, "identity", "identity", safetensors_metadata(f, "identity"));
	sheet_text(s, "run", "run", safetensors_metadata(f, RUN_KEY));
	if (!safetensors_metadata(f, "step") || !safetensors_metadata(f, "sha256") || !safetensors_find(f, "steps") ||
	    !parameters.tensors)
		return fail(e, EXIT_INPUT,
			    "%s: incomplete: a state has step, sha256, \"steps\" and parameters; resume from another",
			    f->path);
	if (s->options->quick)
		return 0;
	return safetensors_check_seal(f, e) < 0 ? -1 : verify_values(s, f, e);
}

int inspect_tensors(struct sheet *s, const struct safetensors *f, struct error *e)
{
	const char *format = safetensors_metadata(f, "format"), *guess;
	const struct family *family = whole_model(f);

	if (format && strncmp(format, "lora-state-", 11) == 0)
		return inspect_state(s, f, e);
	if (family)
		return inspect_checkpoint(s, family, f, e);
	guess = source_guess(f);
	s->unknown = !guess;
	sheet_text(s, "kind", guess ? guess : "tensors (safetensors)", guess ? "weights" : "tensors");
	sheet_text(s, "what", NULL, guess);
	say_size(s, f->file_bytes);
	sheet_text(s, "dtype", "dtype", dtypes_of(f));
	sheet_int(s, "tensors", "tensors", f->count);
	sheet_int(s, "parameters", "parameters", amount_under(f, "").parameters);
	return verify_model(s, f, e);
}

/* ---- folders ---- */

static struct amount amount_of(const struct model_files *m, enum component c)
{
	struct amount a = { .tensors = source_names(m, c) };

	for (size_t i = 0; i < a.tensors; i++) {
		struct source_place p;

		if (source_place(m, c, source_name(m, c, i), &p))
			a.parameters += safetensor_elements(p.tensor);
	}
	return a;
}

static int say_folder(struct sheet *s, const struct model_files *m, struct error *e)
{
	const struct family *family = model_files_config(m)->family;
	char *kind = xprintf("a checkpoint, diffusers folder, %s", family->title);
	uint64_t bytes = 0;

	for (size_t i = 0; i < source_files(m); i++)
		bytes += source_file(m, i)->file_bytes;
	sheet_text(s, "kind", kind, "checkpoint");
	free(kind);
	sheet_text(s, "form", NULL, "diffusers folder");
	say_size(s, bytes);
	sheet_int(s, "bytes", NULL, bytes);
	sheet_text(s, "dtype", "dtype", dtypes_of(source_file(m, 0)));
	for (int c = 0; c < COMPONENTS; c++) {
		struct amount a;

		if (!(family->parts & PART(c)))
			continue;
		a = amount_of(m, c);
		say_amount(s, c, &a);
	}
	for (size_t i = 0; i < source_files(m); i++)
		if (verify_model(s, source_file(m, i), e))
			return -1;
	return 0;
}

static void say_files(struct sheet *s, const struct model_files *m)
{
	for (size_t i = 0; i < source_files(m); i++) {
		if (s->options->keys)
			sheet_row(s, "  %s", source_file_path(m, i));
		if (s->options->keys)
			sheet_keys(s, source_file(m, i));
	}
}

static bool holds_parts_of_peft(const char *folder)
{
	static const char *const names[] = { PEFT_CONFIG_NAME, "adapter_model.bin" };
	struct error later;
	bool holds = false;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names) && !holds; i++) {
		char *path = path_join(folder, names[i]);

		holds = path_is_there(path, &later) > 0;
		free(path);
	}
	return holds;
}

int inspect_folder(struct sheet *s, struct error *e)
{
	char *index = path_join(s->path, "model_index.json"), *unet = path_join(s->path, "unet"), *cached = NULL;
	struct model_files *m;
	int status = path_is_there(index, e);

	if (status == 0)
		status = path_is_folder(unet, e);
	if (status == 0)
		status = hub_find(s->path, HUB_MODEL, PART(COMPONENT_UNET), &cached, e);
	free(index);
	free(unet);
	free(cached);
	if (status < 0)
		return -1;
	if (!status && holds_parts_of_peft(s->path))
		return fail(e, EXIT_INPUT,
			    "%s: a folder of PEFT's without adapter_model.safetensors (adapter_model.bin, a pickle, is "
			    "not read: it may run code); save the adapter with safe_serialization", s->path);
	if (!status)
		return fail(e, EXIT_INPUT,
			    "%s: a folder of no known kind; a diffusers model has unet/ and model_index.json", s->path);
	m = model_files_open_parts(s->path, NULL, NULL, PART(COMPONENT_UNET), e);
	if (!m)
		return -1;
	status = say_folder(s, m, e);
	say_files(s, m);
	model_files_close(m);
	return status;
}
