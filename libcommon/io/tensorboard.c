/* TensorBoard event files: records with checksums, and the protocol-buffer messages in them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "../base/hash.h"
#include "../base/memory.h"
#include "../base/retry.h"
#include "publish.h"
#include "tensorboard.h"

#define FILE_NAME "events.out.tfevents."
#define WHO ".lora-train"
#define PICTURE_CAP (256u << 20)

struct tensorboard { int fd; char *path; struct buffer summary; };

uint32_t tensorboard_checksum(const void *data, size_t n)
{
	uint32_t crc = crc32c(0, data, n);

	return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* ---- protocol buffers: a field is its number and wire type, then the value ---- */

enum wire { WIRE_VARINT, WIRE_64, WIRE_BYTES, WIRE_32 = 5 };

static void put_varint(struct buffer *b, uint64_t x)
{
	unsigned char byte;

	for (; x >= 0x80; x >>= 7) {
		byte = x | 0x80;
		buffer_add(b, &byte, 1);
	}
	byte = x;
	buffer_add(b, &byte, 1);
}

static void put_little(struct buffer *b, uint64_t x, int bytes)
{
	unsigned char little[8];
	int i;

	for (i = 0; i < bytes; i++)
		little[i] = x >> 8 * i;
	buffer_add(b, little, bytes);
}

static void put_key(struct buffer *b, int field, enum wire wire)
{
	put_varint(b, (uint64_t)field << 3 | wire);
}

static void put_int(struct buffer *b, int field, uint64_t x)
{
	put_key(b, field, WIRE_VARINT);
	put_varint(b, x);
}

static void put_double(struct buffer *b, int field, double x)
{
	uint64_t bits;

	memcpy(&bits, &x, sizeof(bits));
	put_key(b, field, WIRE_64);
	put_little(b, bits, 8);
}

static void put_float(struct buffer *b, int field, float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof(bits));
	put_key(b, field, WIRE_32);
	put_little(b, bits, 4);
}

static void put_bytes(struct buffer *b, int field, const void *data, size_t n)
{
	put_key(b, field, WIRE_BYTES);
	put_varint(b, n);
	buffer_add(b, data, n);
}

static void put_text(struct buffer *b, int field, const char *text)
{
	put_bytes(b, field, text, strlen(text));
}

/* A message inside a message; m is emptied for the next. */
static void put_message(struct buffer *b, int field, struct buffer *m)
{
	put_bytes(b, field, m->data ? m->data : "", m->len);
	buffer_free(m);
}

/* ---- messages: field numbers of event.proto, summary.proto and tensor.proto ---- */

enum { EVENT_TIME = 1, EVENT_STEP = 2, EVENT_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION = 7 };
enum { SESSION_STATUS = 1, SESSION_START = 1 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2, VALUE_IMAGE = 4, VALUE_TENSOR = 8, VALUE_METADATA = 9 };
enum { IMAGE_HEIGHT = 1, IMAGE_WIDTH = 2, IMAGE_COLORSPACE = 3, IMAGE_BYTES = 4, COLORSPACE_RGB = 3 };
enum { TENSOR_DTYPE = 1, TENSOR_SHAPE = 2, TENSOR_STRING = 8, DT_STRING = 7, SHAPE_DIM = 2, DIM_SIZE = 1 };
enum { METADATA_PLUGIN = 1, METADATA_CLASS = 4, PLUGIN_NAME = 1, CLASS_TENSOR = 2 };

static void add_value(struct tensorboard *t, struct buffer *value)
{
	put_message(&t->summary, SUMMARY_VALUE, value);
}

void tensorboard_scalar(struct tensorboard *t, const char *tag, double value)
{
	struct buffer v = { 0 };

	if (!isfinite(value))
		return;
	put_text(&v, VALUE_TAG, tag);
	put_float(&v, VALUE_SIMPLE, value);
	add_value(t, &v);
}

void tensorboard_png(struct tensorboard *t, const char *tag, int width, int height, const void *png, size_t n)
{
	struct buffer v = { 0 }, image = { 0 };

	if (n > PICTURE_CAP)
		return;
	put_int(&image, IMAGE_HEIGHT, height);
	put_int(&image, IMAGE_WIDTH, width);
	put_int(&image, IMAGE_COLORSPACE, COLORSPACE_RGB);
	put_bytes(&image, IMAGE_BYTES, png, n);
	put_text(&v, VALUE_TAG, tag);
	put_message(&v, VALUE_IMAGE, &image);
	add_value(t, &v);
}

