/* Against Pillow's LANCZOS and OpenCV's INTER_AREA (golden/resize.safetensors), and Pillow's other filters
 * (golden/resize_filters.safetensors): one level everywhere, for their fixed-point rounding, and 0.2 on average. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/cpu.h"
#include "../../libcommon/data/resample_loops.h"
#include "../../libcommon/io/safetensors.h"
#include <cmocka.h>

static struct image image_of(const struct safetensors *s, const struct safetensor *t)
{
	struct image i = { (int)t->shape[1], (int)t->shape[0], NULL };

	i.rgb = xmalloc(t->bytes);
	memcpy(i.rgb, safetensors_bytes(s, t), t->bytes);
	return i;
}

static struct image whole(const struct image *in, int w, int h, enum resample_filter f)
{
	struct image out;

	resample(in, w, h, f, (struct window){ 0, 0, w, h }, &out);
	return out;
}

static void compare(const struct safetensors *s, const struct safetensor *t)
{
	char source[32], filter[16];
	int image, w, h, worst = 0;
	enum resample_filter f;
	struct image in, out;
	const uint8_t *expected = safetensors_bytes(s, t);
	double sum = 0;

	assert_int_equal(sscanf(t->name, "image%d.%15[a-z].%dx%d", &image, filter, &w, &h), 4);
	snprintf(source, sizeof(source), "image%d.source", image);
	in = image_of(s, safetensors_find(s, source));
	assert_true(resample_find(filter, &f));
	out = whole(&in, w, h, f);
	assert_int_equal((size_t)w * h * 3, t->bytes);
	for (size_t i = 0; i < t->bytes; i++) {
		int d = abs(out.rgb[i] - expected[i]);
		worst = d > worst ? d : worst;
		sum += d;
	}
	print_message("%-28s worst %d, mean %.4f\n", t->name, worst, sum / t->bytes);
	assert_in_range(worst, 0, 1);
	assert_true(sum / t->bytes < 0.2);
	image_free(&in);
	image_free(&out);
}

static void compare_all(const char *path, int cases)
{
	struct error e;
	struct safetensors *s = safetensors_open(path, &e);
	int compared = 0;

	assert_non_null(s);
	for (size_t i = 0; i < s->count; i++)
		if (!strstr(s->tensor[i].name, "source")) {
			compare(s, &s->tensor[i]);
			compared++;
		}
	assert_int_equal(compared, cases);
	safetensors_close(s);
}

static void golden(void **state)
{
	compare_all("tests/golden/resize.safetensors", 31);
	compare_all("tests/golden/resize_filters.safetensors", 15);
}

static struct image noise(int w, int h)
{
	struct image i = { w, h, xmalloc((size_t)w * h * 3) };
	uint32_t x = 1;

	for (size_t k = 0; k < (size_t)w * h * 3; k++) {
		x = x * 1664525 + 1013904223;
		i.rgb[k] = (uint8_t)(x >> 24);
	}
	return i;
}

/* A window is cut out of the whole, to the byte. */
static void windows(void **state)
{
	struct image in = noise(83, 59), out, part;

	for (int f = RESAMPLE_LANCZOS; f <= RESAMPLE_NEAREST; f++) {
		out = whole(&in, 40, 31, f);
		resample(&in, 40, 31, f, (struct window){ 7, 5, 20, 25 }, &part);
		for (int y = 0; y < 25; y++)
			assert_memory_equal(part.rgb + y * 60, out.rgb + ((y + 5) * 40 + 7) * 3, 60);
		image_free(&out);
		image_free(&part);
	}
	image_free(&in);
}

/* Black and white survive any ratio, and extreme ones stay inside memory (the sanitizers watch). */
static void flat(void **state)
{
	static const int sizes[][4] = {
		{ 1, 1, 64, 64 }, { 1000, 1, 3, 1 }, { 3, 1000, 64, 64 }, { 997, 3, 10, 1 }, { 64, 64, 64, 64 }
	};

	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++)
		for (int f = RESAMPLE_LANCZOS; f <= RESAMPLE_NEAREST; f++)
			for (int level = 0; level < 256; level += 51) {
				struct image in = noise(sizes[k][0], sizes[k][1]), out;
				memset(in.rgb, level, (size_t)in.width * in.height * 3);
				out = whole(&in, sizes[k][2], sizes[k][3], f);
				for (int i = 0; i < out.width * out.height * 3; i++)
					assert_int_equal(out.rgb[i], level);
				image_free(&in);
				image_free(&out);
			}
}

static void same_size_is_a_copy(void **state)
{
	struct image in = noise(31, 17), out = whole(&in, 31, 17, RESAMPLE_LANCZOS),
		     area = whole(&in, 31, 17, RESAMPLE_AREA);

	assert_memory_equal(in.rgb, out.rgb, 31 * 17 * 3);
	assert_memory_equal(in.rgb, area.rgb, 31 * 17 * 3);
	mirror(&out);
	assert_memory_equal(out.rgb, in.rgb + 90, 3);
	assert_memory_equal(out.rgb + 45, in.rgb + 45, 3);
	image_free(&in);
	image_free(&out);
	image_free(&area);
}

/* Wide registers change nothing: every width, so that every tail is met. */
static void loops(void **state)
{
#ifdef __x86_64__
	if (!cpu_has_avx2())
		skip();
	for (int w = 1; w < 40; w++)
		for (int f = RESAMPLE_LANCZOS; f <= RESAMPLE_NEAREST; f++) {
			struct image in = noise(3 * w % 61 + 1, 2 * w + 3), a, b;
			const struct image_part part = { 0.125, 0.5, in.width - 0.25, in.height - 0.75 };
			resample_by(&resample_portable, &in, &part, w, 29, f, (struct window){ 0, 2, w, 25 }, &a);
			resample_by(&resample_avx2, &in, &part, w, 29, f, (struct window){ 0, 2, w, 25 }, &b);
			assert_memory_equal(a.rgb, b.rgb, (size_t)w * 25 * 3);
			image_free(&in);
			image_free(&a);
			image_free(&b);
		}
#else
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(golden), cmocka_unit_test(windows), cmocka_unit_test(flat),
					    cmocka_unit_test(same_size_is_a_copy), cmocka_unit_test(loops) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
