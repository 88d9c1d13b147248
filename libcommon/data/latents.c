/* Reading and writing one sample of a latent tar: payloads and json. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/hash.h"
#include "../io/safetensors.h"
#include "../model/vae.h"
#include "latents_internal.h"
#include "mask.h"

#define MAX_SIDE      65536
#define HOLES_MOST    1000

void latent_sample_free(struct latent_sample *s)
{
	int i;

	free(s->mean);
	free(s->std);
	free(s->flip_mean);
	free(s->flip_std);
	free(s->mask);
	free(s->flip_mask);
	free(s->hole);
	free(s->hole_mean);
	free(s->hole_std);
	free(s->flip_hole);
	free(s->flip_hole_mean);
	free(s->flip_hole_std);
	conditioning_free(&s->text);
	free(s->row);
	free(s->variant);
	free(s->text_id);
	for (i = 0; i < s->captions; i++)
		free(s->caption[i]);
	free(s->caption);
	free(s->written);
	json_decref(s->made_with);
	json_decref(s->caption_options);
	free(s->path);
	free(s->sha256);
	free(s->vae);
	for (i = 0; i < TEXT_ENCODERS; i++)
		free(s->encoder[i]);
	*s = (struct latent_sample){ 0 };
}

/* ---- reading ---- */

/* least: of the first side */
static int shape_is(const struct safetensors *f, const char *name, int dims, int least, int *shape, struct error *e)
{
	const struct safetensor *t = safetensors_find(f, name);
	int i;

	if (!t)
		return fail(e, EXIT_INPUT, "%s: tensor '%s' is missing; encode the pictures again", f->path, name);
	if (t->dims != dims)
		return fail(e, EXIT_INPUT, "%s: tensor '%s' has %d dimensions, not %d", f->path, name, t->dims, dims);
	for (i = 0; i < dims; i++) {
		if (t->shape[i] < (i ? 1 : least) || t->shape[i] > MAX_SIDE)
			return fail(e, EXIT_INPUT, "%s: tensor '%s' has a side of %lld", f->path, name,
				    (long long)t->shape[i]);
		shape[i] = t->shape[i];
	}
	return 0;
}

static float *finite_floats(const struct safetensors *f, const char *name, size_t count, struct error *e)
{
	float *x = safetensors_floats(f, name, count, e);
	size_t i;

	for (i = 0; x && i < count; i++)
		if (!isfinite(x[i])) {
			fail(e, EXIT_INPUT, "%s: tensor '%s' holds a NaN or an infinity; "
					    "encode this picture again in fp32", f->path, name);
			free(x);
			return NULL;
		}
	return x;
}

/* [c,h,w] in the file, [h,w,c] in memory */
static int read_plane(const struct safetensors *f, const char *name, const struct latent_sample *s, float **out,
		      struct error *e)
{
	size_t n = (size_t)s->c * s->h * s->w;
	float *nchw;

	nchw = finite_floats(f, name, n, e);
	if (!nchw)
		return -1;
	*out = xmalloc(n * sizeof(**out));
	nhwc_from_nchw(*out, nchw, 1, s->c, s->h, s->w);
	free(nchw);
	return 0;
}

static int read_mask(const struct safetensors *f, struct latent_sample *s, struct error *e)
{
	size_t i, n = (size_t)s->h * s->w;
	int shape[2] = { 0 };

	if (shape_is(f, "mask", 2, 1, shape, e) < 0)
		return -1;
	if (shape[0] != s->h || shape[1] != s->w)
		return fail(e, EXIT_INPUT, "%s: tensor 'mask' is not of the latent's size; encode the pictures again",
			    f->path);
	s->mask = finite_floats(f, "mask", n, e);
	if (!s->mask)
		return -1;
	for (i = 0; i < n; i++)
		if (s->mask[i] < 0 || s->mask[i] > 1)
			return fail(e, EXIT_INPUT, "%s: tensor 'mask' holds a value outside 0 to 1; "
						   "encode the pictures again", f->path);
	s->flip_mask = s->flip_mean ? mask_mirrored(s->mask, s->w, s->h) : NULL;
	return 0;
}

/* [holes,c,h,w] in the file, [holes,h,w,c] in memory */
static int read_hole_latents(const struct safetensors *f, const char *name, const struct latent_sample *s, float **out,
			     struct error *e)
{
	const size_t n = (size_t)s->holes * s->c * s->h * s->w;
	float *nchw = finite_floats(f, name, n, e);

