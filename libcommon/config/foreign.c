/* Recognising other programs' configuration files, in TOML, JSON and YAML, by their keys. */
#include <ctype.h>
#include <string.h>
#include "../io/json.h"
#include "foreign.h"
#include "gui_preset.h"
#include "options_private.h"

#define WRITE "; write the keys of lora-config(5)"
#define MUSUBI "this is a file of musubi-tuner, for video models and newer image models" WRITE
#define MUSUBI_DATA "this is a dataset file of musubi-tuner; write image_dir in [[datasets.subsets]]"
#define PIPE "this is a file of diffusion-pipe" WRITE
#define PIPE_DATA "this is a dataset file of diffusion-pipe; give the folders to lora-prep"
#define GUI "these are settings of the kohya_ss GUI; print its training command there and use the TOML that it writes"
#define FOR(models) "this is a configuration of sd-scripts for " models ", and no such model is known here; " \
	"leave those keys out to train SDXL or Stable Diffusion 1.5"
#define FLOW FOR("a flow model such as FLUX, SD3, Lumina or Anima")
#define SIMPLE_TUNER "this is a configuration of SimpleTuner" WRITE
#define ONE_TRAINER "this is a configuration of OneTrainer" WRITE

/* The first row that fits names the file, so rows of one program alone stand before those of several. */
static const struct sign {
	const char *table;      /* NULL: at the top or in any table of the first level */
	const char *key;
	bool array;             /* the key must be an array of tables, as [[key]] makes one */
	const char *values;     /* "a|b": only with one of these; NULL: any that asks for something */
	const char *say;
	const char *unless;     /* this key of ours makes it one of ours */
} signs[] = {
	{ NULL, "dataset", true, NULL,
	  "this is a dataset config of an early sd-scripts; "
	  "give the folders to lora-prep, and only training keys here" },
	{ "general_args", "args", false, NULL,
	  "this is a file of Easy Training Scripts; export it there for sd-scripts, or write the keys anew" },
	{ NULL, "dit", false, NULL, MUSUBI },
	{ NULL, "text_encoder1", false, NULL, MUSUBI },
	{ NULL, "task", false, NULL, MUSUBI },
	{ NULL, "flow_shift", false, NULL, MUSUBI },
	{ NULL, "image_jsonl_file", false, NULL, MUSUBI_DATA },
	{ NULL, "video_jsonl_file", false, NULL, MUSUBI_DATA },
	{ NULL, "video_directory", false, NULL, MUSUBI_DATA },
	{ NULL, "image_directory", false, NULL, MUSUBI_DATA },
	{ NULL, "network_module", false, "networks.lora_wan|networks.lora_framepack|networks.lora_qwen_image|"
	  "networks.lora_flux_2|networks.lora_zimage|networks.lora_kandinsky|networks.lora_hv_1_5|networks.lora_krea2|"
	  "networks.lora_ideogram4|networks.lora_hidream_o1", MUSUBI },
	{ NULL, "data_backend_config", false, NULL, SIMPLE_TUNER },
	{ NULL, "model_family", false, NULL, SIMPLE_TUNER },
	{ NULL, "micro_batch_size_per_gpu", false, NULL, PIPE },
	{ NULL, "pipeline_stages", false, NULL, PIPE },
	{ "model", "type", false, NULL, PIPE },
	{ "adapter", "type", false, NULL, PIPE },
	{ NULL, "directory", true, NULL, PIPE_DATA },
	{ NULL, "enable_ar_bucket", false, NULL, PIPE_DATA },
	{ NULL, "frame_buckets", false, NULL, PIPE_DATA },
	{ "prompt", "subset", true, NULL,
	  "this is a prompt file; name it in sample_prompts or give it to lora-sample --prompts" },
	{ NULL, "LoRA_type", false, NULL, GUI },
	{ NULL, "accelerate_launch", false, NULL, GUI },
	{ NULL, "folders", false, NULL, GUI },
	{ NULL, "qwen3", false, NULL, FOR("Anima") },
	{ NULL, "llm_adapter_path", false, NULL, FOR("Anima") },
	{ NULL, "gemma2", false, NULL, FOR("Lumina") },
	{ NULL, "byt5", false, NULL, FOR("HunyuanImage") },
	{ NULL, "clip_g", false, NULL, FOR("SD3") },
	{ NULL, "t5xxl", false, NULL, FOR("FLUX or SD3") },
	{ NULL, "clip_l", false, NULL, FOR("FLUX or SD3") },
	{ NULL, "model_train_type", false, "flux-lora|flux-finetune",
	  "this is a configuration of lora-scripts for FLUX, and no such model is known here" },
	{ NULL, "model_train_type", false,
	  "sd3-lora|lumina-lora|lumina2-lora|anima-lora|anima-finetune|hunyuan-lora|hunyuan-image-lora",
	  "this is a configuration of lora-scripts for another model, which is not known here" },
	{ NULL, "network_module", false, "networks.lora_flux|networks.oft_flux", FOR("FLUX") },
	{ NULL, "network_module", false, "networks.lora_sd3", FOR("SD3") },
	{ NULL, "network_module", false, "networks.lora_anima", FOR("Anima") },
	{ NULL, "network_module", false, "networks.lora_lumina", FOR("Lumina") },
	{ NULL, "network_module", false, "networks.lora_hunyuan_image", FOR("HunyuanImage") },
	{ NULL, "model_type", false, "flux|chroma", FOR("FLUX or Chroma") },
	{ NULL, "discrete_flow_shift", false, NULL, FLOW, "flow_model" },
	{ NULL, "timestep_sampling", false, NULL, FLOW, "flow_model" },
	{ NULL, "model_prediction_type", false, NULL, FLOW },
};

