/* Pictures are made here by the codecs' own writers, in every kind that people have, and must come back as sRGB. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jpeglib.h>
#include <lcms2.h>
#include <math.h>
#include <png.h>
#include <unistd.h>
#include <webp/encode.h>
#include "../../libcommon/io/image.h"
#include <cmocka.h>

#define W 13
#define H 9

/* ---- makers ---- */

static void put(png_structp png, png_bytep bytes, size_t n)
{
	buffer_add(png_get_io_ptr(png), bytes, n);
}

struct png_plan {
	int depth, color, interlace;
	const char *exif; size_t exif_bytes;
	const char *raw; int packing;   /* ImageMagick's text */
	const void *icc; size_t icc_bytes;
	const png_color *palette; int colors;
	const png_byte *alpha; int alphas;
	const png_color_16 *transparent;
};

/* rows: H rows as PNG stores them (16 bit: big-endian). */
static void make_png(struct buffer *out, const struct png_plan *p, const void *rows, size_t stride)
{
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
	png_infop info = png_create_info_struct(png);
	png_bytep row[H];

	png_set_write_fn(png, out, put, NULL);
	png_set_IHDR(png, info, W, H, p->depth, p->color, p->interlace, 0, 0);
	if (p->icc)
		png_set_iCCP(png, info, "test", 0, p->icc, (png_uint_32)p->icc_bytes);
	if (p->palette)
		png_set_PLTE(png, info, p->palette, p->colors);
	if (p->alpha || p->transparent)
		png_set_tRNS(png, info, p->alpha, p->alphas, p->transparent);
	if (p->exif)
		png_set_eXIf_1(png, info, (png_uint_32)p->exif_bytes, (png_bytep)(uintptr_t)p->exif);
	if (p->raw)
		png_set_text(png, info, &(png_text){ .compression = p->packing, .key = (char *)"Raw profile type exif",
						     .text = (char *)(uintptr_t)p->raw }, 1);
	png_write_info(png, info);
	for (int y = 0; y < H; y++)
		row[y] = (png_bytep)(uintptr_t)rows + stride * y;
	png_write_image(png, row);
	png_write_end(png, info);
	png_destroy_write_struct(&png, &info);
}

enum scans { BASELINE, PROGRESSIVE, BOMB };

/* Legal, and 190 of them: one for all DC values, then one for each AC coefficient of each component. */
static void bomb_script(struct jpeg_compress_struct *c, jpeg_scan_info scan[190])
{
	int n = 0;

	scan[n++] = (jpeg_scan_info){ 3, { 0, 1, 2 }, 0, 0, 0, 0 };
	for (int component = 0; component < 3; component++)
		for (int k = 1; k < 64; k++)
			scan[n++] = (jpeg_scan_info){ 1, { component }, k, k, 0, 0 };
	c->scan_info = scan;
	c->num_scans = n;
}

static void make_jpeg(struct buffer *out, J_COLOR_SPACE space, int channels, const uint8_t *rows, const char *exif,
		      size_t exif_bytes, enum scans scans, bool adobe)
{
	jpeg_scan_info script[190];
	struct jpeg_compress_struct c;
	struct jpeg_error_mgr errors;
	unsigned char *bytes = NULL;
	unsigned long n = 0;

	c.err = jpeg_std_error(&errors);
	jpeg_create_compress(&c);
	jpeg_mem_dest(&c, &bytes, &n);
	c.image_width = W;
	c.image_height = H;
	c.input_components = channels;
	c.in_color_space = space;
	jpeg_set_defaults(&c);
	if (space == JCS_CMYK)
		jpeg_set_colorspace(&c, adobe ? JCS_YCCK : JCS_CMYK);
	c.write_Adobe_marker = adobe;
	jpeg_set_quality(&c, 100, TRUE);
	c.comp_info[0].h_samp_factor = c.comp_info[0].v_samp_factor = 1;
	if (space == JCS_CMYK)
		c.comp_info[3].h_samp_factor = c.comp_info[3].v_samp_factor = 1;
	if (scans == PROGRESSIVE)
		jpeg_simple_progression(&c);
	else if (scans == BOMB)
		bomb_script(&c, script);
	jpeg_start_compress(&c, TRUE);
	if (exif)
		jpeg_write_marker(&c, JPEG_APP0 + 1, (const JOCTET *)exif, (unsigned)exif_bytes);
	while (c.next_scanline < H) {
		JSAMPROW row = (JSAMPROW)(uintptr_t)rows + (size_t)c.next_scanline * W * channels;
		jpeg_write_scanlines(&c, &row, 1);
	}
	jpeg_finish_compress(&c);
	jpeg_destroy_compress(&c);
	buffer_add(out, bytes, n);
	free(bytes);
}

