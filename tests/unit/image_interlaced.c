/* An interlaced PNG is decoded pass by pass, without a second copy of the picture: at every small size, where passes
 * are empty or end within a row, and in every kind of pixel it must be what the same picture is straight. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <png.h>
#include "../../libcommon/io/image.h"
#include <cmocka.h>

static void put(png_structp png, png_bytep bytes, size_t n)
{
	buffer_add(png_get_io_ptr(png), bytes, n);
}

struct kind { int color, depth; };

/* Exif that says orientation 6, so that rows become columns. */
static const char turned[] = "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";

static void make(struct buffer *out, int w, int h, struct kind k, int interlace, bool turn)
{
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
	png_infop info = png_create_info_struct(png);
	png_color palette[256];
	png_bytep row[32];
	uint32_t random = 1;

	for (int i = 0; i < 256; i++)
		palette[i] = (png_color){ (png_byte)i, (png_byte)(255 - i), (png_byte)(i * 7) };
	png_set_write_fn(png, out, put, NULL);
	png_set_IHDR(png, info, (png_uint_32)w, (png_uint_32)h, k.depth, k.color, interlace, 0, 0);
	if (k.color == PNG_COLOR_TYPE_PALETTE)
		png_set_PLTE(png, info, palette, 1 << k.depth);
	if (turn)
		png_set_eXIf_1(png, info, sizeof(turned) - 1, (png_bytep)(uintptr_t)turned);
	png_write_info(png, info);
	for (int y = 0; y < h; y++) {
		size_t stride = png_get_rowbytes(png, info);

		row[y] = xmalloc(stride);
		for (size_t i = 0; i < stride; i++)
			row[y][i] = (png_byte)((random = random * 1664525 + 1013904223) >> 24);
	}
	png_write_image(png, row);
	png_write_end(png, info);
	png_destroy_write_struct(&png, &info);
	for (int y = 0; y < h; y++)
		free(row[y]);
}

static struct image decode(const struct buffer *b)
{
	struct image_options o = { .background = { 10, 200, 30 }, .keep_alpha = true };
	struct image i;
	struct error e;

	if (image_decode("interlaced", b->data, b->len, &o, &i, NULL, &e) < 0)
		fail_msg("%s", e.text);
	return i;
}

static void assert_same(int w, int h, struct kind k, bool turn)
{
	struct buffer b = { 0 };
	struct image straight, interlaced;
	size_t n = (size_t)w * h;

	make(&b, w, h, k, PNG_INTERLACE_NONE, turn);
	straight = decode(&b);
	buffer_clear(&b);
	make(&b, w, h, k, PNG_INTERLACE_ADAM7, turn);
	interlaced = decode(&b);
	assert_int_equal(interlaced.width, straight.width);
	assert_int_equal(interlaced.height, straight.height);
	assert_memory_equal(interlaced.rgb, straight.rgb, 3 * n);
	assert_true(!interlaced.alpha == !straight.alpha);
	if (straight.alpha)
		assert_memory_equal(interlaced.alpha, straight.alpha, n);
	image_free(&straight);
	image_free(&interlaced);
	buffer_free(&b);
}

static void every_size_and_kind(void **state)
{
	static const struct kind kinds[] = {
		{ PNG_COLOR_TYPE_GRAY, 1 }, { PNG_COLOR_TYPE_GRAY, 2 }, { PNG_COLOR_TYPE_GRAY, 4 },
		{ PNG_COLOR_TYPE_GRAY, 8 }, { PNG_COLOR_TYPE_GRAY, 16 }, { PNG_COLOR_TYPE_PALETTE, 1 },
		{ PNG_COLOR_TYPE_PALETTE, 4 }, { PNG_COLOR_TYPE_PALETTE, 8 }, { PNG_COLOR_TYPE_RGB, 8 },
		{ PNG_COLOR_TYPE_RGB, 16 }, { PNG_COLOR_TYPE_GRAY_ALPHA, 8 }, { PNG_COLOR_TYPE_GRAY_ALPHA, 16 },
		{ PNG_COLOR_TYPE_RGBA, 8 }, { PNG_COLOR_TYPE_RGBA, 16 },
	};

	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
		for (int w = 1; w <= 17; w++)
			for (int h = 1; h <= 9; h++)
				assert_same(w, h, kinds[k], (w + h) % 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_size_and_kind) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