	if (!nchw)
		return -1;
	*out = xmalloc(n * sizeof(**out));
	nhwc_from_nchw(*out, nchw, s->holes, s->c, s->h, s->w);
	free(nchw);
	return 0;
}

static int read_holes(const struct safetensors *f, struct latent_sample *s, struct error *e)
{
	const size_t each = (size_t)s->h * s->w;
	int shape[3];

	if (shape_is(f, "hole", 3, 1, shape, e) < 0)
		return -1;
	if (shape[1] != s->h || shape[2] != s->w || shape[0] > HOLES_MOST)
		return fail(e, EXIT_INPUT, "%s: tensor 'hole' is not of the latent's size; encode the pictures again",
			    f->path);
	s->holes = shape[0];
	s->hole = finite_floats(f, "hole", s->holes * each, e);
	if (!s->hole || read_hole_latents(f, "hole.mean", s, &s->hole_mean, e) < 0 ||
	    read_hole_latents(f, "hole.std", s, &s->hole_std, e) < 0)
		return -1;
	if (!s->flip_mean)
		return 0;
	s->flip_hole = xmalloc(s->holes * each * sizeof(float));
	for (int i = 0; i < s->holes; i++) {
		float *mirrored = mask_mirrored(s->hole + i * each, s->w, s->h);
		memcpy(s->flip_hole + i * each, mirrored, each * sizeof(float));
		free(mirrored);
	}
	return read_hole_latents(f, "hole.mean.flip", s, &s->flip_hole_mean, e) < 0 ? -1 :
	       read_hole_latents(f, "hole.std.flip", s, &s->flip_hole_std, e);
}

static int read_latent(const struct safetensors *f, struct latent_sample *s, struct error *e)
{
	int shape[3];

	if (shape_is(f, "mean", 3, 1, shape, e) < 0)
		return -1;
	s->dtype = safetensors_find(f, "mean")->dtype;
	s->c = shape[0];
	s->h = shape[1];
	s->w = shape[2];
	if (read_plane(f, "mean", s, &s->mean, e) < 0 || read_plane(f, "std", s, &s->std, e) < 0)
		return -1;
	if (safetensors_find(f, "mean.flip") &&
	    (read_plane(f, "mean.flip", s, &s->flip_mean, e) < 0 || read_plane(f, "std.flip", s, &s->flip_std, e) < 0))
		return -1;
	if (safetensors_find(f, "hole") && read_holes(f, s, e) < 0)
		return -1;
	return s->masked ? read_mask(f, s, e) : 0;
}

/* Shape of one condition. */
static int read_text_shape(const struct safetensors *f, int i, struct latent_sample *s, struct error *e)
{
	const char *name = condition_name(i);
	const bool tokens = condition_has_tokens(i);
	int shape[3];

	if (!condition_is_text(i) || !(s->family->conditions & 1u << i))
		return 0;
	if (shape_is(f, name, tokens ? 3 : 2, s->row ? 0 : 1, shape, e) < 0)
		return -1;
	if (i == CONDITION_CONTEXT)
		s->text.rows = shape[0];
	if (shape[0] != s->text.rows)
		return fail(e, EXIT_INPUT, "%s: %d contexts but %d %s vectors", f->path, s->text.rows, shape[0], name);
	s->text.of[i].length = tokens ? shape[1] : 1;
	s->text.of[i].width = shape[tokens ? 2 : 1];
	return 0;
}

static int read_text(const struct safetensors *f, struct latent_sample *s, struct error *e)
{
	for (int i = 0; i < CONDITIONS; i++)
		if (read_text_shape(f, i, s, e) < 0)
			return -1;
	s->variants = s->row ? s->captions : s->text.rows;
	for (int i = 0; i < CONDITIONS; i++) {
		if (!s->text.of[i].length)
			continue;
		s->text.of[i].data = finite_floats(f, condition_name(i), condition_size(&s->text, i) * s->text.rows, e);
		if (!s->text.of[i].data)
			return -1;
	}
	return 0;
}

static int read_member(const char *label, const struct tar_member *m,
		       int (*read)(const struct safetensors *, struct latent_sample *,
		       struct error *), struct latent_sample *s, struct error *e)
{
	char *name = xprintf("%s: %s.%s", label, s->key, m->suffix);
	struct safetensors *f = safetensors_parse(name, m->bytes.data, m->bytes.len, e);
	int result = -1;

	if (f)
		result = read(f, s, e);
	safetensors_close(f);
	free(name);
	return result;
}

int latent_payload_read(const char *label, const struct tar_member *m, struct latent_sample *s, struct error *e)
{
	return read_member(label, m, strcmp(m->suffix, TEXT_MEMBER) ? read_latent : read_text, s, e);
}