/* Smooth, so that JPEG keeps it, and without any symmetry, so that no two orientations look alike. */
static void paint(uint8_t *rgb)
{
	for (int y = 0; y < H; y++)
		for (int x = 0; x < W; x++) {
			rgb[3 * (y * W + x)] = (uint8_t)(20 + 15 * x);
			rgb[3 * (y * W + x) + 1] = (uint8_t)(10 + 25 * y);
			rgb[3 * (y * W + x) + 2] = (uint8_t)(100 + 4 * x + 3 * y);
		}
}

static const struct png_plan plain = { .depth = 8, .color = PNG_COLOR_TYPE_RGB };

static struct image decode(const struct buffer *b, const struct image_options *o, struct image_info *info)
{
	struct error e = { 0 };
	struct image i;

	if (image_decode("test", b->data, b->len, o, &i, info, &e) < 0) {
		print_error("%s\n", e.text);
		assert_int_equal(e.code, 0);
	}
	return i;
}

static void assert_near(const struct image *i, const uint8_t *expected, int tolerance)
{
	for (int k = 0; k < i->width * i->height * 3; k++)
		assert_in_range(i->rgb[k] - expected[k] + 255, 255 - tolerance, 255 + tolerance);
}

/* ---- PNG ---- */

static void png_round_trip(void **state)
{
	static const struct png_text text[] = { { "parameters", "caf\xc3\xa9, Steps: 20" },
						{ "title", "\xe2\x98\x83 snow" } };
	uint8_t rgb[W * H * 3];
	struct image in = { W, H, rgb }, out;
	struct buffer b = { 0 };
	struct image_info info;
	char *value;

	paint(rgb);
	png_encode(&b, &in, text, 2);
	out = decode(&b, NULL, &info);
	assert_string_equal(info.format, "PNG");
	assert_near(&out, rgb, 0);
	assert_non_null(memmem(b.data, b.len, "tEXtparameters\0caf\xe9", 19));
	assert_non_null(memmem(b.data, b.len, "iTXttitle", 9));
	for (int i = 0; i < 2; i++) {
		value = png_read_text(b.data, b.len, text[i].key);
		assert_string_equal(value, text[i].value);
		free(value);
	}
	assert_null(png_read_text(b.data, b.len, "absent"));
	assert_null(png_read_text("no png", 6, "title"));
	image_free(&out);
	buffer_free(&b);
}

