/* lora-inspect: TensorBoard's event files, records of a length and data, each with its checksum. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/retry.h"
#include "../io/kind.h"
#include "../io/publish.h"
#include "../io/mapped.h"
#include "../io/tensorboard.h"
#include "internal.h"

#define PIPE_CAP ((size_t)512 << 20)

enum { LENGTH = 8, CHECK = 4, OVERHEAD = LENGTH + 2 * CHECK };
enum { STEP = 2, SUMMARY = 5, VALUE = 1 };      /* fields of event.proto and summary.proto */

struct events { size_t count, values; uint64_t first, last; };

static uint64_t little(const unsigned char *b, int bytes)
{
	uint64_t x = 0;

	while (bytes--)
		x = x << 8 | b[bytes];
	return x;
}

/* A message of a protocol buffer that is read field by field; at > end: it is none. */
struct message { const unsigned char *at, *end; };

static uint64_t varint(struct message *m)
{
	uint64_t x = 0;
	int shift = 0;

	for (; m->at < m->end && shift < 64; shift += 7) {
		x |= (uint64_t)(*m->at & 0x7f) << shift;
		if (*m->at++ < 0x80)
			return x;
	}
	m->at = m->end;
	return 0;
}

/* The next field: its number, its number as value or its bytes as *inside.  0: no more, or no message. */
static int field(struct message *m, uint64_t *value, struct message *inside)
{
	static const int sizes[8] = { [1] = 8, [5] = 4 };
	const uint64_t key = m->at < m->end ? varint(m) : 0;
	const int wire = key & 7;
	uint64_t n = wire == 0 ? 0 : wire == 2 ? varint(m) : (uint64_t)sizes[wire];

	if (wire == 0)
		*value = varint(m);
	n = n <= (uint64_t)(m->end - m->at) ? n : (uint64_t)(m->end - m->at);
	*inside = (struct message){ m->at, m->at + n };
	m->at += n;
	return key >> 3 < 1 << 20 ? (int)(key >> 3) : 0;
}

static void count_event(struct events *v, struct message m)
{
	struct message inside, value;
	uint64_t number = 0, step = 0;
	int which;

	while ((which = field(&m, &number, &inside)))
		if (which == STEP)
			step = number;
		else if (which == SUMMARY)
			while ((which = field(&inside, &number, &value)))
				v->values += which == VALUE;
	v->first = v->count ? v->first : step;
	v->last = step;
	v->count++;
}

static int read_events(const char *path, const unsigned char *bytes, size_t n, struct events *v, struct error *e)
{
	size_t at, length = 0;

	for (at = 0; at < n; at += length + OVERHEAD) {
		const size_t left = n - at;
		length = left >= LENGTH ? little(bytes + at, LENGTH) : 0;
		if (left < OVERHEAD || length > left - OVERHEAD)
			return fail(e, EXIT_INPUT, "%s: ends within a record, behind %zu whole ones; "
						   "what stands before is good", path, v->count);
		if (!kind_is_events(bytes + at, left) ||
		    little(bytes + at + LENGTH + CHECK + length, CHECK) !=
		    tensorboard_checksum(bytes + at + LENGTH + CHECK, length))
			return fail(e, EXIT_INPUT, "%s: record %zu is damaged; TensorBoard reads no further", path,
				    v->count + 1);
		count_event(v, (struct message){ bytes + at + LENGTH + CHECK, bytes + at + LENGTH + CHECK + length });
	}
	return 0;
}

int inspect_events(struct sheet *s, struct error *e)
{
	struct buffer piped = { 0 };
	struct events v = { 0 };
	struct stat st = { 0 };
	const int fd = RETRY(open(s->path, O_RDONLY | O_CLOEXEC));
	const size_t n = fd >= 0 && fstat(fd, &st) == 0 ? (size_t)st.st_size : 0;
	void *map = n ? mapped_open(fd, n, s->path) : MAP_FAILED;
	int status = -1;

	if (fd >= 0 && S_ISFIFO(st.st_mode))
		status = read_file(s->path, PIPE_CAP, &piped, e) < 0 ? -1 :
			read_events(s->path, (unsigned char *)piped.data, piped.len, &v, e);
	else if (map == MAP_FAILED)
		fail(e, exit_of_errno(errno), "%s: %s; check the path", s->path, strerror(errno));
	else
		status = read_events(s->path, map, n, &v, e);
	sheet_text(s, "kind", "TensorBoard events", "events");
	sheet_int(s, "events", "events", v.count);
	sheet_int(s, "values", "values", v.values);
	sheet_line(s, "steps", "%llu to %llu", (unsigned long long)v.first, (unsigned long long)v.last);
	sheet_int(s, "first_step", NULL, v.first);
	sheet_int(s, "last_step", NULL, v.last);
	if (map != MAP_FAILED)
		mapped_close(map, n);
	if (fd >= 0)
		close(fd);
	buffer_free(&piped);
	return status;
}