/* The same in JSON and YAML. */
static const struct text_sign { const char *key; const char *say; } text_signs[] = {
	{ "LoRA_type", GUI }, { "max_resolution", GUI }, { "sdxl_checkbox", GUI },
	{ "stop_text_encoder_training", GUI }, { "training_method", ONE_TRAINER }, { "concept_file_name", ONE_TRAINER },
	{ "base_model_name", ONE_TRAINER },
	{ "output_model_destination", ONE_TRAINER },
	{ "include_subdirectories", "these are concepts of OneTrainer; give their folders to lora-prep" },
	{ "data_backend_config", SIMPLE_TUNER },
	{ "--data_backend_config", SIMPLE_TUNER },
	{ "model_family", SIMPLE_TUNER },
	{ "--model_family", SIMPLE_TUNER },
	{ "caption_strategy", "this is a data backend file of SimpleTuner; give its folders to lora-prep" },
	{ "dataset_type", "this is a data backend file of SimpleTuner; give its folders to lora-prep" },
	{ "instance_data_dir", "this is a data backend file of SimpleTuner; give its folders to lora-prep" },
	{ "process", "this is a job of ai-toolkit" WRITE },
	{ "job", "this is a job of ai-toolkit" WRITE },
	{ "compute_environment", "this is a configuration of accelerate, which is not used here; leave it out" },
	{ "_class_name", "this is a model's own config; name the model's folder in pretrained_model_name_or_path" },
	{ "peft_type", "this is the config of a PEFT adapter; name its folder in network_weights" },
};

/* ---- TOML ---- */

static bool fits(const struct toml *t, const struct sign *sign)
{
	if (sign->array)
		return t->kind == TOML_ARRAY && t->child && t->child->kind == TOML_TABLE;
	if (sign->values)
		return t->kind == TOML_STRING && word_is_among(t->text, sign->values);
	return !toml_asks_for_nothing(t, NULL);
}

/* In a table, or in each table of an array of them. */
static const struct toml *found_in(const struct toml *t, const struct sign *sign)
{
	const struct toml *found = t->kind == TOML_TABLE ? toml_get(t, sign->key) : NULL;

	if (t->kind == TOML_ARRAY)
		for (const struct toml *each = t->child; each && !found; each = each->next)
			if (each->kind == TOML_TABLE)
				found = found_in(each, sign);
	return found && fits(found, sign) ? found : NULL;
}

/* Whatever its value: a printed configuration has every key of ours. */
static bool is_anywhere(const struct toml *root, const char *key)
{
	bool there = toml_get(root, key) != NULL;

	for (const struct toml *t = root->child; t && !there; t = t->next)
		there = t->kind == TOML_TABLE && toml_get(t, key);
	return there;
}

