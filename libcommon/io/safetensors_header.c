/* The parser of a safetensors header: strict JSON of one shape. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "../base/map.h"
#include "../base/utf8.h"
#include "safetensors_header.h"

/* No model has a hundredth of these; they keep a header of 100 MB from becoming 1 GB of lists. */
enum { MOST_TENSORS = 500000, MOST_METADATA = 500000, DEEPEST = 8 };

#define MOST_OF_A_DIM (1ull << 48)

struct reader {
	const unsigned char *start, *at, *end;
	char *free;             /* where the next text goes; all texts together are shorter than the header */
	struct safetensors *s;
	size_t tensor_capacity, metadata_capacity;
	bool metadata_seen;
	struct error *e;
};

struct text { const char *data; size_t length; };

static int complain(struct reader *r, const char *format, ...) PRINTF_LIKE(2, 3);
static int complain(struct reader *r, const char *format, ...)
{
	char what[600];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	return fail(r->e, EXIT_INPUT, "%s: byte %zu of its header: %s; fetch or make the file again", r->s->path,
		    (size_t)(r->at - r->start), what);
}

/* ---- tokens ---- */

static void skip_space(struct reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
		r->at++;
}

/* Space, then this character if it is there. */
static bool take(struct reader *r, char c)
{
	skip_space(r);
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

static int need(struct reader *r, char c)
{
	if (take(r, c))
		return 0;
	if (r->at == r->end)
		return complain(r, "it ends where '%c' is needed", c);
	return complain(r, "'%c' is needed here", c);
}

static int take_hex(struct reader *r, uint32_t *value)
{
	*value = 0;
	for (int i = 0; i < 4; i++) {
		int c = r->at < r->end ? *r->at : 0, digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;

		if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')))
			return complain(r, "\\u needs four hexadecimal digits");
		*value = *value << 4 | (uint32_t)digit;
		r->at++;
	}
	return 0;
}

static int take_unicode(struct reader *r)
{
	uint32_t c, low = 0;

	if (take_hex(r, &c))
		return -1;
	if (c >= 0xd800 && c < 0xdc00 && r->end - r->at >= 2 && r->at[0] == '\\' && r->at[1] == 'u') {
		r->at += 2;
		if (take_hex(r, &low))
			return -1;
		if (low >= 0xdc00 && low < 0xe000)
			c = 0x10000 + ((c & 0x3ff) << 10) + (low & 0x3ff);
	}
	if (c >= 0xd800 && c < 0xe000)
		return complain(r, "half of a surrogate pair");
	if (!c)
		return complain(r, "a NUL character in a text");
	r->free += utf8_encode(c, r->free);
	return 0;
}

static int take_escape(struct reader *r)
{
	static const char escapes[128] = { ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f',
					   ['n'] = '\n', ['r'] = '\r', ['t'] = '\t' };
	unsigned char c = r->at < r->end ? *r->at : 0;

	if (c >= 128 || (c != 'u' && !escapes[c]))
		return complain(r, "no such escape as this");
	r->at++;
	if (c == 'u')
		return take_unicode(r);
	*r->free++ = escapes[c];
	return 0;
}

static int take_text(struct reader *r, struct text *t)
{
	if (need(r, '"'))
		return -1;
	t->data = r->free;
	while (r->at < r->end && *r->at != '"') {
		size_t n = utf8_length(r->at, (size_t)(r->end - r->at));

		if (*r->at == '\\') {
			r->at++;
			if (take_escape(r))
				return -1;
			continue;
		}
		if (*r->at < 32)
			return complain(r, "a control character in a text");
		if (!n)
			return complain(r, "invalid UTF-8");
		memcpy(r->free, r->at, n);
		r->free += n;
		r->at += n;
	}
	t->length = (size_t)(r->free - t->data);
	*r->free++ = 0;
	return need(r, '"');
}

static int take_count(struct reader *r, uint64_t *value)
{
	const unsigned char *first;

	skip_space(r);
	first = r->at;
	*value = 0;
	for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++) {
		if (__builtin_mul_overflow(*value, 10, value) || __builtin_add_overflow(*value, *r->at - '0', value))
			return complain(r, "a number above 2^64");
	}
	if (r->at == first || (*first == '0' && r->at - first > 1) ||
	    (r->at < r->end && (*r->at == '.' || *r->at == 'e' || *r->at == 'E')))
		return complain(r, "a whole number is needed, not negative and without a point");
	return 0;
}

