/* lora-inspect --tokens: which words an adapter's text part moves.  Each text runs through the text encoders with and
 * without the adapter. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../adapter/adapter.h"
#include "../base/memory.h"
#include "../model/text_encoders.h"
#include "../model/tokenizers.h"
#include "../nn/workspace.h"
#include "internal.h"
#include "tags.h"

/* Of the tags in the metadata; texts that run through the encoders at once; bytes of a file of words. */
enum { TAGS = 40, BATCH = 8, MOST_BYTES = 1 << 20 };

/* How far a vector is from where it was without the adapter. */
struct shift { double cosine, change; };        /* change: |b - a| / |a| */

struct word {
	char *text;
	int tokens[TEXT_ENCODERS];              /* without BOS and EOS; 0: the state at EOS is looked at */
	struct shift state[TEXT_ENCODERS], pooled;
	double most;                            /* of the changes */
};

struct words {
	const struct model_files *files;
	const struct backend *be;
	struct device *device;
	struct text_encoders text;
	struct tokenizer *tokenizer[TEXT_ENCODERS];
	struct layer_list layers;
	struct workspace work;
	struct word *item;
	size_t count, capacity;
	int length;
	/* the batch that runs: ids [BATCH,length] an encoder */
	int32_t *ids[TEXT_ENCODERS];
	int n;
	struct tensor *made[CONDITIONS];
};

/* ---- which words ---- */

static void add_word(struct words *w, const char *text, size_t n)
{
	while (n && strchr(" \t\r", *text)) {
		text++;
		n--;
	}
	while (n && strchr(" \t\r", text[n - 1]))
		n--;
	GROW(w->item, w->count, w->capacity);
	w->item[w->count++] = (struct word){ .text = xstrndup(text, n) };
}

static void add_words(struct words *w, const char *text, const char *between)
{
	while (*text) {
		const size_t n = strcspn(text, between);

		if (strspn(text, " \t\r") < n)
			add_word(w, text, n);
		text += n + (text[n] != '\0');
	}
}

static int add_tags(struct words *w, const struct safetensors *f, struct error *e)
{
	struct tag *tag;
	const size_t n = tags_read(safetensors_metadata(f, "ss_tag_frequency"), &tag);

	for (size_t i = 0; i < n && i < TAGS; i++)
		add_word(w, tag[i].name, strlen(tag[i].name));
	counted_tags_free(tag, n);
	return n ? 0 : fail(e, EXIT_INPUT, "%s: its metadata have no tags; say which words: --tokens='a cat, robot', "
			    "or a file of them", f->path);
}

/* asked: a file with a text a line, words between commas, or "auto": the most frequent tags of the metadata.  The first
 * word is none: how far everything is moved. */
static int choose_words(struct words *w, const struct safetensors *f, const char *asked, struct error *e)
{
	struct buffer text = { 0 };
	int there;

	add_word(w, "", 0);
	if (!strcmp(asked, "auto"))
		return add_tags(w, f, e);
	there = path_is_there(asked, e);
	if (there < 0 || (there && read_file(asked, MOST_BYTES, &text, e)))
		return -1;
	if (there)
		add_words(w, text.data ? text.data : "", "\n");
	else
		add_words(w, asked, ",");
	buffer_free(&text);
	return w->count > 1 ? 0 : fail(e, EXIT_USAGE, "--tokens %s: there are no words in it", asked);
}

/* ---- states ---- */

static int load(struct words *w, struct error *e)
{
	if (tokenizers_open(w->files, w->tokenizer, e) < 0 || !(w->be = backend_find("cpu", e)) ||
	    !(w->device = w->be->open(e)) || text_encoders_load(&w->text, w->files, w->be, w->device, false, e) < 0)
		return -1;
	w->work = (struct workspace){ .be = w->be, .device = w->device };
	w->length = clip_config(w->text.clip[0])->length;
	for (int i = 0; i < w->text.count; i++)
		w->ids[i] = xmalloc((size_t)BATCH * w->length * sizeof(*w->ids[i]));
	text_encoders_layers(&w->text, &w->layers);
	return 0;
}

