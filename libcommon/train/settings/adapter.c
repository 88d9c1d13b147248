/* Settings of the adapter: network_args, rates of its parts, blocks, base weights. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "../../io/json.h"
#include "adapter.h"

/* ---- network_args: kohya's names of what are plain keys here ---- */

enum kind { WHOLE, NUMBER, TEXT, CHOICE, FLAG, SWITCH };

struct arg { const char *name; enum kind kind; void *value; double max; const char *choices, *fallback, *on, *off; };

/* In the order of ss_network_args.  option: the row whose value it sets, where that has another name; on, off: the
 * values of a choice that True and False stand for. */
static const struct { const char *name, *option, *on, *off;
} named[] = {
	{ "conv_dim" },
	{ "conv_alpha" },
	{ "block_dims" },
	{ "block_alphas" },
	{ "conv_block_dims" },
	{ "conv_block_alphas" },
	{ "down_lr_weight" },
	{ "mid_lr_weight" },
	{ "up_lr_weight" },
	{ "block_lr_zero_threshold" },
	{ "network_dropout" },
	{ "rank_dropout" },
	{ "module_dropout" },
	{ "scale_weight_norms" },
	{ "loraplus_lr_ratio" },
	{ "loraplus_unet_lr_ratio" },
	{ "loraplus_text_encoder_lr_ratio" },
	{ "network_weights" },
	{ "use_dora", "dora" }, /* as peft calls it */
	{ "dora_wd", "dora" },	/* as LyCORIS does */
	{ "dora_axis" },
	{ "wd_on_output", "dora_axis", "output", "input" },	/* LyCORIS' */
};
enum { ARGS = sizeof(named) / sizeof(*named) };

static void list_args(struct train_settings *s, struct arg arg[ARGS])
{
	static const enum kind kinds[] = {
		[OPTION_INT] = WHOLE, [OPTION_NUMBER] = NUMBER, [OPTION_STRING] = TEXT, [OPTION_FLAG] = FLAG,
		[OPTION_CHOICE] = CHOICE,
	};
	const struct tool tool = { .table = train_options(s) };

	for (int i = 0; i < ARGS; i++) {
		const struct option *o = option_by_key(&tool, named[i].option ? named[i].option : named[i].name);
		arg[i] = (struct arg){ named[i].name, named[i].on ? SWITCH : kinds[o->kind], o->value, o->max,
				       o->choices, o->fallback, named[i].on, named[i].off };
	}
	free((void *)tool.table);
}

static int take_number(const struct arg *a, const char *text, struct error *e)
{
	char *end;
	double x = strtod(text, &end);

	if (end == text || *end || !(x >= 0 && x <= a->max) || (a->kind == WHOLE && x != floor(x)))
		return fail(e, EXIT_USAGE, "network_args: %s: '%s' is no %snumber from 0 to %g", a->name, text,
			    a->kind == WHOLE ? "whole " : "", a->max);
	if (a->kind == WHOLE)
		*(long *)a->value = x;
	else
		*(double *)a->value = x;
	return 0;
}

static int take_flag(const struct arg *a, const char *text, struct error *e)
{
	*(bool *)a->value = !strcasecmp(text, "true");
	if (*(bool *)a->value || !strcasecmp(text, "false"))
		return 0;
	return fail(e, EXIT_USAGE, "network_args: %s: '%s' is neither True nor False", a->name, text);
}

/* A flag that chooses one of two words. */
static int take_switch(const struct arg *a, const char *text, struct error *e)
{
	bool on;

	if (take_flag(&(struct arg){ a->name, FLAG, &on }, text, e) < 0)
		return -1;
	*(const char **)a->value = on ? a->on : a->off;
	return 0;
}

static int take_choice(const struct arg *a, const char *text, struct error *e)
{
	const size_t n = strlen(text);

	for (const char *c = a->choices; n && c; c = strchr(c, '|') ? strchr(c, '|') + 1 : NULL)
		if (strcspn(c, "|") == n && !strncmp(c, text, n)) {
			*(const char **)a->value = text;
			return 0;
		}
	return fail(e, EXIT_USAGE, "network_args: %s: '%s' is none of %s", a->name, text, a->choices);
}