/* ---- values that nobody asked for ---- */

static bool take_word(struct reader *r, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n))
		return false;
	r->at += n;
	return true;
}

static bool take_digits(struct reader *r)
{
	const unsigned char *first = r->at;

	while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
		r->at++;
	return r->at > first;
}

static int skip_number(struct reader *r)
{
	take_word(r, "-");
	if (!take_word(r, "0") && !take_digits(r))
		return complain(r, "no value of JSON");
	if (take_word(r, ".") && !take_digits(r))
		return complain(r, "a digit is needed after the point");
	if (take_word(r, "e") || take_word(r, "E")) {
		if (!take_word(r, "-"))
			take_word(r, "+");
		if (!take_digits(r))
			return complain(r, "a digit is needed in the exponent");
	}
	return 0;
}

static int skip_value(struct reader *r, int depth);

static int skip_items(struct reader *r, char closing, int depth)
{
	struct text key;

	if (depth > DEEPEST)
		return complain(r, "nested more than %d deep", DEEPEST);
	if (take(r, closing))
		return 0;
	do {
		if (closing == '}' && (take_text(r, &key) || need(r, ':')))
			return -1;
		if (skip_value(r, depth))
			return -1;
	} while (take(r, ','));
	return need(r, closing);
}

static int skip_value(struct reader *r, int depth)
{
	struct text ignored;

	skip_space(r);
	if (r->at < r->end && *r->at == '"')
		return take_text(r, &ignored);
	if (take(r, '{'))
		return skip_items(r, '}', depth + 1);
	if (take(r, '['))
		return skip_items(r, ']', depth + 1);
	if (take_word(r, "null") || take_word(r, "true") || take_word(r, "false"))
		return 0;
	return skip_number(r);
}

/* ---- a tensor ---- */

static int take_dtype(struct reader *r, struct safetensor *t)
{
	struct text name;
	int dtype;

	if (take_text(r, &name))
		return -1;
	dtype = dtype_from_name(name.data, name.length);
	if (dtype < 0)
		return complain(r, "tensor '%.200s' has the unknown type '%.40s'", t->name, name.data);
	t->dtype = (enum dtype)dtype;
	return 0;
}

static int take_shape(struct reader *r, struct safetensor *t)
{
	uint64_t size;

	if (need(r, '['))
		return -1;
	if (take(r, ']'))
		return 0;
	do {
		if (t->dims == SAFETENSORS_MAX_DIMS)
			return complain(r, "tensor '%.200s' has more than %d dimensions", t->name,
					SAFETENSORS_MAX_DIMS);
		if (take_count(r, &size))
			return -1;
		if (size > MOST_OF_A_DIM)
			return complain(r, "tensor '%.200s' has a dimension above 2^48", t->name);
		t->shape[t->dims++] = (int64_t)size;
	} while (take(r, ','));
	return need(r, ']');
}

static int take_offsets(struct reader *r, struct safetensor *t)
{
	uint64_t end;

	if (need(r, '[') || take_count(r, &t->offset) || need(r, ',') || take_count(r, &end) || need(r, ']'))
		return -1;
	if (end < t->offset)
		return complain(r, "tensor '%.200s' ends before it begins", t->name);
	t->bytes = end - t->offset;
	return 0;
}

/* Zeros are left out of the product: one at the end must not excuse a product that wrapped before it. */
static int check_size(struct reader *r, const struct safetensor *t)
{
	uint64_t bytes = dtype_size(t->dtype);
	bool empty = false;

	for (int i = 0; i < t->dims; i++) {
		if (!t->shape[i])
			empty = true;
		else if (__builtin_mul_overflow(bytes, (uint64_t)t->shape[i], &bytes))
			return complain(r, "tensor '%.200s' has a shape whose size is above 2^64 bytes", t->name);
	}
	if (empty)
		bytes = 0;
	if (bytes != t->bytes)
		return complain(r, "tensor '%.200s' needs %llu bytes by type and shape, its offsets give %llu", t->name,
				(unsigned long long)bytes, (unsigned long long)t->bytes);
	return 0;
}

