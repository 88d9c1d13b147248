/* Reading the config files: keys, limits, and settings that are refused. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../io/json.h"
#include "config_json.h"

#define CONFIG_CAP (1 << 20)            /* bytes of a config file */
#define MAX_CHANNELS (1 << 16)
#define MAX_LAYERS 256                  /* of a text encoder */
#define MAX_DEPTH 64                    /* resnets or transformer blocks in a block */
#define REQUIRED (-1)                   /* as a fallback: there is none */

/* A file being read.  The first trouble stays; what is read after it is ignored. */
struct settings {
	const char *file;
	json_t *root;
	struct error *e;
	bool bad;
};

static int settings_open(struct settings *s, const char *file, struct error *e)
{
	*s = (struct settings){ .file = file, .e = e, .root = json_read(file, CONFIG_CAP, e) };
	if (!s->root)
		return -1;
	if (!json_is_object(s->root)) {
		json_decref(s->root);
		return fail(e, EXIT_INPUT, "%s: not a JSON object; a config file is one", file);
	}
	return 0;
}

static int settings_close(struct settings *s)
{
	json_decref(s->root);
	return s->bad ? -1 : 0;
}

/* NULL: absent or null, which diffusers takes for the same. */
static json_t *setting(const struct settings *s, const char *key)
{
	json_t *v = json_object_get(s->root, key);

	return json_is_null(v) ? NULL : v;
}

static void refuse(struct settings *s, const char *key, const char *wanted)
{
	json_t *v = json_object_get(s->root, key);
	char *found = json_print(v, JSON_ENCODE_ANY | JSON_COMPACT);

	if (!s->bad && v)
		fail(s->e, EXIT_INPUT, "%s: \"%s\" is %.80s; this program knows %s only", s->file, key,
		     found, wanted);
	else if (!s->bad)
		fail(s->e, EXIT_INPUT, "%s: no \"%s\"; this program needs %s", s->file, key, wanted);
	s->bad = true;
	free(found);
}

static void refuse_range(struct settings *s, const char *key, double min, double max)
{
	char wanted[80];

	snprintf(wanted, sizeof(wanted), "a number from %g to %g", min, max);
	refuse(s, key, wanted);
}

static int integer(struct settings *s, const char *key, int fallback, int min, int max)
{
	json_t *v = setting(s, key);
	json_int_t x = json_integer_value(v);

	if (!v && fallback != REQUIRED)
		return fallback;
	if (json_is_integer(v) && x >= min && x <= max)
		return x;
	refuse_range(s, key, min, max);
	return min;
}

static double real(struct settings *s, const char *key, double fallback, double min, double max)
{
	json_t *v = setting(s, key);
	double x = json_number_value(v);

	if (!v && fallback != REQUIRED)
		return fallback;
	if (json_is_number(v) && x >= min && x <= max)
		return x;
	refuse_range(s, key, min, max);
	return min;
}

static bool yes(struct settings *s, const char *key, bool fallback)
{
	json_t *v = setting(s, key);

	if (!v)
		return fallback;
	if (!json_is_boolean(v))
		refuse(s, key, "true and false");
	return json_is_true(v);
}

static bool text_is(const struct settings *s, const char *key, const char *text)
{
	const char *v = json_string_value(setting(s, key));

	return v && strcmp(v, text) == 0;
}

/* One number for all levels, or a list of one each. */
static void integers(struct settings *s, const char *key, int fallback, int *out, int count, int max)
{
	json_t *v = setting(s, key);
	bool each = json_is_array(v);
	char wanted[80];

	snprintf(wanted, sizeof(wanted), "%d numbers from 1 to %d, or one for all levels,", count, max);
	for (int i = 0; i < count; i++)
		out[i] = fallback == REQUIRED ? 1 : fallback;
	if (!v && fallback != REQUIRED)
		return;
	if (each && json_array_size(v) != (size_t)count) {
		refuse(s, key, wanted);
		return;
	}
	for (int i = 0; i < count; i++) {
		json_t *item = each ? json_array_get(v, i) : v;
		json_int_t x = json_integer_value(item);

		if (!json_is_integer(item) || x < 1 || x > max)
			refuse(s, key, wanted);
		else
			out[i] = x;
	}
}