static int pair(const json_t *json, const char *key, int out[2])
{
	const json_t *a = json_object_get(json, key);
	int i;

	for (i = 0; i < 2; i++) {
		const json_t *v = json_array_get(a, i);
		json_int_t n = json_integer_value(v);
		if (!json_is_integer(v) || n < -MAX_SIDE * 16 || n > MAX_SIDE * 16)
			return -1;
		out[i] = n;
	}
	return 0;
}

static char *text_of(const json_t *json, const char *key)
{
	return xstrdup(json_string_value(json_object_get(json, key)));
}

static int read_captions(const json_t *list, struct latent_sample *s)
{
	size_t i, n = json_array_size(list);

	s->caption = xcalloc(n, sizeof(*s->caption));
	for (i = 0; i < n; i++) {
		const json_t *text = json_array_get(list, i);
		if (!json_is_string(text))
			return -1;
		s->caption[s->captions++] = xstrdup(json_string_value(text));
	}
	return n > 0 ? 0 : -1;
}

const char *latent_sample_caption(const struct latent_sample *s)
{
	return s->written ? s->written : s->caption[0];
}

/* Addresses of the parts, and which of the stream's texts the captions are */
static int read_places(const json_t *json, struct latent_sample *s)
{
	const json_t *latent = json_object_get(json, "latent_id"), *ids = json_object_get(json, "text_ids"),
		     *rows = json_object_get(json, "text_rows");

	if (json_string_length(latent) == 64)
		memcpy(s->latent_id, json_string_value(latent), 65);
	if ((ids && json_array_size(ids) != (size_t)s->captions) ||
	    (rows && json_array_size(rows) != (size_t)s->captions))
		return -1;
	s->text_id = ids ? xcalloc(s->captions, sizeof(*s->text_id)) : NULL;
	s->row = rows ? xcalloc(s->captions, sizeof(*s->row)) : NULL;
	for (int i = 0; i < s->captions; i++) {
		const json_t *id = json_array_get(ids, i), *row = json_array_get(rows, i);
		if (ids && json_string_length(id) != 64)
			return -1;
		if (ids)
			memcpy(s->text_id[i], json_string_value(id), 65);
		if (rows && (!json_is_integer(row) || json_integer_value(row) < 0 ||
			     json_integer_value(row) > INT32_MAX))
			return -1;
		if (rows)
			s->row[i] = json_integer_value(row);
	}
	return 0;
}

/* What is there only when captions have variants or the pictures came from a dataset config */
static int read_variants(const json_t *json, struct latent_sample *s)
{
	const json_t *empty = json_object_get(json, "empty_variant"), *batch = json_object_get(json, "batch_size");
	json_t *options = json_object_get(json, "caption_options"), *made = json_object_get(json, "variants_made_with");

	s->written = text_of(json, "caption");
	s->empty = empty ? (int)json_integer_value(empty) : -1;
	s->batch_size = json_integer_value(batch);
	s->caption_options = json_incref(options);
	s->made_with = json_incref(made);
	if (empty && (!json_is_integer(empty) || json_integer_value(empty) != s->captions - 1 || s->captions < 2))
		return -1;
	if (batch && (json_integer_value(batch) < 1 || json_integer_value(batch) > 4096))
		return -1;
	return (!options || json_is_object(options)) && (!made || json_is_object(made)) ? 0 : -1;
}