static int take_text(const struct arg *a, const char *text, struct error *e)
{
	*(const char **)a->value = text;
	return 0;
}

/* ---- what a kind alone takes ---- */

static const struct kind_arg *kind_arg_named(const struct adapter_kind *kind, const char *name, size_t n)
{
	for (const struct kind_arg *a = kind->args; a->name; a++)
		if (strlen(a->name) == n && !strncmp(a->name, name, n))
			return a;
	return NULL;
}

static int take_kind_arg(struct train_settings *s, const struct kind_arg *a, const char *text, struct error *e)
{
	double *value = &s->kind_args.value[a->slot];
	bool on;
	char *end;

	if (a->type == KIND_FLAG) {
		if (take_flag(&(struct arg){ a->name, FLAG, &on }, text, e) < 0)
			return -1;
		*value = on;
		return 0;
	}
	*value = strtod(text, &end);
	if (end == text || *end || !(*value >= a->least && *value <= a->most) ||
	    (a->type == KIND_WHOLE && *value != floor(*value)))
		return fail(e, EXIT_USAGE, "network_args: %s: '%s' is no %snumber from %g to %g", a->name, text,
			    a->type == KIND_WHOLE ? "whole " : "", a->least, a->most);
	return 0;
}

/* ---- LyCORIS ---- */

static const char lycoris_module[] = "lycoris.kohya";

/* Of LyCORIS' network_args: those whose one value here is how everything is; another is refused. */
static const struct { const char *name, *value, *say; } lycoris_only[] = {
	{ "preset", "full", "blocks and layers are chosen by block_dims and conv_dim" },
	{ "use_scalar", "False", "a file of it is another one" },
	{ "train_norm", "False", "norms are not trained" },
	{ "rank_dropout_scale", "True", "what is left is always scaled up" },
	{ "bypass_mode", "False", "it makes no difference to what is learnt" },
};

/* 1: it is none of these */
static int take_lycoris(const char *item, size_t n, struct error *e)
{
	if (n == 4 && !strncmp(item, "algo", 4))
		return 0;
	for (size_t i = 0; i < sizeof(lycoris_only) / sizeof(*lycoris_only); i++) {
		if (strlen(lycoris_only[i].name) != n || strncmp(lycoris_only[i].name, item, n))
			continue;
		if (!strcasecmp(item + n + 1, lycoris_only[i].value))
			return 0;
		return fail(e, EXIT_USAGE, "network_args: '%s' is not there: %s; %s is", item, lycoris_only[i].say,
			    lycoris_only[i].value);
	}
	return 1;
}

static int take_arg(struct train_settings *s, const struct arg *args, const char *item, struct error *e)
{
	static int (*const take[])(const struct arg *a, const char *text, struct error *e) = {
		[WHOLE] = take_number, [NUMBER] = take_number, [TEXT] = take_text, [CHOICE] = take_choice,
		[FLAG] = take_flag, [SWITCH] = take_switch,
	};
	const size_t n = strcspn(item, "=");
	const struct kind_arg *own = kind_arg_named(s->kind, item, n);
	int result = item[n] == '=' && s->lycoris ? take_lycoris(item, n, e) : 1;

	if (result <= 0)
		return result;
	if (own && item[n] == '=')
		return take_kind_arg(s, own, item + n + 1, e);
	for (int i = 0; i < ARGS; i++) {
		const struct arg *a = &args[i];
		if (strlen(a->name) == n && !strncmp(a->name, item, n) && item[n] == '=')
			return take[a->kind](a, item + n + 1, e);
	}
	return fail(e, EXIT_USAGE, "network_args: '%s' is not known; "
				   "conv_dim=N, conv_alpha=X and the adapter's settings in lora-config(5) are", item);
}