/* Returns the number of levels and their channels, which the groups must divide. */
static int channels(struct settings *s, int *out, int groups)
{
	json_t *v = setting(s, "block_out_channels");
	size_t n = json_array_size(v);

	if (!json_is_array(v) || n < 1 || n > MAX_LEVELS) {
		refuse(s, "block_out_channels", "a list of 1 to 8 numbers");
		return 1;
	}
	integers(s, "block_out_channels", REQUIRED, out, n, MAX_CHANNELS);
	for (size_t i = 0; i < n; i++)
		if (out[i] % groups)
			refuse(s, "norm_num_groups", "a divisor of every block_out_channels");
	return n;
}

/* A key with one value that works.  Texts are compared as texts, numbers as numbers.  An absent key counts as null,
 * and null as diffusers' default, which is the value that works. */
struct fixed { const char *key, *value; };

static bool has_value(const json_t *v, const char *value)
{
	if (json_is_string(v))
		return strcmp(json_string_value(v), value) == 0;
	if (json_is_number(v))
		return json_number_value(v) == strtod(value, NULL) && (*value >= '0' && *value <= '9');
	return (json_is_true(v) && !strcmp(value, "true")) ||
		(json_is_false(v) && (!strcmp(value, "false") || !strcmp(value, "null")));
}

static void check_fixed(struct settings *s, const struct fixed *table, size_t count)
{
	for (size_t i = 0; i < count && !s->bad; i++) {
		const json_t *v = setting(s, table[i].key);

		if (v && !has_value(v, table[i].value))
			refuse(s, table[i].key, table[i].value);
	}
}

/* Every entry of a list of block types is one of two names; allowed may be NULL for the second.
 * which[i]: it is the first. */
static void block_types(struct settings *s, const char *key, int levels, const char *first, const char *second,
			bool *which)
{
	json_t *v = setting(s, key);
	char wanted[120];

	snprintf(wanted, sizeof(wanted), "%d blocks of type %s%s%s", levels, first,
		 second ? " or " : "", second ? second : "");
	if (json_array_size(v) != (size_t)levels) {
		refuse(s, key, wanted);
		return;
	}
	for (int i = 0; i < levels; i++) {
		const char *type = json_string_value(json_array_get(v, i));

		which[i] = type && strcmp(type, first) == 0;
		if (!type || (!which[i] && !(second && strcmp(type, second) == 0)))
			refuse(s, key, wanted);
	}
}

static const struct fixed unet_fixed[] = {
	{ "act_fn", "silu" }, { "attention_type", "default" }, { "center_input_sample", "false" },
	{ "class_embed_type", "null" },
	{ "class_embeddings_concat", "false" }, { "conv_in_kernel", "3" }, { "conv_out_kernel", "3" },
	{ "cross_attention_norm", "null" },
	{ "downsample_padding", "1" }, { "dual_cross_attention", "false" }, { "encoder_hid_dim", "null" },
	{ "encoder_hid_dim_type", "null" },
	{ "flip_sin_to_cos", "true" }, { "freq_shift", "0" }, { "mid_block_only_cross_attention", "null" },
	{ "mid_block_scale_factor", "1" },
	{ "mid_block_type", "UNetMidBlock2DCrossAttn" }, { "num_attention_heads", "null" }, 
	{ "num_class_embeds", "null" },
	{ "only_cross_attention", "false" }, { "resnet_out_scale_factor", "1" }, { "resnet_skip_time_act", "false" },
	{ "resnet_time_scale_shift", "default" }, { "reverse_transformer_layers_per_block", "null" },
	{ "time_cond_proj_dim", "null" },
	{ "time_embedding_act_fn", "null" }, { "time_embedding_dim", "null" }, { "time_embedding_type", "positional" },
	{ "timestep_post_act", "null" }, { "dropout", "0" },
};