static void png_kinds(void **state)
{
	static const png_color palette[4] = { { 0, 0, 0 }, { 255, 0, 0 }, { 0, 255, 0 }, { 9, 8, 7 } };
	static const png_byte alpha[2] = { 0, 128 };
	static const png_color_16 key = { .gray = 3 };
	struct image_options o = { .background = { 200, 100, 0 } };
	uint8_t rows[H * 16], grey16[H * W * 2];
	struct buffer b = { 0 };
	struct image i;

	memset(rows, 0x1b, sizeof(rows));               /* 2-bit samples 0 1 2 3 0 1 2 3 ... */
	make_png(&b,
		 &(struct png_plan){ .depth = 2,
				     .color = PNG_COLOR_TYPE_PALETTE,
				     .palette = palette,
				     .colors = 4,
				     .alpha = alpha,
				     .alphas = 2,
				     .interlace = PNG_INTERLACE_ADAM7 },
		 rows, 16);
	i = decode(&b, &o, NULL);
	assert_memory_equal(i.rgb,
			    "\xc8\x64\0"
			    "\xe4\x32\0"
			    "\0\xff\0"
			    "\x09\x08\x07",
			    12); /* 228 = (255*128 + 200*127) / 255 */
	image_free(&i);
	buffer_clear(&b);

	make_png(&b, &(struct png_plan){ .depth = 2, .color = PNG_COLOR_TYPE_GRAY, .transparent = &key }, rows, 16);
	i = decode(&b, &o, NULL);
	assert_memory_equal(i.rgb, "\0\0\0" "\x55\x55\x55" "\xaa\xaa\xaa" "\xc8\x64\0", 12);
	image_free(&i);
	buffer_clear(&b);

	for (int k = 0; k < W * H; k++) {
		grey16[2 * k] = (uint8_t)(k * 2);
		grey16[2 * k + 1] = (uint8_t)(k * 37);
	}
	make_png(&b, &(struct png_plan){ .depth = 16, .color = PNG_COLOR_TYPE_GRAY }, grey16, W * 2);
	i = decode(&b, &o, NULL);
	for (int k = 0; k < W * H; k++)         /* nearest of v / 257, what libpng's scale_16 gives */
		assert_int_equal(i.rgb[3 * k + 1], ((grey16[2 * k] << 8 | grey16[2 * k + 1]) + 128) / 257);
	image_free(&i);
	buffer_free(&b);
}

static void png_alpha_16(void **state)
{
	struct image_options o = { .background = { 0, 0, 255 } };
	uint16_t rows[H * W * 4];
	struct buffer b = { 0 };
	struct image i;

	for (int k = 0; k < W * H * 4; k += 4) {
		rows[k] = rows[k + 1] = rows[k + 2] = 0xffff;
		rows[k + 3] = __builtin_bswap16((uint16_t)(0x8080));
	}
	make_png(&b, &(struct png_plan){ .depth = 16, .color = PNG_COLOR_TYPE_RGBA, .interlace = PNG_INTERLACE_ADAM7 },
		 rows, W * 8);
	i = decode(&b, &o, NULL);
	assert_memory_equal(i.rgb, "\x80\x80\xff", 3);
	image_free(&i);
	buffer_free(&b);
}

/* ---- orientation ---- */

static size_t exif_of(int orientation, bool prefix, char exif[40])
{
	static const char bytes[] = "Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0?\0\0\0\0\0\0\0";
	size_t n = sizeof(bytes) - 1;

	memcpy(exif, bytes, n);
	exif[24] = (char)orientation;
	if (!prefix)
		memmove(exif, exif + 6, n -= 6);
	return n;
}

static int orientation_of(const struct png_plan *p, const uint8_t *rgb)
{
	struct buffer b = { 0 };
	struct image_info info;
	struct image i;

	make_png(&b, p, rgb, W * 3);
	i = decode(&b, NULL, &info);
	image_free(&i);
	buffer_free(&b);
	return info.orientation;
}

