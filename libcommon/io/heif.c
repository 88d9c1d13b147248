/* HEIC and AVIF through libheif, which is opened at run time. */
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "../base/library.h"
#include "image_internal.h"

/* From libheif's public interface, version 1.  The library is opened when a picture needs it: it brings five video
 * codecs along, which no other run should wait for. */
struct heif_context;
struct heif_handle;
struct heif_picture;
struct heif_result { int code, detail; const char *message; };
/* Values of heif_result.code, and of its detail where a picture needs too much memory. */
enum { NO_MEMORY = 6, OVER_LIMIT = 1000 };
enum { COLOURS_RGB = 1, ROWS_RGB = 10, ROWS_RGBA = 11, INTERLEAVED = 10 };

struct heif {
	struct heif_context *(*alloc)(void);
	void (*free)(struct heif_context *);
	void (*limit_side)(struct heif_context *, int);
	struct heif_result (*read)(struct heif_context *, const void *, size_t, const void *);
	struct heif_result (*primary)(struct heif_context *, struct heif_handle **);
	int (*pictures)(struct heif_context *);
	int (*width)(const struct heif_handle *);               /* upright, as everything below */
	int (*height)(const struct heif_handle *);
	int (*coded_width)(const struct heif_handle *);         /* before it is turned and cropped */
	int (*coded_height)(const struct heif_handle *);
	int (*has_alpha)(const struct heif_handle *);
	size_t (*profile_size)(const struct heif_handle *);
	struct heif_result (*profile)(const struct heif_handle *, void *);
	struct heif_result (*decode)(const struct heif_handle *, struct heif_picture **, int, int, const void *);
	int (*decoded_width)(const struct heif_picture *, int), (*decoded_height)(const struct heif_picture *, int);
	const uint8_t *(*rows)(const struct heif_picture *, int, int *);
	void (*free_picture)(const struct heif_picture *);
	void (*free_handle)(const struct heif_handle *);
};

static const struct library_function functions[] = {
#define FUNCTION(field, name) { "heif_" name, offsetof(struct heif, field) }
	FUNCTION(alloc, "context_alloc"),
	FUNCTION(free, "context_free"),
	FUNCTION(limit_side, "context_set_maximum_image_size_limit"),
	FUNCTION(read, "context_read_from_memory_without_copy"),
	FUNCTION(primary, "context_get_primary_image_handle"),
	FUNCTION(pictures, "context_get_number_of_top_level_images"),
	FUNCTION(width, "image_handle_get_width"),
	FUNCTION(height, "image_handle_get_height"),
	FUNCTION(coded_width, "image_handle_get_ispe_width"),
	FUNCTION(coded_height, "image_handle_get_ispe_height"),
	FUNCTION(has_alpha, "image_handle_has_alpha_channel"),
	FUNCTION(profile_size, "image_handle_get_raw_color_profile_size"),
	FUNCTION(profile, "image_handle_get_raw_color_profile"),
	FUNCTION(decode, "decode_image"),
	FUNCTION(decoded_width, "image_get_width"),
	FUNCTION(decoded_height, "image_get_height"),
	FUNCTION(rows, "image_get_plane_readonly"),
	FUNCTION(free_picture, "image_release"),
	FUNCTION(free_handle, "image_handle_release"),
};

static int complain(struct decoder *d, struct heif_result r)
{
	if (r.code == NO_MEMORY && r.detail != OVER_LIMIT)
		return fail(d->e, EXIT_MEMORY, "%s: no memory for decoding it", d->name);
	return fail(d->e, EXIT_INPUT, "%s: damaged, or libheif cannot read it: %s; convert it to PNG or JPEG", d->name,
		    r.message);
}

/* The handle repeats what the file says of its size; what was decoded may have another. */
/* What is decoded may have another size than its handle says. */
static bool has_size(const struct decoder *d, const struct heif *h, const struct heif_picture *picture)
{
	return h->decoded_width(picture, INTERLEAVED) == d->width &&
		h->decoded_height(picture, INTERLEAVED) == d->height;
}