static void unload(struct words *w)
{
	for (size_t i = 0; i < w->count; i++)
		free(w->item[i].text);
	free(w->item);
	for (int i = 0; i < TEXT_ENCODERS; i++)
		free(w->ids[i]);
	workspace_free(&w->work);
	layer_list_free(&w->layers);
	text_encoders_free(&w->text);
	tokenizers_close(w->tokenizer);
	if (w->device)
		w->be->close(w->device);
}

static int count_tokens(const struct tokenizer *t, const char *text, int length, int *count, struct error *e)
{
	int32_t *ids = xmalloc(length * sizeof(*ids));

	*count = tokenizer_encode(t, text, length, ids, NULL, e) - 2;
	free(ids);
	return *count < 0 ? -1 : 0;
}

static int fill_ids(struct words *w, size_t first, struct error *e)
{
	w->n = w->count - first < BATCH ? (int)(w->count - first) : BATCH;
	for (int k = 0; k < w->n; k++)
		for (int i = 0; i < w->text.count; i++) {
			struct word *word = &w->item[first + k];

			if (tokenizer_encode_padded(w->tokenizer[i], word->text, w->length,
						    w->ids[i] + (size_t)k * w->length, e) < 0 ||
			    count_tokens(w->tokenizer[i], word->text, w->length, &word->tokens[i], e))
				return -1;
		}
	return 0;
}

static struct tensor *forward(struct tape *t, void *arg)
{
	struct words *w = arg;
	struct chunk_batch b = { .n = w->n, .chunks = 1 };

	for (int i = 0; i < w->text.count; i++)
		b.ids[i] = w->ids[i];
	text_encoders_forward(t, &w->text, &b, w->made);
	return w->made[CONDITION_CONTEXT];
}

/* The states of a batch: context [n,length,width], pooled [n,projection], or none. */
struct states { float *context, *pooled; size_t width, projection; };

static float *downloaded(const struct words *w, const struct tensor *t)
{
	float *x = t ? xmalloc(tensor_count(t) * sizeof(*x)) : NULL;

	if (x)
		tensor_download(w->work.tape, t, x);
	return x;
}

static int run(struct words *w, size_t first, struct states *s, struct error *e)
{
	if (fill_ids(w, first, e) || !workspace_run(&w->work, forward, w, e))
		return -1;
	s->context = downloaded(w, w->made[CONDITION_CONTEXT]);
	s->pooled = downloaded(w, w->made[CONDITION_POOLED]);
	s->width = w->made[CONDITION_CONTEXT]->c;
	s->projection = s->pooled ? w->made[CONDITION_POOLED]->c : 0;
	return 0;
}

/* ---- shifts ---- */

struct sums { double dot, before, after, difference; };

static void add_sums(struct sums *s, const float *a, const float *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		s->dot += (double)a[i] * b[i];
		s->before += (double)a[i] * a[i];
		s->after += (double)b[i] * b[i];
		s->difference += ((double)b[i] - a[i]) * ((double)b[i] - a[i]);
	}
}

static struct shift shift_of(const struct sums *s)
{
	return (struct shift){ s->dot / sqrt(s->before * s->after), sqrt(s->difference / s->before) };
}

/* Of the word's own tokens, behind BOS; the part of the context that is one encoder's begins at `from`. */
static struct shift state_shift(const struct word *word, int encoder, const float *a, const float *b, size_t from,
				size_t width, size_t whole)
{
	const int n = word->tokens[encoder] ? word->tokens[encoder] : 1;
	struct sums s = { 0 };

	for (int k = 1; k <= n; k++)
		add_sums(&s, a + k * whole + from, b + k * whole + from, width);
	return shift_of(&s);
}

static void measure(struct words *w, size_t first, const struct states *before, const struct states *after)
{
	for (int k = 0; k < w->n; k++) {
		struct word *word = &w->item[first + k];
		const size_t at = (size_t)k * w->length * before->width;
		struct sums pooled = { 0 };
		size_t from = 0;

		for (int i = 0; i < w->text.count; i++) {
			const size_t width = clip_config(w->text.clip[i])->width;

			word->state[i] = state_shift(word, i, before->context + at, after->context + at, from, width,
						     before->width);
			word->most = fmax(word->most, word->state[i].change);
			from += width;
		}
		if (!before->pooled)
			continue;
		add_sums(&pooled, before->pooled + k * before->projection, after->pooled + k * before->projection,
			 before->projection);
		word->pooled = shift_of(&pooled);
	}
}