static void unet_levels(struct settings *s, struct unet_config *c)
{
	bool up[MAX_LEVELS] = { false };

	c->levels = channels(s, c->channels, c->groups);
	integers(s, "attention_head_dim", REQUIRED, c->heads, c->levels, MAX_CHANNELS);
	integers(s, "transformer_layers_per_block", 1, c->depth, c->levels, MAX_DEPTH);
	c->mid_depth = c->depth[c->levels - 1];
	block_types(s, "down_block_types", c->levels, "CrossAttnDownBlock2D", "DownBlock2D", c->attention);
	block_types(s, "up_block_types", c->levels, "CrossAttnUpBlock2D", "UpBlock2D", up);
	for (int i = 0; i < c->levels; i++) {
		if (c->channels[i] % c->heads[i])
			refuse(s, "attention_head_dim", "numbers of heads that divide block_out_channels");
		if (c->attention[i] != up[c->levels - 1 - i])
			refuse(s, "up_block_types", "the mirror image of down_block_types");
		if (!c->attention[i])
			c->depth[i] = 0;
	}
}

/* What is added to the time vector: nothing, or the pooled vector and six sizes. */
static void unet_sizes(struct settings *s, struct unet_config *c)
{
	static const struct fixed added = { "addition_embed_type", "text_time" };
	int width;

	if (!setting(s, added.key))
		return;
	check_fixed(s, &added, 1);
	c->time_ids_dim = integer(s, "addition_time_embed_dim", REQUIRED, 2, MAX_CHANNELS);
	width = integer(s, "projection_class_embeddings_input_dim", REQUIRED, 1, 1 << 20);
	c->pooled = width - 6 * c->time_ids_dim;
	if (c->pooled < 1 || c->time_ids_dim % 2)
		refuse(s, "projection_class_embeddings_input_dim", "more than six even addition_time_embed_dim");
}

int unet_config_read(const char *file, struct unet_config *c, struct error *e)
{
	struct settings s;

	if (settings_open(&s, file, e))
		return -1;
	*c = (struct unet_config){ .groups = 1 };
	check_fixed(&s, unet_fixed, sizeof(unet_fixed) / sizeof(unet_fixed[0]));
	c->in_channels = integer(&s, "in_channels", 4, 1, MAX_CHANNELS);
	c->out_channels = integer(&s, "out_channels", 4, 1, MAX_CHANNELS);
	c->resnets = integer(&s, "layers_per_block", REQUIRED, 1, MAX_DEPTH);
	c->groups = integer(&s, "norm_num_groups", 32, 1, MAX_CHANNELS);
	c->norm_eps = real(&s, "norm_eps", 1e-5, 0, 1);
	c->context = integer(&s, "cross_attention_dim", REQUIRED, 1, MAX_CHANNELS);
	c->conv_projection = !yes(&s, "use_linear_projection", false);
	unet_sizes(&s, c);
	unet_levels(&s, c);
	return settings_close(&s);
}

static const struct fixed vae_fixed[] = {
	{ "act_fn", "silu" }, { "latents_mean", "null" }, { "latents_std", "null" }, 
	{ "mid_block_add_attention", "true" },
	{ "shift_factor", "null" },
};

int vae_config_read(const char *file, double usual, struct vae_config *c, struct error *e)
{
	struct settings s;
	bool unused[MAX_LEVELS];

	if (settings_open(&s, file, e))
		return -1;
	*c = (struct vae_config){ .norm_eps = 1e-6f };
	check_fixed(&s, vae_fixed, sizeof(vae_fixed) / sizeof(vae_fixed[0]));
	c->in_channels = integer(&s, "in_channels", 3, 3, 3);
	integer(&s, "out_channels", 3, 3, 3);
	c->latent_channels = integer(&s, "latent_channels", 4, 1, MAX_CHANNELS);
	c->resnets = integer(&s, "layers_per_block", REQUIRED, 1, MAX_DEPTH);
	c->groups = integer(&s, "norm_num_groups", 32, 1, MAX_CHANNELS);
	c->scaling_factor = real(&s, "scaling_factor", usual ? usual : REQUIRED, 1e-6, 1e6);
	c->quant_conv = yes(&s, "use_quant_conv", true);
	c->post_quant_conv = yes(&s, "use_post_quant_conv", true);
	c->levels = channels(&s, c->channels, c->groups);
	c->factor = 1 << (c->levels - 1);
	block_types(&s, "down_block_types", c->levels, "DownEncoderBlock2D", NULL, unused);
	block_types(&s, "up_block_types", c->levels, "UpDecoderBlock2D", NULL, unused);
	return settings_close(&s);
}

