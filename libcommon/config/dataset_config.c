/* The reader of data set configurations: [general], [[datasets]], [[datasets.subsets]]. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "../base/map.h"
#include "../io/json.h"
#include "dataset_config.h"
#include "foreign.h"
#include "known_keys.h"
#include "options_private.h"

enum { GENERAL = 1, DATASET = 2, SUBSET = 4, OF_DATASET = GENERAL | DATASET, OF_SUBSET = GENERAL | DATASET | SUBSET };

static const char *level_name(int level)
{
	return level == GENERAL ? "[general]" : level == DATASET ? "[[datasets]]" : "[[datasets.subsets]]";
}

/* What lora-prep does itself. */
#define AT(field) offsetof(struct dataset_subset, field)
static const struct key { const char *name; int levels; enum option_kind kind; size_t at; double min, max; } keys[] = {
	{ "alpha_mask", OF_SUBSET, OPTION_FLAG, AT(alpha_mask) },
	{ "batch_size", OF_DATASET, OPTION_INT, AT(batch_size), 1, 4096 },
	{ "bucket_no_upscale", OF_DATASET, OPTION_FLAG, AT(bucket_no_upscale) },
	{ "bucket_reso_steps", OF_DATASET, OPTION_INT, AT(bucket_reso_steps), 8, 4096 },
	{ "caption_extension", OF_SUBSET, OPTION_STRING, AT(caption_extension) },
	{ "caption_prefix", OF_SUBSET, OPTION_STRING, AT(caption_prefix) },
	{ "caption_suffix", OF_SUBSET, OPTION_STRING, AT(caption_suffix) },
	{ "class_tokens", OF_SUBSET, OPTION_STRING, AT(class_tokens) },
	{ "conditioning_data_dir", SUBSET, OPTION_STRING, AT(conditioning_data_dir) },
	{ "enable_bucket", OF_DATASET, OPTION_FLAG, AT(enable_bucket) },
	{ "enable_wildcard", OF_SUBSET, OPTION_FLAG, AT(enable_wildcard) },
	{ "flip_aug", OF_SUBSET, OPTION_FLAG, AT(flip_aug) },
	{ "image_dir", SUBSET, OPTION_STRING, AT(image_dir) },
	{ "is_reg", SUBSET, OPTION_FLAG, AT(is_reg) },
	{ "max_bucket_reso", OF_DATASET, OPTION_INT, AT(max_bucket_reso), 8, 16384 },
	{ "min_bucket_reso", OF_DATASET, OPTION_INT, AT(min_bucket_reso), 8, 16384 },
	{ "num_repeats", OF_SUBSET, OPTION_INT, AT(num_repeats), 1, 1e6 },
	{ "resize_interpolation", OF_SUBSET, OPTION_STRING, AT(resize_interpolation) },
	{ "resolution", OF_DATASET, OPTION_SIZE, AT(resolution), 8, 16384 },
};

/* What travels with each sample, for training to do. */
union value { bool flag; long whole; double number; const char *text; };
static const struct { const char *name; enum option_kind kind; double max; } caption_keys[] = {
	{ "shuffle_caption", OPTION_FLAG },
	{ "keep_tokens", OPTION_INT, 1e6 },
	{ "keep_tokens_separator", OPTION_STRING },
	{ "caption_separator", OPTION_STRING },
	{ "secondary_separator", OPTION_STRING },
	{ "caption_dropout_rate", OPTION_NUMBER, 1 },
	{ "caption_dropout_every_n_epochs", OPTION_INT, 1e6 },
	{ "caption_tag_dropout_rate", OPTION_NUMBER, 1 },
	{ "token_warmup_min", OPTION_INT, 1e6 },
	{ "token_warmup_step", OPTION_NUMBER, 1e9 },
	{ "enable_wildcard", OPTION_FLAG },
};
#define CAPTION_KEYS (sizeof(caption_keys) / sizeof(*caption_keys))

#define ONCE "needs each visit's picture encoded anew, and latents are computed once here: "