static void free_states(struct states *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(s[i].context);
		free(s[i].pooled);
	}
	free(s);
}

/* All texts without the adapter, then all with it. */
static int compare(struct words *w, const char *path, struct error *e)
{
	const size_t batches = (w->count + BATCH - 1) / BATCH;
	struct states *before = xcalloc(batches, sizeof(*before)), *after = xcalloc(batches, sizeof(*after));
	struct adapter *a = NULL;
	int status = 0;

	for (size_t i = 0; i < batches && !status; i++)
		status = run(w, i * BATCH, &before[i], e);
	if (!status && !(a = adapter_load_some(path, &w->layers, w->be, w->device, e)))
		status = -1;
	for (size_t i = 0; i < batches && !status; i++) {
		status = run(w, i * BATCH, &after[i], e);
		if (!status)
			measure(w, i * BATCH, &before[i], &after[i]);
	}
	adapter_free(a);
	free_states(before, batches);
	free_states(after, batches);
	return status;
}

/* ---- the table ---- */

static int by_change(const void *left, const void *right)
{
	const struct word *a = left, *b = right;

	return a->most < b->most ? 1 : a->most > b->most ? -1 : strcmp(a->text, b->text);
}

static size_t shift_columns(char *row, size_t room, size_t at, const struct shift *x)
{
	return text_add(row, room, at, "%8.5f %-9.3g", x->cosine, x->change);
}

static void put_shift(struct sheet *s, const char *key, const struct shift *x)
{
	json_begin(&s->json, key);
	json_number(&s->json, "cosine", x->cosine);
	json_number(&s->json, "change", x->change);
	json_end(&s->json);
}

static void put_word(struct sheet *s, const struct words *w, const struct word *word)
{
	const bool pooled = w->made[CONDITION_POOLED] != NULL;
	char row[200];
	size_t at = 0;

	json_begin(&s->json, NULL);
	json_text(&s->json, "word", word->text);
	for (int i = 0; i < w->text.count; i++) {
		at = shift_columns(row, sizeof(row), at, &word->state[i]);
		put_shift(s, part_names[COMPONENT_TE1 + i].key, &word->state[i]);
	}
	if (pooled) {
		at = shift_columns(row, sizeof(row), at, &word->pooled);
		put_shift(s, "pooled", &word->pooled);
	}
	json_end(&s->json);
	sheet_row(s, "  %s%s", row, *word->text ? word->text : "(no words)");
}

static void put_words(struct sheet *s, struct words *w)
{
	const bool pooled = w->made[CONDITION_POOLED] != NULL;
	char row[200];
	size_t at = 0;

	qsort(w->item, w->count, sizeof(*w->item), by_change);
	for (int i = 0; i < w->text.count; i++)
		at = text_add(row, sizeof(row), at, "%-18s", part_names[COMPONENT_TE1 + i].title);
	if (pooled)
		text_add(row, sizeof(row), at, "%-18s", "pooled");
	sheet_row(s, "  %s", row);
	at = 0;
	for (int i = 0; i < w->text.count + pooled; i++)
		at = text_add(row, sizeof(row), at, "  cosine change   ");
	sheet_row(s, "  %sword", row);
	json_begin_array(&s->json, "tokens");
	for (size_t i = 0; i < w->count; i++)
		put_word(s, w, &w->item[i]);
	json_end_array(&s->json);
}

int sheet_tokens(struct sheet *s, const struct safetensors *f, const struct model_files *base, struct error *e)
{
	struct words w = { .files = base };
	int status = choose_words(&w, f, s->options->tokens, e);

	if (!status)
		status = load(&w, e);
	if (!status)
		status = compare(&w, f->path, e);
	if (!status)
		put_words(s, &w);
	unload(&w);
	return status;
}
