/* Reading safetensors: opening, the checks over the whole file, finding tensors, floats from them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/map.h"
#include "kind.h"
#include "mapped.h"
#include "safetensors_header.h"

/* ---- files that are something else ---- */

#define CONVERT "this program runs no pickle; convert it: python3 -c 'import torch, safetensors.torch as s; " \
	"d = torch.load(\"IN\", map_location=\"cpu\", weights_only=True); d = d.get(\"state_dict\", d); " \
	"s.save_file({k: v.contiguous().clone() for k, v in d.items() if hasattr(v, \"shape\")}, \"OUT.safetensors\")'"

static const struct foreign { const char *start; size_t n; const char *what; } foreign[] = {
	{ "version https://git-lfs", 23,
	  "a git-lfs pointer, not the file itself; run `git lfs pull` in its repository" },
	{ "\x80\x02", 2, "a PyTorch pickle; " CONVERT }, { "\x80\x03", 2, "a PyTorch pickle; " CONVERT },
	{ "\x80\x04", 2, "a PyTorch pickle; " CONVERT }, { "\x80\x05", 2, "a PyTorch pickle; " CONVERT },
	{ "GGUF", 4, "a GGUF file; a safetensors file is needed" },
	{ "\x1f\x8b", 2, "compressed with gzip; unpack it first" },
	{ "\x89PNG", 4, "a PNG picture; a safetensors file is needed" },
	{ "{", 1, "a JSON text; is it the server's error message, or the index of a model in parts?" },
	{ "<", 1, "an HTML page, not a model: a login or error page was saved in its place; fetch the file again" },
};

static uint64_t little_endian(const unsigned char *p)
{
	uint64_t value = 0;

	for (int i = 7; i >= 0; i--)
		value = value << 8 | p[i];
	return value;
}

static bool starts_with(const unsigned char *bytes, size_t n, const struct foreign *f)
{
	return n >= f->n && !memcmp(bytes, f->start, f->n);
}

/* NULL: nothing we know. */
static const char *known_as(const unsigned char *bytes, size_t n)
{
	static const struct foreign zip = { "PK\x03\x04", 4, "a zip file; unpack it first" };
	bool sound_length = n >= 8 && little_endian(bytes) <= SAFETENSORS_MAX_HEADER;

	if (starts_with(bytes, n, &zip) && memmem(bytes, n < 4096 ? n : 4096, "data.pkl", 8))
		return "a PyTorch pickle (a zip file with data.pkl); " CONVERT;
	if (starts_with(bytes, n, &zip))
		return zip.what;
	if (sound_length)       /* a length of 60 looks like '<' */
		return NULL;
	while (n && strchr(" \t\r\n\xef\xbb\xbf", *bytes) && *bytes) {
		bytes++;
		n--;
	}
	for (size_t i = 0; i < sizeof(foreign) / sizeof(*foreign); i++) {
		if (starts_with(bytes, n, &foreign[i]))
			return foreign[i].what;
	}
	return NULL;
}

/* ---- the whole ---- */