/* ---- the kind of adapter ---- */

#define NEAREST "; networks.lora with conv_dim is the nearest"
const struct option_refusal network_modules[] = {
	{ "networks.dylora", "DyLoRA is not there" NEAREST },
	{ "networks.control_net_lllite", "ControlNet-LLLite is not there" },
	{ 0 }
};

/* The last one's text behind the sign; NULL: none */
static const char *arg_text(const struct train_settings *s, const char *name)
{
	const size_t n = strlen(name);
	const char *text = NULL;

	for (size_t i = 0; i < s->network_args.count; i++)
		if (!strncmp(s->network_args.item[i], name, n) && s->network_args.item[i][n] == '=')
			text = s->network_args.item[i] + n + 1;
	return text;
}

/* "networks.lora, networks.loha and lycoris.kohya", or LyCORIS' "lora, locon, loha"; malloced */
static char *kind_names(bool algos)
{
	struct buffer out = { 0 };

	for (size_t i = 0; adapter_kinds[i]; i++) {
		if (!algos && adapter_kinds[i]->module)
			buffer_addf(&out, "%s%s", out.len ? ", " : "", adapter_kinds[i]->module);
		for (const char *const *a = adapter_kinds[i]->algos; algos && *a; a++)
			buffer_addf(&out, "%s%s", out.len ? ", " : "", *a);
	}
	if (!algos)
		buffer_addf(&out, " and %s", lycoris_module);
	return buffer_steal(&out);
}

static int refuse_kind(const struct train_settings *s, const char *algo, struct error *e)
{
	char *names = kind_names(algo != NULL);

	if (algo)
		fail(e, EXIT_USAGE, "network_args: algo=%s is not there; %s are", algo, names);
	else
		fail(e, EXIT_USAGE, "network_module '%s' is not supported; %s are, for SDXL", s->network_module, names);
	free(names);
	return -1;
}

static int find_kind(struct train_settings *s, struct error *e)
{
	const bool lycoris = !strcmp(s->network_module, lycoris_module);
	const char *algo = lycoris ? arg_text(s, "algo") : NULL;

	if (lycoris && (!algo || !*algo))
		algo = "lora";                  /* LyCORIS' default */
	s->kind = lycoris ? kind_by_algo(algo) : kind_by_module(s->network_module);
	if (!s->kind)
		return refuse_kind(s, algo, e);
	s->kind_args = s->kind->defaults;
	s->lycoris = lycoris;
	return 0;
}

/* LyCORIS trains 3x3 convolutions too, where kohya waits for conv_dim. */
static void take_lycoris_defaults(struct train_settings *s)
{
	if (!s->lycoris)
		return;
	if (!s->conv_rank)
		s->conv_rank = s->rank;
	if (!option_is_set("conv-alpha") && !arg_text(s, "conv_alpha"))
		s->conv_alpha = s->alpha;
}

/* kohya's networks that know one rank and the UNet alone. */
static int take_plain_defaults(struct train_settings *s, struct error *e)
{
	if (!s->kind->plain_alpha || s->lycoris)
		return 0;
	if (s->conv_rank || block_texts_given(&s->blocks))
		return fail(e, EXIT_USAGE, "%s has one network_dim for every layer; leave out conv_dim and block_dims "
			    "(enable_conv=True in network_args adds the convolutions)", s->network_module);
	if (s->text_only)
		return fail(e, EXIT_USAGE, "%s has no text encoders; leave out network_train_text_encoder_only",
			    s->network_module);
	if (!s->unet_only)
		note("%s has no text encoders: the UNet alone is trained, as in sd-scripts", s->network_module);
	s->unet_only = true;
	if (!option_is_set("network-alpha"))
		s->alpha = s->kind->plain_alpha;
	else if (s->alpha >= 1)
		note("network_alpha: the limit of %g for each output of a layer is never reached; %g is usual",
		     s->alpha, s->kind->plain_alpha);
	return 0;
}

