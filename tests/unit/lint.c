/* Findings of lora-prep --lint, each from the part that makes it; the whole is in tests/cli/lint.bats. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "../../libcommon/data/lint_batches.h"
#include "../../libcommon/data/lint_captions.h"
#include "../../libcommon/data/lint_twins.h"
#include "../../libcommon/data/resample.h"
#include "../../libcommon/io/publish.h"
#include <cmocka.h>

static struct error error;

static struct findings begin(void)
{
	return (struct findings){ .fd = memfd_create("findings", 0), .e = &error };
}

/* What was said so far, and nothing remains. */
static const char *said(struct findings *f)
{
	static char text[20000];
	ssize_t n = pread(f->fd, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = 0;
	close(f->fd);
	json_free(&f->json);
	return text;
}

/* Soft shapes, like a photograph from afar. */
static struct image picture(int w, int h, double phase)
{
	struct image i = { w, h, xmalloc((size_t)w * h * 3) };

	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++)
			for (int c = 0; c < 3; c++) {
				double u = (double)x / w, v = (double)y / h;
				i.rgb[3 * (y * w + x) + c] = (uint8_t)(128 + 60 * __builtin_sin(9 * u + phase + c) +
								       50 * __builtin_cos(7 * v * (1 + phase) + 5 * u));
			}
	return i;
}

static struct fingerprint print_of(struct image i)
{
	struct fingerprint f;

	fingerprint_make(&i, &f);
	image_free(&i);
	return f;
}

static struct image resized(struct image i, int w, int h)
{
	struct image out;

	resample(&i, w, h, w > i.width ? RESAMPLE_LANCZOS : RESAMPLE_AREA, (struct window){ 0, 0, w, h }, &out);
	image_free(&i);
	return out;
}

static struct image recompressed(struct image i)
{
	struct buffer jpeg = { 0 };
	struct image out;

	jpeg_encode(&jpeg, &i, 50);
	assert_int_equal(image_decode("x", jpeg.data, jpeg.len, NULL, &out, NULL, &error), 0);
	image_free(&i);
	buffer_free(&jpeg);
	return out;
}

static struct image darker(struct image i)
{
	for (int k = 0; k < i.width * i.height * 3; k++)
		i.rgb[k] = (uint8_t)(i.rgb[k] * 3 / 4);
	return i;
}

static struct image mirrored(struct image i)
{
	mirror(&i);
	return i;
}

static struct image flat(int level)
{
	struct image i = { 64, 64, xmalloc(64 * 64 * 3) };

	memset(i.rgb, level, 64 * 64 * 3);
	return i;
}

static int distance(struct image a, struct image b)
{
	return __builtin_popcountll(print_of(a).bits ^ print_of(b).bits);
}

static void edited_pictures_are_near(void **state)
{
	assert_in_range(distance(picture(300, 200, 0), resized(picture(300, 200, 0), 150, 100)), 0, TWINS_DISTANCE);
	assert_in_range(distance(picture(300, 200, 0), resized(picture(300, 200, 0), 450, 300)), 0, TWINS_DISTANCE);
	assert_in_range(distance(picture(300, 200, 0), recompressed(picture(300, 200, 0))), 0, TWINS_DISTANCE);
	assert_in_range(distance(picture(300, 200, 0), darker(picture(300, 200, 0))), 0, TWINS_DISTANCE);
	assert_true(distance(picture(300, 200, 0), picture(300, 200, 2)) > 2 * TWINS_DISTANCE);
	assert_true(distance(picture(300, 200, 0), mirrored(picture(300, 200, 0))) > 2 * TWINS_DISTANCE);
}

static void twins_are_told_once(void **state)
{
	struct findings f = begin();
	struct twins *t = twins_new();
	struct fingerprint a = print_of(picture(300, 200, 0)), b = print_of(darker(picture(300, 200, 0))),
			   c = print_of(picture(300, 200, 2)), white = print_of(flat(255)), grey = print_of(flat(99));

	assert_true(white.flat && grey.flat && !a.flat);
	twins_add(t, "a", &a);
	twins_add(t, "a", &a);          /* the same file, in two subsets */
	twins_add(t, "b", &b);
	twins_add(t, "c", &c);
	twins_add(t, "d", &c);
	twins_add(t, "white", &white);
	twins_add(t, "grey", &grey);
	assert_int_equal(twins_report(t, &f), 0);
	assert_string_equal(said(&f),
		"{\"event\":\"finding\",\"severity\":\"warning\",\"code\":\"near-duplicate\",\"path\":\"b\","
		"\"say\":\"looks like a (0 of 64 bits differ); keep the better one unless both are wanted\"}\n"
		"{\"event\":\"finding\",\"severity\":\"warning\",\"code\":\"duplicate\",\"path\":\"d\",\"say\":\"the "
		"same pixels as c; keep one, and raise its repeats if it should count more\"}\n");
	twins_free(t);
}

/* count times the word "dog", a token each, with a last word behind. */
static void dogs(struct buffer *b, int count, const char *last)
{
	buffer_clear(b);
	for (int i = 0; i < count; i++)
		buffer_adds(b, "dog ");
	buffer_adds(b, last);
}

