/* A JPEG that is more than its reader needs is made smaller while it is decoded: never below what is needed, upright
 * sizes told of the file, and nearly what averages of all its pixels give.  Made by our own writer, which is
 * libjpeg's. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include "../../libcommon/data/resample.h"
#include <cmocka.h>

enum { W = 403, H = 301 };

/* Waves of every direction, none finer than a picture's details are. */
static void make(struct buffer *out, bool on_its_side, bool png)
{
	static const unsigned char exif[] = { 0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0, 0, 'I', 'I', 42, 0, 8, 0, 0, 0,
					      1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0 };
	struct image i = { W, H, xmalloc(W * H * 3) };
	struct buffer plain = { 0 };

	for (int y = 0; y < H; y++)
		for (int x = 0; x < W; x++)
			for (int c = 0; c < 3; c++)
				i.rgb[3 * (y * W + x) + c] =
					(uint8_t)(128 + 60 * sin(x * 0.11 + c) + 50 * sin(y * 0.07 - x * 0.05 - c));
	if (png)
		png_encode(out, &i, NULL, 0);
	else
		jpeg_encode(&plain, &i, 95);
	if (!png) {
		buffer_add(out, plain.data, 2);
		if (on_its_side)
			buffer_add(out, exif, sizeof(exif));
		buffer_add(out, plain.data + 2, plain.len - 2);
	}
	buffer_free(&plain);
	image_free(&i);
}

struct ask { int least[2], asked[2]; };

static void enough(const void *context, int width, int height, int least[2])
{
	struct ask *a = (struct ask *)(uintptr_t)context;

	a->asked[0] = width;
	a->asked[1] = height;
	memcpy(least, a->least, sizeof(a->least));
}

static struct image decode(const struct buffer *b, struct ask *a, struct image_info *info)
{
	const struct image_options o = { .enough = a ? enough : NULL, .context = a };
	struct image i;
	struct error e;

	assert_int_equal(image_decode("x", b->data, b->len, &o, &i, info, &e), 0);
	return i;
}

static void sizes(void **state)
{
	static const struct { int least[2], width, height; } cases[] = {
		{ { 403, 301 }, 403, 301 }, { { 202, 1 }, 403, 301 },   { { 201, 151 }, 403, 301 },
		{ { 201, 150 }, 202, 151 },
		{ { 101, 75 }, 202, 151 },  { { 100, 75 }, 101, 76 },   { { 50, 37 }, 51, 38 },
		{ { 1, 1 }, 51, 38 },
		{ { 1000, 1 }, 403, 301 },
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++)
		for (int side = 0; side < 2; side++) {
			struct ask a = { .least = { cases[k].least[side], cases[k].least[!side] } };
			struct buffer b = { 0 };
			struct image_info info;
			struct image i;
			make(&b, side, false);
			i = decode(&b, &a, &info);
			assert_int_equal(info.orientation, side ? 6 : 1);
			assert_int_equal(side ? i.height : i.width, cases[k].width);
			assert_int_equal(side ? i.width : i.height, cases[k].height);
			assert_int_equal(side ? info.height : info.width, W);
			assert_int_equal(side ? info.width : info.height, H);
			assert_int_equal(a.asked[side], W);
			assert_int_equal(a.asked[!side], H);
			image_free(&i);
			buffer_free(&b);
		}
}

static double psnr(const struct image *a, const struct image *b)
{
	double sum = 0;
	int n = a->width * a->height * 3;

	for (int i = 0; i < n; i++)
		sum += (a->rgb[i] - b->rgb[i]) * (a->rgb[i] - b->rgb[i]);
	return 10 * log10(255.0 * 255 * n / (sum + 1e-9));
}

/* Coarse pixels averaged again blur a little, more the fewer there are.  With the last column taken for a whole pixel
 * 1/2 comes to 39 dB. */
static void nearly_averages(void **state)
{
	static const double least[] = { [2] = 50, [4] = 46, [8] = 37 };

	for (int by = 2; by <= 8; by *= 2)
		for (int side = 0; side < 2; side++) {
			struct buffer b = { 0 };
			struct ask a = { .least = { (side ? H : W) / by, (side ? W : H) / by } };
			int w = (side ? H : W) / by - 3, h = (side ? W : H) / by - 3;
			struct image_info info;
			struct image all, less, from_all, from_less;
			double same;
			make(&b, side, false);
			all = decode(&b, NULL, NULL);
			less = decode(&b, &a, &info);
			assert_true(less.width < all.width);
			resample(&all, w, h, RESAMPLE_AREA, (struct window){ 0, 0, w, h }, &from_all);
			resample_part(&less, &info.part, w, h,
				      RESAMPLE_AREA, (struct window){ 0, 0, w, h }, &from_less);
			same = psnr(&from_all, &from_less);
			print_message("1/%d %s %.1f dB\n", by, side ? "turned" : "upright", same);
			assert_true(same > least[by]);
			image_free(&all);
			image_free(&less);
			image_free(&from_all);
			image_free(&from_less);
			buffer_free(&b);
		}
}

static void png_keeps_all(void **state)
{
	struct buffer b = { 0 };
	struct ask a = { .least = { 1, 1 } };
	struct image i;

	make(&b, false, true);
	i = decode(&b, &a, NULL);
	assert_int_equal(i.width, W);
	assert_int_equal(a.asked[0], 0);
	image_free(&i);
	buffer_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(sizes), cmocka_unit_test(nearly_averages),
					    cmocka_unit_test(png_keeps_all) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
