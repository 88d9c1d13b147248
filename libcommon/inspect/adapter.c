/* lora-inspect: adapters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/map.h"
#include "../base/memory.h"
#include "../model/family.h"
#include "../model/source.h"
#include "../adapter/adapter_scale.h"
#include "internal.h"
#include "../adapter/keys.h"
#include "../adapter/lengths_axis.h"
#include "../adapter/metadata.h"

/* A module by its names alone: no model is at hand. */
struct module {
	const char *name;               /* the first `length` characters of a tensor's name */
	size_t length;
	const struct adapter_kind *kind;        /* NULL: none of its tensors says */
	const struct safetensor *part[BRANCH_PARTS], *alpha, *lengths;
	int component;                  /* -1: nobody's prefix */
	struct weight layer;            /* as its parts' shapes have it; out 0: they do not tell */
	struct module_form form;
	struct module_alpha scale;
};

struct modules {
	struct module *item;
	size_t count, capacity;
	const char *method, *dialect;   /* of the file: the first without a row in kinds.c; the first UNet module's */
	const struct adapter_kind *kind;        /* of the first module that has one */
	size_t by_output, by_input;     /* with DoRA's lengths */
};

bool is_adapter(const struct safetensors *f)
{
	struct key_part part;
	const char *dialect;

	for (size_t i = 0; i < f->count; i++)
		if (adapter_key_split(f->tensor[i].name, &part) && part.part != PART_ALPHA &&
		    adapter_key_component(f->tensor[i].name, &dialect) >= 0)
			return true;
	return false;
}

/* ---- collecting ---- */

static struct module *module_of(struct modules *m, struct map *names, const char *name, size_t length)
{
	long i = map_get(names, name, length);

	if (i >= 0)
		return &m->item[i];
	map_put(names, name, length, m->count);
	GROW(m->item, m->count, m->capacity);
	m->item[m->count] = (struct module){ .name = name, .length = length };
	return &m->item[m->count++];
}

static void name_dialect(struct modules *m, struct module *module, const char *name)
{
	const char *dialect;

	module->component = adapter_key_component(name, &dialect);
	if (module->component >= 0 && (!m->dialect || module->component == COMPONENT_UNET))
		m->dialect = dialect;
}

static void put(struct modules *m, struct module *module, const struct safetensor *t, const struct key_part *part)
{
	if (part->part == PART_ALPHA)
		module->alpha = t;
	else if (part->part == PART_LENGTHS)
		module->lengths = t;
	else if (part->part == PART_OTHER && !m->method)
		m->method = part->method;
	if (!part->kind)
		return;
	module->part[part->part] = t;
	module->kind = part->kind;
	if (!m->kind)
		m->kind = part->kind;
}

static void collect(struct modules *m, const struct safetensors *f)
{
	struct map *names = map_new(f->count);

	for (size_t i = 0; i < f->count; i++) {
		const struct safetensor *t = &f->tensor[i];
		struct key_part part;
		size_t length = adapter_key_split(t->name, &part);
		struct module *module;

		if (!length || part.part == PART_EMBEDDING)
			continue;
		module = module_of(m, names, t->name, length);
		name_dialect(m, module, t->name);
		put(m, module, t, &part);
	}
	map_free(names);
	for (size_t i = 0; i < m->count; i++) {
		struct module *x = &m->item[i];

		if (!m->method && x->kind && x->kind->other)
			m->method = x->kind->other(x->part);
		if (!x->kind || x->kind->missing(x->part) >= 0 || !x->kind->guess(&x->layer, x->part))
			x->layer.out = 0;
	}
}

/* ---- checking ---- */

/* A kernel that is flattened into the inputs counts as so many of them.  What nothing tells is said to be of outputs,
 * which a program that needs to know refuses. */
