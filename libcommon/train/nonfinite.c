/* Writing out the samples of a step whose loss or gradient was not finite, for --replay-step. */
#include <stdlib.h>
#include <string.h>
#include "../io/tar.h"
#include "keeper.h"

#define KEPT_MOST 10            /* most files of a run: one that keeps diverging tells nothing new */

/* The options for the sample in the file.  A live caption will be drawn again with the same numbers.  An encoded one
 * was drawn already, and its options must not draw again. */
static json_t *caption_options(const struct latent_sample *s)
{
	if (!s->variants)
		return json_incref(s->caption_options);
	return json_pack("{s:b, s:b, s:i, s:i, s:i, s:i}", "shuffle_caption", false, "enable_wildcard", false,
			 "caption_dropout_rate", 0, "caption_dropout_every_n_epochs", 0, "caption_tag_dropout_rate", 0,
			 "token_warmup_step", 0);
}

/* The fields of a sample's json, as lora-encode writes them. */
static json_t *fields_of(const struct latent_sample *s)
{
	return json_pack("{s:s*, s:s*, s:[s], s:i, s:f, s:b, s:[ii], s:[ii], s:[ii], s:o*}", "path", s->path, "sha256",
			 s->sha256, "captions",
			 s->caption[0], "repeats", 1, "weight", s->weight, "regularization", s->regularization,
			 "original",
			 s->original[0], s->original[1], "bucket", s->bucket[0], s->bucket[1], "crop", s->crop[0],
			 s->crop[1], "caption_options", caption_options(s));
}

/* The key is the sample's number in the step, which decides its timestep and noise. */
static int add_sample(struct tar_writer *w, const struct latent_sample *s, uint32_t item, struct error *e)
{
	struct tar_member member[2];
	struct json_out fields = { 0 };
	json_t *source = fields_of(s);
	int i, result, n = latent_sample_members(s, member);

	tar_sample_begin(&fields, w, item);
	latent_sample_fields(s, source, &fields);
	result = tar_sample_add(w, item, member, n, &fields, e);
	for (i = 0; i < n; i++)
		buffer_free(&member[i].bytes);
	json_free(&fields);
	json_decref(source);
	return result;
}

static int add_all(struct keeper *k, const struct order_place *place, struct tar_writer *w, struct error *e)
{
	int micro, i;

	for (micro = 0; micro < place->batches; micro++) {
		struct order_batch o = data_batch(k->data, place, micro);
		for (i = 0; i < o.n; i++) {
			uint32_t item = micro * k->s->batch_size + i;
			const struct caption_visit v = data_visit(k->data, k->course->seed, k->course->done,
								  k->course->total, item);
			struct latent_sample s = data_drawn(k->data, o.sample[i], &v);
			if (add_sample(w, &s, item, e) < 0)
				return -1;
		}
	}
	return 0;
}

static int write_tar(struct keeper *k, const struct order_place *place, const char *path, struct error *e)
{
	struct publish *out = publish_begin(path, true, e);
	struct tar_writer *w;

	if (!out)
		return -1;
	w = tar_create(out, "latent");
	if (add_all(k, place, w, e) < 0) {
		tar_abandon(w);
		publish_abandon(out);
		return -1;
	}
	if (tar_finish(w, e) < 0) {
		publish_abandon(out);
		return -1;
	}
	return publish_end(out, e);
}

void keeper_keep_nonfinite(struct keeper *k, const struct order_place *place)
{
	long step = k->course->done + 1;
	char *path, *say;
	struct error e;

	if (k->nonfinite_kept == KEPT_MOST || k->s->replay_step)
		return;
	path = xprintf("%s/%s-nonfinite-step%08ld.tar", k->s->output_dir, k->s->output_name, step);
	if (write_tar(k, place, path, &e) < 0) {
		warning("%s", e.text);
	} else {
		say = xprintf("loss or gradient was not finite in step %ld; what it saw is in the file; "
			      "--replay-step %ld repeats it", step, step);
		warning("%s: %s", path, say);
		report_nonfinite(&k->witness->log, step, path, say);
		free(say);
		k->nonfinite_kept++;
	}
	free(path);
}
