/* TensorBoard event files: the checksum's known value, each record's framing, files that count up. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/io/publish.h"
#include "../../libcommon/io/tensorboard.h"
#include <cmocka.h>

static char folder[] = "/tmp/lora-tensorboard-XXXXXX";

/* The value that the Rust reader of TensorBoard is tested with;
 * before masking it is the CRC that RFC 3720's polynomial gives. */
static void checksum(void **state)
{
	static const char text[] = "\x1a\x11" "CRC test, one two";
	static const unsigned char zeros[32];

	assert_int_equal(tensorboard_checksum(text, strlen(text)), 0x5794d08a);
	assert_int_equal(tensorboard_checksum(zeros, 32), (0x8a9136aau >> 15 | 0x8a9136aau << 17) + 0xa282ead8u);
}

static uint64_t little(const char *p, int bytes)
{
	uint64_t x = 0;

	while (bytes--)
		x = x << 8 | (unsigned char)p[bytes];
	return x;
}

static struct buffer file(int number)
{
	struct buffer b = { 0 };
	struct error e = { 0 };
	char *path = xprintf("%s/run/events.out.tfevents.%010d.lora-train", folder, number);

	if (read_file(path, 1 << 20, &b, &e) < 0)
		fail_msg("%s", e.text);
	free(path);
	return b;
}

/* Walks the records; body i starts at body[i], has length[i]. */
static int records(const struct buffer *b, const char *body[], size_t length[])
{
	size_t at = 0;
	int n = 0;

	while (at < b->len) {
		uint64_t size = little(b->data + at, 8);
		assert_true(size <= b->len - at - 16);
		assert_int_equal(little(b->data + at + 8, 4), tensorboard_checksum(b->data + at, 8));
		assert_int_equal(little(b->data + at + 12 + size, 4), tensorboard_checksum(b->data + at + 12, size));
		body[n] = b->data + at + 12;
		length[n++] = size;
		at += size + 16;
	}
	assert_int_equal(at, b->len);
	return n;
}

static void events(void **state)
{
	struct error e = { 0 };
	char *run = xprintf("%s/run", folder);
	struct tensorboard *t = tensorboard_open(run, 0, &e);
	const char *body[8];
	size_t length[8];
	struct buffer b;

	assert_non_null(t);
	tensorboard_scalar(t, "loss", 0.5);
	tensorboard_scalar(t, "nothing", NAN);
	assert_int_equal(tensorboard_event(t, 300, &e), 0);
	assert_int_equal(tensorboard_event(t, 301, &e), 0);     /* empty: no record */
	tensorboard_text(t, "config", "a");
	tensorboard_png(t, "picture", 64, 48, "PNG", 3);
	assert_int_equal(tensorboard_event(t, 0, &e), 0);
	assert_int_equal(tensorboard_close(t, &e), 0);
	b = file(1);
	assert_int_equal(records(&b, body, length), 4);
	assert_memory_equal(body[0] + 9, "\x1a\x0d" "brain.Event:2", 15);               /* after the time */
	assert_memory_equal(body[1] + 9, "\x10\x01\x3a\x02\x08\x01", 6);                /* step 1, a session starts */
	/* step 300; a summary of one value, "loss", 0.5 */
	assert_int_equal(length[2], 9 + 3 + 2 + 2 + 6 + 5);
	assert_memory_equal(body[2] + 9, "\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\0\0\0?", 18);
	assert_memory_equal(body[3] + 9, "\x2a", 1);                                    /* step 0 is not written */
	buffer_free(&b);
	free(run);
}

static void a_new_file_each_time(void **state)
{
	struct error e = { 0 };
	char *run = xprintf("%s/run", folder);
	struct tensorboard *t = tensorboard_open(run, 7, &e);
	const char *body[8];
	size_t length[8];
	struct buffer b;

	assert_non_null(t);
	assert_int_equal(tensorboard_close(t, &e), 0);
	b = file(2);
	assert_int_equal(records(&b, body, length), 2);
	assert_memory_equal(body[1] + 9, "\x10\x08", 2);        /* forget from step 8 on */
	buffer_free(&b);
	free(run);
}

static void no_folder(void **state)
{
	struct error e = { 0 };
	struct tensorboard *t = tensorboard_open("/proc/none", 0, &e);

	assert_null(t);
	assert_int_equal(e.code, EXIT_IO);
}

static int make(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int clean(void **state)
{
	char *command = xprintf("rm -rf %s", folder);
	int result = system(command);

	free(command);
	return result;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksum), cmocka_unit_test(events), cmocka_unit_test(a_new_file_each_time),
		cmocka_unit_test(no_folder),
	};

	return cmocka_run_group_tests(tests, make, clean);
}
