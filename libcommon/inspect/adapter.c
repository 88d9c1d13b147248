/* lora-inspect: adapters. */
#include <stdlib.h>
#include <string.h>
#include "../base/map.h"
#include "../base/memory.h"
#include "../model/family.h"
#include "../adapter/adapter_file.h"
#include "../adapter/keys.h"
#include "../adapter/made_for.h"
#include "../adapter/metadata.h"
#include "internal.h"

/* What its tensors' names tell. */
struct named {
	const char *method;             /* of a tensor without a row in kinds.c; NULL: all have one */
	const char *dialect;            /* the first UNet module's, else the first; NULL: nobody's */
	const struct adapter_kind *kind;        /* of the first that has one */
	size_t modules[COMPONENTS], other, total;
	bool lengths;
};

bool is_adapter(const struct safetensors *f)
{
	struct key_part part;
	const char *dialect;
	bool kind = false;

	for (size_t i = 0; i < f->count; i++) {
		const size_t n = adapter_key_split(f->tensor[i].name, &part);

		kind |= n && part.kind;
		if (n && part.part != PART_ALPHA && adapter_key_component(f->tensor[i].name, &dialect) >= 0)
			return true;
	}
	return kind && adapter_made_for(f) && adapter_is_foreign(f);    /* of a model with names of its own */
}

/* ---- names ---- */

static void count_module(struct named *n, const char *tensor_name)
{
	const char *dialect;
	const int component = adapter_key_component(tensor_name, &dialect);

	n->total++;
	*(component < 0 ? &n->other : &n->modules[component]) += 1;
	if (component >= 0 && (!n->dialect || (component == COMPONENT_UNET && n->modules[component] == 1)))
		n->dialect = dialect;
}

static void learn_tensor(struct named *n, const struct safetensor *t, const struct key_part *part)
{
	const struct safetensor *alone[BRANCH_PARTS] = { NULL };
	const char *method = part->part == PART_OTHER ? part->method : NULL;

	n->lengths |= part->part == PART_LENGTHS;
	if (part->kind) {
		alone[part->part] = t;
		if (!n->kind)
			n->kind = part->kind;
		if (part->kind->other)
			method = part->kind->other(alone);
	}
	if (!n->method)
		n->method = method;
}

static void learn_names(struct named *n, const struct safetensors *f)
{
	struct map *names = map_new(f->count);

	for (size_t i = 0; i < f->count; i++) {
		const struct safetensor *t = &f->tensor[i];
		struct key_part part;
		const size_t length = adapter_key_split(t->name, &part);

		if (!length || part.part == PART_EMBEDDING)
			continue;
		if (map_put(names, t->name, length, 0) < 0)
			count_module(n, t->name);
		learn_tensor(n, t, &part);
	}
	map_free(names);
}

/* ---- checking ---- */

static int check_hash(struct sheet *s, const struct safetensors *f, struct error *e)
{
	const char *says = safetensors_metadata(f, "sshs_model_hash");
	char hex[65];

	if (!says)
		return 0;
	payload_hash(f, hex);
	if (strcmp(says, hex))
		return fail(e, EXIT_INPUT,
			"%s: its content does not match sshs_model_hash in its metadata: damaged, or changed "
			"by a program that left the old hash",
			f->path);
	sheet_line(s, "", "(matches the content)");
	return 0;
}

/* ---- facts ---- */

/* The family, as the metadata or the layers tell it; NULL: neither.  A text encoder that it does not have is not
 * counted. */
static const struct family *family_guess(const struct safetensors *f, const struct adapter_file *a)
{
	const char *says = safetensors_metadata(f, "ss_base_model_version");
	const struct family *x;

	if (!says)
		return a && a->family ? a->family : NULL;
	for (size_t i = 0; (x = family_at(i)); i++)
		if (!strcmp(x->base_model_version, says))
			return x;
	return NULL;
}

static void say_base(struct sheet *s, const struct safetensors *f)
{
	const char *says = safetensors_metadata(f, "ss_base_model_version"), *shows = says ? NULL : adapter_made_for(f);
	char *guess = shows ? xprintf("%s (by its names and shapes)", shows) : NULL;

	sheet_text(s, "base", "base", says ? says : guess);
	free(guess);
}

