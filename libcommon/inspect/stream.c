/* lora-inspect: sample streams, and pictures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../data/latents.h"
#include "../data/shard.h"
#include "../io/image.h"
#include "internal.h"

/* ---- tars ---- */

struct bucket { int w, h; size_t count; };

struct contents {
	struct bucket *bucket;
	size_t buckets, capacity;
	size_t samples, regularization, without_text;
	int parts;
	struct latent_texts texts;      /* only counted: whether every sample's are there */
};

static void count_bucket(struct contents *c, int w, int h)
{
	size_t i = 0;

	while (i < c->buckets && (c->bucket[i].w != w || c->bucket[i].h != h))
		i++;
	if (i == c->buckets) {
		GROW(c->bucket, c->buckets, c->capacity);
		c->bucket[c->buckets++] = (struct bucket){ w, h, 0 };
	}
	c->bucket[i].count++;
}

static void count_sample(struct contents *c, const struct tar_sample *t)
{
	const json_t *size = json_object_get(t->json, "bucket");

	c->samples++;
	c->parts = t->part + 1;
	c->regularization += json_is_true(json_object_get(t->json, "regularization"));
	c->without_text += !tar_find(t, "text.safetensors");
	if (json_array_size(size) == 2)
		count_bucket(c, (int)json_integer_value(json_array_get(size, 0)),
			     (int)json_integer_value(json_array_get(size, 1)));
}

/* Checks what the stream's checksums cannot tell: that a payload is a picture, or that latents are finite. */
static int verify_sample(const struct sheet *s, struct contents *c, const char *format, const struct tar_sample *t,
			 struct error *e)
{
	static const char *const pictures[] = { "png", "jpg" };
	const struct image_options options = { .background = { 255, 255, 255 } };

	if (strcmp(format, "latent") == 0) {
		struct latent_sample l = { 0 };
		int status = latent_sample_read(s->path, t, &l, e);

		if (!status)
			status = latent_texts_check(&c->texts, s->path, t->part, &l, e);
		latent_sample_free(&l);
		return status;
	}
	for (int i = 0; i < 2; i++) {
		const struct tar_member *m = tar_find(t, pictures[i]);
		struct image picture = { 0 };

		if (m && image_decode(t->key, m->bytes.data, m->bytes.len, &options, &picture, NULL, e))
			return fail_at(e, s->path);
		image_free(&picture);
	}
	return 0;
}

static void say_sample(struct sheet *s, const struct tar_sample *t)
{
	struct buffer line = { 0 };

	for (int i = 0; i < t->members; i++)
		buffer_addf(&line, "%s%s.%s", i ? " " : "", t->key, t->member[i].suffix);
	sheet_row(s, "  %s %s.json", line.data ? line.data : "", t->key);
	json_text(&s->json, NULL, t->key);
	buffer_free(&line);
}

static void say_tar(struct sheet *s, const struct contents *c, const char *format)
{
	char label[60];

	snprintf(label, sizeof(label), "%s %s tar", strcmp(format, "image") ? "a" : "an", format);
	sheet_text(s, "kind", label, strcmp(format, "image") ? "latent tar" : "image tar");
	if (s->options->quick) {
		sheet_line(s, "samples", "not counted (--quick)");
		return;
	}
	sheet_int(s, "samples", "samples", c->samples);
	sheet_int(s, "regularization", c->regularization ? "regulariz." : NULL, c->regularization);
	if (strcmp(format, "latent") == 0)
		sheet_line(s, "text", c->without_text ? "left out in %zu samples" : "encoded", c->without_text);
	sheet_int(s, "parts", c->parts > 1 ? "parts" : NULL, c->parts);
	json_begin_array(&s->json, "buckets");
	for (size_t i = 0; i < c->buckets; i++) {
		sheet_line(s, i ? "" : "buckets", "%dx%d: %zu", c->bucket[i].w, c->bucket[i].h, c->bucket[i].count);
		json_begin(&s->json, NULL);
		json_begin_array(&s->json, "size");
		json_int(&s->json, NULL, c->bucket[i].w);
		json_int(&s->json, NULL, c->bucket[i].h);
		json_end_array(&s->json);
		json_int(&s->json, "count", c->bucket[i].count);
		json_end(&s->json);
	}
	json_end_array(&s->json);
}

