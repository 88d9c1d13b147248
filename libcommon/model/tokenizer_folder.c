/* A tokenizer from its folder: vocabulary, merges, special tokens. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../io/kind.h"
#include "../io/json.h"
#include "../io/publish.h"
#include "tokenizer_parts.h"

#define VOCABULARY_CAP ((size_t)64 << 20)
#define CONFIG_CAP ((size_t)1 << 20)
#define HIGHEST_ID ((1 << 24) - 1)
#define LONGEST 65536           /* largest model_max_length; the huge number for "no limit" means the default */

static const struct {
	const char *key, *text;         /* text NULL: that of EOS */
} ROLES[SPECIALS] = {
	[BOS] = { "bos_token", CLIP_BOS },
	[EOS] = { "eos_token", CLIP_EOS },
	[UNKNOWN] = { "unk_token", NULL },
	[PAD] = { "pad_token", NULL },
};

/* *path: of a file that is there, malloced, or NULL. */
static int find(const char *folder, const char *name, char **path, struct error *e)
{
	int there;

	*path = path_join(folder, name);
	there = path_is_there(*path, e);
	if (there > 0)
		return 0;
	free(*path);
	*path = NULL;
	return there;
}

/* A token is a string, or an object that also says whether it is matched in normalized text. */
static void take_special(struct tokenizer *t, const json_t *config, enum special_role role)
{
	struct special *s = &t->special[role];
	const json_t *value = json_object_get(config, ROLES[role].key);
	const char *text = json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);

	if (s->text || !text || !*text)
		return;
	s->text = xstrdup(text);
	s->normalized = json_is_true(json_object_get(value, "normalized"));
}

static int read_config(struct tokenizer *t, const char *folder, const char *name, struct error *e)
{
	json_t *config, *longest;
	char *path;

	if (find(folder, name, &path, e) < 0)
		return -1;
	if (!path)
		return 0;
	config = json_read(path, CONFIG_CAP, e);
	free(path);
	if (!config)
		return -1;
	for (int role = 0; role < SPECIALS; role++)
		take_special(t, config, role);
	longest = json_object_get(config, "model_max_length");
	if (json_is_integer(longest) && json_integer_value(longest) >= 2 && json_integer_value(longest) <= LONGEST)
		t->length = (int)json_integer_value(longest);
	json_decref(config);
	return 0;
}

static void default_specials(struct tokenizer *t)
{
	t->pad_known = t->special[PAD].text != NULL;
	for (int role = 0; role < SPECIALS; role++) {
		struct special *s = &t->special[role];
		if (!s->text) {
			s->text = xstrdup(ROLES[role].text ? ROLES[role].text : t->special[EOS].text);
			s->normalized = !ROLES[role].text && t->special[EOS].normalized;
		}
		s->length = strlen(s->text);
	}
}

static int check_vocabulary(struct tokenizer *t, const char *path, json_t *vocabulary, struct error *e)
{
	const char *token;
	json_t *id;

	if (!json_is_object(vocabulary))
		return fail(e, EXIT_INPUT, "%s: no vocabulary of {\"token\": id}; give a CLIP tokenizer's file", path);
	json_object_foreach(vocabulary, token, id) {
		json_int_t value = json_integer_value(id);
		if (!json_is_integer(id) || value < 0 || value > HIGHEST_ID)
			return fail(e, EXIT_INPUT, "%s: token \"%s\" has no id from 0 to %d; the file is damaged",
				    path, token, HIGHEST_ID);
		if (value >= t->vocab_size)
			t->vocab_size = (int)value + 1;
	}
	for (int role = 0; role < SPECIALS; role++) {
		id = json_object_get(vocabulary, t->special[role].text);
		if (!id)
			return fail(e, EXIT_INPUT, "%s: no token \"%s\" (%s); "
						   "the folder's files belong to different models, "
						   "or this is no CLIP tokenizer", path, t->special[role].text,
						   ROLES[role].key);
		t->special[role].id = (int)json_integer_value(id);
	}
	t->bpe = bpe_new(vocabulary, t->special[UNKNOWN].id);
	return 0;
}

static int add_merge(struct tokenizer *t, const char *path, size_t line, const char *text, size_t n, struct error *e)
{
	const char *space = memchr(text, ' ', n);
	size_t left = space ? (size_t)(space - text) : n;
	char *where;
	int rc;

	if (!space || memchr(space + 1, ' ', n - left - 1))
		rc = fail(e, EXIT_INPUT, "not two tokens with a space between; the file is damaged");
	else
		rc = bpe_add_merge(t->bpe, text, left, space + 1, n - left - 1, e);
	if (rc) {
		where = xprintf("%s:%zu", path, line);
		fail_at(e, where);
		free(where);
	}
	return rc;
}

