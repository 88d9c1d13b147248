/* Streams of samples: what goes in comes out; cuts are refused, no flipped bit goes unnoticed,
 * hostile members end it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <archive.h>
#include <archive_entry.h>
#include <cmocka.h>
#undef fail     /* cmocka's macro; the library has a function of that name */
#include "../../libcommon/base/hash.h"
#include "../../libcommon/io/tar.h"

/* ---- a file in memory, which readers open by its name under /proc ---- */

struct place { int fd; char path[40]; };

static int enter(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	p->fd = memfd_create("tar-test", 0);
	snprintf(p->path, sizeof(p->path), "/proc/self/fd/%d", p->fd);
	*state = p;
	return p->fd < 0;
}

static int leave(void **state)
{
	struct place *p = *state;

	close(p->fd);
	free(p);
	return 0;
}

static void load(const struct place *p, const void *data, size_t n)
{
	assert_int_equal(ftruncate(p->fd, 0), 0);
	assert_int_equal(pwrite(p->fd, data, n, 0), n);
}

/* ---- writing ---- */

/* The writer wants a publish; a new file in a folder of its own is one. */
static void write_stream(struct buffer *to, const char *format, int samples, size_t size)
{
	char folder[] = "/tmp/tar-test-XXXXXX", path[64];
	struct error e = { 0 };
	struct publish *out;
	struct tar_writer *w;
	struct tar_member member[2] = { { .suffix = "latent.safetensors" }, { .suffix = "png" } };

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/out.tar", folder);
	out = publish_begin(path, true, &e);
	w = tar_create(out, format);
	for (int i = 0; i < samples; i++) {
		struct json_out fields = { 0 };

		for (int m = 0; m < 2; m++) {
			buffer_clear(&member[m].bytes);
			for (size_t k = 0; k < size + (size_t)(37 * i * (m + 1)) % 600; k++)
				buffer_add(&member[m].bytes, &(char){ (char)(k * 7 + (size_t)i + (k >> 5)) }, 1);
		}
		tar_sample_begin(&fields, w, (uint32_t)i);
		json_int(&fields, "number", i);
		assert_int_equal(tar_sample_add(w, (uint32_t)i, member, i == 3 ? 0 : 2, &fields, &e), 0);
		json_free(&fields);
	}
	assert_int_equal(tar_finish(w, &e), 0);
	assert_int_equal(publish_end(out, &e), 0);
	assert_int_equal(read_file(path, 1 << 24, to, &e), 0);
	unlink(path);
	rmdir(folder);
	for (int m = 0; m < 2; m++)
		buffer_free(&member[m].bytes);
}

/* ---- reading ---- */

/* Read to the end.  The hash of all that came goes to hex. */
static int read_stream(const char *path, const char *format, int *samples, char hex[65], struct error *e)
{
	struct tar_reader *r = tar_open(path, format, e);
	struct tar_sample s = { 0 };
	struct sha256 hash;
	int rc;

	sha256_begin(&hash);
	*samples = 0;
	if (!r)
		return -1;
	while ((rc = tar_next(r, &s, e)) > 0) {
		char *json = json_dumps(s.json, JSON_COMPACT);

		for (int i = 0; i < s.members; i++)
			sha256_add(&hash, s.member[i].bytes.data, s.member[i].bytes.len);
		sha256_add(&hash, json, strlen(json));
		free(json);
		++*samples;
	}
	assert_int_equal(tar_count(r), *samples);
	sha256_hex(&hash, hex);
	tar_sample_free(&s);
	tar_close(r);
	return rc;
}