static void say_components(struct sheet *s, const struct named *n, const struct family *family)
{
	struct buffer list = { 0 };

	json_begin(&s->json, "modules");
	for (int c = COMPONENT_UNET; c < COMPONENT_VAE; c++) {
		if (!n->modules[c] && family && !(family->parts & PART(c)))
			continue;
		buffer_addf(&list, "%s%s %zu", list.len ? ", " : "", part_names[c].title, n->modules[c]);
		json_int(&s->json, part_names[c].key, n->modules[c]);
	}
	json_int(&s->json, "other", n->other);
	json_int(&s->json, "total", n->total);
	json_end(&s->json);
	sheet_line(s, "modules", "%zu: %s%s", n->total, list.data, n->other ? ", others" : "");
	buffer_free(&list);
}

/* shape: in place of a rank, of kinds that have none; "" */
struct rank_kind { char shape[40]; const struct file_module *of; size_t count; };

static struct rank_kind rank_of(const struct file_module *m)
{
	struct rank_kind k = { .of = m };

	if (!m->form.rank && m->kind->shape)
		m->kind->shape(&m->form, k.shape, sizeof(k.shape));
	return k;
}

static bool same_kind(const struct rank_kind *k, const struct rank_kind *m)
{
	return k->of->form.rank == m->of->form.rank && !strcmp(k->shape, m->shape) && k->of->alpha == m->of->alpha &&
	       k->of->origin == m->of->origin;
}

/* An alpha that changes nothing is not said: of whole matrices. */
static bool alpha_counts(const struct file_module *m)
{
	return !m->kind->no_alpha &&
	       (m->kind->settle || kind_scale(m->kind, &m->form, 1) != kind_scale(m->kind, &m->form, 2));
}

static void say_shape(struct sheet *s, const char *label, const struct rank_kind *k)
{
	const bool alpha = alpha_counts(k->of);

	if (alpha)
		sheet_line(s, label, "%s, alpha %g: %zu modules", k->shape, k->of->alpha, k->count);
	else
		sheet_line(s, label, "%s: %zu modules", k->shape, k->count);
	json_begin(&s->json, NULL);
	json_text(&s->json, "shape", k->shape);
	if (alpha)
		json_float(&s->json, "alpha", k->of->alpha);
	json_int(&s->json, "modules", k->count);
	json_end(&s->json);
}

static void say_rank(struct sheet *s, const char *label, const struct rank_kind *k)
{
	const struct file_module *m = k->of;

	if (*k->shape) {
		say_shape(s, *label ? "shape" : label, k);
		return;
	}
	sheet_line(s, label, "%d, alpha %g: %zu modules (alpha from %s)", m->form.rank, m->alpha, k->count,
		   alpha_origin_name(m->origin));
	json_begin(&s->json, NULL);
	json_int(&s->json, "rank", m->form.rank);
	json_float(&s->json, "alpha", m->alpha);
	json_text(&s->json, "alpha_from", alpha_origin_name(m->origin));
	json_int(&s->json, "modules", k->count);
	json_end(&s->json);
}

static void sort_kinds(struct rank_kind *kind, size_t n)
{
	for (size_t i = 1; i < n; i++)
		for (size_t k = i; k && kind[k].count > kind[k - 1].count; k--) {
			const struct rank_kind x = kind[k];

			kind[k] = kind[k - 1];
			kind[k - 1] = x;
		}
}

/* Prints each pair of rank and alpha, the most frequent first. */
static void say_ranks(struct sheet *s, const struct adapter_file *a)
{
	struct rank_kind kind[16];
	size_t kinds = 0;

	for (size_t i = 0; i < a->count; i++) {
		const struct rank_kind x = rank_of(&a->module[i]);
		size_t k = 0;

		while (k < kinds && !same_kind(&kind[k], &x))
			k++;
		if (k == sizeof(kind) / sizeof(*kind))
			continue;
		if (k == kinds)
			kind[kinds++] = x;
		kind[k].count++;
	}
	sort_kinds(kind, kinds);
	json_begin_array(&s->json, "ranks");
	for (size_t k = 0; k < kinds; k++)
		say_rank(s, k ? "" : "rank", &kind[k]);
	json_end_array(&s->json);
}

static void say_lengths(struct sheet *s, const struct adapter_file *a)
{
	size_t by_input = 0;

	if (!a->lengths)
		return;
	for (size_t i = 0; i < a->count; i++)
		by_input += a->module[i].lengths && a->module[i].by_input;
	sheet_line(s, "dora", "%zu modules have a length for each output, %zu for each input", a->lengths - by_input,
		   by_input);
	json_int(&s->json, "dora_by_output", a->lengths - by_input);
	json_int(&s->json, "dora_by_input", by_input);
}

static bool all_zero(const struct safetensors *f, const struct safetensor *t)
{
	const unsigned char *bytes = safetensors_bytes(f, t);

	for (uint64_t i = 0; i < t->bytes; i++)
		if (bytes[i])
			return false;
	return true;
}

