/* Text to token ids: special tokens, normalization, pieces, byte pair encoding. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/utf8.h"
#include "tokenizer_parts.h"
#include "unicode.h"

#define TEXT_CAP ((size_t)64 << 20)

struct encoding {
	const struct tokenizer *t;
	int32_t *ids;
	int length, kept;
	int whole;
};

static void emit(struct encoding *x, int32_t id)
{
	if (x->kept < x->length)
		x->ids[x->kept++] = id;
	x->whole++;
}

static void encode_word(struct encoding *x, const char *word, size_t n)
{
	int32_t *ids = xmalloc(n * sizeof(*ids));
	size_t count = bpe_word(x->t->bpe, word, n, ids);

	for (size_t i = 0; i < count; i++)
		emit(x, ids[i]);
	free(ids);
}

static bool starts_with(const char *text, size_t n, const char *start)
{
	size_t length = strlen(start);

	return length <= n && memcmp(text, start, length) == 0;
}

static size_t contraction(const char *text, size_t n)
{
	static const char *const endings[] = { "'s", "'t", "'re", "'ve", "'m", "'ll", "'d" };

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
		if (starts_with(text, n, endings[i]))
			return strlen(endings[i]);
	return 0;
}

/* Bytes of the leading characters that are of one class; a number is a piece of its own. */
static size_t run(const char *text, size_t n, enum unicode_class *class)
{
	uint32_t code;
	size_t at = utf8_read(text, n, &code);
	int used;

	*class = unicode_class(code);
	while (*class != UNICODE_NUMBER && (used = utf8_read(text + at, n - at, &code)) &&
	       unicode_class(code) == *class)
		at += used;
	return at;
}

/* Where a piece begins with the name of a special token that was not matched as such (<|ENDOFTEXT|> in lower case), the
 * name is cut in three, whatever punctuation follows.  Returns its bytes. */
static size_t encode_spelled_special(struct encoding *x, const char *text, size_t n)
{
	static const char *const names[] = { CLIP_BOS, CLIP_EOS };

	for (int i = 0; i < 2; i++) {
		const char *name = names[i];
		size_t length = strlen(name);
		if (!starts_with(text, n, name))
			continue;
		encode_word(x, name, 2);
		encode_word(x, name + 2, length - 4);
		encode_word(x, name + length - 2, 2);
		return length;
	}
	return 0;
}

static void encode_pieces(struct encoding *x, const char *text, size_t n)
{
	enum unicode_class class = UNICODE_OTHER;

	for (size_t at = 0, used; at < n; at += used) {
		used = encode_spelled_special(x, text + at, n - at);
		if (used)
			continue;
		used = contraction(text + at, n - at);
		if (!used)
			used = run(text + at, n - at, &class);
		else
			class = UNICODE_OTHER;
		if (class != UNICODE_SPACE)
			encode_word(x, text + at, used);
	}
}

static void normalize(const char *text, size_t n, struct buffer *out)
{
	uint32_t *codes = xmalloc(n * sizeof(*codes)), *composed, lower[2];
	size_t count = 0;
	char bytes[4];

	for (size_t at = 0; at < n; count++)
		at += utf8_read(text + at, n - at, &codes[count]);
	composed = unicode_nfc(codes, count, &count);
	for (size_t i = 0; i < count; i++)
		for (int k = 0, parts = unicode_lower(composed[i], lower); k < parts; k++)
			buffer_add(out, bytes, utf8_encode(lower[k], bytes));
	free(codes);
	free(composed);
}

/* The first special token of text, the longest if several begin there; NULL when there is none. */
static const struct special *find_special(const struct tokenizer *t, const char *text, size_t n, bool normalized,
					  size_t *at)
{
	const struct special *found = NULL;

	for (*at = 0; *at < n && !found; *at += !found)
		for (int role = 0; role < PAD; role++) {
			const struct special *s = &t->special[role];
			if (s->normalized == normalized && (!found || s->length > found->length) &&
			    starts_with(text + *at, n - *at, s->text))
				found = s;
		}
	return found;
}

/* Special tokens that are matched in normalized text are looked for between those that are not. */
static void encode_text(struct encoding *x, const char *text, size_t n, bool normalized)
{
	const struct special *s;
	struct buffer b = { 0 };
	size_t at;

	do {
		s = find_special(x->t, text, n, normalized, &at);
		if (normalized) {
			encode_pieces(x, text, at);
		} else {
			buffer_clear(&b);
			normalize(text, at, &b);
			encode_text(x, b.data, b.len, true);
		}
		if (s) {
			emit(x, s->id);
			text += at + s->length;
			n -= at + s->length;
		}
	} while (s);
	buffer_free(&b);
}

int tokenizer_encode(const struct tokenizer *t, const char *text, int length, int32_t *ids, int *whole, struct error *e)
{
	struct encoding x = { .t = t, .ids = ids, .length = length };
	size_t n = strlen(text), valid = utf8_valid(text, n);

	if (length < 2)
		die(EXIT_OTHER, "bug: %d tokens asked for, BOS and EOS alone are 2", length);
	if (n > TEXT_CAP)
		return fail(e, EXIT_INPUT, "a text of %zu bytes is no caption; give one below %zu", n, TEXT_CAP);
	if (valid < n)
		return fail(e, EXIT_INPUT, "byte %zu (0x%02x) is no valid UTF-8; save the text as UTF-8",
			    valid, (unsigned char)text[valid]);
	emit(&x, t->special[BOS].id);
	encode_text(&x, text, n, false);
	emit(&x, t->special[EOS].id);
	ids[x.kept - 1] = t->special[EOS].id;
	if (whole)
		*whole = x.whole;
	return x.kept;
}

int tokenizer_encode_padded(const struct tokenizer *t, const char *text, int length, int32_t *ids, struct error *e)
{
	int n = tokenizer_encode(t, text, length, ids, NULL, e);

	if (n < 0)
		return -1;
	while (n < length)
		ids[n++] = t->special[PAD].id;
	return 0;
}

/* ---- settings of the folder ---- */

int tokenizer_bos(const struct tokenizer *t)
{
	return t->special[BOS].id;
}

int tokenizer_eos(const struct tokenizer *t)
{
	return t->special[EOS].id;
}

int tokenizer_pad(const struct tokenizer *t)
{
	return t->special[PAD].id;
}

int tokenizer_length(const struct tokenizer *t)
{
	return t->length;
}

int tokenizer_vocab_size(const struct tokenizer *t)
{
	return t->vocab_size;
}

bool tokenizer_pad_known(const struct tokenizer *t)
{
	return t->pad_known;
}

void tokenizer_set_pad(struct tokenizer *t, int id)
{
	if (id < 0 || id >= t->vocab_size)
		die(EXIT_OTHER, "bug: padding %d in a vocabulary of %d", id, t->vocab_size);
	t->special[PAD].id = id;
}
