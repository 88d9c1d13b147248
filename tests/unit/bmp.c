/* BMP: every way of storing a picture whose pixels are a formula; what is damaged, claimed, or not read. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/io/image.h"
#include <cmocka.h>     /* last: it takes the name fail */

enum { W = 13, H = 5 };
enum { PLAIN, RLE8, RLE4, MASKS, ALPHA_MASKS = 6 };

/* ---- the picture: 8 bits a channel, fewer by the masks; the palette's entry i is (5i, 255 - 3i, i * i) ---- */

static uint8_t formula(int x, int y, int c)
{
	return (uint8_t)(c == 3 ? 40 + 16 * x : (17 * x + 40 * y + 90 * c) * (c + 1));
}

static int index_of(int x, int y, int bits)
{
	return (3 * x + 7 * y) & ((1 << bits) - 1);
}

static uint8_t palette(int i, int c)
{
	return (uint8_t)(c == 0 ? 5 * i : c == 1 ? 255 - 3 * i : i * i);
}

/* ---- writing one ---- */

struct kind {
	const char *name;
	int header, bits, compression;
	bool down;                      /* the first row is the top one */
	uint32_t mask[4];               /* red, green, blue, alpha; all 0: as usual */
};

static const uint32_t usual[2][4] = { { 0x7c00, 0x3e0, 0x1f }, { 0xff0000, 0xff00, 0xff } };

static void put(struct buffer *b, uint32_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		buffer_add(b, &(char){ (char)(i < 4 ? v >> 8 * i : 0) }, 1);
}

static const uint32_t *masks_of(const struct kind *k)
{
	return k->mask[0] ? k->mask : usual[k->bits == 32];
}

/* The channel's number in its bits. */
static uint32_t stored(uint32_t mask, uint8_t value)
{
	int shift = 0;
	uint64_t most;

	if (!mask)
		return 0;
	while (!(mask >> shift & 1))
		shift++;
	most = mask >> shift;
	return (uint32_t)(value * most / 255) << shift;
}

static uint8_t shown(uint32_t mask, uint8_t value)
{
	int shift = 0;
	double most;

	if (!mask)
		return 0;
	while (!(mask >> shift & 1))
		shift++;
	most = mask >> shift;
	return (uint8_t)((stored(mask, value) >> shift) * 255 / most + 0.5);
}

static void put_pixels(struct buffer *b, const struct kind *k, int y)
{
	const size_t start = b->len;
	int byte = 0;

	for (int x = 0; x < W; x++) {
		uint32_t v = 0;

		if (k->bits <= 8) {
			byte = (byte << k->bits | index_of(x, y, k->bits)) & 0xff;
			if ((x + 1) * k->bits % 8 == 0)
				put(b, (uint8_t)byte, 1);
			continue;
		}
		for (int c = 0; c < 4; c++)
			v |= k->bits == 24 ? c < 3 ? (uint32_t)formula(x, y, c) << 8 * (2 - c) : 0 :
				stored(masks_of(k)[c], formula(x, y, c));
		put(b, v, k->bits / 8);
	}
	if (k->bits < 8 && W * k->bits % 8)
		put(b, (uint8_t)(byte << (8 - W * k->bits % 8)), 1);
	while ((b->len - start) % 4)
		put(b, 0xee, 1);
}

/* Literals of five, runs of two (whose pixels are the same only where the formula says so, so of one),
 * and a jump to the right. */
static void put_packed(struct buffer *b, const struct kind *k, int y)
{
	const int bits = k->bits;

	put(b, 0x0500, 2);
	for (int x = 0; x < 5; x++) {
		const int i = index_of(x, y, bits);

		if (bits == 8)
			put(b, i, 1);
		else if (x % 2)
			b->data[b->len - 1] |= i;
		else
			put(b, i << 4, 1);
	}
	put(b, 0, 1);                   /* six bytes, or four with what fills them up */
	for (int x = 5; x < W; x++) {
		put(b, 1, 1);
		put(b, bits == 8 ? index_of(x, y, 8) : index_of(x, y, 4) << 4, 1);
	}
	put(b, 0, 2);
}