/* A factor of zeros makes an update of zeros. */
static bool is_untrained(const struct safetensors *f, const struct file_module *m)
{
	for (int i = 0; i < BRANCH_PARTS; i++)
		if (m->part[i] && all_zero(f, m->part[i]))
			return true;
	return false;
}

/* kohya's own files have six such modules: te1's last layer reaches nothing that the UNet reads. */
static void say_untrained(struct sheet *s, const struct adapter_file *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->count; i++)
		n += is_untrained(a->file, &a->module[i]);
	sheet_int(s, "untrained", n ? "untrained" : NULL, n);
}

/* ---- the file ---- */

static void say_method(struct sheet *s, const struct named *n)
{
	const bool plain = !n->method && (!n->kind || n->kind == adapter_kinds[0]);

	sheet_text(s, "method", plain ? NULL : "method",
		   n->method	? n->method
		   : !plain	? n->kind->name
		   : n->lengths ? "DoRA"
				: "LoRA");
}

static const char *title_of(const struct named *n)
{
	if (n->method || (n->kind && n->kind != adapter_kinds[0]))
		return "an adapter";
	return n->lengths ? "a DoRA adapter" : "a LoRA adapter";
}

static void say_file(struct sheet *s, const struct safetensors *f, const struct named *n, const struct adapter_file *a)
{
	char *bytes = thousands(f->file_bytes);

	sheet_text(s, "kind", title_of(n), "adapter");
	sheet_line(s, "size", "%s bytes", bytes);
	say_method(s, n);
	sheet_text(s, "dialect", "names", n->dialect);
	say_base(s, f);
	sheet_text(s, "dtype", "dtype", dtypes_of(f));
	say_components(s, n, family_guess(f, a));
	sheet_text(s, "name", "name", safetensors_metadata(f, "ss_output_name"));
	sheet_text(s, "hash", "hash", safetensors_metadata(f, "sshs_model_hash"));
	sheet_text(s, "run", "run", safetensors_metadata(f, RUN_KEY));
	free(bytes);
}

/* By the model's layers, by those of the file's family, or, where it is for another model, by its names. */
static struct adapter_file *open_modules(struct safetensors *f, const struct model_files *base, struct error *e)
{
	if (!base && adapter_is_foreign(f))
		return adapter_file_by_names(f, e);
	return adapter_file_of_tensors(f, base ? model_files_config(base) : NULL, e);
}

static int inspect_modules(struct sheet *s, const struct adapter_file *a, const struct model_files *base,
			   struct error *e)
{
	say_ranks(s, a);
	say_lengths(s, a);
	if (s->options->quick)
		return 0;
	say_untrained(s, a);
	if (verify_values(s, a->file, e))
		return -1;
	return s->options->norms || s->options->spectrum ? sheet_measures(s, a, base, e) : 0;
}

static bool has_text(const struct named *n)
{
	for (int c = COMPONENT_TE1; c < COMPONENT_VAE; c++)
		if (n->modules[c])
			return true;
	return false;
}

static int inspect_on(struct sheet *s, struct safetensors *f, const struct model_files *base, struct error *e)
{
	struct named n = { 0 };
	struct adapter_file *a = NULL;
	int status = 0;

	learn_names(&n, f);
	if (!n.method && !(a = open_modules(f, base, e)))
		status = -1;
	say_file(s, f, &n, a);
	if (s->options->will_it_load)
		will_it_load(s, f, a, base ? model_files_config(base) : NULL);
	if (n.method && (s->options->norms || s->options->spectrum))
		sheet_line(s, "norms", "of %s the update is not known here", n.method);
	if (!status && s->options->verify)
		status = check_hash(s, f, e);
	if (!status && a)
		status = inspect_modules(s, a, base, e);
	else if (!status && !s->options->quick)
		status = verify_values(s, f, e);
	if (!status && a && base && s->options->tokens && has_text(&n))
		status = sheet_tokens(s, f, base, e);
	else if (s->options->tokens && !has_text(&n))
		sheet_line(s, "tokens", "it has no modules on text encoders");
	adapter_file_close(a);
	return status;
}

int inspect_adapter(struct sheet *s, struct safetensors *f, struct error *e)
{
	const struct inspect_options *o = s->options;
	const unsigned parts = PART(COMPONENT_UNET) | (o->tokens ? PARTS_TEXT : 0);
	struct model_files *base = NULL;
	int status;

	if (o->model && !(base = model_files_open_parts(o->model, o->model_config, NULL, parts, e)))
		return -1;
	status = inspect_on(s, f, base, e);
	model_files_close(base);
	return status;
}
