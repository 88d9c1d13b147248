/* lora-encode: opening, the queue of samples, and writing them in order. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../config/seed.h"
#include "../model/tokenizers.h"
#include "encode_internal.h"
#include "encode_variants.h"

/* Length of the queue, for each picture of a batch: samples wait in it for others of their size. */
#define LOOKAHEAD 4

/* ---- opening ---- */

static int open_text(struct encoder *n, struct error *e)
{
	if (tokenizers_open(n->files, n->tokenizer, e) < 0)
		return -1;
	for (int i = 0; i < n->config->family->texts; i++)
		model_files_hash(n->files, COMPONENT_TE1 + i, n->text_hash[i]);
	n->rows.index = map_new(64);
	return 0;
}

static enum dtype precision_of(const char *word)
{
	return !strcmp(word, "fp32") ? DTYPE_F32 : !strcmp(word, "bf16") ? DTYPE_BF16 : DTYPE_F16;
}

static int open_all(struct encoder *n, const char *const *inputs, size_t count, struct error *e)
{
	if (!n->s->model)
		return fail(e, EXIT_USAGE,
			    "no model; name one with -m (a diffusers folder or a single-file checkpoint)");
	if (n->s->goes_on && !strcmp(n->s->output, "-"))
		return fail(e, EXIT_USAGE, "--continue goes on with a file; name it with -o");
	if (seed_read("seed", n->s->seed, &n->seed, e) < 0 ||
	    caption_options_check(&n->s->captions, e) < 0 ||
	    chunks_of(n->s->max_token_length, &n->chunks, e) < 0)
		return -1;
	if (encode_open_old(n, e) < 0)
		return -1;
	/* an input that is none, or a place that cannot be written, shows before gigabytes are read */
	for (size_t i = 0; i < count; i++)
		if (tar_look(inputs[i], "image", e) < 0)
			return -1;
	n->out = publish_begin(n->s->output, true, e);
	n->files = n->out ? model_files_open_parts(n->s->model, n->s->model_config, n->s->vae,
						   PART(COMPONENT_VAE) | (n->s->no_text ? 0 : PARTS_TEXT), e) : NULL;
	if (!n->files)
		return -1;
	n->config = model_files_config(n->files);
	n->skip = text_skip_trained(n->config, n->s->clip_skip);
	if (text_skip_trained_check(n->config, n->s->clip_skip, e) < 0)
		return -1;
	n->precision = precision_of(n->s->precision);
	model_files_narrow(n->files, n->precision);
	n->be = backend_find(n->s->device, e);
	n->device = n->be ? n->be->open(e) : NULL;
	n->work = (struct workspace){ .be = n->be, .device = n->device };
	if (!n->device)
		return -1;
	model_files_hash(n->files, COMPONENT_VAE, n->vae_hash);
	if (!n->s->no_text && open_text(n, e) < 0)
		return -1;
	n->room = n->s->batch > 1 ? n->s->batch * LOOKAHEAD : 1;
	n->queue = xcalloc(n->room + 1, sizeof(*n->queue));
	n->writer = tar_create(n->out, "latent");
	n->progress = progress_begin("encoding", "pictures", n->s->expected);
	return 0;
}

/* ---- samples ---- */

