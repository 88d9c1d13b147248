/* lora-prep's work in one process: its stream cut at every block and flipped bit by bit,
 * and memory over many pictures. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../libcommon/base/hash.h"
#include "../../libcommon/data/prepare.h"
#include "../../libcommon/io/image.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/io/tar.h"
#include "sanitized.h"
#include <cmocka.h>     /* last: it takes the name fail */

enum { SIDE = 32, PICTURES = 6, NAME = 256 };

static char folder[] = "/tmp/test-prepare-XXXXXX";
static char *pictures, *stream_path;

/* ---- a folder ---- */

static void make_picture(const char *path, int number)
{
	struct image i = { SIDE, SIDE + 8, xmalloc(SIDE * (SIDE + 8) * 3) };
	struct buffer png = { 0 };
	struct error e;

	for (int k = 0; k < SIDE * (SIDE + 8) * 3; k++)
		i.rgb[k] = (uint8_t)(k * 7 + number * 31);
	png_encode(&png, &i, NULL, 0);
	assert_int_equal(publish_bytes(path, png.data, png.len, &e), 0);
	buffer_free(&png);
	image_free(&i);
}

static char *picture_path(int number)
{
	return xprintf("%s/%05d.png", pictures, number);
}

/* Further ones are links to the first: the same work to read. */
static void make_pictures(int from, int to)
{
	char *first = picture_path(0);

	for (int i = from; i < to; i++) {
		char *path = picture_path(i);
		if (i < PICTURES)
			make_picture(path, i);
		else
			assert_int_equal(link(first, path), 0);
		free(path);
	}
	free(first);
}

/* Peak of a process of its own, KiB. */
static long prepare_to(const char *output)
{
	const char *const folders[] = { pictures };
	const struct prepare_options o = { .folders = folders, .folder_count = 1, .prior_loss_weight = 1,
					   .buckets = { { SIDE, SIDE }, SIDE, SIDE, 8 },
					   .captions = { .class_tokens = "a gizmo" }, .flip = true, .output = output,
					   .threads = 2 };
	struct rusage usage;
	struct error e;
	int status;
	pid_t child = fork();

	if (!child) {
		quiet(true);
		_exit(prepare(&o, &e) < 0);
	}
	assert_int_equal(wait4(child, &status, 0, &usage), child);
	assert_int_equal(status, 0);
	return usage.ru_maxrss;
}

/* ---- reading ---- */

/* The SHA-256 of everything a reader sees. */
static int read_all(const char *path, char hex[65], int *samples)
{
	struct error e;
	struct tar_sample s = { 0 };
	struct tar_reader *r = tar_open(path, NULL, &e);
	struct sha256 hash;
	int status = -1;

	sha256_begin(&hash);
	for (*samples = 0; r && (status = tar_next(r, &s, &e)) == 1; ++*samples) {
		char *json = json_dumps(s.json, JSON_COMPACT);
		for (int i = 0; i < s.members; i++)
			sha256_add(&hash, s.member[i].bytes.data, s.member[i].bytes.len);
		sha256_add(&hash, json, strlen(json));
		free(json);
	}
	sha256_hex(&hash, hex);
	tar_sample_free(&s);
	tar_close(r);
	return status;
}

static void every_cut_is_refused(void **state)
{
	struct stat st;
	char hex[65];
	int samples, tried = 0, fd;

	prepare_to(stream_path);
	assert_int_equal(read_all(stream_path, hex, &samples), 0);
	assert_int_equal(samples, PICTURES);
	fd = open(stream_path, O_RDWR | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	/* Behind the end record there are two blocks of zeros, and nothing else to lose. */
	for (off_t cut = st.st_size - 1024; cut > 0; tried++) {
		cut -= cut % 512 || cut > st.st_size - 2048 ? 1 : 512;
		if (cut > 0) {
			assert_int_equal(ftruncate(fd, cut), 0);
			if (read_all(stream_path, hex, &samples) == 0)
				fail_msg("cut at %ld of %ld, and not refused", (long)cut, (long)st.st_size);
		}
	}
	print_message("%d cuts of %ld bytes\n", tried, (long)st.st_size);
	close(fd);
}

static void no_flip_goes_unnoticed(void **state)
{
	char whole[65], hex[65], byte, flipped;
	uint64_t random = 1;
	int samples, noticed = 0, fd;
	struct stat st;

	prepare_to(stream_path);
	assert_int_equal(read_all(stream_path, whole, &samples), 0);
	fd = open(stream_path, O_RDWR | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	for (int i = 0; i < 10000; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		off_t bit = (off_t)(random >> 33) % (8 * st.st_size);
		assert_int_equal(pread(fd, &byte, 1, bit / 8), 1);
		flipped = (char)(byte ^ 1 << bit % 8);
		assert_int_equal(pwrite(fd, &flipped, 1, bit / 8), 1);
		if (read_all(stream_path, hex, &samples) < 0)
			noticed++;
		else if (strcmp(hex, whole))
			fail_msg("bit %ld of byte %ld flipped, and not refused", (long)bit % 8, (long)bit / 8);
		assert_int_equal(pwrite(fd, &byte, 1, bit / 8), 1);
	}
	print_message("%d of 10000 refused, the others changed nothing but padding\n", noticed);
	assert_true(noticed > 5000);
	close(fd);
}

#if !SANITIZED
/* The names of the pictures are held, nothing else grows. */
static void memory_is_flat(void **state)
{
	long few, many;

	make_pictures(PICTURES, 100);
	few = prepare_to("/dev/null");
	make_pictures(100, 10000);
	many = prepare_to("/dev/null");
	print_message("%ld KiB after 100 pictures, %ld after 10,000\n", few, many);
	if (many > few + few / 20 + 10000 * NAME / 1024)
		fail_msg("%ld KiB after 100 pictures, %ld after 10,000", few, many);
}
#endif

static int begin(void **state)
{
	if (!mkdtemp(folder))
		return -1;
	pictures = path_join(folder, "pictures");
	stream_path = path_join(folder, "images.tar");
	if (mkdir(pictures, 0700))
		return -1;
	make_pictures(0, PICTURES);
	return 0;
}

static int end(void **state)
{
	for (int i = 0; i < 10000; i++) {
		char *path = picture_path(i);
		unlink(path);
		free(path);
	}
	unlink(stream_path);
	rmdir(pictures);
	free(pictures);
	free(stream_path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cut_is_refused), cmocka_unit_test(no_flip_goes_unnoticed),
#if !SANITIZED
		cmocka_unit_test(memory_is_flat),
#endif
	};

	return cmocka_run_group_tests_name("prepare", tests, begin, end);
}
