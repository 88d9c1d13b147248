/* WebP in, through libwebp. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>
#include "image_internal.h"

static void read_metadata(struct decoder *d, const WebPDemuxer *demux)
{
	WebPChunkIterator chunk;

	if (WebPDemuxGetChunk(demux, "EXIF", 1, &chunk)) {
		if (chunk.chunk.size <= EXIF_MAX)
			d->orientation = exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
		WebPDemuxReleaseChunkIterator(&chunk);
	}
	/* The chunk points into the file's bytes, which outlive the iterator. */
	if (WebPDemuxGetChunk(demux, "ICCP", 1, &chunk)) {
		d->icc = chunk.chunk.bytes;
		d->icc_bytes = chunk.chunk.size;
		WebPDemuxReleaseChunkIterator(&chunk);
	}
}

static int bad(struct decoder *d)
{
	return fail(d->e, EXIT_INPUT, "%s: damaged or truncated WebP; replace it", d->name);
}

static int no_memory(struct decoder *d)
{
	return fail(d->e, EXIT_MEMORY, "%s: no memory for %dx%d pixels", d->name, d->width, d->height);
}

/* libwebp's own memory: all pixels of a lossless picture (transparency is stored as one), and the transparency. */
static uint64_t codec_bytes(const struct decoder *d, const WebPBitstreamFeatures *f)
{
	uint64_t frame = (uint64_t)f->width * f->height, pixels = (uint64_t)d->width * d->height;
	bool lossless = f->format == 2, apart = d->options && d->options->keep_alpha;

	return frame * (lossless ? 4 : f->has_alpha ? 5 : 0) +
		(d->pixels == PIXELS_RGBA ? pixels * (apart ? 4 : 1) : 0);
}

/* A picture that has no room is made smaller while it is decoded, where its reader needs no more. */
static int find_room(struct decoder *d, const WebPBitstreamFeatures *f)
{
	bool whole = f->width == d->width && f->height == d->height;

	if (!decoder_has_room(d, codec_bytes(d, f)) && whole && decoder_shrink(d, codec_bytes(d, f)) > 1) {
		d->width = (d->width + d->shrunk - 1) / d->shrunk;
		d->height = (d->height + d->shrunk - 1) / d->shrunk;
		d->stretched = true;
	}
	return decoder_room(d, codec_bytes(d, f), f->format == 2 ? "a lossless WebP" : "a transparent WebP",
			    "save it as PNG, or smaller");
}

/* libwebp mostly says when it has no memory; else malloc() does. */
static int decode_into(struct decoder *d, const WebPData *data, WebPDecoderConfig *c, uint8_t *at, size_t room,
		       size_t stride)
{
	VP8StatusCode status;

	c->options.use_scaling = d->stretched;
	c->options.scaled_width = d->width;
	c->options.scaled_height = d->height;
	c->output.colorspace = d->pixels == PIXELS_RGBA ? MODE_RGBA : MODE_RGB;
	c->output.is_external_memory = 1;
	c->output.u.RGBA.rgba = at;
	c->output.u.RGBA.size = room;
	c->output.u.RGBA.stride = (int)stride;
	errno = 0;
	status = WebPDecode(data->bytes, data->size, c);
	if (status == VP8_STATUS_OUT_OF_MEMORY || (status != VP8_STATUS_OK && errno == ENOMEM))
		return no_memory(d);
	return status == VP8_STATUS_OK ? 0 : bad(d);
}

/* The first frame at its place on the canvas; around it everything is transparent. */
static int decode_frame(struct decoder *d, const WebPIterator *frame)
{
	const WebPData *data = &frame->fragment;
	WebPDecoderConfig c;
	size_t stride, at;
	uint8_t *pixels;

	if (frame->x_offset < 0 || frame->y_offset < 0 || frame->x_offset + frame->width > d->width ||
	    frame->y_offset + frame->height > d->height)
		return fail(d->e, EXIT_INPUT, "%s: damaged WebP: a frame outside its canvas; replace it", d->name);
	if (!WebPInitDecoderConfig(&c) || WebPGetFeatures(data->bytes, data->size, &c.input) != VP8_STATUS_OK)
		return bad(d);
	d->pixels = frame->has_alpha || frame->width != d->width || frame->height != d->height ?
		PIXELS_RGBA : PIXELS_RGB;
	if (find_room(d, &c.input) < 0 || rows_begin(d) < 0)
		return -1;
	pixels = rows_whole(d);
	if (!pixels)
		return no_memory(d);
	stride = (size_t)d->width * channels_of(d->pixels);
	at = stride * frame->y_offset + (size_t)channels_of(d->pixels) * frame->x_offset;
	if (decode_into(d, data, &c, pixels + at, stride * d->height - at, stride) < 0)
		return -1;
	rows_put_whole(d);
	return 0;
}

static int decode(struct decoder *d, WebPDemuxer *demux)
{
	uint32_t width = WebPDemuxGetI(demux, WEBP_FF_CANVAS_WIDTH);
	uint32_t height = WebPDemuxGetI(demux, WEBP_FF_CANVAS_HEIGHT);
	WebPIterator frame;
	int status;

	if (decoder_size(d, width, height) < 0)
		return -1;
	d->animated = WebPDemuxGetI(demux, WEBP_FF_FORMAT_FLAGS) & ANIMATION_FLAG;
	read_metadata(d, demux);
	if (!WebPDemuxGetFrame(demux, 1, &frame))
		return fail(d->e, EXIT_INPUT, "%s: a WebP file without a picture; replace it", d->name);
	status = decode_frame(d, &frame);
	WebPDemuxReleaseIterator(&frame);
	return status;
}

int webp_decode(struct decoder *d)
{
	WebPData data = { d->bytes, d->n };
	WebPDemuxer *demux;
	int status;

	errno = 0;
	demux = WebPDemux(&data);
	if (!demux)
		return errno == ENOMEM ? no_memory(d) : bad(d);
	status = decode(d, demux);
	WebPDemuxDelete(demux);
	return status;
}
