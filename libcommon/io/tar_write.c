/* Writing sample streams: payloads, then KEY.json, and the end record. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/hash.h"
#include "tar.h"
#include "tar_header.h"
#include "tar_names.h"

enum { GATHERED = 1 << 16 };            /* bytes that go out at once */

struct tar_writer {
	struct publish *out;
	struct buffer gathered;
	char format[32];
	struct sha256 hash;             /* over payloads and jsons, in order */
	uint64_t samples, bytes;
	struct error failure;           /* the first one; nothing is written after it */
};

/* ---- bytes ---- */

static void write_out(struct tar_writer *w, const void *data, size_t n)
{
	struct error e;

	if (n && !w->failure.code && publish_write(w->out, data, n, &e))
		w->failure = e;
}

static void put(struct tar_writer *w, const void *data, size_t n)
{
	if (w->gathered.len + n > GATHERED) {
		write_out(w, w->gathered.data, w->gathered.len);
		buffer_clear(&w->gathered);
	}
	if (n > GATHERED)
		write_out(w, data, n);
	else if (n)
		buffer_add(&w->gathered, data, n);
}

static int answer(const struct tar_writer *w, struct error *e)
{
	if (!w->failure.code)
		return 0;
	*e = w->failure;
	return -1;
}

struct tar_writer *tar_create(struct publish *out, const char *format)
{
	struct tar_writer *w = xcalloc(1, sizeof(*w));

	w->out = out;
	snprintf(w->format, sizeof(w->format), TAR_FORMAT, format);
	sha256_begin(&w->hash);
	return w;
}

static void put_zeros(struct tar_writer *w, size_t n)
{
	put(w, (char[2 * TAR_BLOCK]){ 0 }, n);
}

static int write_member(struct tar_writer *w, const char *name, const char *data, size_t n)
{
	unsigned char header[TAR_BLOCK];

	tar_header_write(header, name, n);
	put(w, header, sizeof(header));
	put(w, data, n);
	put_zeros(w, -n % TAR_BLOCK);
	return w->failure.code ? -1 : 0;
}

/* ---- samples ---- */

void tar_sample_begin(struct json_out *fields, struct tar_writer *w, uint32_t index)
{
	char key[16];

	snprintf(key, sizeof(key), "%0*u", TAR_KEY_DIGITS, index);
	json_begin(fields, NULL);
	json_text(fields, "key", key);
	json_text(fields, "format", w->format);
}

static void add_payloads(struct json_out *fields, const struct tar_member *member, int members)
{
	json_begin_array(fields, "payloads");
	for (int i = 0; i < members; i++) {
		json_begin(fields, NULL);
		json_text(fields, "suffix", member[i].suffix);
		json_int(fields, "bytes", (int64_t)member[i].bytes.len);
		json_int(fields, "crc32c", crc32c(0, member[i].bytes.data, member[i].bytes.len));
		json_end(fields);
	}
	json_end_array(fields);
	json_end(fields);
}

static int write_counted(struct tar_writer *w, uint32_t index, const char *suffix, const struct buffer *bytes)
{
	char name[64];

	snprintf(name, sizeof(name), "%0*u.%s", TAR_KEY_DIGITS, index, suffix);
	sha256_add(&w->hash, bytes->data, bytes->len);
	w->bytes += bytes->len;
	return write_member(w, name, bytes->data, bytes->len);
}

static int check_members(struct tar_writer *w, uint32_t index, const struct tar_member *member, int members)
{
	if (members < 0 || members > TAR_MAX_MEMBERS)
		die(EXIT_OTHER, "a sample of %d members, at most %d are possible; this is a bug", members,
		    TAR_MAX_MEMBERS);
	if (index >= TAR_MOST_SAMPLES)
		return fail(&w->failure, EXIT_INPUT, "sample %u: a stream holds at most %u samples; split it", index,
			    TAR_MOST_SAMPLES);
	for (int i = 0; i < members; i++) {
		if (member[i].bytes.len > TAR_MEMBER_CAP)
			return fail(&w->failure, EXIT_INPUT,
				    "sample %u: %s has %zu bytes, above the limit of %u; make it smaller", index,
				    member[i].suffix, member[i].bytes.len, TAR_MEMBER_CAP);
	}
	return 0;
}

int tar_sample_add(struct tar_writer *w, uint32_t index, const struct tar_member *member, int members,
		   struct json_out *fields, struct error *e)
{
	int rc = w->failure.code ? -1 : check_members(w, index, member, members);

	add_payloads(fields, member, members);
	for (int i = 0; i < members && !rc; i++)
		rc = write_counted(w, index, member[i].suffix, &member[i].bytes);
	if (!rc)
		rc = write_counted(w, index, "json", &fields->text);
	buffer_clear(&fields->text);
	fields->comma = false;
	w->samples++;
	return answer(w, e);
}

/* ---- the end ---- */

static void write_end_record(struct tar_writer *w)
{
	struct json_out record = { 0 };
	char hex[65];

	sha256_hex(&w->hash, hex);
	json_begin(&record, NULL);
	json_text(&record, "format", w->format);
	json_int(&record, "samples", (int64_t)w->samples);
	json_int(&record, "bytes", (int64_t)w->bytes);
	json_text(&record, "sha256", hex);
	json_bool(&record, "complete", true);
	json_end(&record);
	write_member(w, TAR_END, record.text.data, record.text.len);
	json_free(&record);
}

int tar_finish(struct tar_writer *w, struct error *e)
{
	int rc;

	write_end_record(w);
	put_zeros(w, 2 * TAR_BLOCK);
	write_out(w, w->gathered.data, w->gathered.len);
	rc = answer(w, e);
	tar_abandon(w);
	return rc;
}

void tar_abandon(struct tar_writer *w)
{
	if (!w)
		return;
	buffer_free(&w->gathered);
	free(w);
}