/* As ImageMagick writes them: 36 bytes a line.  Nothing that it says of its length is believed. */
static void exif_in_a_text(void **state)
{
	static const char *const begins[] = { "\nexif\n      32\n", "\nexif\n4294967295\n", "\nexif\n\n" };
	static const char *const bad[] = { "", "\n", "\nexif\n", "\nexif\n 8\n4", "4578696600004949",
					   "\nexif\n 8\nzz", "\nexif\n 8\n45786966000049492a00ffffffff" };
	uint8_t rgb[W * H * 3];
	struct png_plan p = { .depth = 8, .color = PNG_COLOR_TYPE_RGB };
	struct buffer huge = { 0 };
	char exif[40];

	paint(rgb);
	for (int k = 0; k < 2 * 8 * 3; k++) {
		struct buffer text = { 0 };
		size_t n = exif_of(k / 6 + 1, k % 2, exif);

		p.packing = k % 2 ? PNG_TEXT_COMPRESSION_zTXt : PNG_TEXT_COMPRESSION_NONE;
		buffer_adds(&text, begins[k / 2 % 3]);
		for (size_t i = 0; i < n; i++)
			buffer_addf(&text, i % 36 == 35 ? "%02x\n" : "%02x", (unsigned char)exif[i]);
		buffer_adds(&text, "\n");
		p.raw = text.data;
		assert_int_equal(orientation_of(&p, rgb), k / 6 + 1);
		p.exif_bytes = exif_of(3, false, exif);         /* PNG's own is believed first */
		p.exif = exif;
		assert_int_equal(orientation_of(&p, rgb), 3);
		p.exif = NULL;
		buffer_free(&text);
	}
	for (size_t k = 0; k < 2 * sizeof(bad) / sizeof(*bad); k++) {
		p.packing = k % 2 ? PNG_TEXT_COMPRESSION_zTXt : PNG_TEXT_COMPRESSION_NONE;
		p.raw = bad[k / 2];
		assert_int_equal(orientation_of(&p, rgb), 1);
	}
	for (int k = 0; k < 1 << 20; k++)       /* 1 MB of digits, packed in one KB */
		buffer_adds(&huge, "0");
	p.raw = huge.data;
	for (p.packing = PNG_TEXT_COMPRESSION_NONE; p.packing <= PNG_TEXT_COMPRESSION_zTXt; p.packing++)
		assert_int_equal(orientation_of(&p, rgb), 1);
	buffer_free(&huge);
}

/* The stored picture that a viewer shows as `rgb`: each orientation undone by its definition, one pixel at a time. */
static void assert_turned(const struct image *i, const uint8_t *stored, int orientation, int tolerance)
{
	int w = orientation > 4 ? H : W, h = orientation > 4 ? W : H;

	assert_int_equal(i->width, w);
	assert_int_equal(i->height, h);
	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++) {
			const int from[9][2] = { { 0 },
						 { x, y },
						 { W - 1 - x, y },
						 { W - 1 - x, H - 1 - y },
						 { x, H - 1 - y },
						 { y, x },
						 { y, H - 1 - x },
						 { W - 1 - y, H - 1 - x },
						 { W - 1 - y, x } };
			const uint8_t *p = stored + 3 * (from[orientation][1] * W + from[orientation][0]);
			for (int c = 0; c < 3; c++)
				assert_in_range(i->rgb[3 * (y * w + x) + c] - p[c] + 255, 255 - tolerance,
						255 + tolerance);
		}
}

static void webp_chunk(struct buffer *b, const char *tag, const void *data, size_t n)
{
	uint32_t size = (uint32_t)n;

	buffer_add(b, tag, 4);
	buffer_add(b, &size, 4);
	buffer_add(b, data, n);
	if (n & 1)
		buffer_add(b, "", 1);
}

static void make_webp(struct buffer *out, const uint8_t *rgba, const char *exif, size_t n)
{
	uint8_t *bytes, head[10] = { exif ? 8 : 0, 0, 0, 0, W - 1, 0, 0, H - 1, 0, 0 };
	size_t size = WebPEncodeLosslessRGBA(rgba, W, H, W * 4, &bytes);
	uint32_t riff;

	buffer_add(out, "RIFF????WEBP", 12);
	webp_chunk(out, "VP8X", head, 10);
	buffer_add(out, bytes + 12, size - 12);
	if (exif)
		webp_chunk(out, "EXIF", exif, n);
	riff = (uint32_t)out->len - 8;
	memcpy(out->data + 4, &riff, 4);
	WebPFree(bytes);
}

