/* The table of readers that adapters are written for, and PEFT's configuration. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../model/source.h"
#include "lora.h"
#include "target.h"

#define DOWN_UP(down, up) [LORA_DOWN] = down, [LORA_UP] = up
#define MID [LORA_MID] = "lora_mid.weight"

/* diffusers finds a length in a text encoder only by the name with ".weight"; PEFT itself by the one without.  No
 * reader takes lengths of outputs under kohya's names for what they are. */
const struct adapter_target adapter_targets[] = {
	{ .name = "kohya", .suffix = { DOWN_UP("lora_down.weight", "lora_up.weight"), MID }, .lengths = "dora_scale",
	  .by_input = true, .kinds = true, .bias = "diff_b" },
	{ .name = "diffusers", .unet = "diffusers", .all = { "diffusers", "diffusers", "diffusers" },
	  .suffix = { DOWN_UP("lora_A.weight", "lora_B.weight") }, .lengths = "lora_magnitude_vector.weight",
	  .row = true, .alphas = ALPHAS_IN_HEADER, .bias = "lora_B.bias", .bias_scaled = true },
	/* PEFT takes names as the model's classes have them, which of transformers 5 are others. */
	{ .name = "peft", .unet = "peft",
	  .all = { [COMPONENT_UNET] = "peft, whole pipeline", [COMPONENT_TE1] = "peft, whole pipeline, transformers 5",
		   [COMPONENT_TE2] = "peft, whole pipeline" },
	  .suffix = { DOWN_UP("lora_A.weight", "lora_B.weight") }, .lengths = "lora_magnitude_vector", .row = true,
	  .alphas = ALPHAS_BESIDE, .bias = "lora_B.bias", .bias_scaled = true },
	{ .name = "comfy", .unet = "comfy", .all = { "comfy", "comfy", "comfy" },
	  .suffix = { DOWN_UP("lora_down.weight", "lora_up.weight"), MID }, .lengths = "dora_scale", .by_input = true,
	  .kinds = true, .bias = "diff_b" },
	{ 0 },
};

const struct adapter_target *adapter_target(const char *name)
{
	const struct adapter_target *t = adapter_targets;

	while (t->name && strcmp(t->name, name))
		t++;
	return t->name ? t : NULL;
}

char *target_stem(const struct adapter_target *t, bool texts, const struct layer *l, const struct unet_config *c,
		  const struct adapter_kind *kind, const struct module_form *f)
{
	const char *own = t->unet || !kind->dialect ? NULL : kind->dialect(f);
	const char *name = texts ? t->all[l->component] : t->unet;

	return own || name ? adapter_stem(own ? own : name, l, c) : kohya_stem(l, c);
}

const char *target_suffix(const struct adapter_target *t, const struct adapter_kind *kind, int part)
{
	if (kind == &kind_lora || kind->begins == &kind_lora)
		return t->suffix[part];
	return t->kinds ? kind_part_suffix(kind, part) : NULL;
}

const char *target_norm_suffix(const struct adapter_target *t, bool bias)
{
	return !t->kinds ? NULL : bias ? "b_norm" : "w_norm";
}

/* ---- PEFT's configuration ---- */

/* A name behind PEFT's prefix; of a model among several, which diffusers finds alone, the layer's.  transformers 5 has
 * taken "text_model." out of one of SDXL's encoders: PEFT matches names by their ends, so that the name without it
 * fits both. */
char *target_path(const struct adapter_target *t, const struct layer *l, const char *stem)
{
	static const char peft[] = "base_model.model.", text_model[] = "text_model.";

	if (t->alphas == ALPHAS_BESIDE)
		return xstrdup(stem + strlen(peft));
	return xstrdup(strncmp(l->name, text_model, strlen(text_model)) ? l->name : l->name + strlen(text_model));
}

struct config {
	struct json_out *j;
	const char *prefix;
	const struct target_module *module;
	size_t count;
};

/* What a field is called under this root; malloced */
static char *named(const struct config *c, const char *field)
{
	return xprintf("%s%s", c->prefix, field);
}

static void put_number(struct json_out *j, const char *name, double value)
{
	if (fabs(value) < 0x1p53 && value == floor(value))
		json_int(j, name, (int64_t)value);
	else
		json_number(j, name, value);
}

static double rank_of(const struct target_module *m) { return m->rank; }
static double alpha_of_module(const struct target_module *m) { return m->alpha; }

/* The value that most modules have; of several the first. */
static double usual(const struct config *c, double (*of)(const struct target_module *))
{
	size_t most = 0;
	double value = 0;

	for (size_t i = 0; i < c->count; i++) {
		size_t n = 0;

		for (size_t k = 0; k < c->count; k++)
			n += of(&c->module[k]) == of(&c->module[i]);
		if (n > most) {
			most = n;
			value = of(&c->module[i]);
		}
	}
	return value;
}

/* A value, and a pattern for each module that has another. */
static void put_pattern(const struct config *c, const char *one, const char *pattern,
			double (*of)(const struct target_module *))
{
	const double most = usual(c, of);
	char *field = named(c, one), *table = named(c, pattern);

	put_number(c->j, field, most);
	json_begin(c->j, table);
	for (size_t i = 0; i < c->count; i++)
		if (of(&c->module[i]) != most)
			put_number(c->j, c->module[i].path, of(&c->module[i]));
	json_end(c->j);
	free(field);
	free(table);
}

static void put_modules(const struct config *c)
{
	char *field = named(c, "target_modules");

	json_begin_array(c->j, field);
	for (size_t i = 0; i < c->count; i++)
		json_text(c->j, NULL, c->module[i].path);
	json_end_array(c->j);
	free(field);
}

static void put_flag(const struct config *c, const char *name, bool value)
{
	char *field = named(c, name);

	json_bool(c->j, field, value);
	free(field);
}

static void put_text(const struct config *c, const char *name, const char *value)
{
	char *field = named(c, name);

	json_text(c->j, field, value);
	free(field);
}

void target_config(struct json_out *j, const char *prefix, const struct target_module *module, size_t count, bool dora,
		   bool bias)
{
	const struct config c = { j, prefix, module, count };

	put_text(&c, "peft_type", "LORA");
	put_text(&c, "task_type", NULL);
	put_text(&c, "base_model_name_or_path", NULL);
	put_flag(&c, "inference_mode", true);
	put_pattern(&c, "r", "rank_pattern", rank_of);
	put_pattern(&c, "lora_alpha", "alpha_pattern", alpha_of_module);
	put_flag(&c, "use_rslora", false);
	put_flag(&c, "use_dora", dora);
	put_flag(&c, "lora_bias", bias);
	put_text(&c, "bias", "none");
	put_modules(&c);
}
