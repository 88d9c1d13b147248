/* Sample streams below the samples: bytes through libarchive, and one member after another. */
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

static la_ssize_t read_block(struct archive *a, void *context, const void **data)
{
	struct tar_reader *r = context;
	ssize_t n;

	n = RETRY(read(r->fd, r->input, INPUT_BYTES));
	if (n < 0) {
		r->trouble = errno;
		r->la->archive_set_error(a, errno, "%s", strerror(errno));
		return -1;
	}
	r->at_eof = n == 0;
	count_zeros(r, (size_t)n);
	if (r->all)
		sha256_add(r->all, r->input, (size_t)n);
	r->gap = r->between ? r->gap + (size_t)n : 0;
	if (r->gap > TAR_LARGEST_GAP && r->zeros >= r->gap) {
		r->la->archive_set_error(a, EILSEQ, "more than %d zeros where a member should begin", TAR_LARGEST_GAP);
		return -1;
	}
	*data = r->input;
	return n;
}

/* 0 makes libarchive read the bytes instead: from a pipe, and beyond the end of the file, so that a truncated stream is
 * still seen as truncated. */
static la_int64_t skip_block(struct archive *a, void *context, la_int64_t bytes)
{
	struct tar_reader *r = context;

	if (!r->skims || lseek(r->fd, bytes, SEEK_CUR) < 0)
		return 0;
	r->zeros = 0;
	r->raw_bytes += bytes;
	return bytes;
}

/* What came first may not be there any more; then a file is looked at again. */
static int tell_kind(const struct tar_reader *r, struct error *e)
{
	if (r->samples || r->part)
		return -1;
	if (r->raw_bytes <= INPUT_BYTES)
		return kind_tell(r->path, r->input, r->raw_bytes, "tar", "a tar of samples", e);
	return kind_tell_file(r->path, "tar", "a tar of samples", e);
}

/* What libarchive's answer means.  It warns of things that no writer of ours produces, so a warning is a failure. */
static int library_failed(struct tar_reader *r, struct error *e)
{
	const char *why = r->la->archive_error_string(r->archive);

	r->lost = true;
	if (r->trouble)
		return fail(e, exit_of_errno(r->trouble), "%s: reading: %s; check the file or the disk", r->path,
			    strerror(r->trouble));
	if (r->la->archive_errno(r->archive) == ENOMEM)
		return fail(e, EXIT_MEMORY, "%s: no memory for reading it; free some", r->path);
	if (r->at_eof) {
		tar_ended_early(r, e);
		return tell_kind(r, e);
	}
	tar_complain(r, e, "after %llu samples: no sound tar stream: %s; make it again", (unsigned long long)r->samples,
		     why ? why : "damaged");
	return tell_kind(r, e);
}

/* ---- opening ---- */

static void must(int rc)
{
	if (rc != ARCHIVE_OK)
		die(EXIT_OTHER, "libarchive refuses its own settings; this is a bug");
}

static struct archive *new_archive(const struct tar_library *la)
{
	struct archive *a = la->archive_read_new();

	if (!a)
		die(EXIT_MEMORY, "no memory for a tar reader");
	must(la->archive_read_support_format_tar(a));
	must(la->archive_read_set_format_option(a, "tar", "read_concatenated_archives", "1"));
	return a;
}

static struct tar_reader *open_reader(const char *path, const char *format, bool hashed, struct error *e)
{
	bool standard = !strcmp(path, "-");
	const struct tar_library *la = tar_library(e);
	int fd = !la ? -1 : standard ? STDIN_FILENO : open_input(path, e);
	struct tar_reader *r;

	if (fd < 0)
		return NULL;
	r = xcalloc(1, sizeof(*r));
	r->la = la;
	r->fd = fd;
	r->path = xstrdup(standard ? "standard input" : path);
	r->wanted = format;
	r->input = xmalloc(INPUT_BYTES);
	sha256_begin(&r->hash);
	if (hashed) {
		r->all = xmalloc(sizeof(*r->all));
		sha256_begin(r->all);
	}
	r->archive = new_archive(la);
	if (r->la->archive_read_open2(r->archive, r, NULL, read_block, skip_block, NULL) == ARCHIVE_OK)
		return r;
	library_failed(r, e);
	tar_close(r);
	return NULL;
}

struct tar_reader *tar_open(const char *path, const char *format, struct error *e)
{
	return open_reader(path, format, false, e);
}

struct tar_reader *tar_open_hashed(const char *path, const char *format, struct error *e)
{
	return open_reader(path, format, true, e);
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
	r->la->archive_read_free(r->archive);
	if (r->fd != STDIN_FILENO)
		close(r->fd);
	buffer_free(&r->text);
	free(r->seen);
	free(r->all);
	free(r->input);
	free(r->path);
	free(r);
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

static int check_entry(const struct tar_reader *r, struct archive_entry *entry, struct error *e)
{
	const char *name = r->la->archive_entry_pathname(entry);

	if (!name)
		name = "(unreadable)";
	if (r->la->archive_entry_filetype(entry) != AE_IFREG || r->la->archive_entry_hardlink(entry) ||
	    r->la->archive_entry_symlink(entry))
		return tar_complain(r, e, "member '%.300s' is no plain file; make the stream again", name);
	if (!is_plain_name(name))
		return tar_complain(r, e,
				    "a member has the name '%.300s', which no tool here gives; make the stream again",
				    name);
	if (r->la->archive_entry_sparse_count(entry))
		return tar_complain(r, e, "member %s is a sparse file; make the stream again", name);
	return 0;
}

/* 1: there is one; 0: the input is over. */
int tar_next_entry(struct tar_reader *r, struct archive_entry **entry, struct error *e)
{
	int rc;

	r->between = true;
	r->gap = 0;
	rc = r->la->archive_read_next_header(r->archive, entry);
	r->between = false;
	if (rc == ARCHIVE_EOF)
		return 0;
	if (rc != ARCHIVE_OK)
		return library_failed(r, e);
	r->in_part = true;
	return check_entry(r, *entry, e) ? -1 : 1;
}

int tar_pass_member(struct tar_reader *r, struct error *e)
{
	return r->la->archive_read_data_skip(r->archive) == ARCHIVE_OK ? 0 : library_failed(r, e);
}

/* The header's size is a claim: memory grows with the bytes that really come. */
int tar_read_member(struct tar_reader *r, const char *name, struct buffer *to, size_t cap, struct error *e)
{
	const void *block;
	la_int64_t offset;
	size_t n;
	int rc;

	buffer_clear(to);
	buffer_add(to, "", 0);
	while ((rc = r->la->archive_read_data_block(r->archive, &block, &n, &offset)) == ARCHIVE_OK) {
		if (offset != (la_int64_t)to->len)
			return tar_complain(r, e, "member %s has a hole; make the stream again", name);
		if (n > cap - to->len)
			return tar_complain(r, e,
					    "member %s is larger than the %zu bytes allowed; make the stream again",
					    name, cap);
		buffer_add(to, block, n);
	}
	return rc == ARCHIVE_EOF ? 0 : library_failed(r, e);
}
