/* Reading PEFT's configuration: alphas, ranks, patterns, and fields that are refused. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../io/pattern.h"
#include "peft_config.h"

enum {
	DEFAULT_ALPHA = 8,      /* LoraConfig's own, where the field is not there */
	MOST_PATTERNS = 10000,
};

struct valued { struct pattern *pattern; double value; };
struct pattern_list { struct valued *item; size_t count, capacity; };

/* The kinds of adapters whose scale it says, and in which field; LoRA's where it says no kind. */
static const struct peft_type { const char *name, *alpha; } types[] = {
	{ "LORA", "lora_alpha" }, { "LOHA", "alpha" }, { "LOKR", "alpha" },
};
#define TYPES (sizeof(types) / sizeof(*types))

struct peft_config {
	char *where;
	const struct peft_type *type;
	double alpha;
	long rank;                      /* 0: not said */
	bool root, dora;                /* use_rslora, use_dora */
	struct pattern_list alphas, ranks;      /* the first that fits decides */
};

/* ---- fields ---- */

struct fields { const json_t *object; const char *prefix, *where; };

static const json_t *field(const struct fields *f, const char *name)
{
	char *full = xprintf("%s%s", f->prefix, name);
	const json_t *value = json_object_get(f->object, full);

	free(full);
	return json_is_null(value) ? NULL : value;
}

static int wrong(const struct fields *f, const char *name, const char *what, struct error *e)
{
	return fail(e, EXIT_INPUT, "%s: %s%s %s; correct it, or save the adapter anew", f->where, f->prefix, name,
		    what);
}

static int read_number(const struct fields *f, const char *name, double *out, struct error *e)
{
	const json_t *value = field(f, name);

	if (!value)
		return 0;
	*out = json_number_value(value);
	return json_is_number(value) && isfinite(*out) ? 0 : wrong(f, name, "is no number", e);
}

static int read_rank(const struct fields *f, long *rank, struct error *e)
{
	double r = 1;

	if (!field(f, "r"))
		return 0;
	if (read_number(f, "r", &r, e) < 0)
		return -1;
	*rank = (long)r;
	return r >= 1 && r <= 1e6 && r == (double)*rank ? 0 : wrong(f, "r", "is no rank", e);
}

static int read_flag(const struct fields *f, const char *name, bool *out, struct error *e)
{
	const json_t *value = field(f, name);

	*out = json_is_true(value);
	return !value || json_is_boolean(value) ? 0 : wrong(f, name, "is neither true nor false", e);
}

static bool is_set(const json_t *value)
{
	return value && !json_is_false(value) && !(json_is_array(value) && !json_array_size(value)) &&
	       !(json_is_object(value) && !json_object_size(value));
}

static int read_type(const struct fields *f, const struct peft_type **type, struct error *e)
{
	const json_t *value = field(f, "peft_type");
	const char *name = value ? json_string_value(value) : types[0].name;

	for (*type = types; name && *type < types + TYPES; ++*type)
		if (!strcmp((*type)->name, name))
			return 0;
	return fail(e, EXIT_INPUT, "%s: %speft_type is %.100s, whose scale is not known here; "
		    "merge the adapter with PEFT", f->where, f->prefix, name ? name : "no text");
}

/* Each changes what the tensors mean.  In which of PEFT's files: tuners/lora/variants.py, layer.py, model.py. */
static int refuse_others(const struct fields *f, struct error *e)
{
	static const char *const others[] = { "use_qalora", "use_bdlora", "kasa_config", "monteclora_config",
					      "arrow_config",
					      "alora_invocation_tokens", "layer_replication" };
	/* These take a part out of the base model's weights before training; the adapter is meant for what is left. */
	static const char *const starts[] = { "pissa", "olora", "corda", "lora_ga", "loftq" };
	const json_t *init = field(f, "init_lora_weights");

	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (is_set(field(f, others[i])))
			return fail(e, EXIT_INPUT, "%s: %s%s is not supported; "
						   "merge the adapter with PEFT, or train it without", f->where,
				    f->prefix, others[i]);
	for (size_t i = 0; json_is_string(init) && i < sizeof(starts) / sizeof(*starts); i++)
		if (!strncmp(json_string_value(init), starts[i], strlen(starts[i])))
			return fail(e, EXIT_INPUT, "%s: %sinit_lora_weights is %.100s: "
						   "the base model was changed before training, "
						   "and the adapter fits only that; "
						   "let PEFT save it with path_initial_model_for_weight_conversion",
						   f->where, f->prefix,
				    json_string_value(init));
	return 0;
}

/* ---- patterns ---- */

