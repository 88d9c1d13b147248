/* BMP: headers of OS/2 and Windows, palettes, masks, plain rows. */
#include <stdlib.h>
#include <string.h>
#include "bmp_internal.h"

enum { RGB, RLE8, RLE4, BITFIELDS, JPEG, PNG, ALPHABITFIELDS };
enum { FILE_HEADER = 14, CORE = 12, INFO = 40, WITH_MASKS = 52, WITH_ALPHA = 56, V5 = 124, OS2 = 64 };

static uint32_t u16(const uint8_t *p)
{
	return p[0] | p[1] << 8;
}

static uint32_t u32(const uint8_t *p)
{
	return u16(p) | u16(p + 2) << 16;
}

static int truncated(struct decoder *d)
{
	return fail(d->e, EXIT_INPUT, "%s: truncated BMP; replace it", d->name);
}

/* ---- the header ---- */

static int no_such(struct decoder *d, const struct bmp *b)
{
	static const char *const names[] = { "plain", "RLE8", "RLE4", "masked", "with a JPEG in it", "with a PNG in it",
					     "masked" };

	return fail(d->e, EXIT_INPUT, "%s: a BMP of %d bits a pixel, %s, is not read; convert it to PNG", d->name,
		    b->bits,
		    b->compression <= ALPHABITFIELDS ? names[b->compression] : "packed in an unknown way");
}

/* Which numbers of bits a way of storing has. */
static bool goes_together(const struct bmp *b, size_t header)
{
	switch (b->compression) {
	case RGB:
		return b->bits == 1 || b->bits == 2 || b->bits == 4 || b->bits == 8 || b->bits == 16 || b->bits == 24 ||
			b->bits == 32;
	case RLE8:
		return b->bits == 8;
	case RLE4:
		return b->bits == 4;
	case BITFIELDS:                 /* in OS/2's long header the number means a fax */
	case ALPHABITFIELDS:
		return header != OS2 && (b->bits == 16 || b->bits == 32);
	default:
		return false;
	}
}

/* h: the header behind the file's own; its size is checked. */
static int read_sizes(struct decoder *d, struct bmp *b, const uint8_t *h, size_t header)
{
	const bool core = header == CORE;
	const int64_t width = core ? (int64_t)u16(h + 4) : (int32_t)u32(h + 4),
		      height = core ? (int64_t)u16(h + 6) : (int32_t)u32(h + 8);

	b->bits = (int)u16(h + (core ? 10 : 14));
	b->compression = header < 20 ? RGB : (int)(u32(h + 16) & 0x7fffffff);
	b->top_down = height < 0;
	if (width < 0)
		return fail(d->e, EXIT_INPUT, "%s: damaged BMP: %lld pixels wide; replace it", d->name,
			    (long long)width);
	if (decoder_size(d, (uint64_t)width, (uint64_t)(height < 0 ? -height : height)) < 0)
		return -1;
	return goes_together(b, header) ? 0 : no_such(d, b);
}

/* ---- masks ---- */

static int read_mask(struct decoder *d, uint32_t mask, struct bmp_channel *c)
{
	*c = (struct bmp_channel){ 0 };
	if (!mask)
		return 0;
	while (!(mask >> c->shift & 1))
		c->shift++;
	c->most = mask >> c->shift;
	if (c->most & (c->most + 1))
		return fail(d->e, EXIT_INPUT, "%s: damaged BMP: a colour's bits 0x%08x do not lie together; replace it",
			    d->name, mask);
	return 0;
}

/* Reads the masks of the colour channels.  *after: where the palette would begin. */
static int read_masks(struct decoder *d, struct bmp *b, const uint8_t *h, size_t header, size_t *after)
{
	static const uint32_t usual[2][3] = { { 0x7c00, 0x3e0, 0x1f }, { 0xff0000, 0xff00, 0xff } };
	const bool inside = header >= WITH_MASKS && header != OS2,
		   masked = b->compression == BITFIELDS || b->compression == ALPHABITFIELDS;
	const int count = b->compression == ALPHABITFIELDS || (inside && header >= WITH_ALPHA) ? 4 : 3;

	*after = FILE_HEADER + header;
	if (masked && !inside)
		*after += 4 * count;
	if (*after > d->n)
		return truncated(d);
	for (int i = 0; i < 4; i++) {
		const uint32_t mask = masked ? (i < count ? u32(h + INFO + 4 * i) : 0) :
			i < 3 ? usual[b->bits == 32][i] : 0;

		if (read_mask(d, mask, &b->channel[i]) < 0)
			return -1;
	}
	return 0;
}

/* ---- palette and profile ---- */

/* Some writers forget the palette where they say at which byte the pixels begin. */
static void read_palette(const struct decoder *d, struct bmp *b, const uint8_t *h, size_t header, size_t after)
{
	const size_t entry = header == CORE ? 3 : 4, said = header >= 36 ? u32(h + 32) : 0, most = (size_t)1 << b->bits;
	const size_t count = said && said < most ? said : most;
	size_t room;

	if (b->pixels == after)
		b->pixels += count * entry;
	room = (b->pixels < d->n ? b->pixels : d->n) - after;
	for (size_t i = 0; i < count && (i + 1) * entry <= room; i++)
		for (int c = 0; c < 3; c++)
			b->palette[i][c] = d->bytes[after + i * entry + 2 - c];
}

