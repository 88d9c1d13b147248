/* Reading sample streams: samples, their checksums, and the end record of each part. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "tar_input.h"

enum { LARGEST_JSON = 1 << 26 };

const char *tar_format(const struct tar_reader *r)
{
	return r->kind;
}

uint64_t tar_count(const struct tar_reader *r)
{
	return r->samples;
}

bool tar_goes_on(const struct tar_reader *r)
{
	return !r->lost;
}

static void count(struct tar_reader *r, const struct buffer *bytes)
{
	if (bytes->len)
		sha256_add(&r->hash, bytes->data, bytes->len);
	r->part_bytes += bytes->len;
}

/* ---- a sample's json ---- */

/* Which kind a stream is, the same in all its parts and the one that is wanted. */
static int check_format(struct tar_reader *r, const char *where, const char *format, struct error *e)
{
	size_t n = format ? strlen(format) : 0;

	if (n < 8 || n - 7 >= sizeof(r->kind) || memcmp(format, "lora-", 5) || memcmp(format + n - 2, "-1", 2))
		return tar_complain(r, e,
				    "%s: format '%.100s' is not known to this version; use the tools of one version",
				    where, format ? format : "(none)");
	if (*r->format && strcmp(r->format, format))
		return tar_complain(r, e, "%s: format %s in a stream of %s; join streams of one kind only", where,
				    format, r->format);
	snprintf(r->format, sizeof(r->format), "%s", format);
	snprintf(r->kind, sizeof(r->kind), "%.*s", (int)n - 7, format + 5);
	if (!r->wanted || !strcmp(r->wanted, r->kind))
		return 0;
	if (!strcmp(r->kind, "image"))
		return tar_complain(r, e, "holds images, %ss are needed; pass it through lora-encode first", r->wanted);
	return tar_complain(r, e, "holds %ss, %ss are needed; give what lora-prep writes", r->kind, r->wanted);
}

static int check_payload(struct tar_reader *r, const struct tar_sample *s, int i, const json_t *payload,
			 struct error *e)
{
	const struct tar_member *m = &s->member[i];
	const char *suffix = json_string_value(json_object_get(payload, "suffix"));
	const json_t *bytes = json_object_get(payload, "bytes"), *crc = json_object_get(payload, "crc32c");

	if (!suffix || strcmp(suffix, m->suffix))
		return tar_complain(r, e, "%s.json names payload '%.40s' where %s stands; make the stream again",
				    s->key, suffix ? suffix : "(none)", m->suffix);
	if (r->skims)
		return 0;
	if (!json_is_integer(bytes) || json_integer_value(bytes) != (json_int_t)m->bytes.len)
		return tar_complain(r, e,
				    "%s.%s has %zu bytes, and not as many as its json says; make the stream again",
				    s->key, m->suffix, m->bytes.len);
	if (!json_is_integer(crc) || json_integer_value(crc) != (json_int_t)crc32c(0, m->bytes.data, m->bytes.len))
		return tar_complain(r, e, "%s.%s is damaged: its CRC-32C differs; make the stream again", s->key,
				    m->suffix);
	return 0;
}

static int check_json(struct tar_reader *r, struct tar_sample *s, struct error *e)
{
	const char *key = json_string_value(json_object_get(s->json, "key"));
	const json_t *payloads = json_object_get(s->json, "payloads");

	if (!key || strcmp(key, s->key))
		return tar_complain(r, e, "%s.json has the key '%.40s'; make the stream again", s->key,
				    key ? key : "(none)");
	if (check_format(r, s->key, json_string_value(json_object_get(s->json, "format")), e))
		return -1;
	if (!json_is_array(payloads) || json_array_size(payloads) != (size_t)s->members)
		return tar_complain(r, e, "%s.json names %zu payloads, the stream has %d; make it again", s->key,
				    json_array_size(payloads), s->members);
	for (int i = 0; i < s->members; i++) {
		if (check_payload(r, s, i, json_array_get(payloads, (size_t)i), e))
			return -1;
	}
	return 0;
}