/* The header alone tells the same, whatever stands behind it, and whether the file is short or long. */
static void assert_size_alone(const struct buffer *b, const struct image_info *all)
{
	const struct image_options none = { .libheif = false };
	struct buffer file = { 0 };
	struct error e = { 0 };
	char path[] = "/tmp/lora-image-XXXXXX";

	buffer_add(&file, b->data, b->len);
	for (int k = 0; k < 2; k++) {
		struct image_info info = { 0 };
		int fd = mkstemp(path);

		assert_int_equal(write(fd, file.data, file.len), file.len);
		close(fd);
		assert_int_equal(image_read_size(path, &none, &info, &e), 0);
		assert_int_equal(info.width, all->width);
		assert_int_equal(info.height, all->height);
		assert_int_equal(info.orientation, all->orientation);
		assert_string_equal(info.format, all->format);
		unlink(path);
		strcpy(path, "/tmp/lora-image-XXXXXX");
		for (int i = 0; i < 300 << 10; i++)     /* rubbish behind the end, beyond what is read at first */
			buffer_add(&file, "x", 1);
	}
	buffer_free(&file);
}

static void orientations(void **state)
{
	uint8_t rgb[W * H * 3], rgba[W * H * 4];
	struct image_info info;
	char exif[40];

	paint(rgb);
	for (int k = 0; k < W * H; k++) {
		memcpy(rgba + 4 * k, rgb + 3 * k, 3);
		rgba[4 * k + 3] = 255;
	}
	for (int o = 1; o <= 8; o++) {
		struct buffer b[3] = { { 0 } };
		struct png_plan p = plain;
		size_t n = exif_of(o, true, exif);
		make_jpeg(&b[0], JCS_RGB, 3, rgb, exif, n, BASELINE, false);
		make_webp(&b[1], rgba, exif, n);
		p.exif = exif;
		p.exif_bytes = exif_of(o, false, exif);
		make_png(&b[2], &p, rgb, W * 3);
		for (int k = 0; k < 3; k++) {
			struct image i = decode(&b[k], NULL, &info);
			assert_int_equal(info.orientation, o);
			assert_turned(&i, rgb, o, k == 0 ? 3 : 0);      /* JPEG at quality 100: YCbCr rounding */
			assert_size_alone(&b[k], &info);
			image_free(&i);
			buffer_free(&b[k]);
		}
	}
}

/* Alpha is turned as colours are; who does not ask for it, or has none, gets none. */
static void alpha_is_kept(void **state)
{
	const struct image_options keep = { .keep_alpha = true };
	uint8_t rgba[W * H * 4], opaque[W * H * 4];
	char exif[40];

	for (int k = 0; k < W * H; k++) {
		memset(rgba + 4 * k, k + 1, 4);
		memset(opaque + 4 * k, k + 1, 3);
		opaque[4 * k + 3] = 255;
	}
	for (int o = 1; o <= 8; o++) {
		struct buffer b[2] = { { 0 } };
		size_t n = exif_of(o, true, exif);
		make_webp(&b[0], rgba, exif, n);
		make_webp(&b[1], opaque, exif, n);
		struct image kept = decode(&b[0], &keep, NULL), left = decode(&b[0], NULL, NULL),
			solid = decode(&b[1], &keep, NULL);
		assert_null(left.alpha);
		assert_null(solid.alpha);
		assert_non_null(kept.alpha);
		for (int k = 0; k < W * H; k++)
			assert_int_equal(kept.alpha[k], solid.rgb[3 * k]);
		image_free(&kept);
		image_free(&left);
		image_free(&solid);
		buffer_free(&b[0]);
		buffer_free(&b[1]);
	}
}

/* ---- JPEG ---- */

