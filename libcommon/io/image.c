/* Pictures: the type by content, limits, orientation, transparency; each codec is a file of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "image_internal.h"
#include "kind.h"
#include "publish.h"

#define FILE_CAP ((size_t)1 << 30)
#define HEAD ((size_t)256 << 10)        /* of a file, where its header is looked for */

struct magic {
	const char *name;
	size_t at, length;
	const char *bytes;
	int (*decode)(struct decoder *d);       /* NULL: known by name only */
	bool foreign;                           /* only for who asks for libheif */
};

static const struct magic magics[] = {
	{ "PNG", 0, 8, "\x89PNG\r\n\x1a\n", png_decode },
	{ "JPEG", 0, 3, "\xff\xd8\xff", jpeg_decode },
	{ "WebP", 8, 4, "WEBP", webp_decode },
	{ "GIF", 0, 4, "GIF8", NULL },
	{ "BMP", 0, 2, "BM", bmp_decode },
	{ "TIFF", 0, 4, "II*\0", NULL },
	{ "TIFF", 0, 4, "MM\0*", NULL },
	{ "AVIF", 4, 8, "ftypavif", heif_decode, true },
	{ "AVIF", 4, 8, "ftypavis", heif_decode, true },
	{ "HEIC", 4, 7, "ftyphei", heif_decode, true },
	{ "HEIC", 4, 7, "ftyphev", heif_decode, true },
	{ "HEIC", 4, 8, "ftypmif1", heif_decode, true },
	{ "HEIC", 4, 8, "ftypmsf1", heif_decode, true },
	{ "JPEG XL", 0, 2, "\xff\x0a", NULL },
	{ "JPEG XL", 4, 8, "JXL \r\n\x87\n", NULL },
	{ "JPEG 2000", 4, 8, "jP  \r\n\x87\n", NULL },
	{ "Photoshop", 0, 4, "8BPS", NULL },
	{ "SVG", 0, 4, "<svg", NULL },
	{ "PDF", 0, 5, "%PDF-", NULL },
	{ "HTML", 0, 5, "<!DOC", NULL },
	{ "HTML", 0, 5, "<html", NULL },
};

static const struct magic *recognise(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		const struct magic *m = &magics[i];
		if (n >= m->at + m->length && !memcmp(bytes + m->at, m->bytes, m->length))
			return m;
	}
	return NULL;
}

const char *image_type(const void *bytes, size_t n, const char **other)
{
	const struct magic *m = recognise(bytes, n);

	if (other)
		*other = m && (!m->decode || m->foreign) ? m->name : NULL;
	return m && m->decode && !m->foreign ? m->name : NULL;
}

uint64_t decoder_most_pixels(const struct decoder *d)
{
	return d->options && d->options->max_pixels ? d->options->max_pixels : 100000000;
}

int decoder_size(struct decoder *d, uint64_t width, uint64_t height)
{
	const uint64_t cap = decoder_most_pixels(d);

	if (!width || !height)
		return fail(d->e, EXIT_INPUT, "%s: a picture of %llux%llu pixels; replace it", d->name,
			    (unsigned long long)width, (unsigned long long)height);
	d->over_limit = width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE || width * height > cap;
	if (d->over_limit)
		return fail(d->e, EXIT_INPUT,
			    "%s: %llux%llu pixels are over the limit of %llu pixels and %d a side; make it smaller",
			    d->name, (unsigned long long)width, (unsigned long long)height, (unsigned long long)cap,
			    IMAGE_MAX_SIDE);
	d->width = d->full_width = (int)width;
	d->height = d->full_height = (int)height;
	return 0;
}

/* By Exif orientation. */
static const struct { bool swap, from_right, from_bottom; } turns[9] = {
	{ 0, 0, 0 }, { 0, 0, 0 }, { 0, 1, 0 }, { 0, 1, 1 }, { 0, 0, 1 },
	{ 1, 0, 0 }, { 1, 1, 0 }, { 1, 1, 1 }, { 1, 0, 1 } };