/* Lines "left right", best first; "#version" lines and empty ones are not merges. */
static int add_merge_lines(struct tokenizer *t, const char *path, struct error *e)
{
	struct buffer file = { 0 };
	int rc = read_file(path, VOCABULARY_CAP, &file, e);
	size_t line = 1;

	for (const char *s = file.data, *end = s + file.len, *next; !rc && s < end; s = next, line++) {
		const char *stop = memchr(s, '\n', end - s);
		next = stop ? stop + 1 : end;
		stop = stop ? stop : end;
		if (stop > s && stop[-1] == '\r')
			stop--;
		if (stop > s && strncmp(s, "#version", 8))
			rc = add_merge(t, path, line, s, stop - s, e);
	}
	if (rc && file.len && e->code == EXIT_INPUT)
		kind_tell(path, file.data, file.len, NULL, "the merges of a tokenizer", e);
	buffer_free(&file);
	return rc;
}

/* Elements "left right" (tokenizers before 0.20) or ["left", "right"]. */
static int add_merge_array(struct tokenizer *t, const char *path, const json_t *merges, struct error *e)
{
	size_t i;
	json_t *m;

	if (!json_is_array(merges))
		return fail(e, EXIT_INPUT, "%s: no model.merges; give a CLIP tokenizer's file", path);
	json_array_foreach(merges, i, m) {
		const json_t *left = json_array_get(m, 0), *right = json_array_get(m, 1);
		struct buffer pair = { 0 };
		int rc;

		if (json_is_string(left) && json_is_string(right))
			buffer_addf(&pair, "%s %s", json_string_value(left), json_string_value(right));
		else
			buffer_adds(&pair, json_is_string(m) ? json_string_value(m) : "");
		rc = add_merge(t, path, i + 1, pair.data, pair.len, e);
		buffer_free(&pair);
		if (rc)
			return rc;
	}
	return 0;
}

static int read_two_files(struct tokenizer *t, const char *vocab, const char *merges, struct error *e)
{
	json_t *root = json_read(vocab, VOCABULARY_CAP, e);
	int rc;

	if (!root)
		return -1;
	rc = check_vocabulary(t, vocab, root, e);
	if (!rc)
		rc = add_merge_lines(t, merges, e);
	if (!rc)
		bpe_end_merges(t->bpe);
	json_decref(root);
	return rc;
}

static int read_one_file(struct tokenizer *t, const char *path, struct error *e)
{
	json_t *root = json_read(path, VOCABULARY_CAP, e), *model;
	int rc;

	if (!root)
		return -1;
	model = json_object_get(root, "model");
	rc = check_vocabulary(t, path, json_object_get(model, "vocab"), e);
	if (!rc)
		rc = add_merge_array(t, path, json_object_get(model, "merges"), e);
	if (!rc)
		bpe_end_merges(t->bpe);
	json_decref(root);
	return rc;
}

static int read_vocabulary(struct tokenizer *t, const char *folder, struct error *e)
{
	char *vocab = NULL, *merges = NULL, *both = NULL;
	int rc = 0;

	if (find(folder, "vocab.json", &vocab, e) < 0 || find(folder, "merges.txt", &merges, e) < 0 ||
	    find(folder, "tokenizer.json", &both, e) < 0)
		rc = -1;
	else if (vocab && merges)
		rc = read_two_files(t, vocab, merges, e);
	else if (both)
		rc = read_one_file(t, both, e);
	else
		rc = fail(e, EXIT_INPUT, "%s: no tokenizer here: it takes vocab.json and merges.txt, or tokenizer.json",
			  folder);
	free(vocab);
	free(merges);
	free(both);
	return rc;
}

struct tokenizer *tokenizer_open(const char *folder, struct error *e)
{
	struct tokenizer *t = xcalloc(1, sizeof(*t));

	t->length = CLIP_LENGTH;
	if (read_config(t, folder, "special_tokens_map.json", e) ||
	    read_config(t, folder, "tokenizer_config.json", e)) {
		tokenizer_free(t);
		return NULL;
	}
	default_specials(t);
	if (read_vocabulary(t, folder, e)) {
		tokenizer_free(t);
		return NULL;
	}
	return t;
}

void tokenizer_free(struct tokenizer *t)
{
	if (!t)
		return;
	for (int role = 0; role < SPECIALS; role++)
		free(t->special[role].text);
	bpe_free(t->bpe);
	free(t);
}