static int check_lengths(const struct safetensors *f, const struct module *x, struct modules *m, struct error *e)
{
	const struct safetensor *t = x->lengths;
	int64_t in = x->layer.in;
	enum lengths_axis axis;

	if (!t)
		return 0;
	if (t->dims >= 2 && t->shape[1] > 0 && in % t->shape[1] == 0 && t->shape[0] == 1)
		in = t->shape[1];
	axis = lengths_axis_of(f, t, x->layer.out, in);
	if (axis == LENGTHS_MISFIT)
		return fail(e, EXIT_INPUT, "%s: '%.200s' is neither a length for each output nor for each input",
			    f->path, t->name);
	*(axis == LENGTHS_INPUT ? &m->by_input : &m->by_output) += 1;
	return 0;
}

static int check_module(const struct safetensors *f, struct alpha_sources *sources, struct module *m, struct error *e)
{
	const struct adapter_kind *kind = m->kind ? m->kind : adapter_kinds[0];
	const int missing = kind->missing(m->part);
	struct alpha_question q = { .name = m->name, .length = m->length, .component = m->component, .tensor = m->alpha,
				     .lengths = m->lengths != NULL };
	char *part;

	if (missing >= 0) {
		part = kind_part_name(kind, missing);
		fail(e, EXIT_INPUT, "%s: '%.*s' has no %s; the file is incomplete", f->path, (int)m->length, m->name,
		     part);
		free(part);
		return -1;
	}
	if (!m->layer.out || !kind_form_of_file(kind, &m->form, &m->layer, m->part))
		return fail(e, EXIT_INPUT, "%s: the shapes of '%.*s' do not belong together", f->path, (int)m->length,
			    m->name);
	q.rank = m->form.rank;
	q.none = kind->no_alpha;
	return alpha_of(sources, &q, &m->scale, e);
}

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

/* What the first cross-attention reads of a token; 0: no module shows it */
static int64_t context_width(const struct modules *m)
{
	int64_t width = 0;

	for (size_t i = 0; i < m->count && !width; i++) {
		const struct module *x = &m->item[i];
		char *name = xstrndup(x->name, x->length);

		if (x->layer.out && strstr(name, "attn2") && (strstr(name, "to_k") || strstr(name, "to_v")))
			width = x->layer.in;
		free(name);
	}
	return width;
}

/* The base model: by the metadata, else by the width that a cross-attention reads. */
static const char *base_model(const struct safetensors *f, const struct modules *m)
{
	static const struct {
		int64_t width;
		const char *name;
	} families[] = {
		{ 2048, "SDXL (by its cross attention's width)" },
		{ 768, "Stable Diffusion 1 (by its cross attention's width)" },
		{ 1024, "Stable Diffusion 2 (by its cross attention's width)" },
	};
	const char *says = safetensors_metadata(f, "ss_base_model_version");
	const int64_t width = context_width(m);

	if (says)
		return says;
	for (size_t k = 0; k < sizeof(families) / sizeof(families[0]); k++)
		if (width == families[k].width)
			return families[k].name;
	return NULL;
}

/* By the same; NULL: neither tells.  A text encoder that a family does not have is not counted. */
static const struct family *family_guess(const struct safetensors *f, const struct modules *m)
{
	const char *says = safetensors_metadata(f, "ss_base_model_version");
	const int64_t width = context_width(m);
	const struct family *x;

	for (size_t i = 0; (x = family_at(i)); i++)
		if (says ? !strcmp(x->base_model_version, says) : x->usual->unet.context == width)
			return x;
	return NULL;
}

static void say_components(struct sheet *s, const struct safetensors *f, const struct modules *m)
{
	const struct family *family = family_guess(f, m);
	struct buffer list = { 0 };
	size_t n[COMPONENTS] = { 0 }, other = 0;

	for (size_t i = 0; i < m->count; i++)
		*(m->item[i].component < 0 ? &other : &n[m->item[i].component]) += 1;
	json_begin(&s->json, "modules");
	for (int c = COMPONENT_UNET; c < COMPONENT_VAE; c++) {
		if (!n[c] && family && !(family->parts & PART(c)))
			continue;
		buffer_addf(&list, "%s%s %zu", list.len ? ", " : "", part_names[c].title, n[c]);
		json_int(&s->json, part_names[c].key, n[c]);
	}
	json_int(&s->json, "other", other);
	json_int(&s->json, "total", m->count);
	json_end(&s->json);
	sheet_line(s, "modules", "%zu: %s%s", m->count, list.data, other ? ", others" : "");
	buffer_free(&list);
}