static int put_rows(struct decoder *d, const struct heif *h, const struct heif_picture *picture)
{
	int stride;
	const uint8_t *rows = h->rows(picture, INTERLEAVED, &stride);

	if (!has_size(d, h, picture))
		return fail(d->e, EXIT_INPUT, "%s: its picture has another size than the file says; "
					      "convert it to PNG or JPEG", d->name);
	if (!rows || stride < d->width * channels_of(d->pixels))
		return fail(d->e, EXIT_INPUT, "%s: libheif hands over no rows of pixels; convert it to PNG or JPEG",
			    d->name);
	if (rows_begin(d) < 0)
		return -1;
	for (int y = 0; y < d->height; y++)
		rows_put(d, y, rows + (size_t)y * (size_t)stride);
	return 0;
}

/* The limit of a side for libheif.  A picture may be a canvas for other pictures (a grid, an overlay) with a size of
 * its own, which libheif 1.15 allocates after checking it against the limit of a side alone: 775 bytes took 700 MB.  So
 * the limit is the side of a square of 4 times the pixels that a picture may have, and for a canvas the picture's own
 * longer side. */
static int longest_side(const struct decoder *d)
{
	const double side = 2 * sqrt((double)decoder_most_pixels(d));

	return side < IMAGE_MAX_SIDE ? (int)side : IMAGE_MAX_SIDE;
}

static void limit_canvas(const struct heif *h, struct heif_context *context, const struct heif_handle *handle)
{
	const int width = h->coded_width(handle), height = h->coded_height(handle);

	h->limit_side(context, (width > height ? width : height) + 1);
}

static int decode_handle(struct decoder *d, const struct heif *h, const struct heif_handle *handle)
{
	struct heif_picture *picture = NULL;
	struct heif_result r;
	uint8_t *icc = NULL;
	int status;

	if (decoder_size(d, (uint64_t)h->width(handle), (uint64_t)h->height(handle)) < 0)
		return -1;
	if (decoder_knows_enough(d))
		return -1;
	d->pixels = h->has_alpha(handle) ? PIXELS_RGBA : PIXELS_RGB;
	r = h->decode(handle, &picture, COLOURS_RGB, d->pixels == PIXELS_RGBA ? ROWS_RGBA : ROWS_RGB, NULL);
	if (r.code)
		return complain(d, r);
	d->icc_bytes = h->profile_size(handle);
	if (d->icc_bytes && d->icc_bytes <= ICC_MAX) {
		icc = xmalloc(d->icc_bytes);
		d->icc = h->profile(handle, icc).code ? NULL : icc;
	}
	status = put_rows(d, h, picture);
	h->free_picture(picture);
	free(icc);
	return status;
}

static int decode_primary(struct decoder *d, const struct heif *h, struct heif_context *context)
{
	struct heif_handle *handle = NULL;
	struct heif_result r;
	int status;

	h->limit_side(context, longest_side(d));
	r = h->read(context, d->bytes, d->n, NULL);
	if (!r.code)
		r = h->primary(context, &handle);
	if (r.code)
		return complain(d, r);
	d->animated = h->pictures(context) > 1;
	limit_canvas(h, context, handle);
	status = decode_handle(d, h, handle);
	h->free_handle(handle);
	return status;
}

int heif_decode(struct decoder *d)
{
	struct heif h;
	struct heif_context *context;
	int status;

	d->unreadable = !library_open("libheif.so.1", functions, sizeof(functions) / sizeof(*functions), &h);
	if (d->unreadable && errno == ENOMEM)
		die(EXIT_MEMORY, "no memory for libheif");
	if (d->unreadable)
		return fail(d->e, EXIT_INPUT, "%s: HEIC and AVIF are read through libheif.so.1, which is not "
					      "installed; install libheif1, or convert the picture to PNG or JPEG",
			    d->name);
	context = h.alloc();
	if (!context)
		die(EXIT_MEMORY, "no memory for libheif");
	status = decode_primary(d, &h, context);
	h.free(context);
	return status;
}
