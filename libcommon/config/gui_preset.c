/* From the widgets of the kohya_ss GUI (kohya_gui/lora_gui.py, train_model) to keys of sd-scripts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "gui_preset.h"
#include "known_keys.h"
#include "options_private.h"

/* Widgets under another name than the key that they set. */
static const char *const renamed[][2] = {
	{ "optimizer", "optimizer_type" }, { "max_resolution", "resolution" },
	{ "lora_network_weights", "network_weights" },
};

/* What the rules below write, from more than one widget. */
static const char *const ruled[] = {
	"LoRA_type", "conv_dim", "conv_alpha", "noise_offset", "adaptive_noise_scale",
	"noise_offset_random_strength", "multires_noise_iterations", "multires_noise_discount", "text_encoder_lr",
	"unet_lr", "max_train_steps", "max_train_epochs", "lr_warmup_steps", "lr_scheduler_num_cycles",
	"sample_prompts", "network_module", "network_train_unet_only", "network_train_text_encoder_only",
};

/* LoRA types that are not networks.lora.  What is not in the list is of LyCORIS or of another model. */
static const char *const modules[][2] = {
	{ "Kohya LoHa", "networks.loha" }, { "Kohya LoKr", "networks.lokr" }, { "Kohya DyLoRA", "networks.dylora" },
	{ "LoRA-FA", "networks.lora_fa" }, { "Flux1", "networks.lora_flux" }, { "Flux1 OFT", "networks.oft_flux" },
	{ "HunyuanImage-2.1", "networks.lora_hunyuan_image" }, { "Anima", "networks.lora_anima" },
	{ "Lumina", "networks.lora_lumina" },
};

/* Values of the GUI's menus that this program does not take. */
static const struct { const char *key, *value, *say; } unfit[] = {
	{ "log_with", "wandb", "no program here uses the network" },
	{ "lr_scheduler", "adafactor",
	  "the optimizer decides the rate itself: write optimizer_args = [\"relative_step=True\"]" },
	{ "bucket_reso_steps", "1", "sizes are whole multiples of 8 at least; 64 is usual" },
};

/* Numbers are often texts. */
static double number(const json_t *j)
{
	return json_is_string(j) ? strtod(json_string_value(j), NULL) : json_number_value(j);
}

/* What the GUI leaves out of the command: false, 0, "". */
static bool asks_for_nothing(const json_t *j)
{
	const char *text = json_string_value(j);

	if (json_is_array(j))
		return !json_array_size(j);
	return !j || json_is_null(j) || json_is_false(j) || (json_is_number(j) && json_number_value(j) == 0) ||
	       (text && (!*text || !strcmp(text, "0") || !strcasecmp(text, "none") || !strcasecmp(text, "false")));
}

static double number_of(const json_t *preset, const char *key)
{
	return number(json_object_get(preset, key));
}

static bool is(const json_t *preset, const char *key, const char *text)
{
	const char *value = json_string_value(json_object_get(preset, key));

	return value && !strcasecmp(value, text);
}

static bool is_among(const char *name, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i], name))
			return true;
	return false;
}

static bool is_number(const char *text)
{
	char *end;

	return isfinite(strtod(text, &end)) && end != text && !end[strspn(end, " ")];
}

/* ".5" and "007" are no numbers of TOML; a seed may have more digits than a double, and than TOML's numbers. */
static void add_number(struct buffer *out, const char *text)
{
	if (text[0] >= '1' && text[0] <= '9' && !text[strspn(text, "0123456789")])
		buffer_addf(out, strlen(text) > 18 ? "\"%s\"" : "%s", text);
	else
		option_add_number(out, strtod(text, NULL));
}

/* "a=1 b=2" of one entry box, which may have quotes around each. */
static void add_words(struct buffer *out, const char *text)
{
	const char *comma = "";

	buffer_adds(out, "[");
	for (text += strspn(text, " \""); *text; text += strspn(text, " \"")) {
		size_t n = strcspn(text, " \"");
		char *word = xstrndup(text, n);
		buffer_adds(out, comma);
		option_add_quoted(out, word);
		free(word);
		comma = ", ";
		text += n;
	}
	buffer_adds(out, "]");
}

static bool is_list(const char *key)
{
	size_t n = strlen(key);

	return n > 5 && !strcmp(key + n - 5, "_args");
}

static void add_value(struct buffer *out, const char *key, const json_t *j)
{
	const char *text = json_string_value(j);

	if (json_is_array(j)) {
		buffer_adds(out, "[");
		for (size_t i = 0; i < json_array_size(j); i++) {
			buffer_adds(out, i ? ", " : "");
			add_value(out, "", json_array_get(j, i));
		}
		buffer_adds(out, "]");
	} else if (json_is_true(j)) {
		buffer_adds(out, "true");
	} else if (!text) {
		option_add_number(out, json_number_value(j));
	} else if (is_list(key)) {
		add_words(out, text);
	} else if (!strcasecmp(text, "true")) {
		buffer_adds(out, "true");
	} else if (is_number(text) && strcmp(key, "resolution")) {
		add_number(out, text);
	} else {
		option_add_quoted(out, text);
	}
}

