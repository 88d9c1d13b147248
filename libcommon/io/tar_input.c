/* Sample streams below the samples: bytes, and one member after another. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/retry.h"
#include "kind.h"
#include "tar_input.h"

#define INPUT_BYTES (1u << 16)

int tar_complain(const struct tar_reader *r, struct error *e, const char *format, ...)
{
	char what[800];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	return fail(e, EXIT_INPUT, "%s: %s", r->path, what);
}

int tar_ended_early(const struct tar_reader *r, struct error *e)
{
	if (!r->raw_bytes)
		return tar_complain(r, e, "input is empty; did the producer fail?");
	return tar_complain(r, e, "input ended without its end record after %llu samples; did the producer fail?",
			    (unsigned long long)r->samples);
}

/* ---- bytes ---- */

static void count_zeros(struct tar_reader *r, size_t n)
{
	size_t zeros = 0;

	while (zeros < n && !r->input[n - 1 - zeros])
		zeros++;
	r->zeros = zeros == n ? r->zeros + n : zeros;
	r->raw_bytes += n;
}

/* What came first may not be there any more; then a file is looked at again. */
static int tell_kind(const struct tar_reader *r, struct error *e)
{
	if (r->samples || r->part)
		return -1;
	if (r->raw_bytes == r->end)
		return kind_tell(r->path, r->input, r->raw_bytes, "tar", "a tar of samples", e);
	return kind_tell_file(r->path, "tar", "a tar of samples", e);
}

/* The next member cannot be found any more. */
static int lost(struct tar_reader *r, const char *why, struct error *e)
{
	r->lost = true;
	if (why)
		tar_complain(r, e, "after %llu samples: no sound tar stream: %s; make it again",
			     (unsigned long long)r->samples, why);
	else
		tar_ended_early(r, e);
	return tell_kind(r, e);
}

/* 1: there are bytes to take; 0: the input is over. */
static int fill(struct tar_reader *r, struct error *e)
{
	ssize_t n;

	if (r->begin < r->end)
		return 1;
	n = RETRY(read(r->fd, r->input, INPUT_BYTES));
	if (n < 0) {
		r->lost = true;
		return fail(e, exit_of_errno(errno), "%s: reading: %s; check the file or the disk", r->path,
			    strerror(errno));
	}
	if (!n)
		return 0;
	count_zeros(r, (size_t)n);
	if (r->all)
		sha256_add(r->all, r->input, (size_t)n);
	r->begin = 0;
	r->end = (size_t)n;
	return 1;
}

/* At most n of the bytes that are there. */
static const char *take(struct tar_reader *r, uint64_t n, size_t *taken)
{
	const char *bytes = r->input + r->begin;

	*taken = r->end - r->begin < n ? r->end - r->begin : (size_t)n;
	r->begin += *taken;
	return bytes;
}

uint64_t tar_position(const struct tar_reader *r)
{
	return r->raw_bytes - (r->end - r->begin);
}

/* Seeks where it may and the input can.  What lies beyond the end of a file is missed by who reads the next block. */
static int pass(struct tar_reader *r, uint64_t n, struct error *e)
{
	for (;;) {
		size_t taken;
		int rc;

		take(r, n, &taken);
		n -= taken;
		if (!n)
			return 0;
		if (r->skims && lseek(r->fd, (off_t)n, SEEK_CUR) >= 0) {
			r->zeros = 0;
			r->raw_bytes += n;
			return 0;
		}
		rc = fill(r, e);
		if (rc <= 0)
			return rc ? rc : lost(r, NULL, e);
	}
}

/* ---- opening ---- */

struct tar_reader *tar_open(const char *path, const char *format, struct error *e)
{
	bool standard = !strcmp(path, "-");
	int fd = standard ? STDIN_FILENO : open_input(path, e);
	struct tar_reader *r;

	if (fd < 0)
		return NULL;
	r = xcalloc(1, sizeof(*r));
	r->fd = fd;
	r->path = xstrdup(standard ? "standard input" : path);
	r->wanted = format;
	r->input = xmalloc(INPUT_BYTES);
	sha256_begin(&r->hash);
	return r;
}

struct tar_reader *tar_open_hashed(const char *path, const char *format, struct error *e)
{
	struct tar_reader *r = tar_open(path, format, e);

	if (r) {
		r->all = xmalloc(sizeof(*r->all));
		sha256_begin(r->all);
	}
	return r;
}

void tar_skim(struct tar_reader *r)
{
	r->skims = true;
}

void tar_hash(const struct tar_reader *r, char hex[65])
{
	struct sha256 all = *r->all;

	sha256_hex(&all, hex);
}

void tar_close(struct tar_reader *r)
{
	if (!r)
		return;
	if (r->fd != STDIN_FILENO)
		close(r->fd);
	buffer_free(&r->extension.name);
	buffer_free(&r->text);
	free(r->seen);
	free(r->all);
	free(r->input);
	free(r->path);
	free(r);
}