/* The headings come before the keys in the text, so the keys are collected in a sheet of their own. */
static int read_tar(struct sheet *s, struct tar_reader *r, struct contents *c, struct sheet *keys, struct error *e)
{
	struct tar_sample t = { 0 };
	int status;

	while ((status = tar_next(r, &t, e)) == 1) {
		count_sample(c, &t);
		if (s->options->verify && verify_sample(s, c, tar_format(r), &t, e)) {
			status = -1;
			break;
		}
		if (s->options->keys)
			say_sample(keys, &t);
		if (s->options->quick) {
			status = 0;
			break;
		}
	}
	tar_sample_free(&t);
	return status;
}

/* And frees what was collected. */
static void say_contents(struct sheet *s, struct contents *c, const char *format, struct sheet *keys, int status)
{
	if (c->samples || !status)
		say_tar(s, c, format);
	if (s->options->keys && !status) {
		if (keys->text.len)
			buffer_add(&s->text, keys->text.data, keys->text.len);
		json_raw(&s->json, "keys", keys->json.text.data);
	}
	json_free(&keys->json);
	buffer_free(&keys->text);
	free(c->bucket);
	latent_texts_free(&c->texts);
}

/* Each part as a tar, all counted together. */
static int read_list(struct sheet *s, const struct shard_list *list, struct contents *c, struct sheet *keys,
		     struct error *e)
{
	int status = 0;

	for (size_t i = 0; !status && i < list->count; i++) {
		struct tar_reader *r = tar_open_hashed(list->part[i].path, "latent", e);

		status = r ? read_tar(s, r, c, keys, e) : -1;
		if (!status && !s->options->quick)
			status = shard_part_check(&list->part[i], r, false, e);
		latent_texts_free(&c->texts);
		tar_close(r);
	}
	c->parts = (int)list->count;
	return status;
}

int inspect_list(struct sheet *s, struct error *e)
{
	struct sheet keys = { .options = s->options, .path = s->path };
	struct contents c = { 0 };
	struct shard_list list;
	int status = shard_list_read(&list, s->path, e);

	if (status)
		return status;
	json_begin_array(&keys.json, NULL);
	status = read_list(s, &list, &c, &keys, e);
	json_end_array(&keys.json);
	say_contents(s, &c, "latent", &keys, status);
	shard_list_free(&list);
	return status;
}

int inspect_tar(struct sheet *s, struct error *e)
{
	struct tar_reader *r = tar_open(s->path, NULL, e);
	struct sheet keys = { .options = s->options, .path = s->path };
	struct contents c = { 0 };
	int status;

	if (!r)
		return -1;
	json_begin_array(&keys.json, NULL);
	status = read_tar(s, r, &c, &keys, e);
	json_end_array(&keys.json);
	say_contents(s, &c, tar_format(r), &keys, status);
	tar_close(r);
	return status;
}

/* ---- pictures ---- */

#define PICTURE_CAP (512u << 20)

int inspect_picture(struct sheet *s, struct error *e)
{
	const struct image_options options = { .background = { 255, 255, 255 } };
	struct buffer file = { 0 };
	struct image picture = { 0 };
	struct image_info info = { 0 };
	char *parameters;
	int status = read_file(s->path, PICTURE_CAP, &file, e);

	if (!status)
		status = image_decode(s->path, file.data, file.len, &options, &picture, &info, e);
	if (!status) {
		parameters = png_read_text(file.data, file.len, "parameters");
		sheet_text(s, "kind", parameters ? "a generated PNG" : "a PNG", "picture");
		sheet_line(s, "size", "%dx%d", info.width, info.height);
		sheet_int(s, "width", NULL, info.width);
		sheet_int(s, "height", NULL, info.height);
		sheet_text(s, "parameters", NULL, parameters);
		for (char *line = parameters; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
			sheet_line(s, line == parameters ? "parameters" : "", "%.*s", (int)strcspn(line, "\n"), line);
		free(parameters);
	}
	image_free(&picture);
	buffer_free(&file);
	return status;
}