/* Of most kinds a larger one is a slip; LyCORIS' users write 100000 where a LoKr's matrices shall be whole. */
static int check_rank(const char *key, long rank, int least, const struct adapter_kind *kind, struct error *e)
{
	enum { USUAL = 4096 };

	if (rank <= USUAL || kind->any_rank)
		return 0;
	return fail(e, EXIT_USAGE, "%s: '%ld' does not fit; give a whole number from %d to %d", key, rank, least,
		    USUAL);
}

static int check_kind(const struct train_settings *s, struct error *e)
{
	if (check_rank("network_dim", s->rank, 1, s->kind, e) < 0 ||
	    check_rank("conv_dim", s->conv_rank, 0, s->kind, e) < 0)
		return -1;
	if (s->scale_weight_norms && !s->kind->norm && !s->kind->branch.whole)
		return fail(e, EXIT_USAGE, "scale_weight_norms: an %s turns weights and adds nothing that has a norm; "
			    "leave it out", s->kind->name);
	if (s->network_dropout && !s->kind->value_dropout)
		return fail(
			e, EXIT_USAGE,
			"network_dropout: a %s has no values between its matrices; rank_dropout and module_dropout are "
			"there",
			s->kind->name);
	return 0;
}

/* ---- DoRA ---- */

enum dora_axis adapter_settings_dora(const struct train_settings *s)
{
	return !s->dora ? DORA_OFF : strcmp(s->dora_axis, dora_axis_name(DORA_OUTPUT)) ? DORA_INPUT : DORA_OUTPUT;
}

static int check_dora(const struct train_settings *s, struct error *e)
{
	if (!s->dora)
		return 0;
	if (!s->kind->lengths)
		return fail(e, EXIT_USAGE, "dora: lengths are trained around a LoRA, LoHa or LoKr, not of a %s; "
			    "leave it out", s->kind->name);
	if (s->base_weights.count)
		return fail(e, EXIT_USAGE, "dora and base_weights: the lengths would be those of the model without "
					   "them; make the model with lora-merge first");
	if (s->scale_weight_norms)
		return fail(e, EXIT_USAGE, "dora and scale_weight_norms: a DoRA learns the lengths; leave out one");
	if (adapter_settings_dora(s) == DORA_OUTPUT)
		note("dora_axis = output: fewer programs read lengths of outputs rightly than those of inputs, "
		     "dora_axis = input");
	else if (s->lycoris && !option_is_set("dora-axis") && !arg_text(s, "wd_on_output") && !arg_text(s, "dora_axis"))
		note("dora: the lengths are those of inputs, wd_on_output=False, as more programs read them rightly; "
		     "LyCORIS' own default is True");
	return 0;
}

/* ---- learning rates ---- */

static int rate(const char *key, const char *text, const char **end, double *out, struct error *e)
{
	*out = strtod(text, (char **)end);
	*end += *end == text ? 0 : strspn(*end, " ");
	if (*end == text || (**end && **end != ',') || !(*out >= 0 && *out <= 1e6))
		return fail(e, EXIT_USAGE, "%s: '%s' is no number from 0 to 1000000", key, text);
	return 0;
}

/* Notes rates that differ: "1e-4 for text encoder 1 and 5e-5 for 2". */
static void tell_text_rates(const struct train_settings *s)
{
	struct buffer list = { 0 };
	bool differ = false;

	for (int i = 0; i < TEXT_ENCODERS; i++) {
		buffer_addf(&list, "%s%g for %s%d", !i ? "" : i + 1 < TEXT_ENCODERS ? ", " : " and ", s->lr.text[i],
			    i ? "" : "text encoder ", i + 1);
		differ |= s->lr.text[i] != s->lr.text[0];
	}
	if (differ)
		note("text_encoder_lr: %s; sd-scripts takes the first for %s", list.data,
		     TEXT_ENCODERS > 2 ? "all" : "both");
	buffer_free(&list);
}