/* shape: in place of a rank, of kinds that have none; "" */
struct rank_kind { int rank; char shape[40]; const struct adapter_kind *of; struct module_alpha scale; size_t count; };

static struct rank_kind rank_of(const struct module *m)
{
	struct rank_kind k = { .rank = m->form.rank, .of = m->kind, .scale = m->scale };

	if (!k.rank && m->kind && m->kind->shape)
		m->kind->shape(&m->form, k.shape, sizeof(k.shape));
	return k;
}

static bool same_kind(const struct rank_kind *k, const struct rank_kind *m)
{
	return k->rank == m->rank && !strcmp(k->shape, m->shape) && k->scale.value == m->scale.value &&
	       k->scale.origin == m->scale.origin;
}

static void say_shape(struct sheet *s, const char *label, const struct rank_kind *k)
{
	if (k->of->no_alpha)
		sheet_line(s, label, "%s: %zu modules", k->shape, k->count);
	else
		sheet_line(s, label, "%s, alpha %g: %zu modules", k->shape, k->scale.value, k->count);
	json_begin(&s->json, NULL);
	json_text(&s->json, "shape", k->shape);
	if (!k->of->no_alpha)
		json_float(&s->json, "alpha", k->scale.value);
	json_int(&s->json, "modules", k->count);
	json_end(&s->json);
}

static void say_rank(struct sheet *s, const char *label, const struct rank_kind *k)
{
	if (*k->shape) {
		say_shape(s, *label ? "shape" : label, k);
		return;
	}
	sheet_line(s, label, "%d, alpha %g: %zu modules (alpha from %s)", k->rank, k->scale.value, k->count,
		   alpha_origin_name(k->scale.origin));
	json_begin(&s->json, NULL);
	json_int(&s->json, "rank", k->rank);
	json_float(&s->json, "alpha", k->scale.value);
	json_text(&s->json, "alpha_from", alpha_origin_name(k->scale.origin));
	json_int(&s->json, "modules", k->count);
	json_end(&s->json);
}