static bool has_alpha(const struct decoder *d)
{
	return d->pixels == PIXELS_GREY_ALPHA || d->pixels == PIXELS_RGBA;
}

static bool keeps_alpha(const struct decoder *d)
{
	return d->options && d->options->keep_alpha && has_alpha(d);
}

bool decoder_has_room(const struct decoder *d, uint64_t codec)
{
	uint64_t full = (uint64_t)d->full_width * d->full_height, pixels = (uint64_t)d->width * d->height;

	return pixels * (keeps_alpha(d) ? 4 : 3) + codec <= 4 * full + IMAGE_SPARE;
}

int decoder_shrink(struct decoder *d, uint64_t codec)
{
	bool swap = turns[d->orientation].swap;
	int w = swap ? d->height : d->width, h = swap ? d->width : d->height, least[2];

	if (!d->options || !d->options->enough || (d->options->every_pixel && decoder_has_room(d, codec)))
		return 1;
	d->options->enough(d->options->context, w, h, least);
	for (d->shrunk = 8; d->shrunk > 1 && (w / d->shrunk < least[0] || h / d->shrunk < least[1]);)
		d->shrunk /= 2;
	return d->shrunk;
}

int decoder_room(struct decoder *d, uint64_t codec, const char *kind, const char *advice)
{
	d->over_limit = !decoder_has_room(d, codec);
	if (!d->over_limit)
		return 0;
	return fail(d->e, EXIT_INPUT, "%s: decoding %s of %dx%d pixels takes %llu MiB; "
				      "the limit is %u MiB and 4 bytes a pixel; %s", d->name, kind,
		    d->full_width, d->full_height,
		    (unsigned long long)(codec + 3 * (uint64_t)d->width * d->height) >> 20, IMAGE_SPARE >> 20, advice);
}

int channels_of(enum pixels p)
{
	static const int channels[] = { 1, 2, 3, 4, 4 };
	return channels[p];
}

/* Where the stored pixel (x, y) belongs, as origin + x * x_step + y * y_step. */
static void orient(struct decoder *d)
{
	bool swap = turns[d->orientation].swap;
	int w = swap ? d->height : d->width, h = swap ? d->width : d->height;
	ptrdiff_t right = 3, down = (ptrdiff_t)w * 3;

	d->out->width = w;
	d->out->height = h;
	d->origin = 0;
	if (turns[d->orientation].from_right) {
		d->origin += (w - 1) * right;
		right = -right;
	}
	if (turns[d->orientation].from_bottom) {
		d->origin += (h - 1) * down;
		down = -down;
	}
	d->x_step = swap ? down : right;
	d->y_step = swap ? right : down;
}

bool decoder_knows_enough(struct decoder *d)
{
	if (d->orientation < 1 || d->orientation > 8)
		d->orientation = 1;
	orient(d);
	d->knows_enough = d->options && d->options->only_size;
	return d->knows_enough;
}

int rows_begin(struct decoder *d)
{
	bool keep = keeps_alpha(d);

	d->over_limit = d->icc_bytes > ICC_MAX;
	if (d->over_limit)
		return fail(d->e, EXIT_INPUT, "%s: a colour profile of %zu bytes; the limit is %u; remove it", d->name,
			    d->icc_bytes, ICC_MAX);
	if (decoder_knows_enough(d))
		return -1;
	d->colour = colour_open(d->icc, d->icc_bytes, d->pixels, d->depth);
	d->line = xmalloc((size_t)d->width * 3);
	d->out->rgb = malloc((size_t)d->width * d->height * 3);
	d->out->alpha = keep ? malloc((size_t)d->width * d->height) : NULL;
	if (!d->out->rgb || (keep && !d->out->alpha))
		return fail(d->e, EXIT_MEMORY, "%s: no memory for %dx%d pixels", d->name, d->width, d->height);
	return 0;
}