static int refuse_more_rates(const char *text, struct error *e)
{
	static const char *const counts[] = { "no text encoder", "one text encoder", "two text encoders",
					      "three text encoders" };
	_Static_assert(sizeof(counts) / sizeof(*counts) > TEXT_ENCODERS, "a word for each number");
	const struct family *f, *most = family_at(0);

	for (size_t i = 1; (f = family_at(i)); i++)
		if (f->texts > most->texts)
			most = f;
	return fail(e, EXIT_USAGE, "text_encoder_lr: '%s': %s has %s", text, most->title, counts[most->texts]);
}

static int read_text_rates(struct train_settings *s, struct error *e)
{
	const char *text = s->text_encoder_lr, *end = text;

	if (!text)
		return 0;
	for (int i = 0; i < TEXT_ENCODERS; i++) {
		if (i && !*end)
			s->lr.text[i] = s->lr.text[i - 1];
		else if (rate("text_encoder_lr", i ? end + 1 : end, &end, &s->lr.text[i], e) < 0)
			return -1;
	}
	if (*end)
		return refuse_more_rates(text, e);
	tell_text_rates(s);
	return 0;
}

/* The first text encoder's that is trained; 0: none is */
static double text_rate(const struct train_settings *s)
{
	double found = 0;

	for (int i = 0; i < TEXT_ENCODERS && !found; i++)
		found = s->lr.text[i];
	return found;
}

/* Reads the learning rates.  UNet or text encoders with a rate of 0 are not trained, as in sd-scripts. */
static int read_rates(struct train_settings *s, struct error *e)
{
	const char *end = "";

	s->lr.unet = s->learning_rate;
	for (int i = 0; i < TEXT_ENCODERS; i++)
		s->lr.text[i] = s->learning_rate;
	if (s->unet_lr && rate("unet_lr", s->unet_lr, &end, &s->lr.unet, e) < 0)
		return -1;
	if (*end)
		return fail(e, EXIT_USAGE, "unet_lr: '%s' is not one number", s->unet_lr);
	if (read_text_rates(s, e) < 0)
		return -1;
	if (s->unet_lr && !s->lr.unet && !s->text_only) {
		note("unet_lr is 0: the UNet is not trained, as in sd-scripts");
		s->text_only = true;
	}
	if (s->text_encoder_lr && !text_rate(s) && !s->unet_only) {
		note("text_encoder_lr is 0: the text encoders are not trained, as in sd-scripts");
		s->unet_only = true;
	}
	if (s->unet_only && s->text_only)
		return fail(e, EXIT_USAGE, "neither the UNet nor a text encoder is to be trained; "
					   "leave out network_train_*_only or a learning rate of 0");
	return 0;
}

double adapter_settings_rate(const struct train_settings *s)
{
	return s->text_only ? text_rate(s) : s->lr.unet;
}

double adapter_settings_lowest_rate(const struct train_settings *s)
{
	double lowest = s->text_only ? 0 : s->lr.unet;

	for (int i = 0; i < TEXT_ENCODERS && !s->unet_only; i++)
		if (s->lr.text[i] && (!lowest || s->lr.text[i] < lowest))
			lowest = s->lr.text[i];
	return lowest;
}

/* ---- the rest ---- */

double adapter_base_weight(const struct train_settings *s, size_t i)
{
	const char *text = s->base_multipliers;

	while (text && i--)
		text = strchr(text, ',') ? strchr(text, ',') + 1 : NULL;
	return text && *text ? strtod(text, NULL) : 1;
}

static int check_bases(const struct train_settings *s, struct error *e)
{
	const char *text = s->base_multipliers, *end;
	size_t n = 0;

	for (; text; text = *end ? end + 1 : NULL, n++) {
		double x = strtod(text, (char **)&end);
		if (end == text || (*end && *end != ',') || !isfinite(x))
			return fail(e, EXIT_USAGE, "base_weights_multiplier: '%s' is no list of numbers between commas",
				    s->base_multipliers);
	}
	if (n > s->base_weights.count)
		return fail(e, EXIT_USAGE, "base_weights_multiplier has %zu numbers for %zu base_weights", n,
			    s->base_weights.count);
	return 0;
}

