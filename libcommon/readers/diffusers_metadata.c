/* What diffusers makes of lora_adapter_metadata: PEFT's configuration of its fields alone, whatever the tensors say. */
#include <stdlib.h>
#include <string.h>
#include "../adapter/adapter_scale.h"
#include "../adapter/peft_config.h"
#include "../io/json.h"
#include "internal.h"

/* LoraConfig's arguments, of PEFT 0.21: another is an error. */
static const char *const arguments[] = {
	"alora_invocation_tokens", "alpha_pattern", "arrow_config", "auto_mapping", "base_model_name_or_path",
	"bias", "corda_config", "ensure_weight_tying", "eva_config", "exclude_modules", "fan_in_fan_out",
	"inference_mode", "init_lora_weights", "kasa_config", "layer_replication", "layers_pattern",
	"layers_to_transform", "loftq_config", "lora_alpha", "lora_bias", "lora_dropout", "lora_ga_config",
	"megatron_config", "megatron_core", "modules_to_save", "monteclora_config", "peft_type",
	"peft_version", "qalora_group_size", "r", "rank_pattern", "revision", "runtime_config",
	"target_modules", "target_parameters", "task_type", "trainable_token_indices", "use_bdlora",
	"use_dora", "use_qalora", "use_rslora", "velora_config",
};

static bool is_argument(const char *name)
{
	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++)
		if (strcmp(arguments[i], name) == 0)
			return true;
	return false;
}

static const struct safetensor *part_of(const struct bundle *b, const char *one, const char *other)
{
	const struct safetensor *t = bundle_find(b, one);

	return t ? t : bundle_find(b, other);
}

/* Does PEFT, by its configuration, make room for factors and lengths of just these shapes? */
static bool has_room(const struct attempt *a, const struct peft_config *c, size_t place)
{
	const struct bundle *b = &a->bundle[place];
	const struct safetensor *inner = part_of(b, "lora_A.weight", "lora_down.weight");
	const struct peft_module m = {
		.name = a->f->place[place].name, .path = a->f->place[place].name, .type = "LORA",
		.rank = inner ? (int)inner->shape[0] : 0,
		.lengths = part_of(b, "lora_magnitude_vector", "lora_magnitude_vector.weight") != NULL,
	};
	struct error e = { 0 };
	double alpha;

	return !m.rank || peft_config_alpha(c, &m, &alpha, &e) == 0;
}

/* Why the configuration of these fields cannot be made; NULL: it can. */
static const char *fault_of(const json_t *fields)
{
	const json_t *targets = json_object_get(fields, "target_modules");
	const json_t *alpha = json_object_get(fields, "lora_alpha");
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)fields, key, value)
		if (!is_argument(key))
			return "a field of lora_adapter_metadata that PEFT does not know";
	if (!json_is_array(targets) && !json_is_string(targets))
		return "lora_adapter_metadata without this part's target_modules";
	if ((alpha && !json_is_number(alpha)) || !json_is_integer(json_object_get(fields, "r")))
		return "lora_adapter_metadata whose r or lora_alpha is no number";
	return NULL;
}

/* The members whose names begin so, without that; malloced. */
static json_t *fields_of(const json_t *all, const char *prefix)
{
	json_t *fields = json_object(), *value;
	const char *key;

	json_object_set_new(fields, "r", json_integer(8));      /* LoraConfig's own */
	json_object_foreach((json_t *)all, key, value)
		if (strncmp(key, prefix, strlen(prefix)) == 0)
			json_object_set(fields, key + strlen(prefix), value);
	return fields;
}

static void judge_part(struct attempt *a, const json_t *fields, enum component component)
{
	const char *fault = fault_of(fields);
	struct peft_config *c = NULL;
	struct error e = { 0 };
	const bool read = peft_config_read(fields, "", LORA_METADATA_KEY, &c, &e) == 0;

	for (size_t i = 0; i < a->f->count; i++) {
		if (a->f->place[i].component != component || !(a->got[i] & MEANT_WEIGHT) || !a->bundle[i].count)
			continue;
		if (fault)
			attempt_refuse(a, fault, a->bundle[i].item[0].tensor->name);
		else if (read && !has_room(a, c, i))
			attempt_refuse(a, "lora_adapter_metadata of another rank, or of lengths that are not there",
				       a->bundle[i].item[0].tensor->name);
	}
	peft_config_free(c);
}

void diffusers_judge_metadata(struct attempt *a)
{
	const struct safetensors *f = a->f->file;
	const char *text = safetensors_metadata(f, LORA_METADATA_KEY);
	struct error e = { 0 };
	json_t *all = text ? json_parse(f->path ? f->path : "", text, strlen(text), &e) : NULL;

	for (int k = 0; text && k < ADAPTED; k++) {
		char *prefix = xprintf("%s.", part_names[adapted_part(k)].folder);
		json_t *fields = fields_of(all, prefix);

		judge_part(a, fields, adapted_part(k));
		json_decref(fields);
		free(prefix);
	}
	json_decref(all);
}