static void put_header(struct buffer *b, const struct kind *k, size_t pixels)
{
	const int masks = k->compression == ALPHA_MASKS ? 4 : k->compression == MASKS ? 3 : 0;
	const size_t start = b->len;

	put(b, k->header, 4);
	if (k->header == 12) {
		put(b, W, 2);
		put(b, H, 2);
		put(b, 1, 2);
		put(b, k->bits, 2);
		return;
	}
	put(b, W, 4);
	put(b, k->down ? -H : H, 4);
	put(b, 1, 2);
	put(b, k->bits, 2);
	if (k->header > 16) {
		put(b, k->compression, 4);
		for (int i = 0; i < 5; i++)
			put(b, 0, 4);
	}
	for (int i = 0; i < (k->header == 40 ? masks : k->header >= 56 ? 4 : k->header >= 52 ? 3 : 0); i++)
		put(b, masks_of(k)[i], 4);
	while (b->len < start + k->header)
		put(b, 0, 1);
}

static struct buffer write_bmp(const struct kind *k)
{
	struct buffer b = { 0 };
	const uint32_t at = 10;
	size_t pixels;

	buffer_adds(&b, "BM");
	put(&b, 0, 12);
	put_header(&b, k, 0);
	for (int i = 0; k->bits <= 8 && i < 1 << k->bits; i++) {
		for (int c = 0; c < 3; c++)
			put(&b, palette(i, 2 - c), 1);
		if (k->header > 12)
			put(&b, 0, 1);
	}
	pixels = b.len;
	for (int i = 0; i < 4; i++)
		b.data[at + i] = (char)(pixels >> 8 * i);
	for (int row = 0; row < H; row++)
		(k->compression == RLE8 || k->compression == RLE4 ? put_packed : put_pixels)(&b, k,
			k->down ? row : H - 1 - row);
	if (k->compression == RLE8 || k->compression == RLE4)
		put(&b, 0x0100, 2);
	return b;
}

static const struct kind kinds[] = {
	{ "1 bit", 40, 1, PLAIN }, { "2 bits", 40, 2, PLAIN }, { "4 bits", 40, 4, PLAIN }, { "8 bits", 40, 8, PLAIN },
	{ "16 bits", 40, 16, PLAIN }, { "24 bits", 40, 24, PLAIN }, { "32 bits", 40, 32, PLAIN },
	{ "8 bits, top first", 40, 8, PLAIN, true }, { "24 bits, top first", 40, 24, PLAIN, true },
	{ "OS/2, 1 bit", 12, 1, PLAIN }, { "OS/2, 4 bits", 12, 4, PLAIN }, { "OS/2, 8 bits", 12, 8, PLAIN },
	{ "OS/2, 24 bits", 12, 24, PLAIN }, { "OS/2 2, short, 8 bits", 16, 8, PLAIN },
	{ "OS/2 2, 8 bits", 64, 8, PLAIN }, { "OS/2 2, 24 bits", 64, 24, PLAIN }, { "RLE8", 40, 8, RLE8 },
	{ "RLE4", 40, 4, RLE4 }, { "RLE8, top first", 40, 8, RLE8, true }, { "RLE8 of OS/2 2", 64, 8, RLE8 },
	{ "5-6-5", 40, 16, MASKS, false, { 0xf800, 0x7e0, 0x1f } },
	{ "5-5-5, masked", 40, 16, MASKS, false, { 0x7c00, 0x3e0, 0x1f } },
	{ "2-3-1", 40, 16, MASKS, false, { 0x30, 0xe, 1 } },
	{ "32 bits, red first", 40, 32, MASKS, false, { 0xff, 0xff00, 0xff0000 } },
	{ "10-11-11", 40, 32, MASKS, false, { 0xffc00000, 0x3ff800, 0x7ff } },
	{ "header 52", 52, 32, MASKS, false, { 0xff000000, 0xff0000, 0xff00 } },
	{ "header 56 with alpha", 56, 32, MASKS, false, { 0xff000000, 0xff0000, 0xff00, 0xff } },
	{ "alpha masks", 40, 32, ALPHA_MASKS, false, { 0xff0000, 0xff00, 0xff, 0xff000000 } },
	{ "4-4-4-4", 56, 16, MASKS, false, { 0xf00, 0xf0, 0xf, 0xf000 } },
	{ "version 4 with alpha", 108, 32, MASKS, true, { 0xff0000, 0xff00, 0xff, 0xff000000 } },
	{ "version 5 with alpha", 124, 32, MASKS, false, { 0xff0000, 0xff00, 0xff, 0xff000000 } },
	{ "version 5, 24 bits", 124, 24, PLAIN }, { "version 4, RLE8", 108, 8, RLE8 },
};
#define KINDS (sizeof(kinds) / sizeof(*kinds))

