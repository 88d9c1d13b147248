/* Writing one merged safetensors file: its header, then tensor by tensor, with the hash of its metadata. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "internal.h"

/* ---- header: the old one's bytes but for the hash in the metadata ---- */

/* Finds the value of modelspec.hash_sha256 in the header: its first character, and its length in *n.  NULL: there is
 * none.  Within another text the quotes would have backslashes. */
static const char *find_hash(const char *json, size_t *n)
{
	static const char key[] = "\"modelspec.hash_sha256\"";
	const char *p = strstr(json, key), *end;

	if (!p)
		return NULL;
	p += sizeof(key) - 1;
	p += strspn(p, " \t\r\n:");
	if (*p++ != '"')
		return NULL;
	for (end = p; *end && *end != '"'; end++)
		if (*end == '\\' && end[1])
			end++;
	*n = end - p;
	return p;
}

/* *hash_at: the offset of the hash's digits in the file; 0: there is none. */
static int old_header(const struct safetensors *s, struct buffer *header, size_t *hash_at, struct error *e)
{
	struct buffer old = { 0 };
	const char *value;
	size_t n, start;
	uint64_t length;

	buffer_add(&old, s->data - s->data_start, s->data_start);
	value = find_hash(old.data + 8, &n);
	*hash_at = 0;
	if (!value && safetensors_metadata(s, "modelspec.hash_sha256")) {
		buffer_free(&old);
		return fail(e, EXIT_INPUT,
			    "%s: its metadata writes 'modelspec.hash_sha256' with escapes; save the file anew",
			    s->path);
	}
	start = value ? (size_t)(value - old.data) : old.len;
	buffer_add(header, old.data, start);
	if (value) {
		*hash_at = start + 2;
		buffer_addf(header, "0x%064d", 0);
		buffer_add(header, value + n, old.len - start - n);
		length = header->len - 8;
		for (int i = 0; i < 8; i++)
			header->data[i] = (char)(length >> 8 * i);
	}
	buffer_free(&old);
	return 0;
}

static int put_hash(struct writing *w, size_t at, struct error *e)
{
	char hex[65];

	if (!at)
		return 0;
	sha256_hex(&w->hash, hex);
	return publish_change(w->out, at, hex, 64, e);
}

/* ---- tensors ---- */

static int put_tensors(struct merge *m, struct writing *w, size_t file, struct error *e)
{
	const struct safetensors *s = source_file(m->files, file);
	size_t first = 0, end;

	while (first < m->jobs && m->job[first].place.file != file)
		first++;
	for (size_t i = 0; i < s->count; i++, first = end) {
		for (end = first; end < m->jobs && m->job[end].place.tensor == &s->tensor[i]; end++)
			;
		if (merge_tensor(m, w, s, &s->tensor[i], m->job + first, end - first, e))
			return -1;
		progress_at(m->progress, ++m->tensors_done, NULL);
	}
	return 0;
}

int merge_file(struct merge *m, size_t i, const char *path, struct error *e)
{
	struct writing w = { 0 };
	struct buffer header = { 0 };
	size_t hash_at;
	int status = old_header(source_file(m->files, i), &header, &hash_at, e);

	if (!status) {
		w.out = publish_begin(path, true, e);
		if (w.out)
			publish_past_memory(w.out);
		status = w.out ? publish_write(w.out, header.data, header.len, e) : -1;
	}
	buffer_free(&header);
	w.hashed = hash_at != 0;
	sha256_begin(&w.hash);
	if (!status)
		status = put_tensors(m, &w, i, e);
	if (!status)
		status = put_hash(&w, hash_at, e);
	if (!status)
		return publish_end(w.out, e);
	publish_abandon(w.out);
	return -1;
}