/* peft/utils/other.py: re.match(rf"(.*\.)?({key})$", name) */
static struct pattern *compile(const char *text, const char *where, const char *field_name, struct error *e)
{
	char *at = xprintf("%s: %s", where, field_name);
	struct pattern *p = pattern_new(text, &(struct pattern_form){ "(.*\\.)?(", ")$", at, true, EXIT_INPUT }, e);

	free(at);
	return p;
}

static int read_patterns(const struct fields *f, const char *name, struct pattern_list *list, struct error *e)
{
	const json_t *object = field(f, name);
	const char *key;
	json_t *value;

	if (!object)
		return 0;
	if (!json_is_object(object) || json_object_size(object) > MOST_PATTERNS)
		return wrong(f, name, "is no table of at most 10000 patterns", e);
	json_object_foreach((json_t *)object, key, value) {
		struct pattern *p;

		if (!json_is_number(value) || !isfinite(json_number_value(value)))
			return wrong(f, name, "has a value that is no number", e);
		p = compile(key, f->where, name, e);
		if (!p)
			return -1;
		GROW(list->item, list->count, list->capacity);
		list->item[list->count++] = (struct valued){ p, json_number_value(value) };
	}
	return 0;
}

static int match(const struct pattern_list *list, const char *where, const struct peft_module *m, double *value,
		 struct error *e)
{
	if (list->count && !m->path)
		return fail(e, EXIT_INPUT, "%s: it has patterns, which fit names of PEFT's form, and '%.200s' is none; "
					   "name a file in PEFT's or diffusers' form", where, m->name);
	for (size_t i = 0; i < list->count; i++) {
		const int found = pattern_fits(list->item[i].pattern, m->path, e);

		if (found < 0)
			return -1;
		if (!found)
			continue;
		*value = list->item[i].value;
		return 0;
	}
	return 0;
}

static void free_patterns(struct pattern_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		pattern_free(list->item[i].pattern);
	free(list->item);
}

/* ---- the whole ---- */

int peft_config_read(const json_t *object, const char *prefix, const char *where, struct peft_config **out,
		     struct error *e)
{
	static const char *const scales[] = { "lora_alpha", "alpha", "r", "use_rslora", "alpha_pattern",
					      "rank_pattern" };
	const struct fields f = { object, prefix, where };
	const struct peft_type *type;
	struct peft_config *c;
	bool says = false;

	*out = NULL;
	if (read_type(&f, &type, e) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(scales) / sizeof(*scales); i++)
		says |= field(&f, scales[i]) != NULL;
	if (refuse_others(&f, e) < 0)
		return -1;
	if (!says)
		return 0;
	c = xcalloc(1, sizeof(*c));
	c->where = xstrdup(where);
	c->type = type;
	c->alpha = DEFAULT_ALPHA;
	*out = c;
	return read_flag(&f, "use_rslora", &c->root, e) < 0 || read_flag(&f, "use_dora", &c->dora, e) < 0 ||
	       read_number(&f, type->alpha, &c->alpha, e) < 0 || read_rank(&f, &c->rank, e) < 0 ||
	       read_patterns(&f, "alpha_pattern", &c->alphas, e) < 0 ||
	       read_patterns(&f, "rank_pattern", &c->ranks, e) < 0 ? -1 : 0;
}

void peft_config_free(struct peft_config *c)
{
	if (!c)
		return;
	free_patterns(&c->alphas);
	free_patterns(&c->ranks);
	free(c->where);
	free(c);
}

int peft_config_alpha(const struct peft_config *c, const struct peft_module *m, double *alpha, struct error *e)
{
	double rank = c->rank ? c->rank : m->rank;

	if (strcmp(c->type->name, m->type))
		return fail(e, EXIT_INPUT, "%s: peft_type is %s, and '%.200s' is a module of %s; if it belongs to "
			    "another adapter, put this one into a folder of its own", c->where, c->type->name, m->name,
			    m->type);
	*alpha = c->alpha;
	if (match(&c->alphas, c->where, m, alpha, e) < 0 || match(&c->ranks, c->where, m, &rank, e) < 0)
		return -1;
	if (!m->rank && *alpha != rank)
		return fail(e, EXIT_INPUT, "%s: it gives '%.200s' the scale %g / %g, and whole matrices have 1 in all "
					   "programs but PEFT; merge it there", c->where, m->name, *alpha, rank);
	if (m->rank && rank != m->rank)
		return fail(e, EXIT_INPUT, "%s: it gives '%.200s' the rank %g, and its tensors have %d; "
					   "the two do not belong together", c->where, m->name, rank, m->rank);
	if (c->dora && !m->lengths)
		return fail(e, EXIT_INPUT, "%s: use_dora is true, and '%.200s' has no lora_magnitude_vector; "
					   "the file is incomplete", c->where, m->name);
	if (c->root && m->rank)
		*alpha *= sqrt(m->rank);
	return 0;
}
