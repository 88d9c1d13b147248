/* make_bombs FOLDER: small files that ask for much memory or time, for bombs.bats. */
#include <stdio.h>
#include <jpeglib.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <webp/encode.h>
#include <zlib.h>
#include "../../libcommon/base/error.h"
#include "../../libcommon/base/memory.h"

static void save(const char *name, struct buffer *b)
{
	FILE *f = fopen(name, "wb");

	if (!f || fwrite(b->data, 1, b->len, f) != b->len || fclose(f))
		die(EXIT_IO, "%s: cannot be written", name);
	buffer_free(b);
}

/* ---- PNG ---- */

static void put(png_structp png, png_bytep bytes, size_t n)
{
	buffer_add(png_get_io_ptr(png), bytes, n);
}

struct png_bomb { const char *name; int width, height, depth, color, interlace; };

/* All black, but for a pattern in the first row. */
static void make_png(const struct png_bomb *p)
{
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
	png_infop info = png_create_info_struct(png);
	struct buffer b = { 0 };
	png_bytep row = xcalloc((size_t)p->width, 8);
	int passes;

	png_set_write_fn(png, &b, put, NULL);
	png_set_compression_level(png, 1);
	png_set_IHDR(png, info, (png_uint_32)p->width, (png_uint_32)p->height, p->depth, p->color, p->interlace, 0, 0);
	png_write_info(png, info);
	passes = png_set_interlace_handling(png);
	while (passes--)
		for (int y = 0; y < p->height; y++) {
			memset(row, y ? 0 : 0x5a, p->width / 8);
			png_write_row(png, row);
		}
	png_write_end(png, info);
	png_destroy_write_struct(&png, &info);
	free(row);
	save(p->name, &b);
}

static void add_chunk(struct buffer *b, const char *type, const void *data, size_t n)
{
	unsigned char number[4];
	unsigned long crc = crc32(crc32(0, (const Bytef *)type, 4), data, (uInt)n);

	for (int i = 0; i < 4; i++)
		number[i] = (unsigned char)(n >> (24 - 8 * i));
	buffer_add(b, number, 4);
	buffer_adds(b, type);
	buffer_add(b, data, n);
	for (int i = 0; i < 4; i++)
		number[i] = (unsigned char)(crc >> (24 - 8 * i));
	buffer_add(b, number, 4);
}

/* 400 texts of 3.9 MB each, in 1.5 MB. */
static void make_text_png(const char *name)
{
	static const unsigned char header[13] = { 0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0 }, pixel[4];
	static unsigned char packed[100000] = "x";
	size_t n = 3900000;
	char *text = memset(xmalloc(n), 'A', n);
	uLongf size = sizeof(packed) - 3;
	struct buffer b = { 0 };

	compress2(packed + 3, &size, (Bytef *)text, n, 9);
	buffer_add(&b, "\x89PNG\r\n\x1a\n", 8);
	add_chunk(&b, "IHDR", header, sizeof(header));
	for (int i = 0; i < 400; i++)
		add_chunk(&b, "zTXt", packed, size + 3);
	size = sizeof(packed);
	compress2(packed, &size, pixel, sizeof(pixel), 9);
	add_chunk(&b, "IDAT", packed, size);
	add_chunk(&b, "IEND", "", 0);
	free(text);
	save(name, &b);
}

/* ---- JPEG, WebP ---- */

static void make_jpeg(const char *name, int width, int height, int sampling)
{
	struct jpeg_compress_struct c;
	struct jpeg_error_mgr errors;
	unsigned char *bytes = NULL;
	unsigned long n = 0;
	struct buffer b = { 0 };
	JSAMPROW row = xcalloc((size_t)width, 3);

	c.err = jpeg_std_error(&errors);
	jpeg_create_compress(&c);
	jpeg_mem_dest(&c, &bytes, &n);
	c.image_width = (JDIMENSION)width;
	c.image_height = (JDIMENSION)height;
	c.input_components = 3;
	c.in_color_space = JCS_RGB;
	jpeg_set_defaults(&c);
	c.comp_info[0].h_samp_factor = c.comp_info[0].v_samp_factor = sampling;
	jpeg_simple_progression(&c);
	jpeg_start_compress(&c, TRUE);
	while (c.next_scanline < c.image_height)
		jpeg_write_scanlines(&c, &row, 1);
	jpeg_finish_compress(&c);
	jpeg_destroy_compress(&c);
	buffer_add(&b, bytes, n);
	free(bytes);
	free(row);
	save(name, &b);
}

static void make_webp(const char *name, int width, int height)
{
	uint8_t *rgba = xcalloc((size_t)width * height, 4), *bytes = NULL;
	size_t n = WebPEncodeLosslessRGBA(rgba, width, height, 4 * width, &bytes);
	struct buffer b = { 0 };

	buffer_add(&b, bytes, n);
	WebPFree(bytes);
	free(rgba);
	save(name, &b);
}

/* ---- JSON and text ---- */

static void make_repeated(const char *name, const char *start, const char *piece, size_t times, const char *end)
{
	struct buffer b = { 0 };

	buffer_adds(&b, start);
	while (times--)
		buffer_adds(&b, piece);
	buffer_adds(&b, end);
	save(name, &b);
}

int main(int argc, char **argv)
{
	static const struct png_bomb pngs[] = {
		{ "interlaced.png", 5000, 5000, 16, PNG_COLOR_TYPE_RGBA, PNG_INTERLACE_ADAM7 },
		{ "bits.png", 10000, 10000, 1, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_ADAM7 },
		{ "wide.png", 65535, 300, 16, PNG_COLOR_TYPE_RGBA, PNG_INTERLACE_NONE },
	};

	if (argc != 2 || chdir(argv[1]) < 0)
		return 2;
	for (size_t i = 0; i < sizeof(pngs) / sizeof(*pngs); i++)
		make_png(&pngs[i]);
	make_text_png("text.png");
	make_jpeg("progressive.jpg", 6000, 4000, 2);
	make_jpeg("progressive-full.jpg", 6000, 4000, 1);
	make_jpeg("progressive-large.jpg", 9500, 9500, 1);
	make_webp("lossless.webp", 4000, 3000);
	make_repeated("values.json", "[", "1,", 30 << 20, "1]");
	make_repeated("lists.json", "[", "[],", 20 << 20, "1]");
	make_repeated("objects.json", "[", "{},", 20 << 20, "1]");
	make_repeated("text.json", "[\"", "xxxxxxxxxxxxxxxx", 7 << 19, "\"]");
	make_repeated("square.txt", "a ball ", "[x:", 1 << 20, "\n");
	make_repeated("round.txt", "a ball ", "(x:1.1)(", 1 << 18, "\n");
	return 0;
}
