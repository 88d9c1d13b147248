/* Masks: read beside a picture, shrunk to its latent, mirrored with it, through a latent tar and out again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/data/latents.h"
#include "../../libcommon/data/mask.h"
#include "../../libcommon/io/image.h"
#include "../../libcommon/io/publish.h"
#include <cmocka.h>     /* last: it takes the name fail */

enum { C = 4, H = 2, W = 3 };

static void area_means(void **state)
{
	static const float mask[3 * 4] = { 0, 1, 1, 1,
					   0, 0, 1, 1,
					   1, 0, 0, 1 };
	float half[1 * 2], odd[2 * 1];

	mask_shrink(half, 2, 1, mask, 4, 3);
	assert_float_equal(half[0], 2.0 / 6, 1e-7);
	assert_float_equal(half[1], 5.0 / 6, 1e-7);
	/* Three rows for two: the middle one counts for both. */
	mask_shrink(odd, 1, 2, mask, 4, 3);
	assert_float_equal(odd[0], 5.0 / 8, 1e-7);
	assert_float_equal(odd[1], 4.0 / 8, 1e-7);
}

/* A picture [h][w] of these grey values, as PNG */
static void grey_png(struct buffer *out, int w, int h, const uint8_t *grey)
{
	struct image i = { w, h, xmalloc(3 * w * h) };

	for (int k = 0; k < w * h; k++)
		memset(i.rgb + 3 * k, grey[k], 3);
	png_encode(out, &i, NULL, 0);
	image_free(&i);
}

static void read_beside_a_picture(void **state)
{
	static const uint8_t grey[2 * 4] = { 0, 51, 255, 255, 102, 0, 255, 255 },
		white[2 * 4] = { 255, 255, 255, 255, 255, 255, 255, 255 };
	const int size[2] = { 4, 2 }, other[2] = { 4, 4 }, latent[2] = { 2, 1 };
	struct buffer png = { 0 };
	struct error e;
	float *mask;

	grey_png(&png, 4, 2, grey);
	assert_int_equal(mask_read("m", png.data, png.len, size, latent, &mask, &e), 0);
	assert_float_equal(mask[0], 153.0 / 255 / 4, 1e-6);
	assert_float_equal(mask[1], 1, 0);
	free(mask);
	assert_int_equal(mask_read("m", png.data, png.len, other, latent, &mask, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	assert_non_null(strstr(e.text, "m: the mask is 4x2, its picture 4x4"));
	assert_int_equal(mask_read("m", png.data, png.len / 2, size, latent, &mask, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	buffer_free(&png);
	/* One that leaves out nothing is none. */
	grey_png(&png, 4, 2, white);
	assert_int_equal(mask_read("m", png.data, png.len, size, latent, &mask, &e), 0);
	assert_null(mask);
	buffer_free(&png);
}

/* ---- through a latent tar ---- */

static char folder[] = "/tmp/test-mask-XXXXXX";

static float *counting(size_t n, float step)
{
	float *x = xmalloc(n * sizeof(*x));

	for (size_t i = 0; i < n; i++)
		x[i] = i * step;
	return x;
}

static struct latent_sample sample(bool flip, float *mask)
{
	struct latent_sample s = { .key = "00000000", .c = C, .h = H, .w = W, .captions = 1 };

	memset(s.id, 'a', 64);
	s.mean = counting(C * H * W, 1);
	s.std = counting(C * H * W, 1);
	s.flip_mean = flip ? counting(C * H * W, 2) : NULL;
	s.flip_std = flip ? counting(C * H * W, 2) : NULL;
	s.mask = mask;
	s.caption = xcalloc(1, sizeof(*s.caption));
	s.caption[0] = xstrdup("x");
	s.vae = xstrdup("v");
	return s;
}

/* Writes one sample and reads it; more: a field put before the others */
static int through_a_tar(const struct latent_sample *s, const char *more, struct latent_set *set, struct error *e)
{
	char *path = path_join(folder, "t.tar");
	const char *name = path;
	struct publish *out = publish_begin(path, true, e);
	struct tar_writer *w = tar_create(out, "latent");
	json_t *source = json_loads("{\"captions\": [\"x\"], \"repeats\": 1, \"weight\": 1.0, \"original\": [3, 2], "
				    "\"bucket\": [3, 2], \"crop\": [0, 0]}", 0, NULL);
	struct tar_member member[2];
	struct json_out fields = { 0 };
	int members = latent_sample_members(s, member), result;

	tar_sample_begin(&fields, w, 0);
	if (more)
		json_bool(&fields, more, true);
	latent_sample_fields(s, source, &fields);
	assert_int_equal(tar_sample_add(w, 0, member, members, &fields, e), 0);
	assert_int_equal(tar_finish(w, e), 0);
	assert_int_equal(publish_end(out, e), 0);
	result = latent_set_read(&name, 1, set, e);
	unlink(path);
	buffer_free(&member[0].bytes);
	json_free(&fields);
	json_decref(source);
	free(path);
	return result;
}

static void written_and_read(void **state)
{
	struct latent_sample s = sample(true, counting(H * W, 0.125f)), plain = sample(false, NULL);
	struct latent_set set;
	struct error e;

	assert_int_equal(through_a_tar(&s, NULL, &set, &e), 0);
	assert_true(set.masked && set.sample[0].masked);
	assert_memory_equal(set.sample[0].mask, s.mask, H * W * sizeof(float));
	for (int y = 0; y < H; y++)
		for (int x = 0; x < W; x++)
			assert_float_equal(set.sample[0].flip_mask[y * W + x], s.mask[y * W + W - 1 - x], 0);
	latent_set_free(&set);
	assert_int_equal(through_a_tar(&plain, NULL, &set, &e), 0);
	assert_false(set.masked);
	assert_null(set.sample[0].mask);
	latent_set_free(&set);
	latent_sample_free(&s);
	latent_sample_free(&plain);
}

static void malformed(void **state)
{
	struct latent_sample low = sample(false, counting(H * W, -0.1f)), none = sample(false, NULL);
	struct latent_set set;
	struct error e;

	assert_int_equal(through_a_tar(&low, NULL, &set, &e), -1);
	assert_non_null(strstr(e.text, "'mask' holds a value outside 0 to 1"));
	assert_int_equal(through_a_tar(&none, "mask", &set, &e), -1);
	assert_non_null(strstr(e.text, "tensor 'mask' is missing"));
	latent_sample_free(&low);
	latent_sample_free(&none);
}

static int make_folder(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(area_means),
		cmocka_unit_test(read_beside_a_picture),
		cmocka_unit_test(written_and_read),
		cmocka_unit_test(malformed),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