/* Keys that sd-scripts takes here and this program does not. */
static const struct other { const char *name; int levels; bool ignored; const char *say, *neutral; } others[] = {
	{ "cache_info", OF_SUBSET, true, "latents come from lora-encode's tar" },
	{ "color_aug", OF_SUBSET, false, ONCE "put changed copies into the folder" },
	{ "custom_attributes", OF_SUBSET, true, "no program here reads them" },
	{ "face_crop_aug_range", OF_SUBSET, false, ONCE "put cut-outs of the faces into the folder" },
	{ "metadata_file", SUBSET, false,
	  "is not read; captions come from files beside the pictures: write them out with your tagger" },
	{ "network_multiplier", OF_DATASET, false, "is not taken: the adapter is trained at full strength; "
						   "weigh folders by num_repeats", "1" },
	{ "random_crop", OF_SUBSET, false, ONCE "pictures are cut in the middle: put other cut-outs into the folder" },
	{ "skip_image_resolution", OF_DATASET, false,
	  "is not taken; lora-prep --lint names pictures that are too small: move them out of the folder" },
	{ "validation_seed", OF_DATASET, true, "it is a setting of lora-train" },
	{ "validation_split", OF_DATASET, false, "is not taken from a dataset; give it to lora-train" },
};

/* Those that work. */
static size_t count_names(const char **names)
{
	size_t n = 0;

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		names[n++] = keys[i].name;
	for (size_t i = 0; i < CAPTION_KEYS; i++)
		names[n++] = caption_keys[i].name;
	return n;
}

static int levels_of(const char *key)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (!strcmp(keys[i].name, key))
			return keys[i].levels;
	for (size_t i = 0; i < CAPTION_KEYS; i++)
		if (!strcmp(caption_keys[i].name, key))
			return OF_SUBSET;
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (!strcmp(others[i].name, key))
			return others[i].levels;
	return 0;
}

struct reader {
	const char *path;
	struct error *e;
	struct dataset_subset subset;                   /* the one at hand */
	struct unknown_names unknown;
	bool has_caption[CAPTION_KEYS];
	union value caption[CAPTION_KEYS];
};

/* ---- which key may stand where ---- */

/* What other programs' files call the keys of a data set, and what is meant by the nearest spelling. */
static const struct { const char *name, *ours; } meant[] = {
	{ "repeats", "num_repeats" }, { "path", "image_dir" }, { "folder_path", "image_dir" },
	{ "dataset_path", "image_dir" }, { "train_data_dir", "image_dir" }, { "caption_ext", "caption_extension" },
	{ "train_batch_size", "batch_size" }, { "trigger_word", "caption_prefix" }, { "keep_tags", "keep_tokens" },
	{ "flip", "flip_aug" },
};

static void unknown(struct reader *r, const struct toml *t, int level)
{
	const char *names[sizeof(keys) / sizeof(*keys) + CAPTION_KEYS], *near = NULL;

	for (size_t i = 0; i < sizeof(meant) / sizeof(*meant); i++)
		if (!strcmp(meant[i].name, t->key))
			near = meant[i].ours;
	near = near ? near : nearest_name(t->key, names, count_names(names));
	unknown_add(&r->unknown, t->key, level_name(level), t->line, NULL,
		    near ? xprintf("did you mean '%s'?", near) : NULL);
}

static int check_key(struct reader *r, const struct toml *t, int level)
{
	const struct known_key *k = known_key(t->key);
	int levels = levels_of(t->key);

	if (!levels && k && k->class == KEY_RESIDUE) {
		if (!toml_asks_for_nothing(t, k->neutral))
			note("%s:%d: '%s' is ignored: %s", r->path, t->line, t->key, k->say);
		return 0;
	}
	if (!levels) {
		unknown(r, t, level);
		return 0;
	}
	if (!(levels & level))
		return fail(r->e, EXIT_USAGE, "%s:%d: '%s' does not belong into %s; move it to %s", r->path, t->line,
			    t->key, level_name(level), level_name(levels == SUBSET ? SUBSET : DATASET));
	if (t->kind == TOML_TABLE && !strcmp(t->key, "custom_attributes") && toml_get(t, "diff_output_preservation") &&
	    !toml_asks_for_nothing(toml_get(t, "diff_output_preservation"), NULL))
		return fail(r->e, EXIT_USAGE, "%s:%d: 'diff_output_preservation' is not there; "
					      "use regularisation pictures (is_reg) instead", r->path, t->line);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		if (strcmp(others[i].name, t->key) || toml_asks_for_nothing(t, others[i].neutral))
			continue;
		if (!others[i].ignored)
			return fail(r->e, EXIT_USAGE, "%s:%d: '%s' %s; remove the line", r->path, t->line, t->key,
				    others[i].say);
		note("%s:%d: '%s' is ignored: %s", r->path, t->line, t->key, others[i].say);
	}
	return 0;
}