/* The header's place, from the first eight bytes; or what the file is instead. */
static int measure(struct safetensors *s, const unsigned char *bytes, uint64_t n, struct error *e)
{
	uint64_t length = n < 8 ? 0 : little_endian(bytes);
	const char *what = length <= SAFETENSORS_MAX_HEADER && n >= 8 && length <= n - 8 ? NULL : known_as(bytes, n);

	if (what)
		return fail(e, EXIT_INPUT, "%s: is %s", s->path, what);
	if (!n)
		return fail(e, EXIT_INPUT, "%s: is empty; download incomplete?", s->path);
	if (n < 8)
		return fail(e, EXIT_INPUT,
			    "%s: has only %llu bytes, and a safetensors file at least 10; download incomplete?",
			    s->path, (unsigned long long)n);
	what = n == 8 || bytes[8] != '{' ? kind_of(bytes, n) : NULL;
	if (what)
		return fail(e, EXIT_INPUT, "%s: is %s; a safetensors file is needed", s->path, what);
	if (!length)
		return fail(e, EXIT_INPUT,
			    "%s: its header has length 0; is it a safetensors file, and was it fully written?",
			    s->path);
	if (length > SAFETENSORS_MAX_HEADER)
		return fail(e, EXIT_INPUT,
			    "%s: its header would be %llu bytes, above the limit of %d; it is no safetensors file",
			    s->path, (unsigned long long)length, SAFETENSORS_MAX_HEADER);
	if (length > n - 8)
		return fail(e, EXIT_INPUT,
			    "%s: its header alone takes %llu bytes, the file has %llu: download incomplete; "
			    "fetch it again",
			    s->path, (unsigned long long)length + 8, (unsigned long long)n);
	s->data_start = 8 + length;
	s->file_bytes = n;
	s->data = bytes + s->data_start;
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct safetensor *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* Usually they are in order already, and qsort would take as much memory again. */
static void sort_by_place(struct safetensors *s)
{
	for (size_t i = 1; i < s->count; i++) {
		if (by_place(&s->tensor[i - 1], &s->tensor[i]) > 0) {
			qsort(s->tensor, s->count, sizeof(*s->tensor), by_place);
			return;
		}
	}
}

static int index_names(struct safetensors *s, struct error *e)
{
	s->index = map_new(s->count);
	for (size_t i = 0; i < s->count; i++) {
		const char *name = s->tensor[i].name;

		if (map_put(s->index, name, strlen(name), (long)i) != -1)
			return fail(e, EXIT_INPUT, "%s: duplicate name '%.200s' in its header; make the file again",
				    s->path, name);
	}
	return 0;
}

/* Every byte of the data belongs to one tensor. */
static int check_layout(const struct safetensors *s, struct error *e)
{
	uint64_t at = 0, have = s->file_bytes - s->data_start;

	for (size_t i = 0; i < s->count; i++) {
		const struct safetensor *t = &s->tensor[i];

		if (t->offset != at)
			return fail(e, EXIT_INPUT,
				    "%s: tensor '%.200s' begins at data byte %llu, %s %llu; make the file again",
				    s->path, t->name, (unsigned long long)t->offset,
				    t->offset < at ? "inside another that ends at" : "after a hole from",
				    (unsigned long long)at);
		at += t->bytes;
	}
	if (at > have)
		return fail(e, EXIT_INPUT,
			    "%s: its header promises %llu bytes, the file has %llu: download incomplete; "
			    "fetch it again",
			    s->path, (unsigned long long)(at < UINT64_MAX - s->data_start ? at + s->data_start : at),
			    (unsigned long long)s->file_bytes);
	if (at < have)
		return fail(e, EXIT_INPUT,
			    "%s: %llu bytes follow the last tensor; the file is damaged, or two files in one", s->path,
			    (unsigned long long)(have - at));
	return 0;
}

static int read_bytes(struct safetensors *s, const unsigned char *bytes, uint64_t n, struct error *e)
{
	if (measure(s, bytes, n, e))
		return -1;
	if (safetensors_read_header(s, bytes + 8, (size_t)s->data_start - 8, e)) {
		const char *what = s->count ? NULL : known_as(bytes, (size_t)n);

		return what ? fail(e, EXIT_INPUT, "%s: is %s", s->path, what) : -1;
	}
	sort_by_place(s);
	if (index_names(s, e))
		return -1;
	return check_layout(s, e);
}

struct safetensors *safetensors_parse(const char *label, const void *bytes, size_t n, struct error *e)
{
	struct safetensors *s = xcalloc(1, sizeof(*s));

	s->path = xstrdup(label);
	if (read_bytes(s, bytes, n, e)) {
		safetensors_close(s);
		return NULL;
	}
	return s;
}

/* ---- files ---- */

static int look_at(const struct stat *st, const char *path, struct error *e)
{
	if (S_ISDIR(st->st_mode))
		return fail(e, EXIT_INPUT, "%s: is a folder; say which file in it", path);
	if (!S_ISREG(st->st_mode))
		return fail(e, EXIT_INPUT, "%s: is not a plain file; a model cannot come through a pipe", path);
	if (!st->st_size)
		return fail(e, EXIT_INPUT, "%s: is empty; download incomplete?", path);
	return 0;
}

static int look_inside(int fd, const char *path, struct stat *st, struct error *e)
{
	if (fstat(fd, st))
		return fail(e, exit_of_errno(errno), "%s: looking at it: %s; check the disk", path, strerror(errno));
	return look_at(st, path, e);
}

/* A file that is still being written; what shrinks later ends the program (mapped.h). */
static int check_unchanged(int fd, const struct safetensors *s, struct error *e)
{
	struct stat st;

	if (look_inside(fd, s->path, &st, e))
		return -1;
	if ((size_t)st.st_size != s->map_bytes)
		return fail(e, EXIT_INPUT, "%s: its size changes while it is read; wait until it is written", s->path);
	return 0;
}

static int map_file(struct safetensors *s, int fd, struct error *e)
{
	struct stat st;

	if (look_inside(fd, s->path, &st, e))
		return -1;
	s->map = mapped_open(fd, (size_t)st.st_size, s->path);
	if (s->map == MAP_FAILED) {
		s->map = NULL;
		return fail(e, exit_of_errno(errno), "%s: mapping %lld bytes: %s; is there memory enough?", s->path,
			    (long long)st.st_size, strerror(errno));
	}
	s->map_bytes = (size_t)st.st_size;
	if (read_bytes(s, s->map, s->map_bytes, e))
		return -1;
	return check_unchanged(fd, s, e);
}

struct safetensors *safetensors_open(const char *path, struct error *e)
{
	struct safetensors *s;
	struct stat st;
	int fd, rc;

	if (!stat(path, &st) && look_at(&st, path, e))  /* to open a pipe is to wait for its writer */
		return NULL;
	fd = open_input(path, e);
	if (fd < 0)
		return NULL;
	s = xcalloc(1, sizeof(*s));
	s->path = xstrdup(path);
	rc = map_file(s, fd, e);
	close(fd);
	if (!rc)
		return s;
	safetensors_close(s);
	return NULL;
}

void safetensors_close(struct safetensors *s)
{
	if (!s)
		return;
	if (s->map)
		mapped_close(s->map, s->map_bytes);
	map_free(s->index);
	free(s->names);
	free(s->tensor);
	free(s->metadata);
	free(s->path);
	free(s);
}

/* ---- asking ---- */

const struct safetensor *safetensors_find(const struct safetensors *s, const char *name)
{
	long i = map_get(s->index, name, strlen(name));

	return i < 0 ? NULL : &s->tensor[i];
}

const char *safetensors_metadata(const struct safetensors *s, const char *key)
{
	for (size_t i = 0; i < s->metadata_count; i++) {
		if (!strcmp(s->metadata[i].key, key))
			return s->metadata[i].value;
	}
	return NULL;
}

const void *safetensors_bytes(const struct safetensors *s, const struct safetensor *t)
{
	return s->data + t->offset;
}

/* With a page that is read the system maps others around it, which were given back before, or which nobody may read
 * for a while. */
void safetensors_release(const struct safetensors *s, const void *bytes, size_t n)
{
	enum { AROUND = 64 << 10 };
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)bytes, start = (uintptr_t)s->map,
			first = at - start > AROUND ? (at - AROUND) / page * page : start,
			left = start + s->map_bytes - at, end = at + (left - n > AROUND ? n + AROUND : left);

	if (s->map)
		madvise((void *)first, end - first, MADV_DONTNEED);
}

