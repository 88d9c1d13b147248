#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/hash.h"
#include "../base/map.h"
#include "../base/progress.h"
#include "../io/image.h"
#include "../model/long_text.h"
#include "../model/tokenizers.h"
#include "../model/vae.h"
#include "../nn/workspace.h"
#include "encode.h"
#include "encode_variants.h"
#include "latents.h"

#define FORMAT_VERSION "lora-latent-1"

/* Text outputs of one caption; each distinct caption is encoded once. */
struct text {
	char *caption;
	float *context, *pooled;        /* [length,width], [pooled_width] */
};

struct encoder {
	const struct encode_settings *s;
	struct model_files *files;
	const struct model_config *config;
	const struct backend *be;
	struct device *device;
	struct vae *vae;
	struct clip *te1, *te2;
	struct tokenizer *tokenizer[2];
	struct workspace work;
	char vae_hash[65], te1_hash[65], te2_hash[65];
	struct text *text; size_t texts, text_capacity;
	struct map *text_index;
	struct latent_set old; struct map *old_index;           /* --reuse */
	uint32_t shard, shards, next, reused;
	uint64_t seed;
	int chunks;                     /* of a caption */
	bool warned_of_warmup;
	struct publish *out;
	struct tar_writer *writer;
	struct progress *progress;
};

/* ---- opening ---- */

static int open_text(struct encoder *n, struct error *e)
{
	if (tokenizers_open(n->files, n->tokenizer, e) < 0)
		return -1;
	n->te1 = clip_load(n->files, COMPONENT_TE1, n->be, n->device, e);
	n->te2 = n->te1 ? clip_load(n->files, COMPONENT_TE2, n->be, n->device, e) : NULL;
	if (!n->te2)
		return -1;
	model_files_hash(n->files, COMPONENT_TE1, n->te1_hash);
	model_files_hash(n->files, COMPONENT_TE2, n->te2_hash);
	n->text_index = map_new(64);
	return 0;
}

static int open_old(struct encoder *n, struct error *e)
{
	size_t i;

	if (!n->s->reuse)
		return 0;
	if (latent_set_read(&n->s->reuse, 1, &n->old, e) < 0)
		return -1;
	n->old_index = map_new(n->old.count);
	for (i = 0; i < n->old.count; i++)
		map_put(n->old_index, n->old.sample[i].id, 64, i);
	return 0;
}

static int read_shard(struct encoder *n, struct error *e)
{
	char tail;

	n->shards = 1;
	if (n->s->shard && (sscanf(n->s->shard, "%u/%u%c", &n->shard, &n->shards, &tail) != 2 || !n->shards || n->shard >= n->shards))
		return fail(e, EXIT_USAGE, "--shard '%s' is not I/N with 0 <= I < N", n->s->shard);
	return 0;
}

static int read_seed(struct encoder *n, struct error *e)
{
	char *end;

	errno = 0;
	n->seed = strtoull(n->s->seed, &end, 10);
	if (*end || errno || strchr(n->s->seed, '-'))
		return fail(e, EXIT_USAGE, "seed '%s' is no whole number from 0 to 2^64-1", n->s->seed);
	return 0;
}

static int open_all(struct encoder *n, struct error *e)
{
	if (!n->s->model)
		return fail(e, EXIT_USAGE, "no model; name one with -m (a diffusers folder or a single-file checkpoint)");
	if (read_shard(n, e) < 0 || read_seed(n, e) < 0 || caption_options_check(&n->s->captions, e) < 0 ||
	    chunks_of(n->s->max_token_length, &n->chunks, e) < 0)
		return -1;
	n->out = publish_begin(n->s->output, true, e);  /* a place that cannot be written shows before gigabytes are read */
	n->files = n->out ? model_files_open(n->s->model, n->s->model_config, n->s->vae, e) : NULL;
	if (!n->files)
		return -1;
	n->config = model_files_config(n->files);
	n->be = backend_find(n->s->device, e);
	n->device = n->be ? n->be->open(e) : NULL;
	n->work = (struct workspace){ .be = n->be, .device = n->device };
	if (!n->device)
		return -1;
	n->vae = vae_load(n->files, n->be, n->device, true, false, e);
	if (!n->vae)
		return -1;
	model_files_hash(n->files, COMPONENT_VAE, n->vae_hash);
	if (!n->s->no_text && open_text(n, e) < 0)
		return -1;
	if (open_old(n, e) < 0)
		return -1;
	n->writer = tar_create(n->out, "latent", e);
	if (!n->writer)
		return -1;
	n->progress = progress_begin("encoding", "pictures", 0);
	return 0;
}