int latent_fields_read(const char *label, const json_t *json, struct latent_sample *s, struct error *e)
{
	const json_t *repeats = json_object_get(json, "repeats"), *weight = json_object_get(json, "weight");
	const char *id = json_string_value(json_object_get(json, "id"));
	const char *family = json_string_value(json_object_get(json, "family"));

	if (!id || strlen(id) != 64)
		return fail(e, EXIT_INPUT, "%s: %s.json: 'id' is missing; "
					   "is this an image tar? encode it first (lora-encode)", label, s->key);
	memcpy(s->id, id, 65);
	if (!json_is_integer(repeats) || json_integer_value(repeats) < 1 || json_integer_value(repeats) > 1000000)
		return fail(e, EXIT_INPUT, "%s: %s.json: 'repeats' is no number from 1 to 1000000", label, s->key);
	s->repeats = json_integer_value(repeats);
	s->weight = json_number_value(weight);
	if (!json_is_number(weight) || !(s->weight >= 0))
		return fail(e, EXIT_INPUT, "%s: %s.json: 'weight' is no number from 0", label, s->key);
	s->clip_skip = json_integer_value(json_object_get(json, "clip_skip"));
	s->family = family_encoded_as(family);
	if (!s->family)
		return fail(e, EXIT_INPUT, "%s: %s.json: 'family' is '%.40s', which is not known; "
					   "encode the pictures again", label, s->key, family);
	s->regularization = json_is_true(json_object_get(json, "regularization"));
	s->masked = json_is_true(json_object_get(json, "mask"));
	s->weighted = json_is_true(json_object_get(json, "weighted_captions"));
	if (pair(json, "original", s->original) < 0 || pair(json, "crop", s->crop) < 0 ||
	    pair(json, "bucket", s->bucket) < 0)
		return fail(e, EXIT_INPUT, "%s: %s.json: 'original', 'crop' and 'bucket' must be two integers each",
			    label, s->key);
	if (pair(json, "of_folder", s->of_folder) < 0)
		memset(s->of_folder, 0, sizeof(s->of_folder));
	if (pair(json, "crop_flip", s->crop_flip) < 0)
		memcpy(s->crop_flip, s->crop, sizeof(s->crop));
	if (read_captions(json_object_get(json, "captions"), s) < 0)
		return fail(e, EXIT_INPUT, "%s: %s.json: 'captions' is no list of texts", label, s->key);
	if (read_variants(json, s) < 0)
		return fail(e, EXIT_INPUT, "%s: %s.json: empty_variant, variants_made_with, batch_size or "
					   "caption_options does not fit; encode again", label, s->key);
	if (read_places(json, s) < 0)
		return fail(e, EXIT_INPUT, "%s: %s.json: 'text_ids' and 'text_rows' do not fit the captions", label,
			    s->key);
	s->path = text_of(json, "path");
	s->sha256 = text_of(json, "sha256");
	s->vae = text_of(json, "vae");
	for (int i = 0; i < TEXT_ENCODERS; i++)
		s->encoder[i] = text_of(json, part_names[COMPONENT_TE1 + i].folder);
	return 0;
}

int latent_sample_read(const char *label, const struct tar_sample *tar, struct latent_sample *s, struct error *e)
{
	const struct tar_member *latent = tar_find(tar, LATENT_MEMBER), *text = tar_find(tar, TEXT_MEMBER);

	*s = (struct latent_sample){ 0 };
	memcpy(s->key, tar->key, sizeof(s->key));
	if (latent_fields_read(label, tar->json, s, e) < 0)
		goto bad;
	if (!latent) {
		fail(e, EXIT_INPUT, "%s: sample %s has no %s", label, s->key, LATENT_MEMBER);
		goto bad;
	}
	if (latent_payload_read(label, latent, s, e) < 0 || (text && latent_payload_read(label, text, s, e) < 0))
		goto bad;
	if (s->variants > s->captions) {
		fail(e, EXIT_INPUT, "%s: sample %s has %d texts and %d captions; encode it again", label, s->key,
		     s->variants, s->captions);
		goto bad;
	}
	return 0;
bad:
	latent_sample_free(s);
	return -1;
}

/* ---- writing ---- */

static enum dtype dtype_of(const struct latent_sample *s)
{
	return s->dtype == DTYPE_F16 || s->dtype == DTYPE_BF16 ? s->dtype : DTYPE_F32;
}

static struct safetensors_out plane(const char *name, const struct latent_sample *s, const float *nhwc)
{
	float *nchw = xmalloc(sizeof(float) * s->c * s->h * s->w);

	nchw_from_nhwc(nchw, nhwc, 1, s->h, s->w, s->c);
	return (struct safetensors_out){ name, dtype_of(s), 3, { s->c, s->h, s->w }, nchw, true };
}

static struct safetensors_out hole_planes(const char *name, const struct latent_sample *s, const float *nhwc)
{
	float *nchw = xmalloc(sizeof(float) * s->holes * s->c * s->h * s->w);

	nchw_from_nhwc(nchw, nhwc, s->holes, s->h, s->w, s->c);
	return (struct safetensors_out){ name, dtype_of(s), 4, { s->holes, s->c, s->h, s->w }, nchw, true };
}

