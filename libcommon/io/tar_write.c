/* Writing sample streams: payloads, then KEY.json, and the end record. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/hash.h"
#include "tar.h"
#include "tar_library.h"
#include "tar_names.h"

struct tar_writer {
	const struct tar_library *la;
	struct archive *archive;
	struct publish *out;
	char format[32];
	struct sha256 hash;             /* over payloads and jsons, in order */
	uint64_t samples, bytes;
	struct error failure;           /* the first one; libarchive's later calls may report success */
};

/* ---- libarchive, every answer checked ---- */

/* After a failure the rest is dropped and libarchive is told that all is well: once it knows of a fatal error,
 * archive_write_free() leaks its block (3.6.2).  The failure is kept here. */
static la_ssize_t write_block(struct archive *a, void *context, const void *data, size_t n)
{
	struct tar_writer *w = context;
	struct error e;

	if (!w->failure.code && publish_write(w->out, data, n, &e))
		w->failure = e;
	return (la_ssize_t)n;
}

/* Keep the first failure: that of the output if there is one, else what libarchive says. */
static int check(struct tar_writer *w, int rc, const char *doing)
{
	if (rc != ARCHIVE_OK && !w->failure.code)
		fail(&w->failure, EXIT_OTHER, "%s: libarchive: %s; this is a bug", doing,
		     w->la->archive_error_string(w->archive));
	return w->failure.code ? -1 : 0;
}

static int answer(const struct tar_writer *w, struct error *e)
{
	if (!w->failure.code)
		return 0;
	*e = w->failure;
	return -1;
}

struct tar_writer *tar_create(struct publish *out, const char *format, struct error *e)
{
	const struct tar_library *la = tar_library(e);
	struct tar_writer *w;

	if (!la)
		return NULL;
	w = xcalloc(1, sizeof(*w));
	w->la = la;
	w->out = out;
	snprintf(w->format, sizeof(w->format), TAR_FORMAT, format);
	sha256_begin(&w->hash);
	w->archive = w->la->archive_write_new();
	if (!w->archive)
		die(EXIT_MEMORY, "no memory for a tar writer");
	check(w, w->la->archive_write_set_format_ustar(w->archive), "choosing the format");
	check(w, w->la->archive_write_add_filter_none(w->archive), "choosing no compression");
	check(w, w->la->archive_write_set_bytes_per_block(w->archive, 1 << 16), "choosing the block");
	check(w, w->la->archive_write_set_bytes_in_last_block(w->archive, 512), "choosing the last block");
	check(w, w->la->archive_write_open(w->archive, w, NULL, write_block, NULL), "opening");
	if (!answer(w, e))
		return w;
	tar_abandon(w);
	return NULL;
}

static int write_member(struct tar_writer *w, const char *name, const char *data, size_t n)
{
	struct archive_entry *entry = w->la->archive_entry_new();
	la_ssize_t done;

	if (!entry)
		die(EXIT_MEMORY, "no memory for a tar member");
	w->la->archive_entry_set_pathname(entry, name);
	w->la->archive_entry_set_filetype(entry, AE_IFREG);
	w->la->archive_entry_set_perm(entry, 0644);
	w->la->archive_entry_set_size(entry, (la_int64_t)n);
	w->la->archive_entry_set_mtime(entry, 0, 0);
	check(w, w->la->archive_write_header(w->archive, entry), "writing a header");
	w->la->archive_entry_free(entry);
	if (w->failure.code)
		return -1;
	done = n ? w->la->archive_write_data(w->archive, data, n) : 0;
	check(w, done == (la_ssize_t)n ? ARCHIVE_OK : ARCHIVE_FATAL, "writing a member");
	return check(w, w->la->archive_write_finish_entry(w->archive), "padding a member");
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

	if (!w->failure.code)
		write_end_record(w);
	if (!w->failure.code)
		check(w, w->la->archive_write_close(w->archive), "closing");
	rc = answer(w, e);
	tar_abandon(w);
	return rc;
}

/* Marked as failed first: archive_write_free() would otherwise write the end of an archive that looks whole. */
void tar_abandon(struct tar_writer *w)
{
	if (!w)
		return;
	if (!w->failure.code)
		fail(&w->failure, EXIT_OTHER, "abandoned");
	w->la->archive_write_free(w->archive);
	free(w);
}