/* ---- pictures ---- */

struct picture { const struct vae *vae; const float *pixels; int w, h; };

static struct tensor *encode_picture(struct tape *t, void *arg)
{
	const struct picture *p = arg;

	return vae_encode(t, p->vae, tensor_from(t, 1, p->h, p->w, 3, p->pixels), NULL, NULL);
}

static int latent_of(struct encoder *n, const char *name, const struct image *image, struct latent_sample *s, float **mean, float **std,
		     struct error *e)
{
	size_t i, pixels = (size_t)image->width * image->height * 3;
	float *x = xmalloc(pixels * sizeof(*x)), *moments;
	struct picture p = { n->vae, x, image->width, image->height };
	struct tensor *y;

	for (i = 0; i < pixels; i++)
		x[i] = image->rgb[i] / 127.5f - 1;
	y = workspace_run(&n->work, encode_picture, &p, e);
	free(x);
	if (!y)
		return -1;
	s->c = y->c / 2;
	s->h = y->h;
	s->w = y->w;
	moments = xmalloc(tensor_count(y) * sizeof(*moments));
	tensor_download(n->work.tape, y, moments);
	/* Before the split: its bounds on the variance would make a number of a NaN. */
	for (i = 0; i < tensor_count(y) && isfinite(moments[i]); i++)
		;
	if (i < tensor_count(y)) {
		free(moments);
		return fail(e, EXIT_INPUT, "%s: the VAE gives NaN or infinity for this picture; use another VAE (--vae)", name);
	}
	*mean = xmalloc(tensor_count(y) / 2 * sizeof(float));
	*std = xmalloc(tensor_count(y) / 2 * sizeof(float));
	vae_split_moments(moments, tensor_rows(y), s->c, *mean, *std, NULL);
	free(moments);
	return 0;
}

static const struct tar_member *picture_member(const struct tar_sample *in, const char *prefix)
{
	char name[32];
	const struct tar_member *m;

	snprintf(name, sizeof(name), "%spng", prefix);
	m = tar_find(in, name);
	snprintf(name, sizeof(name), "%sjpg", prefix);
	return m ? m : tar_find(in, name);
}

static int check_size(const struct encoder *n, const char *key, const struct image *image, struct error *e)
{
	struct error why;

	if (model_size_check(n->config, image->width, image->height, &why) == 0)
		return 0;
	return fail(e, why.code, "%s: %s; prepare the pictures with --bucket-reso-steps %d or a multiple of it", key, why.text,
		    model_size_step(n->config));
}

static int encode_member(struct encoder *n, const struct tar_sample *in, const char *prefix, struct latent_sample *s, float **mean,
			 float **std, struct error *e)
{
	const struct tar_member *m = picture_member(in, prefix);
	struct image_options options = { { 255, 255, 255 }, 0 };
	struct image image;
	int result;

	if (!m)
		return 0;
	if (image_decode(in->key, m->bytes.data, m->bytes.len, &options, &image, NULL, e) < 0)
		return -1;
	result = check_size(n, in->key, &image, e);
	if (!result)
		result = latent_of(n, in->key, &image, s, mean, std, e);
	image_free(&image);
	return result;
}

/* ---- captions ---- */

struct caption { const struct encoder *n; int32_t *ids1, *ids2; struct tensor *pooled; };

static struct tensor *encode_text(struct tape *t, void *arg)
{
	struct caption *c = arg;

	return chunks_context(t, c->n->te1, c->n->te2, c->ids1, c->ids2, 1, c->n->chunks, &c->pooled);
}

static long text_of(struct encoder *n, const char *caption, struct error *e)
{
	long at = map_get(n->text_index, caption, strlen(caption));
	int length = n->config->te1.length;
	struct caption c = { .n = n };
	struct tensor *y = NULL;

	if (at >= 0)
		return at;
	c.ids1 = xmalloc(n->chunks * length * sizeof(*c.ids1));
	c.ids2 = xmalloc(n->chunks * length * sizeof(*c.ids2));
	if (chunks_encode(n->tokenizer[0], caption, n->chunks, length, c.ids1, e) >= 0 &&
	    chunks_encode(n->tokenizer[1], caption, n->chunks, length, c.ids2, e) >= 0)
		y = workspace_run(&n->work, encode_text, &c, e);
	free(c.ids1);
	free(c.ids2);
	if (!y)
		return -1;
	GROW(n->text, n->texts, n->text_capacity);
	n->text[n->texts] = (struct text){ xstrdup(caption), xmalloc(tensor_count(y) * sizeof(float)),
					   xmalloc(tensor_count(c.pooled) * sizeof(float)) };
	tensor_download(n->work.tape, y, n->text[n->texts].context);
	tensor_download(n->work.tape, c.pooled, n->text[n->texts].pooled);
	map_put(n->text_index, n->text[n->texts].caption, strlen(caption), n->texts);
	return n->texts++;
}