static uint8_t expected(const struct kind *k, int x, int y, int c)
{
	if (k->bits <= 8)
		return palette(index_of(x, y, k->bits), c);
	return k->bits == 24 ? formula(x, y, c) : shown(masks_of(k)[c], formula(x, y, c));
}

static const struct image_options options = { .background = { 255, 0, 99 }, .keep_alpha = true };

static void check_pixels(const struct kind *k, const struct image *i)
{
	const bool alpha = masks_of(k)[3] != 0;

	assert_int_equal(i->width, W);
	assert_int_equal(i->height, H);
	assert_int_equal(i->alpha != NULL, alpha);
	for (int y = 0; y < H; y++)
		for (int x = 0; x < W; x++) {
			const size_t at = y * W + x;
			const int a = alpha ? expected(k, x, y, 3) : 255;

			if (alpha)
				assert_int_equal(i->alpha[at], a);
			for (int c = 0; c < 3; c++) {
				const int on = (expected(k, x, y, c) * a + options.background[c] * (255 - a)
						+ 127) / 255;

				if (i->rgb[3 * at + c] != on)
					fail_msg("%s: pixel %d,%d channel %d is %d, not %d", k->name, x, y, c,
						 i->rgb[3 * at + c], on);
			}
		}
}

static void every_kind(void **state)
{
	for (size_t n = 0; n < KINDS; n++) {
		struct buffer b = write_bmp(&kinds[n]);
		struct image image;
		struct image_info info;
		struct error e = { 0 };

		if (image_decode("x", b.data, b.len, &options, &image, &info, &e) < 0)
			fail_msg("%s: %s", kinds[n].name, e.text);
		check_pixels(&kinds[n], &image);
		assert_string_equal(info.format, "BMP");
		image_free(&image);
		buffer_free(&b);
	}
}

/* Cut anywhere: refused as damaged, or the same picture where only what fills up the last row is missing. */
static void cut_anywhere(void **state)
{
	for (size_t n = 0; n < KINDS; n++) {
		struct buffer b = write_bmp(&kinds[n]);

		for (size_t cut = 2; cut < b.len; cut++) {
			/* of its own size, so that a sanitizer sees what reads beyond it */
			char *copy = malloc(cut);
			struct image image;
			struct error e = { 0 };

			memcpy(copy, b.data, cut);
			if (image_decode("x", copy, cut, &options, &image, NULL, &e) == 0) {
				assert_in_range(b.len - cut, 1,
						kinds[n].compression == RLE8 || kinds[n].compression == RLE4 ? 4 : 3);
				check_pixels(&kinds[n], &image);
			} else {
				assert_int_equal(e.code, EXIT_INPUT);
			}
			image_free(&image);
			free(copy);
		}
		buffer_free(&b);
	}
}

/* Alpha bits that are 0 in every pixel mean that the writer did not know of them. */
static void alpha_that_nobody_wrote(void **state)
{
	const struct kind with = { "", 56, 32, MASKS, false, { 0xff0000, 0xff00, 0xff, 0xff000000 } };
	struct buffer b = write_bmp(&with);
	struct image image;
	struct error e;

	for (size_t i = b.len - 4 * W * H + 3; i < b.len; i += 4)
		b.data[i] = 0;
	assert_int_equal(image_decode("x", b.data, b.len, &options, &image, NULL, &e), 0);
	assert_null(image.alpha);
	assert_int_equal(image.rgb[0], formula(0, 0, 0));
	image_free(&image);
	buffer_free(&b);
}

static void a_palette_that_the_offset_forgets(void **state)
{
	struct buffer b = write_bmp(&kinds[3]);
	struct image image;
	struct error e;

	b.data[10] = 14 + 40;
	b.data[11] = 0;
	assert_int_equal(image_decode("x", b.data, b.len, &options, &image, NULL, &e), 0);
	check_pixels(&kinds[3], &image);
	image_free(&image);
	buffer_free(&b);
}