static void latent_member(const struct latent_sample *s, struct tar_member *m)
{
	struct safetensors_out t[10] = { plane("mean", s, s->mean), plane("std", s, s->std) };
	size_t i, made, n = 2;

	if (s->flip_mean) {
		t[n++] = plane("mean.flip", s, s->flip_mean);
		t[n++] = plane("std.flip", s, s->flip_std);
	}
	if (s->hole) {
		t[n++] = hole_planes("hole.mean", s, s->hole_mean);
		t[n++] = hole_planes("hole.std", s, s->hole_std);
	}
	if (s->flip_hole_mean) {
		t[n++] = hole_planes("hole.mean.flip", s, s->flip_hole_mean);
		t[n++] = hole_planes("hole.std.flip", s, s->flip_hole_std);
	}
	made = n;
	if (s->hole)
		t[n++] = (struct safetensors_out){ "hole", DTYPE_F32, 3, { s->holes, s->h, s->w }, s->hole, false };
	if (s->mask)
		t[n++] = (struct safetensors_out){ "mask", DTYPE_F32, 2, { s->h, s->w }, s->mask, false };
	strcpy(m->suffix, LATENT_MEMBER);
	safetensors_serialize(&m->bytes, t, n, NULL, 0);
	for (i = 0; i < made; i++)
		free((void *)t[i].data);
}

static void text_member(const struct latent_sample *s, struct tar_member *m)
{
	const int rows = s->row ? s->text.rows : s->variants;
	struct safetensors_out t[CONDITIONS];
	size_t n = 0;

	for (int i = 0; i < CONDITIONS; i++) {
		const int length = s->text.of[i].length, width = s->text.of[i].width;

		if (!length)
			continue;
		t[n] = (struct safetensors_out){ condition_name(i), dtype_of(s), 3, { rows, length, width },
						 s->text.of[i].data, true };
		if (!condition_has_tokens(i)) {
			t[n].dims = 2;
			t[n].shape[1] = width;
		}
		n++;
	}
	strcpy(m->suffix, TEXT_MEMBER);
	safetensors_serialize(&m->bytes, t, n, NULL, 0);
}

int latent_sample_members(const struct latent_sample *s, struct tar_member member[2])
{
	member[0] = member[1] = (struct tar_member){ 0 };
	latent_member(s, &member[0]);
	if (!s->variants)
		return 1;
	text_member(s, &member[1]);
	return 2;
}

static void copy_field(const json_t *source, struct json_out *fields, const char *key)
{
	char *text = json_print(json_object_get(source, key), JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));

	if (text)
		json_raw(fields, key, text);
	free(text);
}

static void variant_fields(const struct latent_sample *s, struct json_out *fields)
{
	json_text(fields, "caption", s->written);
	json_begin_array(fields, "captions");
	for (int i = 0; i < s->captions; i++)
		json_text(fields, NULL, s->caption[i]);
	json_end_array(fields);
	if (s->empty >= 0)
		json_int(fields, "empty_variant", s->empty);
}

static void place_fields(const struct latent_sample *s, struct json_out *fields)
{
	if (s->text_id)
		json_begin_array(fields, "text_ids");
	for (int i = 0; s->text_id && i < s->captions; i++)
		json_text(fields, NULL, s->text_id[i]);
	if (s->text_id)
		json_end_array(fields);
	if (s->row)
		json_begin_array(fields, "text_rows");
	for (int i = 0; s->row && i < s->captions; i++)
		json_int(fields, NULL, s->row[i]);
	if (s->row)
		json_end_array(fields);
}

void latent_sample_fields(const struct latent_sample *s, const json_t *source, struct json_out *fields)
{
	static const char *const kept[] = { "path", "path_b64", "sha256", "captions", "repeats", "weight",
					    "regularization", "of_folder", "original",
					    "resized", "bucket", "crop", "crop_flip", "caption_options", "batch_size" };
	size_t i;

	json_text(fields, "id", s->id);
	if (*s->latent_id)
		json_text(fields, "latent_id", s->latent_id);
	for (i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		if (s->written && !strcmp(kept[i], "captions"))
			variant_fields(s, fields);
		else
			copy_field(source, fields, kept[i]);
	if (s->family && s->family->encoded_as)
		json_text(fields, "family", s->family->encoded_as);
	if (s->clip_skip)
		json_int(fields, "clip_skip", s->clip_skip);
	if (s->mask)
		json_bool(fields, "mask", true);
	json_text(fields, "vae", s->vae);
	if (s->variants) {
		for (i = 0; i < TEXT_ENCODERS && s->encoder[i]; i++)
			json_text(fields, part_names[COMPONENT_TE1 + i].folder, s->encoder[i]);
		place_fields(s, fields);
		if (s->weighted)
			json_bool(fields, "weighted_captions", true);
		if (s->made_with) {
			char *made = json_print(s->made_with, JSON_COMPACT | JSON_SORT_KEYS);

			json_raw(fields, "variants_made_with", made);
			free(made);
		}
	}
}