static int take_fields(struct reader *r, struct safetensor *t)
{
	static const struct {
		const char *name;
		int (*take)(struct reader *r, struct safetensor *t);
	} fields[] = { { "dtype", take_dtype }, { "shape", take_shape }, { "data_offsets", take_offsets } };
	bool seen[3] = { false };

	do {
		struct text name;
		int i = 0;

		if (take_text(r, &name) || need(r, ':'))
			return -1;
		while (i < 3 && strcmp(fields[i].name, name.data))
			i++;
		if (i < 3 && seen[i])
			return complain(r, "tensor '%.200s' has '%s' twice", t->name, name.data);
		if (i < 3 ? fields[i].take(r, t) : skip_value(r, 2))
			return -1;
		if (i < 3)
			seen[i] = true;
	} while (take(r, ','));
	for (int i = 0; i < 3; i++) {
		if (!seen[i])
			return complain(r, "tensor '%.200s' has no '%s'", t->name, fields[i].name);
	}
	return 0;
}

static int take_tensor(struct reader *r, const struct text *name)
{
	struct safetensors *s = r->s;
	struct safetensor t = { .name = name->data };

	if (!name->length)
		return complain(r, "a tensor without a name");
	if (s->count == MOST_TENSORS)
		return complain(r, "more than %d tensors", MOST_TENSORS);
	if (need(r, '{') || take_fields(r, &t) || need(r, '}') || check_size(r, &t))
		return -1;
	GROW(s->tensor, s->count, r->tensor_capacity);
	s->tensor[s->count++] = t;
	return 0;
}

/* ---- metadata ---- */

static int take_pair(struct reader *r, struct map *seen)
{
	struct safetensors *s = r->s;
	struct text key, value;

	if (s->metadata_count == MOST_METADATA)
		return complain(r, "more than %d entries of metadata", MOST_METADATA);
	if (take_text(r, &key) || need(r, ':'))
		return -1;
	if (map_put(seen, key.data, key.length, 1) != -1)
		return complain(r, "duplicate name '%.200s' in the metadata", key.data);
	skip_space(r);
	if (r->at < r->end && *r->at != '"')
		return complain(r, "the metadata '%.200s' is not a text", key.data);
	if (take_text(r, &value))
		return -1;
	GROW(s->metadata, s->metadata_count, r->metadata_capacity);
	s->metadata[s->metadata_count++] = (struct metadata){ key.data, value.data };
	return 0;
}

static int take_pairs(struct reader *r)
{
	struct map *seen = map_new(0);
	int rc;

	do
		rc = take_pair(r, seen);
	while (!rc && take(r, ','));
	map_free(seen);
	return rc ? rc : need(r, '}');
}

static int take_metadata(struct reader *r)
{
	if (r->metadata_seen)
		return complain(r, "duplicate name '__metadata__'");
	r->metadata_seen = true;
	skip_space(r);
	if (take_word(r, "null"))
		return 0;
	if (need(r, '{'))
		return -1;
	return take(r, '}') ? 0 : take_pairs(r);
}

static int take_entries(struct reader *r)
{
	do {
		struct text name;

		if (take_text(r, &name) || need(r, ':'))
			return -1;
		if (strcmp(name.data, "__metadata__") ? take_tensor(r, &name) : take_metadata(r))
			return -1;
	} while (take(r, ','));
	return need(r, '}');
}

int safetensors_read_header(struct safetensors *s, const unsigned char *header, size_t n, struct error *e)
{
	struct reader r = { .start = header, .at = header, .end = header + n, .s = s, .e = e };

	s->names = r.free = xmalloc(n);
	if (need(&r, '{'))
		return -1;
	if (!take(&r, '}') && take_entries(&r))
		return -1;
	skip_space(&r);
	if (r.at < r.end)
		return complain(&r, "something follows where it should end");
	return 0;
}
