/* Every case of golden/buckets.json (kohya's formulas in Python doubles) must come out equal, integer by integer. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include "../../libcommon/data/bucket.h"
#include <cmocka.h>

#define GOLDEN "tests/golden/buckets.json"

static void pair(const json_t *from, const char *key, int to[2])
{
	const json_t *a = json_object_get(from, key);

	assert_int_equal(json_array_size(a), 2);
	to[0] = (int)json_integer_value(json_array_get(a, 0));
	to[1] = (int)json_integer_value(json_array_get(a, 1));
}

static long number(const json_t *from, const char *key)
{
	assert_non_null(json_object_get(from, key));
	return (long)json_integer_value(json_object_get(from, key));
}

static struct bucket_rules rules_of(const json_t *set, bool no_upscale)
{
	int resolution[2];

	pair(set, "resolution", resolution);
	return (struct bucket_rules){ { resolution[0], resolution[1] },
				      number(set, "min_bucket_reso"),
				      number(set, "max_bucket_reso"),
				      number(set, "bucket_reso_steps"),
				      true,
				      no_upscale };
}

static void compare_list(const json_t *set)
{
	struct bucket_rules rules = rules_of(set, false);
	const json_t *expected = json_object_get(set, "buckets"), *size;
	struct buckets b;
	struct error e;
	size_t i;

	assert_int_equal(buckets_make(&rules, &b, &e), 0);
	assert_int_equal(b.rules.min, number(set, "effective_min"));
	assert_int_equal(b.rules.max, number(set, "effective_max"));
	assert_int_equal(b.count, json_array_size(expected));
	json_array_foreach(expected, i, size) {
		assert_int_equal(b.size[i][0], json_integer_value(json_array_get(size, 0)));
		assert_int_equal(b.size[i][1], json_integer_value(json_array_get(size, 1)));
	}
	buckets_free(&b);
}

static void compare_crop(const json_t *image, const struct placement *p)
{
	const json_t *fit = json_object_get(image, "crop_ltrb"), *ids = json_object_get(image, "time_ids");
	const json_t *mirrored = json_object_get(image, "time_ids_flipped");
	int crop[2];

	for (size_t i = 0; i < 4; i++)
		assert_int_equal((int)p->fit[i], json_integer_value(json_array_get(fit, i)));
	conditioning_crop(p, true, false, crop);
	assert_int_equal(crop[1], json_integer_value(json_array_get(ids, 2)));
	assert_int_equal(crop[0], json_integer_value(json_array_get(ids, 3)));
	conditioning_crop(p, true, true, crop);
	assert_int_equal(crop[1], json_integer_value(json_array_get(mirrored, 2)));
	assert_int_equal(crop[0], json_integer_value(json_array_get(mirrored, 3)));
}

static void compare_image(const json_t *set, const json_t *image)
{
	static const char *const filters[] = { "none", "area", "lanczos" };
	struct bucket_rules rules = rules_of(set, json_is_true(json_object_get(image, "bucket_no_upscale")));
	int size[2], bucket[2], resized[2], crop[2];
	struct placement p;
	struct buckets b;
	struct error e;

	pair(image, "image", size);
	pair(image, "bucket", bucket);
	pair(image, "resized", resized);
	pair(image, "pixel_crop_left_top", crop);
	assert_int_equal(buckets_make(&rules, &b, &e), 0);
	assert_int_equal(bucket_place(&b, size[0], size[1], &p, &e), 0);
	assert_memory_equal(p.bucket, bucket, sizeof(bucket));
	assert_memory_equal(p.resized, resized, sizeof(resized));
	assert_memory_equal(p.crop, crop, sizeof(crop));
	assert_string_equal(filters[p.filter], json_string_value(json_object_get(image, "filter")));
	compare_crop(image, &p);
	buckets_free(&b);
}

static void golden(void **state)
{
	json_t *root = json_load_file(GOLDEN, 0, NULL), *set, *image;
	size_t i, k, images = 0;

	assert_non_null(root);
	json_array_foreach(json_object_get(root, "sets"), i, set) {
		compare_list(set);
		json_array_foreach(json_object_get(set, "images"), k, image) {
			compare_image(set, image);
			images++;
		}
	}
	assert_int_equal(images, 1288);         /* an emptied file must not pass */
	json_decref(root);
}

static void demo_sizes(void **state)
{
	struct bucket_rules rules = { { 64, 64 }, 48, 80, 16, true, false };
	struct buckets b;
	struct error e;

	assert_int_equal(buckets_make(&rules, &b, &e), 0);
	assert_int_equal(b.count, 3);
	assert_int_equal(b.size[0][0] * 1000 + b.size[0][1], 48080);
	assert_int_equal(b.size[1][0] * 1000 + b.size[1][1], 64064);
	assert_int_equal(b.size[2][0] * 1000 + b.size[2][1], 80048);
	buckets_free(&b);
}

static void real_crop_mirrored(void **state)
{
	struct bucket_rules rules = { { 64, 64 }, 64, 64, 16, false, false };
	struct placement p;
	struct buckets b;
	struct error e;
	int crop[2];

	assert_int_equal(buckets_make(&rules, &b, &e), 0);
	assert_int_equal(bucket_place(&b, 67, 64, &p, &e), 0);
	conditioning_crop(&p, false, false, crop);
	assert_int_equal(crop[0], 1);
	conditioning_crop(&p, false, true, crop);
	assert_int_equal(crop[0], 2); /* three columns are cut: one left, two right; mirrored the other way round */
	buckets_free(&b);
}

static void refusals(void **state)
{
	static const struct bucket_rules bad[] = {
		{ { 0, 64 }, 48, 80, 16, true, false },    { { 64, 64 }, 80, 128, 16, true, false },
		{ { 64, 64 }, 16, 48, 16, true, false },   { { 64, 64 }, 64, 64, 0, true, false },
		{ { 64, 64 }, 64, 128, 128, true, false }, { { 70000, 64 }, 8, 80, 16, true, false }
	};
	struct bucket_rules small = { { 64, 64 }, 48, 80, 16, true, true };
	struct placement p;
	struct buckets b;
	struct error e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(buckets_make(&bad[i], &b, &e), -1);
		assert_int_equal(e.code, EXIT_USAGE);
	}
	assert_int_equal(buckets_make(&small, &b, &e), 0);
	assert_int_equal(bucket_place(&b, 10, 40, &p, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	assert_int_equal(bucket_place(&b, 1, 65535, &p, &e), -1);
	buckets_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(golden), cmocka_unit_test(demo_sizes),
					    cmocka_unit_test(real_crop_mirrored), cmocka_unit_test(refusals) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
