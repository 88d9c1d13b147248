/* JPEG in and out through libjpeg. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jpeglib.h>
#include <jerror.h>
#include "image_internal.h"

/* Everything that a longjmp must not lose lives here, in the caller's frame. */
struct jpeg_job {
	struct jpeg_decompress_struct c;
	struct jpeg_error_mgr errors;
	struct jpeg_progress_mgr progress;
	jmp_buf back;
	bool in_picture;
	struct decoder *d;
	JOCTET *icc;
	uint8_t *row;
};

static void give_up(j_common_ptr c)
{
	struct jpeg_job *j = c->client_data;
	char text[JMSG_LENGTH_MAX];

	c->err->format_message(c, text);
	if (c->err->msg_code == JERR_OUT_OF_MEMORY)
		fail(j->d->e, EXIT_MEMORY, "%s: no memory for decoding it", j->d->name);
	else
		fail(j->d->e, EXIT_INPUT, "%s: damaged JPEG: %s; replace it", j->d->name, text);
	longjmp(j->back, 1);
}

/* Some cameras put a few bytes between the last pixel and the end marker. */
static bool is_padding(j_common_ptr c)
{
	return c->err->msg_parm.i[0] <= 8 && c->err->msg_parm.i[1] == JPEG_EOI;
}

/* libjpeg calls a truncated file a warning and paints the rest grey.  Warnings are the end here, but for those of a
 * header's small print that change no pixel. */
static void on_message(j_common_ptr c, int level)
{
	struct jpeg_job *j = c->client_data;
	int code = c->err->msg_code;

	if (level >= 0 || code == JWRN_ADOBE_XFORM || code == JWRN_JFIF_MAJOR || code == JWRN_BOGUS_ICC)
		return;
	if (code == JWRN_EXTRANEOUS_DATA && (!j->in_picture || is_padding(c)))
		return;
	give_up(c);
}

/* A few hundred kilobytes of empty scans keep libjpeg busy for half a minute. */
static void limit_scans(j_common_ptr c)
{
	struct jpeg_job *j = c->client_data;

	if (j->c.input_scan_number <= IMAGE_MAX_SCANS)
		return;
	j->d->over_limit = true;
	fail(j->d->e, EXIT_INPUT, "%s: a JPEG of more than %d scans; save it anew", j->d->name, IMAGE_MAX_SCANS);
	longjmp(j->back, 1);
}

static void read_markers(struct jpeg_job *j)
{
	unsigned length = 0;

	for (jpeg_saved_marker_ptr m = j->c.marker_list; m; m = m->next)
		if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 && !memcmp(m->data, "Exif\0\0", 6)) {
			j->d->orientation = exif_orientation(m->data, m->data_length);
			break;
		}
	if (jpeg_read_icc_profile(&j->c, &j->icc, &length)) {
		j->d->icc = j->icc;
		j->d->icc_bytes = length;
	}
}

static void choose_pixels(struct jpeg_job *j)
{
	switch (j->c.jpeg_color_space) {
	case JCS_GRAYSCALE:
		j->c.out_color_space = JCS_GRAYSCALE;
		j->d->pixels = PIXELS_GREY;
		break;
	case JCS_CMYK:
	case JCS_YCCK:
		j->c.out_color_space = JCS_CMYK;
		j->d->pixels = PIXELS_CMYK;
		break;
	default:
		j->c.out_color_space = JCS_RGB;
		j->d->pixels = PIXELS_RGB;
	}
}

/* In several scans every coefficient comes piece by piece, so libjpeg keeps them all: two bytes each,
 * in whole blocks. */
static uint64_t kept_coefficients(struct jpeg_job *j)
{
	uint64_t bytes = 0;

	for (int i = 0; i < j->c.num_components && jpeg_has_multiple_scans(&j->c); i++) {
		const jpeg_component_info *p = &j->c.comp_info[i];
		uint64_t across = p->width_in_blocks + p->h_samp_factor - 1,
			down = p->height_in_blocks + p->v_samp_factor - 1;
		bytes += across * down * sizeof(JBLOCK);
	}
	return bytes;
}