int adapter_settings_blocks(const struct train_settings *s, const struct family *family, struct block_plan *p,
			    bool *given, struct error *e)
{
	*given = block_texts_given(&s->blocks);
	return *given ? block_plan_read(p, &s->blocks, family, s->rank, s->alpha, s->conv_rank, s->conv_alpha, e) : 0;
}

int adapter_settings_finish(struct train_settings *s, struct error *e)
{
	struct arg args[ARGS];
	struct block_plan plan;
	bool given;

	list_args(s, args);
	if (find_kind(s, e) < 0)
		return -1;
	for (size_t i = 0; i < s->network_args.count; i++)
		if (take_arg(s, args, s->network_args.item[i], e) < 0)
			return -1;
	take_lycoris_defaults(s);
	if (take_plain_defaults(s, e) < 0)
		return -1;
	if (check_kind(s, e) < 0)
		return -1;
	if (s->dim_from_weights && !s->network_weights)
		return fail(e, EXIT_USAGE, "dim_from_weights needs network_weights, the file to take them from");
	if (s->dim_from_weights && (s->blocks.dims || s->blocks.conv_dims))
		return fail(e, EXIT_USAGE, "dim_from_weights and block_dims both say which ranks there are; "
					   "leave out one");
	if (check_dora(s, e) < 0 || check_bases(s, e) < 0 || read_rates(s, e) < 0)
		return -1;
	return adapter_settings_blocks(s, NULL, &plan, &given, e);
}

/* "" : it is off */
static const char *arg_words(const struct train_settings *s, const struct arg *a, char room[40])
{
	*room = '\0';
	if (a->kind == TEXT)
		return *(const char **)a->value ? *(const char **)a->value : "";
	if (a->kind == CHOICE)
		return strcmp(*(const char **)a->value, a->fallback) ? *(const char **)a->value : "";
	if (a->kind == SWITCH)
		return strcmp(*(const char **)a->value, a->on) ? "" : "True";
	if (a->kind == WHOLE && *(long *)a->value)
		snprintf(room, 40, "%ld", *(long *)a->value);
	else if (a->kind == FLAG && *(bool *)a->value)
		strcpy(room, "True");
	else if (a->kind == NUMBER && *(double *)a->value && (a->value != &s->conv_alpha || s->conv_rank))
		snprintf(room, 40, "%g", *(double *)a->value);
	return room;
}

/* As they were given, which is how other kinds' programs write them; what LyCORIS takes where nothing is given it does
 * not write. */
static size_t add_given(struct json_out *j, const struct train_settings *s)
{
	size_t i;

	for (i = 0; i < s->network_args.count; i++) {
		const char *item = s->network_args.item[i];
		char *name = xstrndup(item, strcspn(item, "="));

		json_text(j, name, item + strlen(name) + 1);
		free(name);
	}
	return i;
}

char *adapter_settings_json(const struct train_settings *s)
{
	const bool as_given = s->lycoris || s->kind != adapter_kinds[0];
	struct json_out j = { 0 };
	struct arg args[ARGS];
	size_t more;

	list_args((struct train_settings *)s, args);
	json_begin(&j, NULL);
	more = as_given ? 1 + add_given(&j, s) : 0;
	for (int i = 0; i < ARGS; i++) {
		const struct arg *a = &args[i];
		const bool implied = s->lycoris && ((i == 0 && s->conv_rank == s->rank) ||
						    (i == 1 && s->conv_alpha == s->alpha));
		char room[40];
		const char *text = arg_words(s, a, room);

		if (!*text || (as_given && (arg_text(s, a->name) || implied)))
			continue;
		json_text(&j, a->name, text);
		more += i > 1;
	}
	json_end(&j);
	if (more)
		return buffer_steal(&j.text);
	json_free(&j);
	return NULL;
}