static const struct toml *sign_in(const struct toml *root, const struct sign *sign)
{
	const struct toml *t, *found;

	if (sign->table) {
		t = toml_get(root, sign->table);
		return t ? found_in(t, sign) : NULL;
	}
	if (sign->unless && is_anywhere(root, sign->unless))
		return NULL;
	found = found_in(root, sign);
	for (t = root->child; t && !found; t = t->next)
		found = found_in(t, sign);
	return found;
}

const char *foreign_option(const char *key)
{
	for (size_t i = 0; i < sizeof(signs) / sizeof(*signs); i++)
		if (!signs[i].table && !signs[i].array && !signs[i].values && !strcmp(signs[i].key, key))
			return signs[i].say;
	return NULL;
}

static struct toml *read_toml(const char *path, const struct buffer *text, struct error *e)
{
	struct toml *root = toml_parse(path, text->data, text->len, e);

	for (size_t i = 0; root && i < sizeof(signs) / sizeof(*signs); i++) {
		const struct toml *t = sign_in(root, &signs[i]);
		if (!t)
			continue;
		fail(e, EXIT_USAGE, "%s:%d: %s", path, t->line, signs[i].say);
		toml_free(root);
		return NULL;
	}
	return root;
}

/* ---- JSON and YAML ---- */

static bool json_has(const json_t *j, const char *key)
{
	if (json_is_array(j))
		j = json_array_get(j, 0);
	return json_object_get(j, key) || json_object_get(json_object_get(j, "config"), key);
}

/* Does a line open with "key:", whatever stands before it in blanks and list signs? */
static bool yaml_has(const struct buffer *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *line = text->data; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		line += strspn(line, " -\"'");
		if (!strncmp(line, key, n) && line[n + strspn(line + n, "\"'")] == ':')
			return true;
	}
	return false;
}

static const char *start_of(const struct buffer *text)
{
	const char *p = text->len ? text->data : "";

	if (!strncmp(p, "\xef\xbb\xbf", 3))
		p += 3;
	for (p += strspn(p, " \t\r\n"); *p == '#'; p += strspn(p, " \t\r\n"))
		p += strcspn(p, "\n");
	return p;
}

/* A table of TOML opens with a bracket too, but not with one that holds a brace. */
static bool is_json(const struct buffer *text)
{
	const char *p = start_of(text);

	return *p == '{' || (*p == '[' && p[1 + strspn(p + 1, " \t\r\n")] == '{');
}

static bool is_yaml(const struct buffer *text)
{
	const char *p = start_of(text);
	size_t n = 0;

	while (isalnum((unsigned char)p[n]) || p[n] == '_' || p[n] == '-')
		n++;
	return !strncmp(p, "---", 3) || (n && p[n] == ':' && strchr(" \r\n", p[n + 1]));
}

static int name_text(const char *path, const struct buffer *text, struct buffer *preset, struct error *e)
{
	const char *start = start_of(text);
	json_t *json = is_json(text) ? json_parse(path, start, text->len - (size_t)(start - text->data), e) : NULL;
	const struct text_sign *found = NULL;

	for (size_t i = 0; !found && i < sizeof(text_signs) / sizeof(*text_signs); i++)
		if (json ? json_has(json, text_signs[i].key) : yaml_has(text, text_signs[i].key))
			found = &text_signs[i];
	if (!found)
		fail(e, EXIT_USAGE, "%s: not a TOML file; write the keys of lora-config(5) into a .toml", path);
	else if (!json || strcmp(found->say, GUI))
		fail(e, EXIT_USAGE, "%s: %s", path, found->say);
	else
		fail(e, EXIT_USAGE, "%s: these are settings of the kohya_ss GUI, in JSON; "
				    "lora-train --config %s --print-config > run.toml writes them as TOML", path, path);
	if (found && json && preset && !strcmp(found->say, GUI))
		gui_preset_toml(json, preset);
	json_decref(json);
	return -1;
}

struct toml *config_file_read(const char *path, struct buffer *preset, struct error *e)
{
	struct buffer text = { 0 };
	struct toml *root = NULL;

	if (!toml_file_text(path, &text, e)) {
		if (is_json(&text) || is_yaml(&text))
			name_text(path, &text, preset, e);
		else
			root = read_toml(path, &text, e);
	}
	if (!root)
		e->code = EXIT_USAGE;
	buffer_free(&text);
	return root;
}