static json_t *parse(struct tar_reader *r, const char *name, struct error *e)
{
	json_t *value = json_parse(name, r->text.data, r->text.len, e);

	if (!value)
		fail_at(e, r->path);
	return value;
}

/* ---- samples ---- */

/* A bit for each key of a part; false when it was set already. */
static bool mark_seen(struct tar_reader *r, const char *key)
{
	size_t index = strtoul(key, NULL, 10), byte = index / 8, bit = 1u << index % 8;

	if (byte >= r->seen_bytes) {
		size_t grown = byte + byte / 2 + 128;

		r->seen = xrealloc(r->seen, grown);
		memset(r->seen + r->seen_bytes, 0, grown - r->seen_bytes);
		r->seen_bytes = grown;
	}
	if (r->seen[byte] & bit)
		return false;
	r->seen[byte] |= bit;
	return true;
}

static const char *suffix_of(const char *name)
{
	bool numbered = strspn(name, "0123456789") == TAR_KEY_DIGITS && name[TAR_KEY_DIGITS] == '.';

	return numbered ? name + TAR_KEY_DIGITS + 1 : "";
}

static int begin_sample(struct tar_reader *r, struct tar_sample *s, const char *name, struct error *e)
{
	s->members = 0;
	snprintf(s->key, sizeof(s->key), "%.*s", TAR_KEY_DIGITS, name);
	if (!mark_seen(r, s->key))
		return tar_complain(r, e, "sample %s comes twice in one stream; make it again", s->key);
	return 0;
}

static int add_member(struct tar_reader *r, struct tar_sample *s, const char *name, const char *suffix, struct error *e)
{
	struct tar_member *m = &s->member[s->members];

	if (tar_find(s, suffix))
		return tar_complain(r, e, "member %s comes twice; make the stream again", name);
	if (s->members == TAR_MAX_MEMBERS)
		return tar_complain(r, e, "sample %s has more than %d payloads; make the stream again", s->key,
				    TAR_MAX_MEMBERS);
	snprintf(m->suffix, sizeof(m->suffix), "%s", suffix);
	buffer_clear(&m->bytes);
	m->at = tar_position(r);
	if (r->skims ? tar_pass_member(r, e) : tar_read_member(r, name, &m->bytes, TAR_MEMBER_CAP, e))
		return -1;
	count(r, &m->bytes);
	s->members++;
	return 0;
}

static int finish_sample(struct tar_reader *r, struct tar_sample *s, const char *name, struct error *e)
{
	if (tar_read_member(r, name, &r->text, LARGEST_JSON, e))
		return -1;
	count(r, &r->text);
	s->json = parse(r, name, e);
	if (!s->json || check_json(r, s, e))
		return -1;
	s->part = r->part;
	r->part_samples++;
	r->samples++;
	return 1;
}

/* 1: the sample is whole; 0: more of it follows. */
static int take_member(struct tar_reader *r, struct tar_sample *s, const char *name, bool first, struct error *e)
{
	const char *suffix = suffix_of(name);

	if (!*suffix || strlen(suffix) >= sizeof(s->member[0].suffix) || strchr(suffix, '/'))
		return tar_complain(r, e, "member %s belongs to no sample; give what lora-prep or lora-encode writes",
				    name);
	if (first && begin_sample(r, s, name, e))
		return -1;
	if (strncmp(name, s->key, TAR_KEY_DIGITS))
		return tar_complain(r, e, "sample %s has no %s.json before %s; make the stream again", s->key, s->key,
				    name);
	if (!strcmp(suffix, "json"))
		return finish_sample(r, s, name, e);
	return add_member(r, s, name, suffix, e);
}

/* ---- the end record ---- */