/* A text is a tensor of strings with one element, told apart by its plugin's name. */
void tensorboard_text(struct tensorboard *t, const char *tag, const char *text)
{
	struct buffer v = { 0 }, tensor = { 0 }, shape = { 0 }, dim = { 0 }, metadata = { 0 }, plugin = { 0 };

	put_int(&dim, DIM_SIZE, 1);
	put_message(&shape, SHAPE_DIM, &dim);
	put_int(&tensor, TENSOR_DTYPE, DT_STRING);
	put_message(&tensor, TENSOR_SHAPE, &shape);
	put_text(&tensor, TENSOR_STRING, text);
	put_text(&plugin, PLUGIN_NAME, "text");
	put_message(&metadata, METADATA_PLUGIN, &plugin);
	put_int(&metadata, METADATA_CLASS, CLASS_TENSOR);
	put_text(&v, VALUE_TAG, tag);
	put_message(&v, VALUE_TENSOR, &tensor);
	put_message(&v, VALUE_METADATA, &metadata);
	add_value(t, &v);
}

/* ---- records ---- */

static int write_whole(const struct tensorboard *t, const struct buffer *b, struct error *e)
{
	if (write_all(t->fd, b->data, b->len) == 0)
		return 0;
	return fail(e, EXIT_IO, "%s: %s; is the disk full?", t->path, strerror(errno));
}

static int write_record(const struct tensorboard *t, const struct buffer *event, struct error *e)
{
	struct buffer record = { 0 };
	int result;

	put_little(&record, event->len, 8);
	put_little(&record, tensorboard_checksum(record.data, 8), 4);
	buffer_add(&record, event->data, event->len);
	put_little(&record, tensorboard_checksum(event->data, event->len), 4);
	result = write_whole(t, &record, e);
	buffer_free(&record);
	return result;
}

static double wall_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec + 1e-9 * now.tv_nsec;
}

static int write_event(const struct tensorboard *t, int64_t step, int field, const void *data, size_t n,
		       struct error *e)
{
	struct buffer event = { 0 };
	int result;

	put_double(&event, EVENT_TIME, wall_time());
	if (step)
		put_int(&event, EVENT_STEP, step);
	put_bytes(&event, field, data, n);
	result = write_record(t, &event, e);
	buffer_free(&event);
	return result;
}

int tensorboard_event(struct tensorboard *t, int64_t step, struct error *e)
{
	int result = t->summary.len ? write_event(t, step, EVENT_SUMMARY, t->summary.data, t->summary.len, e) : 0;

	buffer_clear(&t->summary);
	return result;
}

/* ---- files ---- */

static long highest(const char *folder)
{
	DIR *d = open_folder(folder);
	struct dirent *entry;
	long top = 0;

	while (d && (entry = readdir(d)))
		if (!strncmp(entry->d_name, FILE_NAME, strlen(FILE_NAME))) {
			long n = strtol(entry->d_name + strlen(FILE_NAME), NULL, 10);
			top = n > top && n < 9999999999 ? n : top;
		}
	if (d)
		closedir(d);
	return top;
}

/* A file that appeared meanwhile is another run's; it is never written over. */
static int open_next(struct tensorboard *t, const char *folder, struct error *e)
{
	long n = highest(folder);

	do {
		free(t->path);
		t->path = xprintf("%s/" FILE_NAME "%010ld" WHO, folder, ++n);
		t->fd = RETRY(open(t->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666));
	} while (t->fd < 0 && errno == EEXIST);
	if (t->fd < 0)
		return fail(e, EXIT_IO, "%s: %s; choose a --logging-dir that can be written", t->path, strerror(errno));
	return 0;
}

static int write_head(const struct tensorboard *t, int64_t step, struct error *e)
{
	static const char version[] = "brain.Event:2";
	struct buffer session = { 0 };
	int result = write_event(t, 0, EVENT_VERSION, version, strlen(version), e);

	put_int(&session, SESSION_STATUS, SESSION_START);
	if (!result)
		result = write_event(t, step + 1, EVENT_SESSION, session.data, session.len, e);
	buffer_free(&session);
	return result;
}

static void discard(struct tensorboard *t)
{
	buffer_free(&t->summary);
	free(t->path);
	free(t);
}

struct tensorboard *tensorboard_open(const char *folder, int64_t step, struct error *e)
{
	struct tensorboard *t;

	if (make_folders(folder, e) < 0)
		return NULL;
	t = xcalloc(1, sizeof(*t));
	t->fd = -1;
	if (open_next(t, folder, e) == 0 && write_head(t, step, e) == 0)
		return t;
	if (t->fd >= 0)
		close(t->fd);
	discard(t);
	return NULL;
}

int tensorboard_close(struct tensorboard *t, struct error *e)
{
	int result = 0;

	if (!t)
		return 0;
	if (t->fd >= 0 && closed(t->fd) < 0)
		result = fail(e, EXIT_IO, "%s: %s; is the disk full?", t->path, strerror(errno));
	discard(t);
	return result;
}