/* 16 bit to 8 with rounding: exactly v / 257 to nearest, the value libpng's scale_16 gives. */
static uint8_t narrow(unsigned v)
{
	return (uint8_t)((v * 255 + 32895) >> 16);
}

static uint8_t sample(const struct decoder *d, const void *row, size_t i)
{
	return d->depth == 16 ? narrow(((const uint16_t *)row)[i]) : ((const uint8_t *)row)[i];
}

/* Without a profile: grey is R=G=B, RGB is sRGB, and ink takes light away in proportion: R = (1-C)(1-K). */
static void plain_row(const struct decoder *d, const void *row, int width)
{
	int channels = channels_of(d->pixels);

	for (int x = 0; x < width; x++)
		for (int c = 0; c < 3; c++) {
			size_t at = (size_t)x * channels;
			unsigned v;
			if (d->pixels == PIXELS_CMYK)
				v = ((255u - sample(d, row, at + c)) * (255u - sample(d, row, at + 3)) + 127) / 255;
			else
				v = sample(d, row, at + (channels < 3 ? 0 : c));
			d->line[3 * x + c] = (uint8_t)v;
		}
}

static void lay_on_background(struct decoder *d, const void *row, int width)
{
	static const uint8_t white[3] = { 255, 255, 255 };
	const uint8_t *background = d->options ? d->options->background : white;
	int channels = channels_of(d->pixels);

	for (int x = 0; x < width; x++) {
		unsigned alpha = sample(d, row, (size_t)x * channels + channels - 1);
		uint8_t *p = d->line + 3 * x;
		for (int c = 0; alpha < 255 && c < 3; c++)
			p[c] = (uint8_t)((p[c] * alpha + background[c] * (255 - alpha) + 127) / 255);
	}
}

static void keep_alpha(const struct decoder *d, ptrdiff_t at, ptrdiff_t step, const void *row, int width)
{
	int channels = channels_of(d->pixels);
	uint8_t *to = d->out->alpha + at / 3;

	for (int x = 0; x < width; x++, to += step / 3)
		*to = sample(d, row, (size_t)x * channels + channels - 1);
}

void rows_put_some(struct decoder *d, int y, int first, int step, const void *row)
{
	int width = (d->width - first + step - 1) / step;
	ptrdiff_t at = d->origin + y * d->y_step + first * d->x_step, x_step = step * d->x_step;
	const bool ready = !d->colour && d->pixels == PIXELS_RGB && d->depth == 8;
	const uint8_t *line = ready ? row : d->line;
	uint8_t *to = d->out->rgb + at;

	if (d->colour)
		colour_row(d->colour, row, d->line, width);
	else if (!ready)
		plain_row(d, row, width);
	if (has_alpha(d))
		lay_on_background(d, row, width);
	if (d->out->alpha)
		keep_alpha(d, at, x_step, row, width);
	if (x_step == 3) {
		memcpy(to, line, (size_t)width * 3);
		return;
	}
	for (int x = 0; x < width; x++, to += x_step)
		memcpy(to, line + 3 * x, 3);
}

void rows_put(struct decoder *d, int y, const void *row)
{
	rows_put_some(d, y, 0, 1, row);
}

static bool is_upright(const struct decoder *d)
{
	return d->x_step == 3 && d->y_step == 3 * (ptrdiff_t)d->width;
}

/* Row y of the wide pixels lies behind row y of the narrow ones, so upright they may share their memory. */
uint8_t *rows_whole(struct decoder *d)
{
	size_t bytes = (size_t)d->width * d->height * channels_of(d->pixels);
	uint8_t *grown;

	if (!is_upright(d) || d->out->alpha)
		return d->whole = calloc(1, bytes);
	grown = realloc(d->out->rgb, bytes);
	if (!grown)
		return NULL;
	d->grown = true;
	d->out->rgb = grown;
	return memset(grown, 0, bytes);
}