static void jpeg_kinds(void **state)
{
	uint8_t rgb[W * H * 3], grey[W * H], ink[W * H * 4], expected[W * H * 3];
	struct buffer b = { 0 };
	struct image_info info;
	struct image i;

	paint(rgb);
	make_jpeg(&b, JCS_RGB, 3, rgb, NULL, 0, PROGRESSIVE, false);
	i = decode(&b, NULL, &info);
	assert_string_equal(info.format, "JPEG");
	assert_near(&i, rgb, 3);
	image_free(&i);
	buffer_clear(&b);
	for (int k = 0; k < W * H; k++)
		grey[k] = expected[3 * k] = expected[3 * k + 1] = expected[3 * k + 2] = (uint8_t)(k * 2);
	make_jpeg(&b, JCS_GRAYSCALE, 1, grey, NULL, 0, BASELINE, false);
	i = decode(&b, NULL, NULL);
	assert_near(&i, expected, 2);
	image_free(&i);
	for (int adobe = 0; adobe < 2; adobe++) {
		buffer_clear(&b);
		for (int k = 0; k < W * H; k++)
			for (int c = 0; c < 4; c++) {
				int amount = c == 3 ? 40 : 10 + 50 * c + k;     /* 255: full ink */
				ink[4 * k + c] = (uint8_t)(adobe ? 255 - amount : amount);
				if (c < 3)
					expected[3 * k + c] = (uint8_t)((255 - amount) * (255 - 40) / 255);
			}
		make_jpeg(&b, JCS_CMYK, 4, ink, NULL, 0, BASELINE, adobe);
		i = decode(&b, NULL, NULL);
		assert_near(&i, expected, 4);           /* two colour conversions and the DCT, each to a level or so */
		image_free(&i);
	}
	buffer_free(&b);
}

static void jpeg_round_trip(void **state)
{
	uint8_t rgb[W * H * 3];
	struct image in = { W, H, rgb }, out;
	struct buffer b = { 0 };

	paint(rgb);
	jpeg_encode(&b, &in, 98);
	out = decode(&b, NULL, NULL);
	assert_near(&out, rgb, 5);
	image_free(&out);
	buffer_free(&b);
}

/* ---- WebP ---- */

static void webp_alpha(void **state)
{
	struct image_options o = { .background = { 0, 255, 0 } };
	uint8_t rgba[W * H * 4];
	struct buffer b = { 0 };
	struct image_info info;
	struct image i;

	memset(rgba, 0, sizeof(rgba));
	memset(rgba, 255, 4);
	rgba[4 * 1 + 3] = 51;
	make_webp(&b, rgba, NULL, 0);
	((uint8_t *)b.data)[20] |= 0x10;        /* the canvas says that it has alpha */
	i = decode(&b, &o, &info);
	assert_string_equal(info.format, "WebP");
	assert_memory_equal(i.rgb, "\xff\xff\xff" "\0\xcc\0" "\0\xff\0", 9);
	image_free(&i);
	buffer_free(&b);
}

/* ---- colour ---- */

static void *linear_profile(cmsUInt32Number *n)
{
	cmsCIExyY white = { 0.3127, 0.3290, 1 };
	cmsCIExyYTRIPLE wide = { { 0.708, 0.292, 1 }, { 0.170, 0.797, 1 }, { 0.131, 0.046, 1 } };       /* Rec. 2020 */
	cmsToneCurve *line = cmsBuildGamma(NULL, 1), *curves[3] = { line, line, line };
	cmsHPROFILE p = cmsCreateRGBProfile(&white, &wide, curves);
	void *bytes;

	cmsSaveProfileToMem(p, NULL, n);
	bytes = malloc(*n);
	cmsSaveProfileToMem(p, bytes, n);
	cmsCloseProfile(p);
	cmsFreeToneCurve(line);
	return bytes;
}

static double srgb_curve(double v)
{
	return v <= 0.0031308 ? 12.92 * v : 1.055 * pow(v, 1 / 2.4) - 0.055;
}

/* A linear 16-bit grey ramp: the shadows are where a table of 33 points, or 8 bits too early, would be far off. */
static void linear_profile_16(void **state)
{
	cmsUInt32Number n;
	void *icc = linear_profile(&n);
	uint16_t rows[W * H * 3];
	struct buffer b = { 0 };
	struct image i;

	for (int k = 0; k < W * H; k++)
		for (int c = 0; c < 3; c++)
			rows[3 * k + c] = __builtin_bswap16((uint16_t)(k * k * 4));
	make_png(&b, &(struct png_plan){ .depth = 16, .color = PNG_COLOR_TYPE_RGB, .icc = icc, .icc_bytes = n }, rows,
		 W * 6);
	i = decode(&b, NULL, NULL);
	for (int k = 0; k < W * H; k++)
		for (int c = 0; c < 3; c++) {
			int expected = (int)(255 * srgb_curve(k * k * 4 / 65535.0) + 0.5);
			assert_in_range(i.rgb[3 * k + c] - expected + 255, 254,
					256); /* lcms rounds its matrix to 16 bits */
		}
	image_free(&i);
	buffer_free(&b);
	free(icc);
}