/* A key may come from two widgets, and TOML takes it once. */
static bool has_key(const struct buffer *out, const char *key)
{
	char *line = xprintf("\n%s = ", key);
	bool has = strstr(out->data, line) != NULL;

	free(line);
	return has;
}

/* Why a line is a comment only; NULL: it is none. */
static const char *why_not(const struct known_key *k, const char *value)
{
	for (size_t i = 0; i < sizeof(unfit) / sizeof(*unfit); i++)
		if (!strcmp(unfit[i].key, k->name) && !strcmp(unfit[i].value, value))
			return unfit[i].say;
	return k->class == KEY_REFUSED ? k->say : NULL;
}

static void add_key(struct buffer *out, const char *key, const json_t *j)
{
	const struct known_key *k = known_key(key);
	struct buffer value = { 0 };
	const char *say;

	if (asks_for_nothing(j) || json_is_object(j) || !k || has_key(out, key))
		return;
	if (k->class == KEY_IGNORED || k->class == KEY_RESIDUE)
		return;
	add_value(&value, key, j);
	say = why_not(k, json_is_string(j) ? json_string_value(j) : value.data);
	buffer_addf(out, "%s%s = %s", say ? "# " : "", k->alias && k->say ? k->alias : key, value.data);
	buffer_addf(out, "%s%s\n", say ? "  is left out: " : "", say ? say : "");
	buffer_free(&value);
}

static void add_of(struct buffer *out, const json_t *preset, const char *key)
{
	add_key(out, key, json_object_get(preset, key));
}

/* ---- LyCORIS: what the GUI says in fields of their own and its script takes as network_args ---- */

static const char *const lycoris_fields[][2] = {
	{ "factor", "factor" },
	{ "decompose_both", "decompose_both" },
	{ "use_cp", "use_tucker" },
	{ "use_tucker", "use_tucker" },
	{ "full_matrix", "full_matrix" },
	{ "unbalanced_factorization", "unbalanced_factorization" },
	{ "use_scalar", "use_scalar" },
	{ "train_norm", "train_norm" },
	{ "dora_wd", "dora_wd" },
	{ "constrain", "constraint" },
	{ "rescaled", "rescaled" },
	{ "LyCORIS_preset", "preset" },
};

static void add_word(struct buffer *out, const char *name, const json_t *value)
{
	if (asks_for_nothing(value))
		return;
	buffer_addf(out, " %s=", name);
	if (json_is_true(value))
		buffer_adds(out, "True");
	else if (json_is_string(value))
		buffer_adds(out, json_string_value(value));
	else
		option_add_number(out, json_number_value(value));
}

/* "algo=lokr factor=8", malloced; "": the preset is none of LyCORIS' */
static char *lycoris_words(const json_t *preset)
{
	static const char group[] = "LyCORIS/";
	const char *type = json_string_value(json_object_get(preset, "LoRA_type"));
	struct buffer out = { 0 };

	if (!type || strncmp(type, group, sizeof(group) - 1))
		return xstrdup("");
	buffer_adds(&out, "algo=");
	for (const char *p = type + sizeof(group) - 1; *p; p++)
		buffer_addf(&out, "%c", *p == ' ' ? '-' : *p >= 'A' && *p <= 'Z' ? *p + ('a' - 'A') : *p);
	for (size_t i = 0; i < sizeof(lycoris_fields) / sizeof(*lycoris_fields); i++)
		add_word(&out, lycoris_fields[i][1], json_object_get(preset, lycoris_fields[i][0]));
	return buffer_steal(&out);
}

static void add_option(struct buffer *out, const json_t *preset, const char *key, const char *value)
{
	const struct known_key *k = known_key(key);
	char *before = !strcmp(key, "network_args") ? lycoris_words(preset) : xstrdup("");
	char *all = xprintf("%s%s%s", before, *before && *value ? " " : "", value);
	json_t *text = *all ? json_string(all) : json_true();

	if (k && k->class == KEY_OURS && !has_key(out, key)) {
		buffer_addf(out, "%s = ", key);
		add_value(out, key, text);
		buffer_adds(out, "\n");
	}
	json_decref(text);
	free(before);
	free(all);
}

/* ---- rules ---- */

static void add_module(struct buffer *out, const json_t *preset)
{
	const char *type = json_string_value(json_object_get(preset, "LoRA_type"));

	if (type && strstr(type, "LoCon")) {
		add_of(out, preset, "conv_dim");
		add_of(out, preset, "conv_alpha");
		return;
	}
	if (!type || !*type || !strcasecmp(type, "Standard"))
		return;
	for (size_t i = 0; i < sizeof(modules) / sizeof(*modules); i++)
		if (!strcmp(modules[i][0], type)) {
			buffer_addf(out, "network_module = \"%s\"\n", modules[i][1]);
			return;
		}
	buffer_adds(out, "network_module = \"lycoris.kohya\"\n");
	add_of(out, preset, "conv_dim");
	add_of(out, preset, "conv_alpha");
	if (!has_key(out, "network_args"))
		add_option(out, preset, "network_args", "");
}