static int encode_captions(struct encoder *n, struct latent_sample *s, struct error *e)
{
	int i, length = chunks_length(n->chunks, n->config->te1.length), width = n->config->unet.context, pooled = n->config->unet.pooled;
	size_t each = (size_t)length * width;

	s->variants = s->captions;
	s->length = length;
	s->context_width = width;
	s->pooled_width = pooled;
	s->context = xmalloc(each * s->variants * sizeof(float));
	s->pooled = xmalloc((size_t)pooled * s->variants * sizeof(float));
	for (i = 0; i < s->captions; i++) {
		long at = text_of(n, s->caption[i], e);
		if (at < 0)
			return fail_at(e, s->key);
		memcpy(s->context + i * each, n->text[at].context, each * sizeof(float));
		memcpy(s->pooled + (size_t)i * pooled, n->text[at].pooled, pooled * sizeof(float));
	}
	return 0;
}

/* ---- samples ---- */

/* Everything that decides the payload's bytes: pictures, weights, captions, format. */
static void content_address(const struct encoder *n, const struct tar_sample *in, const struct latent_sample *s, char id[65])
{
	struct sha256 h;
	int i;

	sha256_begin(&h);
	sha256_add(&h, FORMAT_VERSION, sizeof(FORMAT_VERSION));
	for (i = 0; i < in->members; i++) {
		char hex[65];
		sha256_hex_of(in->member[i].bytes.data, in->member[i].bytes.len, hex);
		sha256_add(&h, in->member[i].suffix, strlen(in->member[i].suffix) + 1);
		sha256_add(&h, hex, 64);
	}
	sha256_add(&h, n->vae_hash, 64);
	sha256_add(&h, &n->config->vae, sizeof(n->config->vae));
	if (!n->s->no_text) {
		sha256_add(&h, n->te1_hash, 64);
		sha256_add(&h, n->te2_hash, 64);
		if (n->chunks > 1)
			sha256_add(&h, &n->chunks, sizeof(n->chunks));
		for (i = 0; i < s->captions; i++)
			sha256_add(&h, s->caption[i], strlen(s->caption[i]) + 1);
	}
	sha256_hex(&h, id);
}

static int vary_captions(struct encoder *n, const struct tar_sample *in, struct latent_sample *s, struct error *e)
{
	struct caption_options o;

	if (caption_options_override(&n->s->captions, json_object_get(in->json, "caption_options"), in->key, &o, e) < 0)
		return -1;
	if (o.warmup_steps > 0 && !n->warned_of_warmup)
		warning("token_warmup_step does nothing to captions that are encoded beforehand; train the text encoders for it");
	n->warned_of_warmup |= o.warmup_steps > 0;
	o.warmup_steps = 0;
	variants_make(&o, n->s->caption_variants, n->seed, s);
	caption_options_free(&o);
	return 0;
}

static int read_captions(const struct tar_sample *in, struct latent_sample *s, struct error *e)
{
	const json_t *list = json_object_get(in->json, "captions");
	size_t i, count = json_array_size(list);

	s->caption = xcalloc(count, sizeof(*s->caption));
	for (i = 0; i < count && json_is_string(json_array_get(list, i)); i++)
		s->caption[s->captions++] = xstrdup(json_string_value(json_array_get(list, i)));
	if (!count || i < count)
		return fail(e, EXIT_INPUT, "sample %s: 'captions' is no list of texts; is this an image tar?", in->key);
	return 0;
}

static int write_sample(struct encoder *n, const struct tar_sample *in, const struct latent_sample *s, struct error *e)
{
	struct tar_member member[2];
	struct json_out fields = { 0 };
	int members = latent_sample_members(s, member), result;

	tar_sample_begin(&fields, n->writer, strtoul(in->key, NULL, 10));
	latent_sample_fields(s, in->json, &fields);
	result = tar_sample_add(n->writer, strtoul(in->key, NULL, 10), member, members, &fields, e);
	buffer_free(&member[0].bytes);
	buffer_free(&member[1].bytes);
	json_free(&fields);
	return result;
}