void rows_put_whole(struct decoder *d)
{
	const uint8_t *from = d->whole ? d->whole : d->out->rgb;
	size_t stride = (size_t)d->width * channels_of(d->pixels), bytes = (size_t)d->width * d->height * 3;
	uint8_t *shrunk;

	if (d->pixels != PIXELS_RGB || d->colour || d->whole)
		for (int y = 0; y < d->height; y++)
			rows_put(d, y, from + stride * y);
	shrunk = d->grown ? realloc(d->out->rgb, bytes) : NULL;
	if (shrunk)
		d->out->rgb = shrunk;
}

/* A stored picture's last column or row may stand for less than a whole one; turning brings it to the other edge. */
static struct image_part part_of(const struct decoder *d, int width, int height)
{
	struct image_part p = { 0, 0, (double)width / d->shrunk, (double)height / d->shrunk };

	if (d->stretched)
		return (struct image_part){ 0, 0, d->out->width, d->out->height };
	if (turns[d->orientation].from_right)
		p.left = d->out->width - p.width;
	if (turns[d->orientation].from_bottom)
		p.top = d->out->height - p.height;
	return p;
}

static void inform(const struct decoder *d, const char *format, struct image_info *info)
{
	bool swap = turns[d->orientation].swap;
	int w = swap ? d->full_height : d->full_width, h = swap ? d->full_width : d->full_height;

	*info = (struct image_info){ format, w, h, d->orientation, part_of(d, w, h), d->animated, d->over_limit };
}

int image_decode(const char *name, const void *bytes, size_t n, const struct image_options *o, struct image *out,
		 struct image_info *info, struct error *e)
{
	const struct magic *m = recognise(bytes, n);
	struct decoder d = { .name = name, .bytes = bytes, .n = n, .options = o, .out = out, .e = e };
	int status;

	d.depth = 8;
	d.orientation = d.shrunk = 1;
	*out = (struct image){ 0 };
	if (!m && kind_of(bytes, n))
		return fail(e, EXIT_INPUT, "%s: not a picture, but %s; PNG, JPEG, WebP and BMP are read", name,
			    kind_of(bytes, n));
	if (!m)
		return fail(e, EXIT_INPUT, "%s: %s; PNG, JPEG, WebP and BMP are read", name,
			    n ? "not a picture" : "an empty file");
	if (!m->decode || (m->foreign && !(o && o->libheif)))
		return fail(e, EXIT_INPUT, "%s: %s is not read; convert it to PNG, JPEG or WebP", name, m->name);
	status = m->decode(&d);
	if (d.knows_enough)
		status = 0;
	colour_close(d.colour);
	free(d.line);
	free(d.whole);
	if (status < 0)
		image_free(out);
	if (info && !d.unreadable)
		inform(&d, m->name, info);
	return status;
}

int image_read(const char *path, const struct image_options *o, struct image *out, struct image_info *info,
	       struct error *e)
{
	struct buffer file = { 0 };
	int status = read_file(path, FILE_CAP, &file, e);

	*out = (struct image){ 0 };
	if (status == 0)
		status = image_decode(path, file.data, file.len, o, out, info, e);
	buffer_free(&file);
	return status;
}

int image_read_size(const char *path, const struct image_options *o, struct image_info *info, struct error *e)
{
	struct image_options only = *o;
	struct buffer head = { 0 };
	struct image none;
	int status;

	only.only_size = true;
	status = read_head(path, HEAD, &head, e);
	if (status == 0)
		status = image_decode(path, head.data, head.len, &only, &none, info, e);
	/* a profile or thumbnails before the header, or a codec that wants all */
	if (status < 0 && head.len >= HEAD)
		status = image_read(path, &only, &none, info, e);
	buffer_free(&head);
	return status;
}

void image_free(struct image *i)
{
	free(i->rgb);
	free(i->alpha);
	*i = (struct image){ 0 };
}