/* Prints each pair of rank and alpha, in the order of first appearance. */
static void say_ranks(struct sheet *s, const struct modules *m)
{
	struct rank_kind kind[16];
	size_t kinds = 0;

	for (size_t i = 0; i < m->count; i++) {
		const struct rank_kind x = rank_of(&m->item[i]);
		size_t k = 0;

		while (k < kinds && !same_kind(&kind[k], &x))
			k++;
		if (k == sizeof(kind) / sizeof(*kind))
			continue;
		if (k == kinds)
			kind[kinds++] = x;
		kind[k].count++;
	}
	json_begin_array(&s->json, "ranks");
	for (size_t k = 0; k < kinds; k++)
		say_rank(s, k ? "" : "rank", &kind[k]);
	json_end_array(&s->json);
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
static bool is_dead(const struct safetensors *f, const struct module *m)
{
	for (int i = 0; i < BRANCH_PARTS; i++)
		if (m->part[i] && all_zero(f, m->part[i]))
			return true;
	return false;
}

/* kohya's own files have six such modules: te1's last layer reaches nothing that the UNet reads. */
static void say_dead(struct sheet *s, const struct safetensors *f, const struct modules *m)
{
	size_t dead = 0;

	for (size_t i = 0; i < m->count; i++)
		dead += is_dead(f, &m->item[i]);
	sheet_int(s, "untrained", dead ? "untrained" : NULL, dead);
}

/* ---- norms ---- */

static int module_norm(const struct safetensors *f, const struct module *m, double *norm, struct error *e)
{
	struct delta d = { .kind = m->kind,
			   .form = &m->form,
			   .w = &m->layer,
			   .scale = kind_scale(m->kind, &m->form, m->scale.value) };
	int status = 0;

	for (int i = 0; i < BRANCH_PARTS && !status; i++)
		if (m->part[i] &&
		    !(d.part[i] = safetensors_floats(f, m->part[i]->name, safetensor_elements(m->part[i]), e)))
			status = -1;
	if (!status) {
		delta_begin(&d);
		*norm = delta_norm(&d);
	}
	delta_end(&d);
	return status;
}

static void say_norm(struct sheet *s, const struct module *x, double norm)
{
	char text[32] = "-";

	if (!x->kind->needs_base)
		snprintf(text, sizeof(text), "%.5g", norm);
	sheet_row(s, "  %-10s %-5d %.*s", text, x->form.rank, (int)x->length, x->name);
	json_begin(&s->json, NULL);
	json_text_n(&s->json, "module", x->name, x->length);
	json_int(&s->json, "rank", x->form.rank);
	json_float(&s->json, "alpha", x->scale.value);
	if (!x->kind->needs_base)
		json_number(&s->json, "norm", norm);
	json_end(&s->json);
}

static int say_norms(struct sheet *s, const struct safetensors *f, const struct modules *m, struct error *e)
{
	int status = 0;

	sheet_row(s, "  %-10s %-5s %s", "norm", "rank", "module");
	json_begin_array(&s->json, "norms");
	for (size_t i = 0; i < m->count && !status; i++) {
		double norm = 0;

		if (!m->item[i].kind->needs_base)
			status = module_norm(f, &m->item[i], &norm, e);
		say_norm(s, &m->item[i], norm);
	}
	json_end_array(&s->json);
	return status;
}

/* ---- the file ---- */

static void say_lengths(struct sheet *s, const struct modules *m)
{
	if (!m->by_output && !m->by_input)
		return;
	sheet_line(s, "dora", "%zu modules have a length for each output, %zu for each input", m->by_output,
		   m->by_input);
	json_int(&s->json, "dora_by_output", m->by_output);
	json_int(&s->json, "dora_by_input", m->by_input);
}

static int inspect_modules(struct sheet *s, const struct safetensors *f, struct modules *m, struct error *e)
{
	struct alpha_sources *sources = alpha_sources_new(f);
	int status = 0;

	for (size_t i = 0; i < m->count && !status; i++)
		status = check_module(f, sources, &m->item[i], e) < 0 ? -1 : check_lengths(f, &m->item[i], m, e);
	alpha_sources_free(sources);
	if (status)
		return -1;
	say_ranks(s, m);
	say_lengths(s, m);
	if (s->options->quick)
		return 0;
	say_dead(s, f, m);
	if (verify_values(s, f, e))
		return -1;
	return s->options->norms ? say_norms(s, f, m, e) : 0;
}

int inspect_adapter(struct sheet *s, const struct safetensors *f, struct error *e)
{
	struct modules m = { 0 };
	char *bytes = thousands(f->file_bytes);
	bool dora = false, plain;
	int status;

	collect(&m, f);
	for (size_t i = 0; i < m.count && !dora; i++)
		dora = m.item[i].lengths != NULL;
	plain = !m.method && (!m.kind || m.kind == adapter_kinds[0]);
	sheet_text(s, "kind", !plain ? "an adapter" : dora ? "a DoRA adapter" : "a LoRA adapter", "adapter");
	sheet_line(s, "size", "%s bytes", bytes);
	sheet_text(s, "method", plain ? NULL : "method",
		   m.method ? m.method
		   : !plain ? m.kind->name
		   : dora   ? "DoRA"
			    : "LoRA");
	sheet_text(s, "dialect", "names", m.dialect);
	sheet_text(s, "base", "base", base_model(f, &m));
	sheet_text(s, "dtype", "dtype", dtypes_of(f));
	say_components(s, f, &m);
	sheet_text(s, "name", "name", safetensors_metadata(f, "ss_output_name"));
	sheet_text(s, "hash", "hash", safetensors_metadata(f, "sshs_model_hash"));
	sheet_text(s, "run", "run", safetensors_metadata(f, RUN_KEY));
	status = s->options->verify ? check_hash(s, f, e) : 0;
	if (!status)
		status = m.method ? (s->options->quick ? 0 : verify_values(s, f, e)) : inspect_modules(s, f, &m, e);
	free(m.item);
	free(bytes);
	return status;
}
