/* What lora-encode does beside the usual, from an image tar to the latent tar: masks, weighted captions. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/data/encode.h"
#include "../../libcommon/data/latents.h"
#include "../../libcommon/io/image.h"
#include "../../libcommon/io/publish.h"
#include <cmocka.h>     /* last: it takes the name fail */

enum { SIDE = 16, LATENT = 4 };         /* of a picture; the demo's VAE makes a quarter of it */

static char folder[] = "/tmp/test-extras-XXXXXX";

static struct image plain(void)
{
	struct image i = { SIDE, SIDE, xmalloc(3 * SIDE * SIDE) };

	for (int k = 0; k < 3 * SIDE * SIDE; k++)
		i.rgb[k] = k * 7 % 256;
	return i;
}

/* mask: NULL or grey values of four quarters */
static void write_image(const char *path, const char *caption, const uint8_t *mask)
{
	struct error e;
	struct publish *out = publish_begin(path, true, &e);
	struct tar_writer *w = tar_create(out, "image");
	struct tar_member member[3] = { { .suffix = "png" }, { .suffix = "flip.png" }, { .suffix = "mask.png" } };
	struct json_out fields = { 0 };
	struct image i = plain();

	png_encode(&member[0].bytes, &i, NULL, 0);
	png_encode(&member[1].bytes, &i, NULL, 0);
	for (int y = 0; mask && y < SIDE; y++)
		for (int x = 0; x < SIDE; x++)
			memset(i.rgb + 3 * (y * SIDE + x), mask[y / (SIDE / 2) * 2 + x / (SIDE / 2)], 3);
	png_encode(&member[2].bytes, &i, NULL, 0);
	tar_sample_begin(&fields, w, 0);
	json_begin_array(&fields, "captions");
	json_text(&fields, NULL, caption);
	json_end_array(&fields);
	json_raw(&fields, "repeats", "1");
	json_raw(&fields, "weight", "1");
	json_raw(&fields, "original", "[16,16]");
	json_raw(&fields, "crop", "[0,0]");
	json_raw(&fields, "bucket", "[16,16]");
	assert_int_equal(tar_sample_add(w, 0, member, mask ? 3 : 2, &fields, &e), 0);
	assert_int_equal(tar_finish(w, &e), 0);
	assert_int_equal(publish_end(out, &e), 0);
	json_free(&fields);
	image_free(&i);
	for (int k = 0; k < 3; k++)
		buffer_free(&member[k].bytes);
}

/* One picture through lora-encode */
static struct latent_set encoded(const char *caption, const uint8_t *mask, bool weighted, long tokens)
{
	char *in = path_join(folder, "in.tar"), *to = path_join(folder, "out.tar");
	const char *input = in, *output = to;
	struct encode_settings s = { .model = "demo/tiny-sdxl", .device = "cpu", .output = to, .precision = "fp32",
				     .batch = 1, .max_token_length = tokens, .caption_variants = 1, .seed = "1",
				     .captions.weighted = weighted };
	struct latent_set set = { 0 };
	struct error e;

	write_image(in, caption, mask);
	if (encode_run(&s, &input, 1, &e) || latent_set_read(&output, 1, &set, &e))
		fail_msg("%s", e.text);
	unlink(in);
	unlink(to);
	free(in);
	free(to);
	return set;
}

static void masks(void **state)
{
	static const uint8_t quarters[4] = { 0, 255, 51, 102 }, white[4] = { 255, 255, 255, 255 };
	struct latent_set a = encoded("x", quarters, false, 75), b = encoded("x", NULL, false, 75),
		c = encoded("x", white, false, 75);
	const struct latent_sample *s = &a.sample[0];

	assert_int_equal(s->w * s->h, LATENT * LATENT);
	for (int i = 0; i < LATENT * LATENT; i++) {
		const int quarter = i / (LATENT * LATENT / 2) * 2 + i % LATENT / (LATENT / 2);
		assert_float_equal(s->mask[i], quarters[quarter] / 255.0, 1e-6);
		assert_float_equal(s->flip_mask[i], quarters[quarter ^ 1] / 255.0, 1e-6);
	}
	assert_memory_equal(s->mean, b.sample[0].mean, s->c * LATENT * LATENT * sizeof(float));
	assert_string_not_equal(s->id, b.sample[0].id);
	assert_true(!b.masked && !c.masked);
	latent_set_free(&a);
	latent_set_free(&b);
	latent_set_free(&c);
}

/* got is plain, but that words first..last are times weight. */
static void weighed(const struct latent_sample *got, const struct latent_sample *plain, int first, int last,
		    float weight)
{
	const float *a = got->text.of[CONDITION_CONTEXT].data, *b = plain->text.of[CONDITION_CONTEXT].data;
	const int length = got->text.of[CONDITION_CONTEXT].length, width = got->text.of[CONDITION_CONTEXT].width;

	assert_true(conditioning_alike(&got->text, &plain->text));
	for (int i = 0; i < length; i++)
		for (int k = 0; k < width; k++) {
			const float *x = a + i * width, *y = b + i * width;
			if (x[k] != y[k] * (i >= first && i <= last ? weight : 1))
				fail_msg("token %d, value %d: %g for %g", i, k, x[k], y[k]);
		}
	assert_memory_equal(got->text.of[CONDITION_POOLED].data, plain->text.of[CONDITION_POOLED].data,
			    condition_size(&got->text, CONDITION_POOLED) * sizeof(float));
}

static void weighted_captions(void **state)
{
	struct latent_set a = encoded("a (red:1.5) cat", NULL, true, 75), b = encoded("a red cat", NULL, false, 75);
	struct latent_set c = encoded("a red cat", NULL, true, 75), d = encoded("a (red:1.5) cat", NULL, false, 75);

	weighed(&a.sample[0], &b.sample[0], 2, 2, 1.5f);
	assert_true(a.sample[0].weighted && !b.sample[0].weighted);
	/* Without brackets it is the same text. */
	weighed(&c.sample[0], &b.sample[0], 0, 0, 1);
	assert_string_equal(c.sample[0].id, b.sample[0].id);
	assert_memory_not_equal(d.sample[0].text.of[CONDITION_CONTEXT].data,
				a.sample[0].text.of[CONDITION_CONTEXT].data,
				10 * a.sample[0].text.of[CONDITION_CONTEXT].width * sizeof(float));
	latent_set_free(&a);
	latent_set_free(&b);
	latent_set_free(&c);
	latent_set_free(&d);
}

static void in_chunks(void **state)
{
	struct buffer text = { 0 }, brackets = { 0 };
	struct latent_set a, b;

	for (int i = 0; i < 74; i++)
		buffer_adds(&text, "a ");
	buffer_addf(&brackets, "%s(a a a:0.5) a", text.data);
	buffer_adds(&text, "a a a a");
	a = encoded(brackets.data, NULL, true, 150);
	b = encoded(text.data, NULL, false, 150);
	assert_int_equal(a.sample[0].text.of[CONDITION_CONTEXT].length, 152);
	weighed(&a.sample[0], &b.sample[0], 75, 77, 0.5f);
	latent_set_free(&a);
	latent_set_free(&b);
	buffer_free(&text);
	buffer_free(&brackets);
}

static int make_folder(void **state)
{
	quiet(true);
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(masks), cmocka_unit_test(weighted_captions),
					    cmocka_unit_test(in_chunks) };

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