static void check_refused(const struct place *p, const char *words)
{
	struct error e = { 0 };
	char hex[65];
	int n;

	assert_int_equal(read_stream(p->path, NULL, &n, hex, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	assert_int_equal(strncmp(e.text, p->path, strlen(p->path)), 0);
	if (!strstr(e.text, words))
		assert_string_equal(e.text, words);     /* fails, and shows both */
}

static void round_trip(void **state)
{
	struct place *p = *state;
	struct buffer stream = { 0 };
	struct error e = { 0 };
	struct tar_sample s = { 0 };
	struct tar_reader *r;

	write_stream(&stream, "latent", 5, 100);
	load(p, stream.data, stream.len);
	r = tar_open(p->path, "latent", &e);
	assert_non_null(r);
	assert_string_equal(tar_format(r), "");
	for (int i = 0; i < 5; i++) {
		char key[16];

		snprintf(key, sizeof(key), "%08d", i);
		assert_int_equal(tar_next(r, &s, &e), 1);
		assert_string_equal(tar_format(r), "latent");
		assert_string_equal(s.key, key);
		assert_int_equal(s.members, i == 3 ? 0 : 2);
		assert_int_equal(json_integer_value(json_object_get(s.json, "number")), i);
		assert_string_equal(json_string_value(json_object_get(s.json, "format")), "lora-latent-1");
		if (i == 3)
			continue;
		assert_string_equal(s.member[0].suffix, "latent.safetensors");
		assert_int_equal(s.member[0].bytes.len, 100 + 37 * i % 600);
		assert_ptr_equal(tar_find(&s, "png"), &s.member[1]);
		assert_null(tar_find(&s, "jpg"));
	}
	assert_int_equal(tar_next(r, &s, &e), 0);
	assert_int_equal(tar_count(r), 5);
	tar_sample_free(&s);
	tar_close(r);
	tar_close(NULL);
	tar_abandon(NULL);
	buffer_free(&stream);
}

/* Where a member begins, also behind the zeros between joined parts, and when payloads are passed over. */
static void members_say_where_they_are(void **state)
{
	struct place *p = *state;
	struct buffer stream = { 0 }, both = { 0 };
	struct tar_sample s = { 0 };
	struct error e = { 0 };

	write_stream(&stream, "latent", 3, 700);
	buffer_add(&both, stream.data, stream.len);
	buffer_add(&both, stream.data, stream.len);
	load(p, both.data, both.len);
	for (int skim = 0; skim < 2; skim++) {
		struct tar_reader *r = tar_open(p->path, "latent", &e);
		uint64_t at[12];
		int n = 0;

		if (skim)
			tar_skim(r);
		while (tar_next(r, &s, &e) > 0)
			for (int i = 0; i < s.members; i++) {
				assert_true(n < 12);
				at[n++] = s.member[i].at;
				if (!skim)
					assert_memory_equal(both.data + s.member[i].at, s.member[i].bytes.data,
							    s.member[i].bytes.len);
			}
		assert_int_equal(n, 12);
		for (int i = 0; i < n; i++)
			assert_memory_equal(both.data + at[i], both.data + at[i % 6], 700);
		assert_int_equal(at[6], stream.len + 512);
		tar_close(r);
	}
	tar_sample_free(&s);
	buffer_free(&stream);
	buffer_free(&both);
}

static void same_bytes_each_time(void **state)
{
	struct buffer a = { 0 }, b = { 0 };

	write_stream(&a, "image", 4, 300);
	write_stream(&b, "image", 4, 300);
	assert_int_equal(a.len, b.len);
	assert_int_equal(a.len % 512, 0);
	assert_memory_equal(a.data, b.data, a.len);
	/* ustar, mode 0644, no owner, no time */
	assert_string_equal(a.data, "00000000.latent.safetensors");
	assert_memory_equal(a.data + 100, "000644 ", 7);
	assert_memory_equal(a.data + 108, "000000 ", 7);
	assert_memory_equal(a.data + 116, "000000 ", 7);
	assert_memory_equal(a.data + 136, "00000000000", 11);
	assert_memory_equal(a.data + 257, "ustar\0" "00", 8);
	buffer_free(&a);
	buffer_free(&b);
}

/* A stream's members through libarchive, another program's code. */
static void write_again(const struct buffer *stream, int (*format)(struct archive *), long nanoseconds,
			struct buffer *to)
{
	static char bytes[1 << 17], out[1 << 21];
	struct archive *r = archive_read_new(), *w = archive_write_new();
	struct archive_entry *entry;
	size_t used = 0;

	archive_read_support_format_tar(r);
	assert_int_equal(archive_read_open_memory(r, stream->data, stream->len), ARCHIVE_OK);
	format(w);
	archive_write_set_bytes_in_last_block(w, 512);
	assert_int_equal(archive_write_open_memory(w, out, sizeof(out), &used), ARCHIVE_OK);
	while (archive_read_next_header(r, &entry) == ARCHIVE_OK) {
		la_ssize_t n = archive_read_data(r, bytes, sizeof(bytes));
		struct archive_entry *plain = archive_entry_new();

		archive_entry_set_pathname(plain, archive_entry_pathname(entry));
		archive_entry_set_filetype(plain, AE_IFREG);
		archive_entry_set_perm(plain, 0644);
		archive_entry_set_size(plain, n);
		archive_entry_set_mtime(plain, 0, nanoseconds);
		assert_int_equal(archive_write_header(w, plain), ARCHIVE_OK);
		assert_int_equal(archive_write_data(w, bytes, (size_t)n), n);
		archive_entry_free(plain);
	}
	archive_read_free(r);
	assert_int_equal(archive_write_free(w), ARCHIVE_OK);
	buffer_clear(to);
	buffer_add(to, out, used);
}

static void as_libarchive_writes(void **state)
{
	struct buffer ours = { 0 }, again = { 0 };

	write_stream(&ours, "image", 9, 70000);
	write_again(&ours, archive_write_set_format_ustar, 0, &again);
	assert_true(ours.len > 8 * 2 * 70000);
	assert_int_equal(ours.len, again.len);
	assert_memory_equal(ours.data, again.data, ours.len);
	buffer_free(&ours);
	buffer_free(&again);
}

/* A part of a second makes pax put a record before each member. */
static void what_others_wrote(void **state)
{
	static const struct { int (*format)(struct archive *); long nanoseconds; size_t more; } cases[] = {
		{ archive_write_set_format_ustar }, { archive_write_set_format_gnutar },
		{ archive_write_set_format_v7tar }, { archive_write_set_format_pax, 5, 14 * 1024 },
	};
	struct place *p = *state;
	struct buffer ours = { 0 }, again = { 0 };
	struct error e = { 0 };
	char whole[65], hex[65];
	int n;

	write_stream(&ours, "latent", 5, 70000);
	load(p, ours.data, ours.len);
	assert_int_equal(read_stream(p->path, NULL, &n, whole, &e), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		write_again(&ours, cases[i].format, cases[i].nanoseconds, &again);
		assert_true(again.len >= ours.len + cases[i].more);
		load(p, again.data, again.len);
		assert_int_equal(read_stream(p->path, "latent", &n, hex, &e), 0);
		assert_int_equal(n, 5);
		assert_string_equal(hex, whole);
	}
	buffer_free(&ours);
	buffer_free(&again);
}

static void every_cut_is_refused(void **state)
{
	struct place *p = *state;
	struct buffer stream = { 0 };
	struct error e = { 0 };
	char hex[65];
	int n, tried = 0;

	write_stream(&stream, "latent", 20, 400);
	load(p, stream.data, stream.len);
	assert_int_equal(read_stream(p->path, NULL, &n, hex, &e), 0);
	assert_int_equal(n, 20);
	for (size_t cut = stream.len; cut--;) {
		if (cut % 512 && cut + 2048 < stream.len)
			continue;
		assert_int_equal(ftruncate(p->fd, (off_t)cut), 0);
		check_refused(p, "did the producer fail?");
		tried++;
	}
	assert_true(tried > 2048 + 20 * 6);
	buffer_free(&stream);
}

static void words_for_a_cut(void **state)
{
	struct place *p = *state;
	struct buffer stream = { 0 };

	write_stream(&stream, "latent", 2, 0);
	load(p, stream.data, stream.len - 2048);
	check_refused(p, "input ended without its end record after 2 samples; did the producer fail?");
	load(p, stream.data, 512);
	check_refused(p, "input ended without its end record after 0 samples; did the producer fail?");
	load(p, "", 0);
	check_refused(p, "input is empty");
	buffer_free(&stream);
}

/* A flip in the padding may pass, and then what came out is the same. */
static void no_flip_goes_unnoticed(void **state)
{
	struct place *p = *state;
	struct buffer stream = { 0 };
	struct error e = { 0 };
	char hex[65], whole[65];
	uint64_t random = 1;
	int n, noticed = 0;

	write_stream(&stream, "latent", 3, 700);
	load(p, stream.data, stream.len);
	assert_int_equal(read_stream(p->path, NULL, &n, whole, &e), 0);
	for (int i = 0; i < 10000; i++) {
		size_t bit;
		char flipped;

		random = random * 6364136223846793005u + 1442695040888963407u;
		bit = (size_t)(random >> 33) % (8 * stream.len);
		flipped = (char)(stream.data[bit / 8] ^ 1 << bit % 8);
		assert_int_equal(pwrite(p->fd, &flipped, 1, (off_t)(bit / 8)), 1);
		if (read_stream(p->path, NULL, &n, hex, &e)) {
			noticed++;
		} else {
			assert_int_equal(n, 3);
			assert_string_equal(hex, whole);
		}
		assert_int_equal(pwrite(p->fd, stream.data + bit / 8, 1, (off_t)(bit / 8)), 1);
	}
	/* Payloads, jsons and most of the headers: well over a third of this stream. */
	assert_true(noticed > 3500);
	buffer_free(&stream);
}

static void concatenated(void **state)
{
	struct place *p = *state;
	struct buffer a = { 0 }, b = { 0 }, both = { 0 };
	struct error e = { 0 };
	struct tar_sample s = { 0 };
	struct tar_reader *r;
	char hex[65];
	int n;

	write_stream(&a, "latent", 3, 50);
	write_stream(&b, "latent", 2, 90);
	buffer_add(&both, a.data, a.len);
	buffer_add(&both, b.data, b.len);
	load(p, both.data, both.len);
	r = tar_open(p->path, "latent", &e);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(tar_next(r, &s, &e), 1);
		assert_int_equal(s.part, i >= 3);
	}
	assert_int_equal(tar_next(r, &s, &e), 0);
	tar_sample_free(&s);
	tar_close(r);
	/* Either part without its end is not whole. */
	load(p, both.data, both.len - 2048);
	check_refused(p, "input ended without its end record after 5 samples");
	buffer_clear(&both);
	buffer_add(&both, a.data, a.len - 2048);
	buffer_add(&both, b.data, b.len);
	load(p, both.data, both.len);
	check_refused(p, "comes twice");
	/* Other writers pad to ten kilobytes. */
	buffer_clear(&both);
	buffer_add(&both, a.data, a.len);
	for (int i = 0; i < 18 * 512; i++)
		buffer_add(&both, "", 1);
	load(p, both.data, both.len);
	assert_int_equal(read_stream(p->path, NULL, &n, hex, &e), 0);
	assert_int_equal(n, 3);
	for (int i = 0; i < 2 * 512; i++)
		buffer_adds(&both, "?");        /* no tar header */
	load(p, both.data, both.len);
	check_refused(p, "after 3 samples");
	buffer_free(&a);
	buffer_free(&b);
	buffer_free(&both);
}

static void kinds(void **state)
{
	struct place *p = *state;
	struct buffer a = { 0 }, b = { 0 };
	struct error e = { 0 };
	char hex[65];
	int n;

	write_stream(&a, "image", 1, 50);
	load(p, a.data, a.len);
	assert_int_equal(read_stream(p->path, "latent", &n, hex, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	assert_non_null(strstr(e.text, "lora-encode"));
	write_stream(&b, "latent", 1, 50);
	buffer_add(&a, b.data, b.len);
	load(p, a.data, a.len);
	check_refused(p, "in a stream of lora-image-1");
	load(p, b.data, b.len);
	assert_int_equal(read_stream(p->path, "image", &n, hex, &e), -1);
	assert_non_null(strstr(e.text, "lora-prep"));
	buffer_clear(&a);
	write_stream(&a, "image", 0, 0);        /* no samples, but a sound end */
	load(p, a.data, a.len);
	assert_int_equal(read_stream(p->path, "image", &n, hex, &e), 0);
	assert_int_equal(n, 0);
	buffer_free(&a);
	buffer_free(&b);
}

static void standard_input(void **state)
{
	struct place *p = *state;
	struct buffer a = { 0 };
	struct error e = { 0 };
	char hex[65];
	int n, saved = dup(0);

	write_stream(&a, "image", 2, 50);
	load(p, a.data, a.len);
	lseek(p->fd, 0, SEEK_SET);
	dup2(p->fd, 0);
	assert_int_equal(read_stream("-", "image", &n, hex, &e), 0);
	assert_int_equal(n, 2);
	dup2(saved, 0);
	close(saved);
	buffer_free(&a);
}

static void disk_full(void **state)
{
	struct error e = { 0 };
	struct publish *out = publish_begin("/dev/full", true, &e);
	struct tar_writer *w = tar_create(out, "image");
	struct tar_member member = { .suffix = "png" };
	struct json_out fields = { 0 };
	int failed = 0;

	for (int i = 0; i < 300000; i++)
		buffer_add(&member.bytes, "x", 1);
	for (uint32_t i = 0; i < 3; i++) {
		tar_sample_begin(&fields, w, i);
		failed += tar_sample_add(w, i, &member, 1, &fields, &e) == -1;
		assert_int_equal(e.code, EXIT_IO);
	}
	assert_int_equal(failed, 3);
	e = (struct error){ 0 };
	assert_int_equal(tar_finish(w, &e), -1);
	assert_int_equal(e.code, EXIT_IO);
	assert_non_null(strstr(e.text, "/dev/full"));
	publish_abandon(out);
	/* So little that only the end is written out. */
	out = publish_begin("/dev/full", true, &e);
	w = tar_create(out, "image");
	assert_int_equal(tar_finish(w, &e), -1);
	assert_int_equal(e.code, EXIT_IO);
	publish_abandon(out);
	json_free(&fields);
	buffer_free(&member.bytes);
}

static void abandoned(void **state)
{
	char folder[] = "/tmp/tar-test-XXXXXX", path[64];
	struct error e = { 0 };
	struct publish *out;

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/out.tar", folder);
	out = publish_begin(path, true, &e);
	tar_abandon(tar_create(out, "image"));
	publish_abandon(out);
	assert_int_equal(rmdir(folder), 0);
}

/* ---- members that others may put into a stream ---- */

struct raw {
	const char *name;
	int type;               /* 0: a plain file */
	const char *link;
	la_int64_t hole;        /* sparse: data only at the end of so many bytes */
	const char *data;
};

static void load_raw(const struct place *p, int format, const struct raw *raw, size_t count)
{
	static char out[1 << 18];
	size_t used = 0;
	struct archive *a = archive_write_new();

	archive_write_set_format(a, format);
	assert_int_equal(archive_write_open_memory(a, out, sizeof(out), &used), ARCHIVE_OK);
	for (size_t i = 0; i < count; i++) {
		struct archive_entry *entry = archive_entry_new();
		size_t n = raw[i].data ? strlen(raw[i].data) : 0;

		archive_entry_set_pathname(entry, raw[i].name);
		archive_entry_set_filetype(entry, raw[i].type ? (unsigned)raw[i].type : AE_IFREG);
		archive_entry_set_perm(entry, 0644);
		archive_entry_set_size(entry, raw[i].hole ? raw[i].hole : (la_int64_t)n);
		if (raw[i].hole)
			archive_entry_sparse_add_entry(entry, raw[i].hole - (la_int64_t)n, (la_int64_t)n);
		if (raw[i].link && raw[i].type == AE_IFLNK)
			archive_entry_set_symlink(entry, raw[i].link);
		else if (raw[i].link)
			archive_entry_set_hardlink(entry, raw[i].link);
		assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
		if (n)
			archive_write_data(a, raw[i].data, n);
		archive_entry_free(entry);
	}
	assert_int_equal(archive_write_free(a), ARCHIVE_OK);
	load(p, out, used);
}

#define JSON(key, payloads) "{\"key\":\"" key "\",\"format\":\"lora-image-1\",\"payloads\":[" payloads "]}"
#define A_PNG "{\"suffix\":\"png\",\"bytes\":9,\"crc32c\":3808858755}"       /* "123456789": 0xe3069283 */
#define K "00000000"
#define K1 "00000001"
#define DATA K ".png", 0, NULL, 0, "123456789"

static void hostile_members(void **state)
{
	static const struct { const char *words; struct raw raw[4]; } cases[] = {
		{ "has the name '../x'", { { "../x" } } }, { "has the name '/x'", { { "/x" } } },
		{ "has the name 'a//b'", { { "a//b" } } }, { "has the name 'a/./b'", { { "a/./b" } } },
		{ "has the name 'a/../b'", { { "a/../b" } } }, { "has the name 'a b'", { { "a b" } } },
		{ "has the name 'a\x1b[1m'", { { "a\x1b[1m" } } }, { "has the name", { { "a\xff" } } },
		{ "belongs to no sample", { { "x.png" } } }, { "belongs to no sample", { { "a/b/c" } } },
		{ "belongs to no sample", { { K } } }, { "belongs to no sample", { { K "." } } },
		{ "belongs to no sample", { { K "0.png" } } }, { "belongs to no sample", { { K ".a/b" } } },
		{ "belongs to no sample", { { K ".12345678901234567890123456789012" } } },
		{ "is no plain file", { { K ".png", AE_IFDIR } } }, { "is no plain file", { { K ".png", AE_IFIFO } } },
		{ "is no plain file", { { K ".png", AE_IFCHR } } }, { "is no plain file", { { K ".png", AE_IFBLK } } },
		{ "is no plain file", { { K ".png", AE_IFLNK, "/etc/passwd" } } },
		{ "is no plain file", { { K ".png", 0, "/etc/passwd" } } },
		{ "member " K ".png comes twice", { { DATA }, { DATA } } },
		{ "sample " K " comes twice", { { DATA }, { K ".json", 0, NULL, 0, JSON(K, A_PNG) }, { DATA } } },
		{ "sample " K " comes twice", { { K ".json", 0, NULL, 0, JSON(K, "") },
						{ K ".json", 0, NULL, 0, JSON(K, "") } } },
		{ "sample " K " has no " K ".json before " K1 ".png", { { DATA }, { K1 ".png" } } },
		{ "sample " K " has no json before the end", { { DATA }, { "__lora__/end", 0, NULL, 0, "{}" } } },
		{ "not valid JSON", { { K ".json", 0, NULL, 0, "{" } } }, { "not valid JSON", { { K ".json" } } },
		{ "nested", { { K ".json", 0, NULL, 0,
				"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[" } } },
		{ "has the key '" K1 "'", { { K ".json", 0, NULL, 0, JSON(K1, "") } } },
		{ "has the key", { { K ".json", 0, NULL, 0, "[]" } } },
		{ "format 'lora-image-2'", { { K ".json", 0, NULL, 0,
					       "{\"key\":\"" K "\",\"format\":\"lora-image-2\"}" } } },
		{ "format '(none)'", { { K ".json", 0, NULL, 0, "{\"key\":\"" K "\"}" } } },
		{ "format 'lora--1'", { { K ".json", 0, NULL, 0, "{\"key\":\"" K "\",\"format\":\"lora--1\"}" } } },
		{ "names 0 payloads", { { K ".json", 0, NULL, 0,
					  "{\"key\":\"" K "\",\"format\":\"lora-image-1\"}" } } },
		{ "names 0 payloads, the stream has 1", { { DATA }, { K ".json", 0, NULL, 0, JSON(K, "") } } },
		{ "names 1 payloads, the stream has 0", { { K ".json", 0, NULL, 0, JSON(K, A_PNG) } } },
		{ "names payload 'jpg'", { { DATA }, { K ".json", 0, NULL, 0, JSON(K,
			"{\"suffix\":\"jpg\",\"bytes\":9,\"crc32c\":3808858755}") } } },
		{ "not as many", { { DATA }, { K ".json", 0, NULL, 0, JSON(K,
			"{\"suffix\":\"png\",\"bytes\":8,\"crc32c\":3808858755}") } } },
		{ "CRC-32C differs", { { DATA }, { K ".json", 0, NULL, 0, JSON(K,
			"{\"suffix\":\"png\",\"bytes\":9,\"crc32c\":3808858754}") } } },
		{ "CRC-32C differs", { { DATA }, { K ".json", 0, NULL, 0, JSON(K,
			"{\"suffix\":\"png\",\"bytes\":9,\"crc32c\":\"3808858755\"}") } } },
		{ "ended without its end record after 1 samples",
		  { { DATA }, { K ".json", 0, NULL, 0, JSON(K, A_PNG) } } },
		{ "does not say that it is complete", { { "__lora__/end", 0, NULL, 0, "{}" } } },
		{ "counts 1 samples, 0 came", { { "__lora__/end", 0, NULL, 0, "{\"complete\":true,\"samples\":1}" } } },
		{ "differs from the hash", { { "__lora__/end", 0, NULL, 0,
					       "{\"complete\":true,\"samples\":0,\"bytes\":0,\"sha256\":\"00\"}" } } },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		size_t n = 0;

		while (n < 4 && cases[i].raw[n].name)
			n++;
		load_raw(*state, ARCHIVE_FORMAT_TAR_GNUTAR, cases[i].raw, n);
		check_refused(*state, cases[i].words);
	}
}

static void hostile_formats(void **state)
{
	static const struct raw sparse = { K ".png", 0, NULL, 1ll << 42, "x" };
	struct raw long_name = { .name = NULL };
	char name[100001];

	load_raw(*state, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, &sparse, 1);
	check_refused(*state, "is a sparse file");
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	long_name.name = name;
	load_raw(*state, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, &long_name, 1);
	check_refused(*state, "has the name 'nnnn");
	load_raw(*state, ARCHIVE_FORMAT_TAR_GNUTAR, &long_name, 1);
	check_refused(*state, "has the name 'nnnn");
	load_raw(*state, ARCHIVE_FORMAT_CPIO_POSIX, &(struct raw){ DATA }, 1);
	check_refused(*state, "");
	load_raw(*state, ARCHIVE_FORMAT_ZIP, &(struct raw){ DATA }, 1);
	check_refused(*state, "");
}

/* ---- headers by hand ---- */

static void sign(char block[512])
{
	unsigned sum = 0;
	char text[8];

	memset(block + 148, ' ', 8);
	for (int k = 0; k < 512; k++)
		sum += (unsigned char)block[k];
	snprintf(text, sizeof(text), "%06o", sum);
	memcpy(block + 148, text, 7);
}

/* A member, with its bytes and their padding. */
static void add_by_hand(struct buffer *to, const char *name, char type, const char *bytes, size_t n)
{
	char block[512] = { 0 };

	strcpy(block, name);
	snprintf(block + 124, 12, "%011zo", n);
	block[156] = type;
	strcpy(block + 257, "ustar  ");
	sign(block);
	buffer_add(to, block, sizeof(block));
	buffer_add(to, bytes, n);
	for (size_t i = n; i % 512; i++)
		buffer_add(to, "", 1);
}

static void names_and_sizes_said_before(void **state)
{
	static const char *const name = K ".png";
	static const struct { char type; const char *said; size_t n; const char *words; } cases[] = {
		{ 'x', "21 path=" K ".png\n", 21, "ended without its end record after 1 samples" },
		{ 'x', "9 path=x\n21 path=" K ".png\n", 30, "ended without its end record after 1 samples" },
		{ 'x', "21 path=" K ".png\n9 size=9\n", 30, "ended without its end record after 1 samples" },
		{ 'L', K ".png", 13, "ended without its end record after 1 samples" },
		{ 'L', K ".png", 12, "ended without its end record after 1 samples" },
		{ 'x', "", 0, "has the name 'wrong name'" }, { 'L', "", 0, "has the name 'wrong name'" },
		{ 'g', "21 path=" K ".png\n", 21, "has the name 'wrong name'" },
		{ 'K', K ".png", 13, "has the name 'wrong name'" },
		{ 'x', "21 path=" K ".png\n22 GNU.sparse.major=1\n", 43, "is a sparse file" },
		{ 'x', "x", 1, "length is wrong" }, { 'x', "21 path=" K ".png", 20, "length is wrong" },
		{ 'x', "22 path=" K ".png\n", 21, "length is wrong" }, { 'x', "0 a=b\n", 6, "length is wrong" },
		{ 'x', "20 path=" K ".png\n", 21, "length is wrong" },
		{ 'x', "99999999999999999999999 a=b\n", 28, "length is wrong" }, { 'x', "2\n", 2, "length is wrong" },
		{ 'x', "900000000 a=b\n", 14, "length is wrong" },
		{ 'x', "3 \n", 3, "without a value" }, { 'x', "8 path \n", 8, "without a value" },
		{ 'x', "9 size=x\n", 9, "size is no number" }, { 'x', "8 size=\n", 8, "size is no number" },
		{ 'x', "27 size=999999999999999999\n", 27, "size is no number" },
		{ 'x', "9 size=8\n21 path=" K ".png\n", 30, "not as many" },
		{ 'x', "21 path=" K "\0png\n", 21, "belongs to no sample" },
		{ '5', "", 0, "no plain file" }, { 'Z', "", 0, "no plain file" }, { 'S', "", 0, "has the name" },
	};
	struct buffer stream = { 0 };
	char long_name[(1 << 20) + 1];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		buffer_clear(&stream);
		add_by_hand(&stream, "wrong name", cases[i].type, cases[i].said, cases[i].n);
		add_by_hand(&stream, "wrong name", '0', "123456789", 9);
		add_by_hand(&stream, K ".json", '0', JSON(K, A_PNG), strlen(JSON(K, A_PNG)));
		load(*state, stream.data, stream.len);
		check_refused(*state, cases[i].words);
	}
	memset(long_name, 'n', sizeof(long_name));
	buffer_clear(&stream);
	add_by_hand(&stream, name, 'L', long_name, sizeof(long_name));
	load(*state, stream.data, stream.len);
	check_refused(*state, "more than 1 MiB");
	/* what is said, and then nothing */
	buffer_clear(&stream);
	add_by_hand(&stream, name, 'L', K ".png", 12);
	load(*state, stream.data, stream.len);
	check_refused(*state, "ended without its end record after 0 samples");
	buffer_free(&stream);
}

/* The payloads' own checksums say nothing of it. */
static void a_header_whose_sum_is_another(void **state)
{
	struct buffer stream = { 0 };

	add_by_hand(&stream, K ".png", '0', "123456789", 9);
	add_by_hand(&stream, K ".json", '0', JSON(K, A_PNG), strlen(JSON(K, A_PNG)));
	stream.data[140] ^= 1;          /* of the time */
	load(*state, stream.data, stream.len);
	check_refused(*state, "no header where a member should begin");
	buffer_free(&stream);
}

static void numbers_in_headers(void **state)
{
	static const struct { const char *words; char size[13]; } cases[] = {
		{ "after 1 samples", "00000000011" }, { "after 1 samples", "         11 " },
		{ "after 1 samples", "11\0" "99999999" },
		{ "after 1 samples", "\x80\0\0\0\0\0\0\0\0\0\0\x09" },
		{ "size is no number", "0000000001x" }, { "size is no number", "-0000000011" },
		{ "size is no number", "\x80\xff\0\0\0\0\0\0\0\0\0\x09" },
		{ "size is no number", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xf7" },
		{ "after 0 samples", "\x80\0\0\0\x3f\0\0\0\0\0\0\x09" },
	};
	struct buffer stream = { 0 };

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		buffer_clear(&stream);
		add_by_hand(&stream, K ".png", '0', "123456789", 9);
		add_by_hand(&stream, K ".json", '0', JSON(K, A_PNG), strlen(JSON(K, A_PNG)));
		memcpy(stream.data + 124, cases[i].size, 12);
		sign(stream.data);
		load(*state, stream.data, stream.len);
		check_refused(*state, cases[i].words);
	}
	buffer_free(&stream);
}

/* Zeros between members are passed over, but not without end. */
static void zeros_before_a_member(void **state)
{
	struct buffer stream = { 0 };

	for (int more = 0; more < 2; more++) {
		static const char zeros[1 << 16];

		buffer_clear(&stream);
		for (int i = 0; i < 16; i++)
			buffer_add(&stream, zeros, sizeof(zeros));
		buffer_add(&stream, zeros, more ? 512 : 0);
		add_by_hand(&stream, K ".png", '0', "123456789", 9);
		add_by_hand(&stream, K ".json", '0', JSON(K, A_PNG), strlen(JSON(K, A_PNG)));
		load(*state, stream.data, stream.len);
		check_refused(*state, more ? "more than 1 MiB of zeros" : "after 1 samples");
	}
	buffer_free(&stream);
}

/* The header says a gigabyte and more: refused as cut off or too large, without the memory for it. */
static void claimed_sizes(void **state)
{
	static const char *const sizes[] = { "00100000000", "00777777777", "77777777777" };
	struct place *p = *state;
	struct buffer stream = { 0 };

	write_stream(&stream, "latent", 1, 10);
	for (int i = 0; i < 3; i++) {
		memcpy(stream.data + 124, sizes[i], 11);
		sign(stream.data);
		load(p, stream.data, stream.len);
		check_refused(p, "after 0 samples");
	}
	buffer_free(&stream);
}

static void missing_input(void **state)
{
	struct error e = { 0 };
	char hex[65];
	int n;

	assert_int_equal(read_stream("/nonexistent/a.tar", NULL, &n, hex, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	assert_int_equal(read_stream("/tmp", NULL, &n, hex, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(round_trip),
		TEST(members_say_where_they_are),
		TEST(same_bytes_each_time),
		TEST(as_libarchive_writes),
		TEST(what_others_wrote),
		TEST(every_cut_is_refused),
		TEST(words_for_a_cut),
		TEST(no_flip_goes_unnoticed),
		TEST(concatenated),
		TEST(kinds),
		TEST(standard_input),
		TEST(disk_full),
		TEST(abandoned),
		TEST(hostile_members),
		TEST(hostile_formats),
		TEST(names_and_sizes_said_before),
		TEST(numbers_in_headers),
		TEST(a_header_whose_sum_is_another),
		TEST(zeros_before_a_member),
		TEST(claimed_sizes),
		TEST(missing_input),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