static int check_end(struct tar_reader *r, const json_t *end, struct error *e)
{
	const json_t *samples = json_object_get(end, "samples"), *bytes = json_object_get(end, "bytes");
	const char *hash = json_string_value(json_object_get(end, "sha256"));
	char hex[65];

	sha256_hex(&r->hash, hex);
	if (!json_is_true(json_object_get(end, "complete")))
		return tar_complain(r, e, "its end record does not say that it is complete; make the stream again");
	if (!json_is_integer(samples) || json_integer_value(samples) != (json_int_t)r->part_samples)
		return tar_complain(r, e, "its end record counts %lld samples, %llu came; make the stream again",
				    (long long)json_integer_value(samples), (unsigned long long)r->part_samples);
	if (!r->skims && (!json_is_integer(bytes) || json_integer_value(bytes) != (json_int_t)r->part_bytes || !hash ||
			  strcmp(hash, hex)))
		return tar_complain(r, e,
				    "is damaged: what came differs from the hash in its end record; make it again");
	return check_format(r, TAR_END, json_string_value(json_object_get(end, "format")), e);
}

static int take_end_record(struct tar_reader *r, struct error *e)
{
	json_t *end;
	int rc;

	if (tar_read_member(r, TAR_END, &r->text, LARGEST_JSON, e))
		return -1;
	end = parse(r, TAR_END, e);
	rc = end ? check_end(r, end, e) : -1;
	json_decref(end);
	r->part_padding = -r->text.len % 512;
	r->part++;
	r->in_part = false;
	r->part_samples = r->part_bytes = 0;
	sha256_begin(&r->hash);
	free(r->seen);
	r->seen = NULL;
	r->seen_bytes = 0;
	return rc;
}

/* Behind the end record tar has two blocks of zeros.  Most readers do not miss them, but who promises that a cut stream
 * is refused has to. */
static int check_sound_end(const struct tar_reader *r, struct error *e)
{
	if (r->in_part || !r->part)
		return tar_ended_early(r, e);
	if (r->zeros < 1024 + r->part_padding)
		return tar_complain(r, e,
				    "input ended within its last blocks after %llu samples; did the producer fail?",
				    (unsigned long long)r->samples);
	return 0;
}

static void forget(struct tar_sample *s)
{
	json_decref(s->json);
	s->json = NULL;
	s->members = 0;
}

int tar_next(struct tar_reader *r, struct tar_sample *s, struct error *e)
{
	bool first = true;

	forget(s);
	for (;;) {
		char name[TAR_LONGEST_NAME + 1];
		int rc = tar_next_member(r, name, e);

		if (rc < 0)
			return -1;
		if (!rc) {
			r->lost = true;         /* there is nothing behind */
			return first ? check_sound_end(r, e) : tar_ended_early(r, e);
		}
		if (strcmp(name, TAR_END)) {
			rc = take_member(r, s, name, first, e);
			first = false;
		} else if (!first) {
			rc = tar_complain(r, e, "sample %s has no json before the end record; make the stream again",
					  s->key);
		} else {
			rc = take_end_record(r, e);
		}
		if (rc)
			return rc;
	}
}

int tar_look(const char *path, const char *format, struct error *e)
{
	struct tar_sample s = { 0 };
	struct tar_reader *r;
	struct stat st;
	int got;

	if (!strcmp(path, "-") || (stat(path, &st) == 0 && !S_ISREG(st.st_mode)))
		return 0;
	r = tar_open(path, format, e);
	if (!r)
		return -1;
	tar_skim(r);
	got = tar_next(r, &s, e);
	tar_sample_free(&s);
	tar_close(r);
	return got < 0 ? -1 : 0;
}

void tar_sample_free(struct tar_sample *s)
{
	forget(s);
	for (int i = 0; i < TAR_MAX_MEMBERS; i++)
		buffer_free(&s->member[i].bytes);
}

const struct tar_member *tar_find(const struct tar_sample *s, const char *suffix)
{
	for (int i = 0; i < s->members; i++) {
		if (!strcmp(s->member[i].suffix, suffix))
			return &s->member[i];
	}
	return NULL;
}