static void srgb_profile_changes_nothing(void **state)
{
	cmsHPROFILE p = cmsCreate_sRGBProfile();
	cmsUInt32Number n;
	uint8_t rgb[W * H * 3], *icc;
	struct buffer b = { 0 };
	struct image i;

	cmsSaveProfileToMem(p, NULL, &n);
	icc = malloc(n);
	cmsSaveProfileToMem(p, icc, &n);
	cmsCloseProfile(p);
	paint(rgb);
	make_png(&b, &(struct png_plan){ .depth = 8, .color = PNG_COLOR_TYPE_RGB, .icc = icc, .icc_bytes = n }, rgb,
		 W * 3);
	i = decode(&b, NULL, NULL);
	assert_near(&i, rgb, 0);
	image_free(&i);
	buffer_free(&b);
	free(icc);
}

/* libpng would leave out a profile over its limit with no more than a warning. */
static void profile_over_the_limit(void **state)
{
	const size_t limit = 4u << 20;
	uint8_t rgb[W * H * 3], *icc = calloc(1, limit + 4);
	cmsUInt32Number n;
	void *small = linear_profile(&n);

	paint(rgb);
	memcpy(icc, small, n);
	for (size_t size = limit; size <= limit + 4; size += 4) {
		struct png_plan plan = { .depth = 8, .color = PNG_COLOR_TYPE_RGB, .icc = icc, .icc_bytes = size };
		struct image_info info = { 0 };
		struct buffer b = { 0 };
		struct error e = { 0 };
		struct image i;

		for (int k = 0; k < 4; k++)
			icc[k] = (uint8_t)(size >> (24 - 8 * k));
		make_png(&b, &plan, rgb, W * 3);
		assert_int_equal(image_decode("test", b.data, b.len, NULL, &i, &info, &e), size > limit ? -1 : 0);
		assert_int_equal(info.over_limit, size > limit);
		image_free(&i);
		buffer_free(&b);
	}
	free(small);
	free(icc);
}

/* ---- damage ---- */

