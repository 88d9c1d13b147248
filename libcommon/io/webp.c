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

/* The first frame at its place on the canvas; around it everything is transparent. */
static int decode_frame(struct decoder *d, const WebPIterator *frame)
{
	int channels = frame->has_alpha || frame->width != d->width || frame->height != d->height ? 4 : 3;
	size_t stride = (size_t)d->width * channels, size = stride * d->height, room;
	const WebPData *data = &frame->fragment;
	uint8_t *direct, *pixels, *at, *end;

	if (frame->x_offset < 0 || frame->y_offset < 0 || frame->x_offset + frame->width > d->width ||
	    frame->y_offset + frame->height > d->height)
		return fail(d->e, EXIT_INPUT, "%s: damaged WebP: a frame outside its canvas; replace it", d->name);
	d->pixels = channels == 4 ? PIXELS_RGBA : PIXELS_RGB;
	if (rows_begin(d) < 0)
		return -1;
	direct = rows_direct(d);
	pixels = direct ? direct : calloc(size, 1);
	if (!pixels)
		return fail(d->e, EXIT_MEMORY, "%s: no memory for %dx%d pixels", d->name, d->width, d->height);
	at = pixels + stride * frame->y_offset + (size_t)channels * frame->x_offset;
	room = size - (size_t)(at - pixels);
	end = channels == 4 ? WebPDecodeRGBAInto(data->bytes, data->size, at, room, (int)stride)
			    : WebPDecodeRGBInto(data->bytes, data->size, at, room, (int)stride);
	if (!end)
		fail(d->e, EXIT_INPUT, "%s: damaged or truncated WebP; replace it", d->name);
	for (int y = 0; end && !direct && y < d->height; y++)
		rows_put(d, y, pixels + stride * y);
	if (!direct)
		free(pixels);
	return end ? 0 : -1;
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
	WebPDemuxer *demux = WebPDemux(&data);
	int status;

	if (!demux)
		return fail(d->e, EXIT_INPUT, "%s: damaged or truncated WebP; replace it", d->name);
	status = decode(d, demux);
	WebPDemuxDelete(demux);
	return status;
}