static void words_beyond_75_tokens_are_named(void **state)
{
	struct tokenizer *t = tokenizer_open_clip(&error), *one[TEXT_ENCODERS] = { t }, *both[TEXT_ENCODERS] = { t, t };
	struct buffer b = { 0 };
	struct findings f = begin();

	assert_non_null(t);
	dogs(&b, 74, "cat");
	assert_int_equal(captions_cut(&f, one, "p", b.data), 0);
	assert_int_equal(captions_cut(&f, one, "p", ""), 0);
	assert_string_equal(said(&f), "");
	f = begin();
	dogs(&b, 75, "red cat,  sleeping");
	assert_int_equal(captions_cut(&f, both, "p", b.data), 0);
	assert_non_null(strstr(said(&f), "\"the caption has 79 tokens, 75 are read; "
					 "these words fall off: red cat,  sleeping; "));
	f = begin();
	dogs(&b, 74, "sdkfjhsdkfjh");           /* a word of which only a part fits is lost, as a word */
	assert_int_equal(captions_cut(&f, one, "p", b.data), 0);
	assert_non_null(strstr(said(&f), "fall off: sdkfjhsdkfjh; "));
	f = begin();
	dogs(&b, 74, "cat\n");          /* lines are captions of their own */
	for (int i = 0; i < 75; i++)
		buffer_adds(&b, "mouse ");
	assert_int_equal(captions_cut(&f, one, "p", b.data), 0);
	assert_string_equal(said(&f), "");
	buffer_free(&b);
	tokenizer_free(t);
}

static void rare_tags_near_a_frequent_one(void **state)
{
	static const char *const rare[] = { "gizmo robto", "Gizmo robots", "gizmo_robot", "gizmo robo", "girl2 on roof",
					    "k\303\266nig" };
	static const struct caption_options commas = { 0 };
	struct findings f = begin();
	struct tags *t = tags_new();
	const char *text;

	for (int i = 0; i < TAGS_RATIO; i++)
		tags_add(t, &commas, "many", "gizmo robot,  girl1 on roof ,konig, cat, frequent one");
	for (size_t i = 0; i < sizeof(rare) / sizeof(*rare); i++)
		tags_add(t, &commas, rare[i], rare[i]);
	tags_add(t, &commas, "short", "bat");
	for (int i = 0; i < 2; i++)
		tags_add(t, &commas, "twice", "frequent ones");
	tags_add(t, &commas, "far", "gizmo row boat,,");
	assert_int_equal(tags_report(t, &f), 0);
	text = said(&f);
	for (size_t i = 0; i < sizeof(rare) / sizeof(*rare); i++) {
		char *wanted = xprintf("\"code\":\"tag-typo\",\"path\":\"%s\"", rare[i]);
		assert_int_equal(strstr(text, wanted) != NULL, i != 4);
		free(wanted);
	}
	assert_null(strstr(text, "bat"));
	assert_null(strstr(text, "twice"));     /* five times as frequent is the least */
	assert_null(strstr(text, "far"));
	assert_int_equal(f.count[SEVERITY_WARNING], 5);
	tags_free(t);
}

static void steps_are_counted_by_bucket(void **state)
{
	struct findings f = begin();
	struct batches *b = batches_new(4);

	batches_add(b, (int[]){ 64, 64 }, 10, 0);
	batches_add(b, (int[]){ 64, 64 }, 3, 0);
	batches_add(b, (int[]){ 48, 80 }, 8, 0);
	batches_add(b, (int[]){ 48, 80 }, 3, 2);        /* another dataset */
	assert_int_equal(batches_report(b, &f), 0);
	assert_string_equal(said(&f),
		"{\"event\":\"finding\",\"severity\":\"note\",\"code\":\"remainder\",\"path\":null,\"say\":\"bucket "
		"48x80: 3 samples of 1 pictures, so the last of 2 batches has 1 of 2; "
		"add pictures of this shape, or take another batch size\"}\n"
		"{\"event\":\"finding\",\"severity\":\"note\",\"code\":\"remainder\",\"path\":null,\"say\":\"bucket "
		"64x64: 13 samples of 2 pictures, so the last of 4 batches has 1 of 4; "
		"add pictures of this shape, or take another batch size\"}\n"
		"{\"event\":\"finding\",\"severity\":\"note\",\"code\":\"steps\",\"path\":null,\"say\":\"4 pictures, "
		"24 samples, 3 buckets, batch size 4: 8 steps an epoch\"}\n");
	batches_free(b);
}

static void manual_lists_each_code(void **state)
{
	struct buffer manual = { 0 };

	assert_int_equal(read_file("man/lora-prep.1", 1 << 20, &manual, &error), 0);
	for (int i = 0; i < FINDINGS; i++) {
		char *item = xprintf("\n.It Cm %s Pq %s\n", finding_code(i), finding_severity(i));
		if (!strstr(manual.data, item))
			fail_msg("man/lora-prep.1 lacks%s", item);
		free(item);
	}
	buffer_free(&manual);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edited_pictures_are_near),
		cmocka_unit_test(twins_are_told_once),
		cmocka_unit_test(words_beyond_75_tokens_are_named),
		cmocka_unit_test(rare_tags_near_a_frequent_one),
		cmocka_unit_test(steps_are_counted_by_bucket),
		cmocka_unit_test(manual_lists_each_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