int clip_config_read(const char *file, bool projection, struct clip_config *c, struct error *e)
{
	static const struct fixed fixed[] = { { "model_type", "clip_text_model" } };
	struct settings s;

	if (settings_open(&s, file, e))
		return -1;
	*c = (struct clip_config){ .activation = ACT_GELU };
	check_fixed(&s, fixed, 1);
	c->vocabulary = integer(&s, "vocab_size", 49408, 3, 1 << 24);
	c->length = integer(&s, "max_position_embeddings", 77, 3, 1 << 16);
	c->width = integer(&s, "hidden_size", REQUIRED, 1, MAX_CHANNELS);
	c->layers = integer(&s, "num_hidden_layers", REQUIRED, 1, MAX_LAYERS);
	c->heads = integer(&s, "num_attention_heads", REQUIRED, 1, MAX_CHANNELS);
	c->mlp = integer(&s, "intermediate_size", REQUIRED, 1, 1 << 20);
	c->norm_eps = real(&s, "layer_norm_eps", 1e-5, 0, 1);
	c->projection = projection ? integer(&s, "projection_dim", REQUIRED, 1, MAX_CHANNELS) : 0;
	c->eos = integer(&s, "eos_token_id", 2, 0, c->vocabulary - 1);
	if (c->width % c->heads)
		refuse(&s, "num_attention_heads", "a divisor of hidden_size");
	if (text_is(&s, "hidden_act", "quick_gelu") || !setting(&s, "hidden_act"))
		c->activation = ACT_QUICK_GELU;
	else if (!text_is(&s, "hidden_act", "gelu"))
		refuse(&s, "hidden_act", "\"quick_gelu\" and \"gelu\"");
	return settings_close(&s);
}

static bool class_is(const struct settings *s, const char *start)
{
	const char *name = json_string_value(setting(s, "_class_name"));

	return name && strncmp(name, start, strlen(start)) == 0;
}

/* Flow matching and EDM spaces have no betas: the class alone tells. */
static void read_flow(struct settings *s, struct schedule_config *c)
{
	static const struct fixed fixed[] = {
		{ "use_dynamic_shifting", "false" }, { "invert_sigmas", "false" }, { "shift_terminal", "null" },
		{ "stochastic_sampling", "false" },
	};

	check_fixed(s, fixed, sizeof(fixed) / sizeof(fixed[0]));
	c->prediction = PREDICTION_FLOW;
	c->shift = real(s, "shift", 1, 1e-3, 1e3);
}

int schedule_config_read(const char *file, struct schedule_config *c, struct error *e)
{
	static const struct fixed fixed[] = { { "trained_betas", "null" } };
	struct settings s;

	if (settings_open(&s, file, e))
		return -1;
	check_fixed(&s, fixed, 1);
	if (class_is(&s, "EDM") || (class_is(&s, "FlowMatch") && !class_is(&s, "FlowMatchEulerDiscrete")))
		refuse(&s, "_class_name", "FlowMatchEulerDiscreteScheduler and schedulers with betas (Euler, DDIM, "
					  "DPM++, ...)");
	c->train_steps = integer(&s, "num_train_timesteps", 1000, 1, 100000);
	c->beta_start = real(&s, "beta_start", c->beta_start, 1e-9, 0.999);
	c->beta_end = real(&s, "beta_end", c->beta_end, 1e-9, 0.999);
	c->steps_offset = integer(&s, "steps_offset", 0, 0, c->train_steps - 1);
	c->other_spacing = setting(&s, "timestep_spacing") && !text_is(&s, "timestep_spacing", "leading");
	c->zero_terminal_snr = yes(&s, "rescale_betas_zero_snr", false);
	c->scaled_linear = !text_is(&s, "beta_schedule", "linear");
	if (c->scaled_linear && setting(&s, "beta_schedule") && !text_is(&s, "beta_schedule", "scaled_linear"))
		refuse(&s, "beta_schedule", "\"scaled_linear\" and \"linear\"");
	c->prediction = text_is(&s, "prediction_type", "v_prediction") ? PREDICTION_V : PREDICTION_EPSILON;
	if (c->prediction != PREDICTION_V && setting(&s, "prediction_type") &&
	    !text_is(&s, "prediction_type", "epsilon"))
		refuse(&s, "prediction_type", "\"epsilon\" and \"v_prediction\"");
	if (class_is(&s, "FlowMatch"))
		read_flow(&s, c);
	return settings_close(&s);
}