static int vary_captions(struct encoder *n, const struct tar_sample *in, struct latent_sample *s, struct error *e)
{
	struct caption_options o;

	if (caption_options_override(&n->s->captions, json_object_get(in->json, "caption_options"), in->key, &o, e) < 0)
		return -1;
	if (o.warmup_steps > 0 && !n->warned_of_warmup)
		warning("token_warmup_step does nothing to captions that are encoded beforehand; "
			"train the text encoders for it");
	n->warned_of_warmup |= o.warmup_steps > 0;
	o.warmup_steps = 0;
	variants_make(&o, n->s->caption_variants, n->seed, s);
	if (s->captions - (s->empty >= 0) > 1)
		s->made_with = caption_options_making(&o);
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

static void free_waiting(struct waiting *w)
{
	for (int i = 0; i < PICTURES; i++)
		image_free(&w->picture[i]);
	latent_sample_free(&w->s);
	tar_sample_free(&w->in);
	free(w->label);
	*w = (struct waiting){ 0 };
}

static char *label_of(const struct tar_sample *in)
{
	const char *path = json_string_value(json_object_get(in->json, "path"));

	return path ? xprintf("sample %s (%s)", in->key, path) : xprintf("sample %s", in->key);
}

/* Reads a sample's fields and computes its addresses; opens its pictures unless an older stream has their latents. */
static int open_sample(struct encoder *n, struct waiting *w, struct error *e)
{
	struct latent_sample *s = &w->s;
	int taken;

	s->empty = -1;
	s->family = n->config->family;
	s->dtype = n->precision;
	s->weighted = n->s->captions.weighted;
	w->label = label_of(&w->in);
	memcpy(s->key, w->in.key, sizeof(s->key));
	if (read_captions(&w->in, s, e) < 0)
		return -1;
	if (!n->s->no_text && (vary_captions(n, &w->in, s, e) < 0 || encode_address_texts(n, w, e) < 0))
		return -1;
	encode_latent_id(n, &w->in, s->latent_id);
	encode_sample_id(s);
	s->vae = xstrdup(n->vae_hash);
	for (int i = 0; i < n->config->family->texts; i++)
		s->encoder[i] = xstrdup(n->text_hash[i]);
	taken = encode_take_latent(n, w, e);
	if (taken)
		return taken < 0 ? -1 : 0;
	w->some_new = true;
	return encode_open_pictures(n, w, e);
}

/* Finishes the first sample of the queue: encodes its pictures, with others of their size, and its captions;
 * writes it. */
static int finish_first(struct encoder *n, struct error *e)
{
	struct waiting *w = &n->queue[0];

	while (w->picture[0].rgb || w->picture[1].rgb)
		if (encode_group(n, e) < 0)
			return -1;
	if (encode_mask(n, w, e) < 0 || (!n->s->no_text && encode_texts(n, w, e) < 0) ||
	    write_sample(n, &w->in, &w->s, e) < 0)
		return -1;
	n->samples_taken += !w->some_new;
	free_waiting(w);
	memmove(n->queue, n->queue + 1, --n->queued * sizeof(*n->queue));
	n->queue[n->queued] = (struct waiting){ 0 };
	progress_at(n->progress, ++n->written, NULL);
	return 0;
}

static int finish_all(struct encoder *n, struct error *e)
{
	while (n->queued)
		if (finish_first(n, e) < 0)
			return -1;
	return 0;
}

/* 1: a sample, or one of another shard; 0: the end. */
static int take_sample(struct encoder *n, struct tar_reader *r, struct error *e)
{
	struct waiting *w = &n->queue[n->queued];
	const int got = tar_next(r, &w->in, e);

	if (got <= 0 || n->next++ % n->shard.count != n->shard.index)
		return got;
	n->queued++;            /* also when it fails: then it is freed with the rest */
	return open_sample(n, w, e) < 0 ? -1 : 1;
}

static int encode_stream(struct encoder *n, const char *path, struct error *e)
{
	struct tar_reader *r = tar_open(path, "image", e);
	int got = r ? 1 : -1;

	while (got > 0) {
		got = take_sample(n, r, e);
		if (got > 0 && n->queued == n->room && finish_first(n, e) < 0)
			got = -1;
	}
	tar_close(r);
	return got;
}

static int encode_all(struct encoder *n, const char *const *inputs, size_t count, struct error *e)
{
	size_t i;

	if (!count && isatty(STDIN_FILENO))
		return fail(e, EXIT_USAGE, "no pictures; name an image tar or pipe one in "
					   "(lora-prep DIR | lora-encode -m MODEL)");
	if (open_all(n, inputs, count, e) < 0)
		return -1;
	for (i = 0; i < (count ? count : 1); i++)
		if (encode_stream(n, count ? inputs[i] : "-", e) < 0)
			return -1;
	if (finish_all(n, e) < 0)
		return -1;
	chunks_tell_cut(n->captions_cut, n->written, n->chunks, n->config->text[0].length);
	if (n->s->reuse || n->samples_taken)
		note("%u of %u samples taken over from %s (%u pictures, %u captions)", n->samples_taken, n->written,
		     n->s->reuse ? n->s->reuse : n->s->output, n->pictures_taken, n->captions_taken);
	return 0;
}

static void close_all(struct encoder *n)
{
	size_t i;

	progress_end(n->progress);
	for (i = 0; i < n->queued; i++)
		free_waiting(&n->queue[i]);
	if (n->queue)
		tar_sample_free(&n->queue[n->queued].in);
	free(n->queue);
	encode_free_texts(n);
	encode_close_old(n);
	free(n->folder);
	free(n->target);
	workspace_free(&n->work);
	vae_free(n->vae);
	text_encoders_free(&n->text);
	tokenizers_close(n->tokenizer);
	if (n->device)
		n->be->close(n->device);
	model_files_close(n->files);
}

int encode_run(const struct encode_settings *s, const char *const *inputs, size_t count, struct error *e)
{
	struct encode_settings placed = *s;
	struct encoder n = { .s = &placed };
	int result = encode_begin_shard(&n, &placed, e) < 0 ? -1 : encode_all(&n, inputs, count, e);

	if (result < 0) {
		tar_abandon(n.writer);
		/* a full disk is freed, and what holds no sample is of no use to a later run */
		(placed.goes_on && n.written && e->code != EXIT_IO ? publish_leave : publish_abandon)(n.out);
		if (n.made_folder)
			rmdir(n.folder);        /* unless another part has come */
	} else {
		result = tar_finish(n.writer, e);
		if (result < 0)
			publish_abandon(n.out);
		else
			result = publish_end(n.out, e);
	}
	if (result == 0) {
		encode_drop_left(&n);
		result = encode_end_shard(&n, e);
	}
	close_all(&n);
	return result;
}