/* The payload of a sample whose inputs did not change. */
static bool take_over(struct encoder *n, struct latent_sample *s)
{
	long at = n->old_index ? map_get(n->old_index, s->id, 64) : -1;
	struct latent_sample *o;

	if (at < 0)
		return false;
	o = &n->old.sample[at];
	if (!o->mean)
		return false;           /* a second sample with equal content: its twin was written already */
	s->c = o->c;
	s->h = o->h;
	s->w = o->w;
	s->variants = o->variants;
	s->length = o->length;
	s->context_width = o->context_width;
	s->pooled_width = o->pooled_width;
	s->mean = o->mean;
	s->std = o->std;
	s->flip_mean = o->flip_mean;
	s->flip_std = o->flip_std;
	s->context = o->context;
	s->pooled = o->pooled;
	o->mean = o->std = o->flip_mean = o->flip_std = o->context = o->pooled = NULL;
	n->reused++;
	return true;
}

static int encode_sample(struct encoder *n, const struct tar_sample *in, struct error *e)
{
	struct latent_sample s = { .empty = -1 };
	int result = -1;

	memcpy(s.key, in->key, sizeof(s.key));
	if (read_captions(in, &s, e) < 0 || (!n->s->no_text && vary_captions(n, in, &s, e) < 0))
		goto end;
	content_address(n, in, &s, s.id);
	s.vae = xstrdup(n->vae_hash);
	s.text1 = xstrdup(n->te1_hash);
	s.text2 = xstrdup(n->te2_hash);
	if (!take_over(n, &s)) {
		if (!picture_member(in, "")) {
			fail(e, EXIT_INPUT, "sample %s holds no picture (png or jpg)", in->key);
			goto end;
		}
		if (encode_member(n, in, "", &s, &s.mean, &s.std, e) < 0 ||
		    encode_member(n, in, "flip.", &s, &s.flip_mean, &s.flip_std, e) < 0 ||
		    (!n->s->no_text && encode_captions(n, &s, e) < 0))
			goto end;
	}
	result = write_sample(n, in, &s, e);
end:
	latent_sample_free(&s);
	return result;
}

static int encode_stream(struct encoder *n, const char *path, struct error *e)
{
	struct tar_reader *r = tar_open(path, "image", e);
	struct tar_sample in = { 0 };
	int got = -1;

	if (!r)
		return -1;
	while ((got = tar_next(r, &in, e)) > 0) {
		if (n->next++ % n->shards != n->shard)
			continue;
		if (encode_sample(n, &in, e) < 0) {
			got = -1;
			break;
		}
		progress_at(n->progress, n->next, NULL);
	}
	tar_sample_free(&in);
	tar_close(r);
	return got;
}

static int encode_all(struct encoder *n, const char *const *inputs, size_t count, struct error *e)
{
	size_t i;

	if (!count && isatty(STDIN_FILENO))
		return fail(e, EXIT_USAGE, "no pictures; name an image tar or pipe one in (lora-prep DIR | lora-encode -m MODEL)");
	if (open_all(n, e) < 0)
		return -1;
	for (i = 0; i < (count ? count : 1); i++)
		if (encode_stream(n, count ? inputs[i] : "-", e) < 0)
			return -1;
	if (n->s->reuse)
		note("%u of %u samples taken over from %s", n->reused, n->next, n->s->reuse);
	return 0;
}

static void close_all(struct encoder *n)
{
	size_t i;

	progress_end(n->progress);
	for (i = 0; i < n->texts; i++) {
		free(n->text[i].caption);
		free(n->text[i].context);
		free(n->text[i].pooled);
	}
	free(n->text);
	map_free(n->text_index);
	map_free(n->old_index);
	latent_set_free(&n->old);
	workspace_free(&n->work);
	vae_free(n->vae);
	clip_free(n->te1);
	clip_free(n->te2);
	tokenizer_free(n->tokenizer[0]);
	tokenizer_free(n->tokenizer[1]);
	if (n->device)
		n->be->close(n->device);
	model_files_close(n->files);
}

int encode_run(const struct encode_settings *s, const char *const *inputs, size_t count, struct error *e)
{
	struct encoder n = { .s = s };
	int result = encode_all(&n, inputs, count, e);

	if (result < 0) {
		tar_abandon(n.writer);
		publish_abandon(n.out);
	} else {
		result = tar_finish(n.writer, e);
		if (result < 0)
			publish_abandon(n.out);
		else
			result = publish_end(n.out, e);
	}
	close_all(&n);
	return result;
}