/* ---- headers ---- */

/* 1: the block is whole; 0: the input is over. */
static int next_block(struct tar_reader *r, unsigned char block[TAR_BLOCK], struct error *e)
{
	size_t have = 0, taken;

	while (have < TAR_BLOCK) {
		int rc = fill(r, e);
		const char *bytes;

		if (rc <= 0)
			return rc || !have ? rc : lost(r, NULL, e);
		bytes = take(r, TAR_BLOCK - have, &taken);
		memcpy(block + have, bytes, taken);
		have += taken;
	}
	return 1;
}

/* The next block that is not all zeros.  Joined tars have them between them. */
static int next_header(struct tar_reader *r, struct tar_header *h, struct error *e)
{
	unsigned char block[TAR_BLOCK];
	uint64_t gap = 0;
	const char *wrong;

	for (;;) {
		int rc = next_block(r, block, e);

		if (rc <= 0)
			return rc;
		if (!tar_block_is_zero(block))
			break;
		gap += TAR_BLOCK;
		if (gap > TAR_LARGEST_GAP)
			return lost(r, "more than 1 MiB of zeros where a member should begin", e);
	}
	r->in_part = true;
	wrong = tar_header_read(block, h);
	if (wrong)
		return lost(r, wrong, e);
	r->left = h->size;
	r->padding = -h->size % TAR_BLOCK;
	return 1;
}

/* What is no member itself, but says something of the next one. */
static int take_extension(struct tar_reader *r, const struct tar_header *h, struct error *e)
{
	const char *wrong;

	if (h->kind == TAR_PASSED)
		return 0;
	if (h->size > TAR_LARGEST_EXTENSION)
		return lost(r, "a pax header or a long name of more than 1 MiB", e);
	if (tar_read_member(r, h->name, &r->text, TAR_LARGEST_EXTENSION, e))
		return -1;
	wrong = tar_extension_read(&r->extension, h->kind, r->text.data, r->text.len);
	return wrong ? lost(r, wrong, e) : 0;
}

/* ---- members ---- */

static bool is_plain_name(const char *name)
{
	size_t n = strlen(name);

	if (!n || n > TAR_LONGEST_NAME)
		return false;
	for (const char *part = name; part; part = strchr(part, '/')) {
		size_t length;

		part += part != name;
		length = strcspn(part, "/");
		if (!length || (length == 1 && part[0] == '.') || (length == 2 && !memcmp(part, "..", 2)))
			return false;
		if (strspn(part, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") < length)
			return false;
	}
	return true;
}

static int check_member(const struct tar_reader *r, const struct tar_header *h, const char *name, struct error *e)
{
	if (h->kind == TAR_OTHER)
		return tar_complain(r, e, "member '%.300s' is no plain file; make the stream again", name);
	if (!is_plain_name(name))
		return tar_complain(r, e,
				    "a member has the name '%.300s', which no tool here gives; make the stream again",
				    name);
	if (h->kind == TAR_SPARSE || r->extension.sparse)
		return tar_complain(r, e, "member %s is a sparse file; make the stream again", name);
	return 0;
}

int tar_next_member(struct tar_reader *r, char name[TAR_LONGEST_NAME + 1], struct error *e)
{
	struct tar_extension *x = &r->extension;
	struct tar_header h;
	const char *said;
	int rc;

	buffer_clear(&x->name);
	x->has_size = x->sparse = false;
	for (;;) {
		if (tar_pass_member(r, e))
			return -1;
		rc = next_header(r, &h, e);
		if (rc <= 0)
			return rc;
		if (h.kind < TAR_LONG_NAME)
			break;
		if (take_extension(r, &h, e))
			return -1;
	}
	if (x->has_size) {
		r->left = x->size;
		r->padding = -x->size % TAR_BLOCK;
	}
	said = x->name.len ? x->name.data : h.name;
	if (check_member(r, &h, said, e))
		return -1;
	snprintf(name, TAR_LONGEST_NAME + 1, "%s", said);
	return 1;
}

int tar_pass_member(struct tar_reader *r, struct error *e)
{
	uint64_t n = r->left + r->padding;

	r->left = r->padding = 0;
	return pass(r, n, e);
}

/* The header's size is a claim: memory grows with the bytes that really come. */
int tar_read_member(struct tar_reader *r, const char *name, struct buffer *to, size_t cap, struct error *e)
{
	buffer_clear(to);
	buffer_add(to, "", 0);
	while (r->left) {
		int rc = fill(r, e);
		const char *bytes;
		size_t n;

		if (rc <= 0)
			return rc ? rc : lost(r, NULL, e);
		bytes = take(r, r->left, &n);
		r->left -= n;
		if (n > cap - to->len)
			return tar_complain(r, e,
					    "member %s is larger than the %zu bytes allowed; make the stream again",
					    name, cap);
		buffer_add(to, bytes, n);
	}
	return 0;
}