static void find_profile(struct decoder *d, const uint8_t *h, size_t header)
{
	size_t at, length;

	if (header < V5 || u32(h + 56) != 0x4d424544)   /* "MBED": the profile is in the file */
		return;
	at = FILE_HEADER + (size_t)u32(h + 112);
	length = u32(h + 116);
	if (at > d->n || length > d->n - at)
		return;
	d->icc = d->bytes + at;
	d->icc_bytes = length;
}

static int read_header(struct decoder *d, struct bmp *b)
{
	const uint8_t *h = d->bytes + FILE_HEADER;
	size_t header, after;

	if (d->n < FILE_HEADER + CORE)
		return truncated(d);
	b->pixels = u32(d->bytes + 10);
	header = u32(h);
	if (header != CORE && !(header >= 16 && header <= V5 && header % 2 == 0))
		return fail(d->e, EXIT_INPUT, "%s: damaged BMP, or none: a header of %zu bytes; replace it", d->name,
			    header);
	if (d->n < FILE_HEADER + header)
		return truncated(d);
	if (read_sizes(d, b, h, header) < 0 || read_masks(d, b, h, header, &after) < 0)
		return -1;
	if (b->pixels < after)
		return fail(d->e, EXIT_INPUT, "%s: damaged BMP: its pixels begin within its header; replace it",
			    d->name);
	if (b->bits <= 8)
		read_palette(d, b, h, header, after);
	find_profile(d, h, header);
	return 0;
}

/* ---- rows ---- */

static size_t stride_of(const struct decoder *d, const struct bmp *b)
{
	return ((size_t)d->width * b->bits + 31) / 32 * 4;
}

static uint32_t pixel(const struct bmp *b, const uint8_t *row, int x)
{
	return b->bits == 16 ? u16(row + 2 * x) : u32(row + 4 * (size_t)x);
}

/* Some writers leave the alpha's bits 0 everywhere: then the picture has none. */
static bool is_transparent(const struct decoder *d, const struct bmp *b)
{
	const struct bmp_channel *a = &b->channel[3];
	const size_t stride = stride_of(d, b);

	for (int y = 0; a->most && y < d->height; y++)
		for (int x = 0; x < d->width; x++)
			if (pixel(b, d->bytes + b->pixels + stride * y, x) >> a->shift & a->most)
				return true;
	return false;
}

/* n bits become 8, to nearest. */
static uint8_t widen(uint32_t pixel, const struct bmp_channel *c)
{
	return c->most ? (uint8_t)(((uint64_t)(pixel >> c->shift & c->most) * 255 + c->most / 2) / c->most) : 0;
}

static void read_masked(const struct decoder *d, const struct bmp *b, const uint8_t *from)
{
	const int channels = channels_of(d->pixels);

	for (int x = 0; x < d->width; x++)
		for (int c = 0; c < channels; c++)
			b->row[x * (size_t)channels + c] = widen(pixel(b, from, x), &b->channel[c]);
}

static void read_indexed(const struct decoder *d, const struct bmp *b, const uint8_t *from)
{
	const int in_byte = 8 / b->bits, most = (1 << b->bits) - 1;

	for (int x = 0; x < d->width; x++)
		memcpy(b->row + 3 * (size_t)x,
		       b->palette[from[x / in_byte] >> (in_byte - 1 - x % in_byte) * b->bits & most], 3);
}

static void read_blue_first(const struct decoder *d, const struct bmp *b, const uint8_t *from)
{
	for (size_t i = 0; i < 3 * (size_t)d->width; i += 3) {
		b->row[i] = from[i + 2];
		b->row[i + 1] = from[i + 1];
		b->row[i + 2] = from[i];
	}
}

static int read_rows(struct decoder *d, const struct bmp *b)
{
	const size_t stride = stride_of(d, b);

	for (int y = 0; y < d->height; y++) {
		const uint8_t *from = d->bytes + b->pixels + stride * y;

		(b->bits <= 8 ? read_indexed : b->bits == 24 ? read_blue_first : read_masked)(d, b, from);
		rows_put(d, bmp_row(b, d, y), b->row);
	}
	return 0;
}

static int decode(struct decoder *d, struct bmp *b)
{
	const bool plain = b->compression != RLE8 && b->compression != RLE4;

	/* the padding of the last row may be missing */
	const uint64_t last = ((uint64_t)d->width * b->bits + 7) / 8;

	if (b->pixels > d->n || (plain && stride_of(d, b) * (d->height - 1) + last > d->n - b->pixels))
		return truncated(d);
	d->pixels = is_transparent(d, b) ? PIXELS_RGBA : PIXELS_RGB;
	if (rows_begin(d) < 0)
		return -1;
	b->row = xmalloc((size_t)d->width * 4);
	return plain ? read_rows(d, b) : bmp_rle(d, b);
}

int bmp_decode(struct decoder *d)
{
	struct bmp b = { 0 };
	int status;

	if (read_header(d, &b) < 0 || decoder_knows_enough(d))
		return -1;
	status = decode(d, &b);
	free(b.row);
	return status;
}
