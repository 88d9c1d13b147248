/* PNG in and out through libpng, and text chunks. */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <png.h>
#include <zlib.h>
#include "image_internal.h"

#define TEXT_MAX (1u << 20)             /* bytes of a text chunk, unpacked; 4 MB may unpack to 4 GB */
#define TEXTS_MAX 64                    /* of them */

/* Everything that a longjmp must not lose lives here, in the caller's frame. */
struct png_job {
	png_structp png;
	png_infop info;
	const uint8_t *bytes;
	size_t n, at;
	char text[200];                 /* libpng's complaint */
	uint8_t *pixels;                /* one row */
	struct decoder *d;
};

static void give_up(png_structp png, png_const_charp text)
{
	struct png_job *j = png_get_error_ptr(png);

	snprintf(j->text, sizeof(j->text), "%s", text);
	png_longjmp(png, 1);
}

/* Only warnings to libpng: a wrong checksum at the end of the pixels, and a profile over the limit, which it leaves
 * out: the colours would be wrong. */
static void on_warning(png_structp png, png_const_charp text)
{
	struct png_job *j = png_get_error_ptr(png);

	if (!strncmp(text, "IDAT", 4))
		give_up(png, text);
	if (j->d && !strncmp(text, "iCCP", 4) && strstr(text, "exceeds application limits"))
		j->d->over_limit = true;
}

static void take(png_structp png, png_bytep to, size_t n)
{
	struct png_job *j = png_get_io_ptr(png);

	if (n > j->n - j->at)
		png_error(png, "the file ends too early");
	memcpy(to, j->bytes + j->at, n);
	j->at += n;
}

/* A chunk inside the file; data NULL: no further one.  libpng would show an eXIf behind the pixels only after them. */
struct chunk { const uint8_t *type, *data; size_t length; };

static struct chunk chunk_at(const uint8_t *bytes, size_t n, size_t at)
{
	const size_t size = n - at >= 12 ? (size_t)png_get_uint_32(bytes + at) : 0;

	if (n - at < 12 || size > n - at - 12)
		return (struct chunk){ 0 };
	return (struct chunk){ bytes + at + 4, bytes + at + 8, size };
}

/* The next one behind c; the first behind one of zeros. */
static struct chunk next_chunk(const uint8_t *bytes, size_t n, struct chunk c)
{
	return chunk_at(bytes, n, c.data ? (size_t)(c.data - bytes) + c.length + 4 : 8);
}

/* The chunk's data, NULL when there is none. */
static const uint8_t *find_chunk(const uint8_t *bytes, size_t n, const char *type, size_t *length)
{
	struct chunk c = { 0 };

	while ((c = next_chunk(bytes, n, c)).data && memcmp(c.type, type, 4))
		;
	*length = c.length;
	return c.data;
}

/* ---- Exif in a text, as ImageMagick wrote it before PNG had eXIf ---- */

enum { RAW_MAX = 3 * EXIF_MAX };        /* bytes of the text: two digits a byte, and line ends */

/* What is damaged or longer is cut: the orientation stands near the beginning. */
static size_t unpack(const uint8_t *packed, size_t n, uint8_t text[RAW_MAX])
{
	z_stream z = { .next_in = (Bytef *)packed, .avail_in = (uInt)n, .next_out = text, .avail_out = RAW_MAX };

	if (inflateInit(&z) != Z_OK)
		die(EXIT_MEMORY, "no memory for unpacking a text of a PNG");
	inflate(&z, Z_FINISH);
	inflateEnd(&z);
	return RAW_MAX - z.avail_out;
}

static const char raw_key[] = "Raw profile type exif";  /* and its NUL */

static bool is_raw(const struct chunk *c)
{
	return c->length > sizeof(raw_key) && !memcmp(c->data, raw_key, sizeof(raw_key)) &&
		(!memcmp(c->type, "tEXt", 4) || !memcmp(c->type, "zTXt", 4));
}

static size_t raw_text(const struct chunk *c, uint8_t text[RAW_MAX])
{
	const uint8_t *value = c->data + sizeof(raw_key);
	const size_t n = c->length - sizeof(raw_key), most = n < RAW_MAX ? n : RAW_MAX;

	if (*c->type == 'z')            /* first comes the method, 0: there is no other */
		return *value ? 0 : unpack(value + 1, n - 1, text);
	memcpy(text, value, most);
	return most;
}