const char *shape_text(char text[SHAPE_ROOM], int dims, const int64_t *shape, const char *between)
{
	size_t n = 0;

	text[0] = 0;
	for (int i = 0; i < dims; i++)
		n = text_add(text, SHAPE_ROOM, n, "%s%lld", i ? between : "", (long long)shape[i]);
	return text;
}

size_t safetensor_elements(const struct safetensor *t)
{
	return (size_t)(t->bytes / dtype_size(t->dtype));
}

float *safetensors_floats(const struct safetensors *s, const char *name, size_t count, struct error *e)
{
	const struct safetensor *t = safetensors_find(s, name);
	float *x;

	if (!t) {
		fail(e, EXIT_INPUT, "%s: has no tensor '%s'; is it the right file?", s->path, name);
		return NULL;
	}
	if (safetensor_elements(t) != count) {
		fail(e, EXIT_INPUT, "%s: tensor '%s' has %zu elements, %zu are needed; is it the right file?", s->path,
		     name, safetensor_elements(t), count);
		return NULL;
	}
	x = xmalloc(count * sizeof(*x));
	if (!to_float(x, safetensors_bytes(s, t), t->dtype, count))
		return x;
	free(x);
	fail(e, EXIT_INPUT, "%s: tensor '%s' is of type %s, which is no number here; convert it to F32, F16 or BF16",
	     s->path, name, dtype_name(t->dtype));
	return NULL;
}