static bool is_list_of_subsets(const struct toml *t, int level)
{
	return level == DATASET && !strcmp(t->key, "subsets");
}

static int check_table(struct reader *r, const struct toml *table, int level)
{
	for (const struct toml *t = table->child; t; t = t->next)
		if (!is_list_of_subsets(t, level) && check_key(r, t, level) < 0)
			return -1;
	return 0;
}

/* ---- values ---- */

static int take_own(struct reader *r, const struct toml *t, const char *where)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		const struct option o = { keys[i].name, 0, keys[i].kind, (char *)&r->subset + keys[i].at,
					  .min = keys[i].min, .max = keys[i].max };
		if (strcmp(keys[i].name, t->key) || toml_means_unset(&o, t))
			continue;
		if (!strcmp(t->key, "image_dir")) {
			free(r->subset.where);
			r->subset.where = xprintf("%s:%d", r->path, t->line);
		}
		r->subset.bucket_said |= keys[i].at == AT(enable_bucket);
		return option_take_toml(&o, t, where, r->e);
	}
	return 0;
}

static int take_caption(struct reader *r, const struct toml *t, const char *where)
{
	for (size_t i = 0; i < CAPTION_KEYS; i++) {
		const struct option o = { caption_keys[i].name, 0, caption_keys[i].kind, &r->caption[i],
					  .max = caption_keys[i].max };
		if (strcmp(caption_keys[i].name, t->key) || toml_means_unset(&o, t))
			continue;
		r->has_caption[i] = true;
		return option_take_toml(&o, t, where, r->e);
	}
	return 0;
}

static int take_table(struct reader *r, const struct toml *table, int level)
{
	for (const struct toml *t = table ? table->child : NULL; t; t = t->next) {
		char *where = xprintf("%s:%d: %s", r->path, t->line, t->key);
		int status = is_list_of_subsets(t, level) ? 0 :
			take_own(r, t, where) || take_caption(r, t, where) ? -1 : 0;
		free(where);
		if (status)
			return -1;
	}
	return 0;
}

static char *caption_json(const struct reader *r)
{
	struct json_out j = { 0 };
	bool any = false;

	json_begin(&j, NULL);
	for (size_t i = 0; i < CAPTION_KEYS; i++) {
		if (!r->has_caption[i])
			continue;
		any = true;
		switch (caption_keys[i].kind) {
		case OPTION_FLAG:
			json_bool(&j, caption_keys[i].name, r->caption[i].flag);
			break;
		case OPTION_INT:
			json_int(&j, caption_keys[i].name, r->caption[i].whole);
			break;
		case OPTION_NUMBER:
			json_number(&j, caption_keys[i].name, r->caption[i].number);
			break;
		default:
			json_text(&j, caption_keys[i].name, r->caption[i].text);
		}
	}
	json_end(&j);
	if (any)
		return buffer_steal(&j.text);
	json_free(&j);
	return NULL;
}

/* ---- the tree ---- */

struct place { const struct toml *general, *dataset; int number; };