static int hex_digit(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* Behind the lines "", "exif" and the number of bytes; in place.  The number is not needed. */
static size_t from_hex(uint8_t *text, size_t n)
{
	size_t at = 0, digits = 0;

	for (int line = 0; line < 3 && at < n; at++)
		line += text[at] == '\n';
	for (; at < n; at++) {
		const int digit = hex_digit(text[at]);

		if (digit < 0 && text[at] != '\n')
			break;
		if (digit >= 0) {
			text[digits / 2] = (uint8_t)(digits % 2 ? text[digits / 2] | digit : digit << 4);
			digits++;
		}
	}
	return digits / 2;
}

static int raw_orientation(const uint8_t *bytes, size_t n)
{
	struct chunk c = { 0 };
	uint8_t *text;
	int orientation;

	while ((c = next_chunk(bytes, n, c)).data && !is_raw(&c))
		;
	if (!c.data)
		return 1;
	text = xmalloc(RAW_MAX);
	orientation = exif_orientation(text, from_hex(text, raw_text(&c, text)));
	free(text);
	return orientation;
}

/* ---- reading ---- */

/* eXIf is found without libpng, which would allocate the 2 GB that a chunk of a few bytes may claim. */
static int open_png(struct png_job *j)
{
	static const png_byte skipped[] = "eXIf\0tEXt\0zTXt\0iTXt\0sPLT";

	j->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, j, give_up, on_warning);
	j->info = j->png ? png_create_info_struct(j->png) : NULL;
	if (!j->info)
		die(EXIT_MEMORY, "no memory for reading a PNG");
	png_set_read_fn(j->png, j, take);
	png_set_user_limits(j->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  /* decoder_size() says it in our words */
	png_set_chunk_malloc_max(j->png, j->d ? ICC_MAX : TEXT_MAX);
	png_set_chunk_cache_max(j->png, TEXTS_MAX + 2);                 /* so it counts; those beyond are passed over */
	png_set_crc_action(j->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
	png_set_keep_unknown_chunks(j->png, PNG_HANDLE_CHUNK_NEVER, skipped, j->d ? 5 : 1);
	return 0;
}

static int read_header(struct png_job *j)
{
	struct decoder *d = j->d;
	const uint8_t *exif;
	size_t length = 0;

	png_read_info(j->png, j->info);
	if (d->over_limit)
		return fail(d->e, EXIT_INPUT, "%s: a colour profile of more than %u bytes; remove it", d->name,
			    ICC_MAX);
	if (decoder_size(d, png_get_image_width(j->png, j->info), png_get_image_height(j->png, j->info)) < 0)
		return -1;
	exif = find_chunk(d->bytes, d->n, "eXIf", &length);
	if (exif && length > EXIF_MAX)
		return fail(d->e, EXIT_INPUT, "%s: Exif data of %zu bytes; the limit is %u; remove it", d->name, length,
			    EXIF_MAX);
	d->orientation = exif ? exif_orientation(exif, length) : raw_orientation(d->bytes, d->n);
	d->animated = find_chunk(d->bytes, d->n, "acTL", &length) != NULL;
	return 0;
}

static void choose_pixels(struct png_job *j)
{
	struct decoder *d = j->d;
	png_charp name;
	png_bytep icc;
	png_uint_32 length;
	int method, color;

	png_set_expand(j->png);
	if (png_get_bit_depth(j->png, j->info) == 16 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
		png_set_swap(j->png);
	if (png_get_iCCP(j->png, j->info, &name, &method, &icc, &length)) {
		d->icc = icc;
		d->icc_bytes = length;
	}
	png_read_update_info(j->png, j->info);
	d->depth = png_get_bit_depth(j->png, j->info);
	color = png_get_color_type(j->png, j->info);
	if (color & PNG_COLOR_MASK_COLOR)
		d->pixels = color & PNG_COLOR_MASK_ALPHA ? PIXELS_RGBA : PIXELS_RGB;
	else
		d->pixels = color & PNG_COLOR_MASK_ALPHA ? PIXELS_GREY_ALPHA : PIXELS_GREY;
}

static void read_straight(struct png_job *j)
{
	j->pixels = xmalloc(png_get_rowbytes(j->png, j->info));
	for (int y = 0; y < j->d->height; y++) {
		png_read_row(j->png, j->pixels, NULL);
		rows_put(j->d, y, j->pixels);
	}
}

/* Without png_set_interlace_handling() libpng hands over each of the seven passes as a small picture of its own, so the
 * picture is needed only once. */
static void read_interlaced(struct png_job *j)
{
	j->pixels = xmalloc(png_get_rowbytes(j->png, j->info));
	for (int pass = 0; pass < PNG_INTERLACE_ADAM7_PASSES; pass++) {
		if (PNG_PASS_COLS(j->d->width, pass) == 0)
			continue;
		for (int y = PNG_PASS_START_ROW(pass); y < j->d->height; y += PNG_PASS_ROW_OFFSET(pass)) {
			png_read_row(j->png, j->pixels, NULL);
			rows_put_some(j->d, y, PNG_PASS_START_COL(pass), PNG_PASS_COL_OFFSET(pass), j->pixels);
		}
	}
}

static int decode(struct png_job *j)
{
	if (setjmp(png_jmpbuf(j->png)))
		return fail(j->d->e, EXIT_INPUT, "%s: damaged PNG: %s; replace it", j->d->name, j->text);
	if (read_header(j) < 0)
		return -1;
	choose_pixels(j);
	if (rows_begin(j->d) < 0)
		return -1;
	if (png_get_interlace_type(j->png, j->info) == PNG_INTERLACE_NONE)
		read_straight(j);
	else
		read_interlaced(j);
	png_read_end(j->png, NULL);
	return 0;
}

int png_decode(struct decoder *d)
{
	struct png_job j = { .bytes = d->bytes, .n = d->n, .d = d };
	int status = open_png(&j);

	if (status == 0)
		status = decode(&j);
	png_destroy_read_struct(&j.png, &j.info, NULL);
	free(j.pixels);
	return status;
}

/* ---- text ---- */

/* Latin-1 as UTF-8. */
static char *widen(const char *s)
{
	struct buffer b = { 0 };

	for (; *s; s++) {
		unsigned char c = (unsigned char)*s, two[2] = { 0xc0 | c >> 6, 0x80 | (c & 63) };
		if (c < 0x80)
			buffer_add(&b, s, 1);
		else
			buffer_add(&b, two, 2);
	}
	return buffer_steal(&b);
}

/* UTF-8 as Latin-1 (malloced); NULL when a character is not in it. */
static char *latin1(const char *s)
{
	struct buffer b = { 0 };

	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if ((c == 0xc2 || c == 0xc3) && ((unsigned char)s[1] & 0xc0) == 0x80)
			c = (unsigned char)((c & 3) << 6 | (*++s & 63));
		else if (c >= 0x80) {
			buffer_free(&b);
			return NULL;
		}
		buffer_add(&b, &c, 1);
	}
	return buffer_steal(&b);
}

static char *find_text(struct png_job *j, const char *key)
{
	png_textp text;
	int count = 0;

	if (setjmp(png_jmpbuf(j->png)))
		return NULL;
	png_read_info(j->png, j->info);
	png_get_text(j->png, j->info, &text, &count);
	for (int i = 0; i < count; i++)
		if (!strcmp(text[i].key, key))
			return text[i].compression <= PNG_TEXT_COMPRESSION_zTXt ? widen(text[i].text)
										: xstrdup(text[i].text);
	return NULL;
}

char *png_read_text(const void *bytes, size_t n, const char *key)
{
	struct png_job j = { .bytes = bytes, .n = n };
	char *value = NULL;

	if (open_png(&j) == 0)
		value = find_text(&j, key);
	png_destroy_read_struct(&j.png, &j.info, NULL);
	return value;
}

/* ---- writing ---- */

static _Noreturn void cannot_write(png_structp png, png_const_charp text)
{
	die(EXIT_MEMORY, "cannot compress a PNG: %s", text);
}

static void put(png_structp png, png_bytep bytes, size_t n)
{
	buffer_add(png_get_io_ptr(png), bytes, n);
}

static void flush(png_structp png)
{
}

static void put_text(png_structp png, png_infop info, const struct png_text *text)
{
	char *narrow = latin1(text->value), *key = xstrdup(text->key), *wide = xstrdup(text->value);
	png_text t = { .compression = narrow ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE, .key = key,
		       .text = narrow ? narrow : wide };

	png_set_text(png, info, &t, 1);
	free(narrow);
	free(wide);
	free(key);
}

static void write_png(struct buffer *out, const uint8_t *pixels, int width, int height, int color,
		      const struct png_text *text, int texts)
{
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, cannot_write, NULL);
	png_infop info = png ? png_create_info_struct(png) : NULL;
	size_t stride = (size_t)width * (color == PNG_COLOR_TYPE_RGB ? 3 : 1);

	if (!info)
		die(EXIT_MEMORY, "no memory for writing a PNG");
	png_set_write_fn(png, out, put, flush);
	/* Photographs hardly repeat themselves: looking for repeats doubles the time and makes the file larger. */
	png_set_compression_strategy(png, Z_RLE);
	png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_AVG);
	png_set_IHDR(png, info, width, height, 8, color, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_BASE,
		     PNG_FILTER_TYPE_BASE);
	for (int k = 0; k < texts; k++)
		put_text(png, info, &text[k]);
	png_write_info(png, info);
	for (int y = 0; y < height; y++)
		png_write_row(png, pixels + stride * y);
	png_write_end(png, info);
	png_destroy_write_struct(&png, &info);
}

void png_encode(struct buffer *out, const struct image *i, const struct png_text *text, int texts)
{
	write_png(out, i->rgb, i->width, i->height, PNG_COLOR_TYPE_RGB, text, texts);
}

void png_encode_grey(struct buffer *out, const uint8_t *grey, int width, int height)
{
	write_png(out, grey, width, height, PNG_COLOR_TYPE_GRAY, NULL, 0);
}