/* The inverse transform of a block can leave out its finest waves: the average of 2x2, 4x4 or 8x8 pixels,
 * for less work. */
static int shrink(struct jpeg_job *j)
{
	uint64_t coefficients = kept_coefficients(j);

	j->c.scale_num = 1;
	j->c.scale_denom = (unsigned)decoder_shrink(j->d, coefficients);
	jpeg_calc_output_dimensions(&j->c);
	j->d->width = (int)j->c.output_width;
	j->d->height = (int)j->c.output_height;
	return coefficients ? decoder_room(j->d, coefficients, "a progressive JPEG",
					   "save it as a baseline JPEG, or smaller") : 0;
}

/* Adobe's programs store ink upside down, and say so only by their marker. */
static void turn_ink(struct jpeg_job *j)
{
	if (j->d->pixels == PIXELS_CMYK && j->c.saw_Adobe_marker)
		for (size_t i = 0; i < (size_t)j->d->width * 4; i++)
			j->row[i] = 255 - j->row[i];
}

static int decode(struct jpeg_job *j)
{
	if (setjmp(j->back))
		return -1;
	jpeg_create_decompress(&j->c);
	j->c.progress = &j->progress;
	jpeg_mem_src(&j->c, j->d->bytes, j->d->n);
	jpeg_save_markers(&j->c, JPEG_APP0 + 1, 0xffff);
	jpeg_save_markers(&j->c, JPEG_APP0 + 2, 0xffff);
	jpeg_read_header(&j->c, TRUE);
	if (decoder_size(j->d, j->c.image_width, j->c.image_height) < 0)
		return -1;
	read_markers(j);
	if (decoder_knows_enough(j->d))
		return -1;
	choose_pixels(j);
	if (shrink(j) < 0)
		return -1;
	j->in_picture = true;
	jpeg_start_decompress(&j->c);
	if (rows_begin(j->d) < 0)
		return -1;
	j->row = xmalloc((size_t)j->d->width * j->c.output_components);
	while (j->c.output_scanline < j->c.output_height) {
		int y = (int)j->c.output_scanline;
		jpeg_read_scanlines(&j->c, &j->row, 1);
		turn_ink(j);
		rows_put(j->d, y, j->row);
	}
	jpeg_finish_decompress(&j->c);
	return 0;
}

int jpeg_decode(struct decoder *d)
{
	struct jpeg_job j = { .d = d };
	int status;

	j.c.err = jpeg_std_error(&j.errors);
	j.c.client_data = &j;
	j.errors.error_exit = give_up;
	j.errors.emit_message = on_message;
	j.progress.progress_monitor = limit_scans;
	status = decode(&j);
	jpeg_destroy_decompress(&j.c);
	free(j.icc);
	free(j.row);
	return status;
}

static _Noreturn void cannot_write(j_common_ptr c)
{
	char text[JMSG_LENGTH_MAX];

	c->err->format_message(c, text);
	die(EXIT_MEMORY, "cannot compress a JPEG: %s", text);
}

void jpeg_encode(struct buffer *out, const struct image *i, int quality)
{
	struct jpeg_compress_struct c;
	struct jpeg_error_mgr errors;
	unsigned char *bytes = NULL;
	unsigned long n = 0;

	c.err = jpeg_std_error(&errors);
	errors.error_exit = cannot_write;
	jpeg_create_compress(&c);
	jpeg_mem_dest(&c, &bytes, &n);
	c.image_width = i->width;
	c.image_height = i->height;
	c.input_components = 3;
	c.in_color_space = JCS_RGB;
	jpeg_set_defaults(&c);
	jpeg_set_quality(&c, quality, TRUE);
	if (quality >= 90)
		c.comp_info[0].h_samp_factor = c.comp_info[0].v_samp_factor = 1;
	jpeg_start_compress(&c, TRUE);
	while (c.next_scanline < c.image_height) {
		JSAMPROW row = i->rgb + (size_t)c.next_scanline * i->width * 3;
		jpeg_write_scanlines(&c, &row, 1);
	}
	jpeg_finish_compress(&c);
	jpeg_destroy_compress(&c);
	buffer_add(out, bytes, n);
	free(bytes);
}