/* ---- claims and damage ---- */

static void set(struct buffer *b, size_t at, uint32_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		b->data[at + i] = (char)(v >> 8 * i);
}

static void what_is_refused(void **state)
{
	enum { RGB24 = 5, MASKED = 20, RLE = 16 };
	static const struct { size_t kind, at; uint32_t value; int bytes; const char *says; bool bomb; } rows[] = {
		{ RGB24, 18, 0x7fffffff, 4, "over the limit", true },
		{ RGB24, 22, 0x80000000, 4, "over the limit", true },
		{ RGB24, 18, 0xffffffff, 4, "-1 pixels wide" },
		{ RGB24, 18, 0, 4, "0x5" },
		{ RGB24, 22, 0, 4, "13x0" },
		{ RGB24, 18, 60000, 4, "truncated" },
		{ RLE, 22, 1000, 4, NULL },                     /* rows that nobody wrote have the colour 0 */
		{ RGB24, 28, 48, 2, "48 bits a pixel, plain" },
		{ RGB24, 28, 0, 2, "0 bits a pixel, plain" },
		{ RGB24, 30, 4, 4, "with a JPEG in it" },
		{ RGB24, 30, 5, 4, "with a PNG in it" },
		{ RGB24, 30, 99, 4, "packed in an unknown way" },
		{ RGB24, 30, 1, 4, "24 bits a pixel, RLE8" },
		{ RGB24, 14, 13, 4, "a header of 13 bytes" },
		{ RGB24, 14, 0xffffffff, 4, "a header of 4294967295 bytes" },
		{ RGB24, 10, 20, 4, "begin within its header" },
		{ RGB24, 10, 0xfffffff0, 4, "truncated" },
		{ MASKED, 54, 0xf0f0, 4, "do not lie together" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buffer b = write_bmp(&kinds[rows[i].kind]);
		struct image image;
		struct image_info info = { 0 };
		struct error e = { 0 };
		int status;

		set(&b, rows[i].at, rows[i].value, rows[i].bytes);
		status = image_decode("x", b.data, b.len, &options, &image, &info, &e);
		assert_int_equal(status, rows[i].says ? -1 : 0);
		if (rows[i].says && (!strstr(e.text, rows[i].says) || e.code != EXIT_INPUT))
			fail_msg("row %zu: '%s' is not in: %s", i, rows[i].says, e.text);
		assert_int_equal(info.over_limit, rows[i].bomb);
		image_free(&image);
		buffer_free(&b);
	}
}

/* A run over the edge is cut, a jump leaves the colour 0, what comes below the last row is nothing. */
static void packed_oddities(void **state)
{
	static const char codes[] = { 100, 7, 0, 2, 3, 1, 2, 9, 0, 0, 0, 3, 1, 2, 3, 0, 0, 2, 0, 99, 5, 5, 0, 1 };
	static const uint8_t rows[H][W] = { [4] = { 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7 }, [3] = { 0 },
					    [2] = { 1, 2, 3 } };
	const struct kind k = { "", 40, 8, RLE8 };
	struct buffer b = write_bmp(&k);
	struct image image;
	struct error e;

	b.len = 14 + 40 + 1024;
	buffer_add(&b, codes, sizeof(codes));
	assert_int_equal(image_decode("x", b.data, b.len, &options, &image, NULL, &e), 0);
	for (int y = 0; y < H; y++)
		for (int x = 0; x < W; x++)
			assert_int_equal(image.rgb[3 * (y * W + x) + 1], palette(rows[y][x], 1));
	image_free(&image);
	buffer_free(&b);
}

static void the_header_is_enough_for_the_size(void **state)
{
	const struct image_options only = { .only_size = true };
	struct buffer b = write_bmp(&kinds[5]);
	struct image image;
	struct image_info info;
	struct error e;

	assert_int_equal(image_decode("x", b.data, 60, &only, &image, &info, &e), 0);
	assert_int_equal(info.width, W);
	assert_int_equal(info.height, H);
	buffer_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind),
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(alpha_that_nobody_wrote),
		cmocka_unit_test(a_palette_that_the_offset_forgets),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(packed_oddities),
		cmocka_unit_test(the_header_is_enough_for_the_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