static void assert_refused(const void *bytes, size_t n, const struct image_options *o)
{
	struct error e = { 0 };
	struct image i;
	void *exact = malloc(n ? n : 1);

	memcpy(exact, bytes, n);
	assert_int_equal(image_decode("test", exact, n, o, &i, NULL, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	assert_null(i.rgb);
	free(exact);
}

static void make_each(struct buffer b[4])
{
	uint8_t rgb[W * H * 3], rgba[W * H * 4] = { 0 };
	char exif[40];

	paint(rgb);
	make_png(&b[0], &plain, rgb, W * 3);
	make_jpeg(&b[1], JCS_RGB, 3, rgb, NULL, 0, BASELINE, false);
	make_jpeg(&b[2], JCS_RGB, 3, rgb, NULL, 0, PROGRESSIVE, false);
	make_webp(&b[3], rgba, exif, exif_of(6, true, exif));
}

/* Cut anywhere, a picture is refused: never half a picture. */
static void truncated(void **state)
{
	struct buffer b[4] = { { 0 } };

	make_each(b);
	for (int k = 0; k < 4; k++) {
		for (size_t n = 0; n < b[k].len; n++)
			assert_refused(b[k].data, n, NULL);
		buffer_free(&b[k]);
	}
}

/* Any byte of a PNG changed: its checksums see it.  Other formats have none: no crash is all that can be asked. */
static void flipped_bytes(void **state)
{
	struct buffer b[4] = { { 0 } };

	make_each(b);
	for (int k = 0; k < 4; k++) {
		for (size_t at = 0; at < b[k].len; at++) {
			struct error e;
			struct image i;
			b[k].data[at] ^= 0x55;
			if (k == 0)
				assert_refused(b[k].data, b[k].len, NULL);
			else if (image_decode("test", b[k].data, b[k].len, NULL, &i, NULL, &e) == 0)
				image_free(&i);
			b[k].data[at] ^= 0x55;
		}
		buffer_free(&b[k]);
	}
}

static void caps(void **state)
{
	struct image_options small = { .max_pixels = W * H - 1 };
	struct buffer b[4] = { { 0 } };
	static const char header[] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x75\x30\0\0\x75\x30\x08\x02\0\0\0"
				     "\xe9\x45\x6f\xed"
				     "\0\0\1\0IDAT";
	struct error e = { 0 };
	struct image i;

	make_each(b);
	for (int k = 0; k < 4; k++) {
		assert_refused(b[k].data, b[k].len, &small);
		buffer_free(&b[k]);
	}
	assert_int_equal(image_decode("test", header, sizeof(header) - 1, NULL, &i, NULL, &e), -1);
	assert_non_null(strstr(e.text, "30000x30000"));         /* 900 Mpx out of 41 bytes */
}

static void scan_bomb(void **state)
{
	uint8_t rgb[W * H * 3];
	struct buffer b = { 0 };
	struct error e = { 0 };
	struct image i;

	paint(rgb);
	make_jpeg(&b, JCS_RGB, 3, rgb, NULL, 0, BOMB, false);
	assert_int_equal(image_decode("test", b.data, b.len, NULL, &i, NULL, &e), -1);
	assert_non_null(strstr(e.text, "more than 100 scans"));
	buffer_free(&b);
}

/* Four zeros before the end marker are a camera's habit; four hundred are a picture that lost its way. */
static void jpeg_padding(void **state)
{
	static const char zeros[400];
	uint8_t rgb[W * H * 3];
	struct buffer b = { 0 }, padded = { 0 };
	struct image i;

	paint(rgb);
	make_jpeg(&b, JCS_RGB, 3, rgb, NULL, 0, BASELINE, false);
	buffer_add(&padded, b.data, b.len - 2);
	buffer_add(&padded, zeros, 4);
	buffer_add(&padded, "\xff\xd9", 2);
	i = decode(&padded, NULL, NULL);
	assert_near(&i, rgb, 3);
	image_free(&i);
	buffer_clear(&padded);
	buffer_add(&padded, b.data, b.len - 2);
	buffer_add(&padded, zeros, sizeof(zeros));
	buffer_add(&padded, "\xff\xd9", 2);
	assert_refused(padded.data, padded.len, NULL);
	buffer_free(&padded);
	buffer_free(&b);
}

static void types(void **state)
{
	const char *other;

	assert_null(image_type("GIF89a..........", 16, &other));
	assert_string_equal(other, "GIF");
	assert_null(image_type("\0\0\0\x18" "ftypheic", 12, &other));
	assert_string_equal(other, "HEIC");
	assert_null(image_type("hello", 5, &other));
	assert_null(other);
	assert_refused("", 0, NULL);
	assert_refused("GIF89a", 6, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(png_round_trip),
					    cmocka_unit_test(png_kinds),
					    cmocka_unit_test(png_alpha_16),
					    cmocka_unit_test(orientations),
					    cmocka_unit_test(exif_in_a_text),
					    cmocka_unit_test(alpha_is_kept),
					    cmocka_unit_test(jpeg_kinds),
					    cmocka_unit_test(jpeg_round_trip),
					    cmocka_unit_test(webp_alpha),
					    cmocka_unit_test(linear_profile_16),
					    cmocka_unit_test(srgb_profile_changes_nothing),
					    cmocka_unit_test(profile_over_the_limit),
					    cmocka_unit_test(truncated),
					    cmocka_unit_test(flipped_bytes),
					    cmocka_unit_test(caps),
					    cmocka_unit_test(scan_bomb),
					    cmocka_unit_test(jpeg_padding),
					    cmocka_unit_test(types) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