static int take_subset(struct reader *r, const struct dataset_subset *defaults, const struct place *p,
		       const struct toml *subset, struct dataset_config *out)
{
	r->subset = *defaults;
	r->subset.dataset = p->number;
	memset(r->has_caption, 0, sizeof(r->has_caption));
	if (take_table(r, p->general, GENERAL) < 0 || take_table(r, p->dataset, DATASET) < 0 ||
	    take_table(r, subset, SUBSET) < 0) {
		free(r->subset.where);
		return -1;
	}
	if (!r->subset.image_dir)
		return fail(r->e, EXIT_USAGE, "%s:%d: a subset without image_dir; name its folder", r->path,
			    subset->line);
	r->subset.caption_options = caption_json(r);
	out->subset = xrealloc(out->subset, (out->count + 1) * sizeof(*out->subset));
	out->subset[out->count++] = r->subset;
	return 0;
}

static int take_dataset(struct reader *r, const struct dataset_subset *defaults, const struct place *p,
			struct dataset_config *out)
{
	const struct toml *subsets = toml_get(p->dataset, "subsets");

	if (check_table(r, p->dataset, DATASET) < 0)
		return -1;
	if (!subsets || subsets->kind != TOML_ARRAY || !subsets->child)
		return fail(r->e, EXIT_USAGE, "%s:%d: a dataset without [[datasets.subsets]]; name its folders there",
			    r->path, p->dataset->line);
	for (const struct toml *s = subsets->child; s; s = s->next) {
		if (s->kind != TOML_TABLE)
			return fail(r->e, EXIT_USAGE, "%s:%d: 'subsets' must be tables; write [[datasets.subsets]]",
				    r->path, s->line);
		if (check_table(r, s, SUBSET) < 0 || take_subset(r, defaults, p, s, out) < 0)
			return -1;
	}
	return 0;
}

static int take_datasets(struct reader *r, const struct toml *root, const struct dataset_subset *defaults,
			 struct dataset_config *out)
{
	const struct toml *datasets = toml_dataset_tables(root);
	struct place p = { toml_get(root, "general"), NULL, 0 };

	if (!datasets)
		return fail(r->e, EXIT_USAGE, "%s: no [[datasets]] in it; see lora-config(5)", r->path);
	if (p.general && p.general->kind != TOML_TABLE)
		return fail(r->e, EXIT_USAGE, "%s:%d: 'general' must be a table", r->path, p.general->line);
	if (p.general && check_table(r, p.general, GENERAL) < 0)
		return -1;
	for (p.dataset = datasets->child; p.dataset; p.dataset = p.dataset->next, p.number++)
		if (take_dataset(r, defaults, &p, out) < 0)
			return -1;
	return 0;
}

static bool is_config_too(const char *path)
{
	const char *origin = option_origin("dataset-config");
	size_t n = strlen(path);

	return origin && !strncmp(origin, path, n) && origin[n] == ':';
}

/* The file may hold training keys as well: then it is a --config too, which looks at them. */
static void check_rest(struct reader *r, const struct toml *root)
{
	const struct toml *other = NULL;

	for (const struct toml *t = root->child; t; t = t->next) {
		if (!strcmp(t->key, "datasets") || !strcmp(t->key, "general"))
			continue;
		if (t->kind != TOML_TABLE && !known_key(t->key))
			unknown(r, t, GENERAL);
		else
			other = other ? other : t;
	}
	if (other && !is_config_too(r->path))
		warning("%s:%d: '%s' is outside of [general] and [[datasets]], so only --config reads it; "
			"move it into [general], or give the file with --config", r->path, other->line, other->key);
}

int dataset_config_read(const char *path, const struct dataset_subset *defaults, struct dataset_config *out,
			struct error *e)
{
	struct reader r = { path, e };
	struct toml *root = config_file_read(path, NULL, e);
	int status;

	*out = (struct dataset_config){ 0 };
	if (!root)
		return -1;
	check_rest(&r, root);
	status = take_datasets(&r, root, defaults, out);
	if (r.unknown.count)
		status = unknown_fail(&r.unknown, path, "key", "remove the line, or see lora-config(5)", e);
	toml_free(root);
	if (status < 0)
		dataset_config_free(out);
	return status;
}

void dataset_config_free(struct dataset_config *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free(c->subset[i].caption_options);
		free(c->subset[i].where);
	}
	free(c->subset);
	*c = (struct dataset_config){ 0 };
}