static void add_noise(struct buffer *out, const json_t *preset)
{
	static const char *const original[] = { "noise_offset", "adaptive_noise_scale",
						"noise_offset_random_strength" };

	for (size_t i = 0; i < 3 && !is(preset, "noise_offset_type", "Multires"); i++)
		add_of(out, preset, original[i]);
	if (is(preset, "noise_offset_type", "Original"))
		return;
	if (asks_for_nothing(json_object_get(preset, "multires_noise_iterations")))
		return;
	add_of(out, preset, "multires_noise_iterations");
	add_of(out, preset, "multires_noise_discount");
}

/* A rate of 0 beside another one means: not this part. */
static void add_rates(struct buffer *out, const json_t *preset)
{
	const json_t *text = json_object_get(preset, "text_encoder_lr");
	bool unet = !asks_for_nothing(json_object_get(preset, "unet_lr")), te = !asks_for_nothing(text);

	add_of(out, preset, "unet_lr");
	add_of(out, preset, "text_encoder_lr");
	if (unet != te)
		buffer_addf(out, "network_train_%s_only = true\n", unet ? "unet" : "text_encoder");
}

static void add_length(struct buffer *out, const json_t *preset)
{
	double epochs = number_of(preset, "max_train_epochs"), steps = number_of(preset, "max_train_steps");
	double epoch = number_of(preset, "epoch");

	if (steps > 0)
		add_of(out, preset, "max_train_steps");
	if (epochs > 0)
		add_of(out, preset, "max_train_epochs");
	else if (steps <= 0 && epoch > 0)
		buffer_addf(out, "max_train_epochs = %.0f\n", epoch);
	if (number_of(preset, "lr_warmup_steps") > 0)
		add_of(out, preset, "lr_warmup_steps");
	else if (number_of(preset, "lr_warmup") > 0)
		buffer_addf(out, "lr_warmup_steps = \"%g%%\"\n", number_of(preset, "lr_warmup"));
	if (!asks_for_nothing(json_object_get(preset, "lr_scheduler_num_cycles")))
		add_of(out, preset, "lr_scheduler_num_cycles");
	else if (epoch > 0 && is(preset, "lr_scheduler", "cosine_with_restarts"))
		buffer_addf(out, "lr_scheduler_num_cycles = %.0f\n", epoch);
}

/* The widget holds the prompts themselves, not a file's name. */
static void add_prompts(struct buffer *out, const json_t *preset)
{
	const char *text = json_string_value(json_object_get(preset, "sample_prompts"));

	if (!text || !*text)
		return;
	buffer_adds(out, "# Write these prompts into a file and name it in sample_prompts:\n#   ");
	for (; *text; text++)
		if (*text == '\n')
			buffer_adds(out, "\n#   ");
		else
			buffer_add(out, (unsigned char)*text < ' ' ? " " : text, 1);
	buffer_adds(out, "\n");
}

/* ---- additional_parameters: options of the scripts, as typed ---- */

/* "--max_grad_norm=0 --network_args a=1 b=2 --zero_terminal_snr" */
static void add_additional(struct buffer *out, const json_t *preset)
{
	const char *all = json_string_value(json_object_get(preset, "additional_parameters"));

	for (const char *p = all ? strstr(all, "--") : NULL, *next; p; p = next) {
		size_t name = strcspn(p += 2, " ="), end;
		char *key = xstrndup(p, name), *value;
		next = strstr(p, " --");
		next = next ? next + 1 : NULL;
		end = next ? (size_t)(next - 1 - p) : strlen(p);
		while (end > name && p[end - 1] == ' ')
			end--;
		name += name < end;
		value = xstrndup(p + name, end - name);
		for (char *c = key; *c; c++)
			if (*c == '-')
				*c = '_';
		add_option(out, preset, key, value);
		free(key);
		free(value);
	}
}

static const char *our_name(const char *widget)
{
	for (size_t i = 0; i < sizeof(renamed) / sizeof(*renamed); i++)
		if (!strcmp(renamed[i][0], widget))
			return renamed[i][1];
	return widget;
}

void gui_preset_toml(const json_t *preset, struct buffer *out)
{
	const char *key;
	json_t *value;

	buffer_adds(out, "# From a preset of the kohya_ss GUI.\n");
	if (json_is_false(json_object_get(preset, "sdxl")))
		buffer_adds(out, "# It was not made for SDXL (sdxl was off): look at resolution and learning rates.\n");
	add_additional(out, preset);
	json_object_foreach((json_t *)preset, key, value)
		if (!is_among(key, ruled, sizeof(ruled) / sizeof(*ruled)))
			add_key(out, our_name(key), value);
	add_module(out, preset);
	add_noise(out, preset);
	add_rates(out, preset);
	add_length(out, preset);
	add_prompts(out, preset);
}
