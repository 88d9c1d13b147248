/* One picture from its file to its payloads: decode, resize, crop, mirror, encode. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/hash.h"
#include "../io/publish.h"
#include "prepare_mask.h"
#include "prepare_picture.h"
#include "resample.h"

#define FILE_CAP ((size_t)1 << 30)
#define SIDE_MIN 16
#define ASPECT_MAX 32

static int check_size(const struct picture *picture, const struct image_info *i, struct error *e)
{
	long small = i->width < i->height ? i->width : i->height, large = i->width + i->height - small;

	if (small < SIDE_MIN)
		return fail(e, EXIT_INPUT, "%s: %dx%d pixels are too few to learn from; %d a side is the least",
			    picture->path, i->width, i->height, SIDE_MIN);
	if (large > ASPECT_MAX * small)
		return fail(e, EXIT_INPUT, "%s: %dx%d pixels are too long a strip; crop it to less than %d:1",
			    picture->path, i->width, i->height, ASPECT_MAX);
	return 0;
}

static void store(const struct prepare_options *o, const struct image *i, const char *prefix, struct prepared *out)
{
	struct tar_member *m = &out->member[out->members++];

	snprintf(m->suffix, sizeof(m->suffix), "%s%s", prefix, o->jpeg ? "jpg" : "png");
	if (o->jpeg)
		jpeg_encode(&m->bytes, i, o->quality);
	else
		png_encode(&m->bytes, i, NULL, 0);
}

static void fit(const struct image *source, const struct prepared *out, struct image *small)
{
	const struct placement *p = &out->place;

	resample_part(source, &out->info.part, p->resized[0], p->resized[1], out->filter,
		      (struct window){ p->crop[0], p->crop[1], p->bucket[0], p->bucket[1] }, small);
}

void prepare_mask(struct image *source, struct prepared *out, struct image *mask)
{
	size_t n = (size_t)source->width * source->height;

	for (size_t i = 0; i < n; i++)
		memset(source->rgb + 3 * i, source->alpha[i], 3);
	fit(source, out, mask);
	n = (size_t)mask->width * mask->height;
	out->mask_black = true;
	for (size_t i = 0; i < n; i++) {
		mask->rgb[i] = mask->rgb[3 * i];
		out->masked |= mask->rgb[i] < 255;
		out->mask_black &= !mask->rgb[i];
	}
}

/* A mask that is white all over is dropped. */
static void store_mask(struct image *source, struct prepared *out)
{
	struct image mask;
	struct tar_member *m = &out->member[out->members];

	prepare_mask(source, out, &mask);
	if (out->masked) {
		strcpy(m->suffix, "mask.png");
		png_encode_grey(&m->bytes, mask.rgb, mask.width, mask.height);
		out->members++;
	}
	image_free(&mask);
}

static void resize(const struct prepare_options *o, const struct picture_rules *rules, struct image *source,
		   struct prepared *out)
{
	struct image small;

	fit(source, out, &small);
	store(o, &small, "", out);
	if (rules->flip) {
		mirror(&small);
		store(o, &small, "flip.", out);
	}
	if (source->alpha)
		store_mask(source, out);
	image_free(&small);
}

static void place(const struct picture_rules *rules, const struct picture *picture, struct prepared *out)
{
	const struct image_info *i = &out->info;

	if (check_size(picture, i, &out->error) < 0) {
		out->code = "size";
	} else if (bucket_place(&rules->buckets, i->width, i->height, &out->place, &out->error) < 0) {
		fail_at(&out->error, picture->path);
		out->code = "size";
	}
	out->filter = out->place.filter == FILTER_LANCZOS ? RESAMPLE_LANCZOS : RESAMPLE_AREA;
	if (rules->has_filter)
		out->filter = rules->filter;
}

/* image_options.enough: the size that the bucket needs. */
static void enough(const void *context, int width, int height, int least[2])
{
	const struct picture_rules *rules = context;
	struct placement p;
	struct error e = { 0 };

	least[0] = width;
	least[1] = height;
	if (bucket_place(&rules->buckets, width, height, &p, &e) == 0)
		memcpy(least, p.resized, sizeof(p.resized));
}

static void decode(const struct prepare_options *o, const struct picture_rules *rules, const struct picture *picture,
		   const struct buffer *file, bool all, struct image *image, struct prepared *out)
{
	const struct image_options options = { .background = { o->background[0], o->background[1], o->background[2] },
					       .libheif = true, .keep_alpha = rules->alpha_mask,
					       .max_pixels = o->megapixels * 1000000, .enough = enough,
					       .context = rules, .every_pixel = all };

	sha256_hex_of(file->data, file->len, out->sha256);
	if (image_decode(picture->path, file->data, file->len, &options, image, &out->info, &out->error) < 0) {
		out->code = out->info.format ? "damaged" : "format";
		return;
	}
	place(rules, picture, out);
	if (!out->code && rules->mask_dir) {
		const int there = mask_beside(rules->mask_dir, picture->path, out->info.width, out->info.height,
					      image, &out->error);

		out->mask_file = there > 0;
		out->code = there < 0 ? "mask" : NULL;
	}
	if (out->code)
		image_free(image);
}

void prepare_decode(const struct prepare_options *o, const struct picture_rules *rules, const struct picture *p,
		    bool all, struct image *image, struct prepared *out)
{
	struct buffer file = { 0 };

	if (caption_find(&rules->captions, p->path, p->class_tokens, &out->caption, &out->error) < 0)
		out->code = "caption";
	else if (read_file(p->path, FILE_CAP, &file, &out->error) < 0)
		out->code = "unreadable";
	else
		decode(o, rules, p, &file, all, image, out);
	buffer_free(&file);
}

void prepare_picture(const struct prepare_options *o, const struct picture_rules *rules, const struct picture *p,
		     struct prepared *out)
{
	struct image image = { 0 };

	prepare_decode(o, rules, p, false, &image, out);
	if (!out->code)
		resize(o, rules, &image, out);
	image_free(&image);
}

void prepare_look(const struct prepare_options *o, const struct picture_rules *rules, const struct picture *p,
		  struct prepared *out)
{
	const struct image_options options = { .libheif = true, .max_pixels = o->megapixels * 1000000 };

	if (caption_find(&rules->captions, p->path, p->class_tokens, &out->caption, &out->error) < 0)
		out->code = "caption";
	else if (image_read_size(p->path, &options, &out->info, &out->error) < 0)
		out->code = out->info.format ? "damaged" : access(p->path, R_OK) < 0 ? "unreadable" : "format";
	else
		place(rules, p, out);
}

void prepared_free(struct prepared *p)
{
	free(p->caption.text);
	for (int i = 0; i < p->members; i++)
		buffer_free(&p->member[i].bytes);
}
