/* The captions of a run: options of each sample, and the words or the variant of a visit. */
#include <stdlib.h>
#include <string.h>
#include "../base/hash.h"
#include "../base/philox.h"
#include "../model/long_text.h"
#include "../model/tokenizers.h"
#include "captions.h"

#define TRIES 8         /* a caption that is the same on so many visits does not vary */

struct captions {
	struct caption_options *of;     /* one for each sample */
	size_t count;
	struct tokenizer *tokenizer[TEXT_ENCODERS];     /* NULL: text comes from the latents */
	int texts, chunks, length;
};

/* ---- what the encoded text can give ---- */

static bool varies(const struct latent_sample *s, const struct caption_options *o, uint64_t seed, long total)
{
	bool varied = false;
	int i;

	for (i = 0; i < TRIES && !varied; i++) {
		struct caption_visit v = { seed, 0, i, 0, total };
		char *words = caption_variant(o, latent_sample_caption(s), &v);
		varied = strcmp(words, s->caption[0]) != 0;
		free(words);
	}
	return varied;
}

static int check_encoded(const struct latent_sample *s, const struct caption_options *o, uint64_t seed, long total,
			 struct error *e)
{
	if (o->warmup_steps > 0)
		return fail(e, EXIT_USAGE, "token_warmup_step works only while the text encoders run; "
					   "leave it out, or train them");
	if (o->weighted && !s->weighted)
		return fail(e, EXIT_USAGE, "sample %s: its captions were encoded without weights; "
					   "give weighted_captions to lora-encode too (one --config for both)", s->key);
	if (caption_options_drop(o) && s->empty < 0)
		return fail(e, EXIT_USAGE, "sample %s: its captions cannot be dropped: "
					   "the one without words is not encoded; "
					   "give caption_dropout_rate to lora-encode too (one --config for both)",
					   s->key);
	if (caption_options_vary(o) && s->captions - (s->empty >= 0) == 1 && varies(s, o, seed, total))
		return fail(e, EXIT_USAGE, "sample %s: its caption was encoded once and cannot vary; "
					   "give shuffle_caption and the like to lora-encode too (one --config for "
					   "both), or train the text encoders", s->key);
	return 0;
}

/* Variants that are encoded already are what they are: an option that asks for others is refused, and those that are
 * not given are taken from what made the variants, for the metadata too. */
static int follow_encoded(struct caption_options *o, const struct latent_sample *s, struct error *e)
{
	const struct caption_options none = { 0 };
	struct caption_options made;
	const char *key;

	if (!s->made_with)
		return 0;
	if (caption_options_override(&none, s->made_with, s->key, &made, e) < 0)
		return -1;
	key = caption_options_other(o, &made);
	if (key)
		return fail(e, EXIT_USAGE, "sample %s: its captions were not encoded with this %s; leave out the "
					   "options of captions, or give both programs the same (one --config for "
					   "both)", s->key, key);
	made.dropout = o->dropout;
	made.dropout_every_epochs = o->dropout_every_epochs;
	made.weighted = o->weighted;
	caption_options_free(o);
	*o = made;
	return 0;
}

/* ---- opening ---- */

/* What moves tags or leaves them out may be an option of single samples, by a data set's configuration. */
static void tell_idle(const struct captions *c, const struct caption_options *given)
{
	bool moved = false, warmed = false;

	for (size_t i = 0; i < c->count; i++) {
		warmed |= c->of[i].warmup_steps > 0;
		moved |= c->of[i].warmup_steps > 0 || c->of[i].shuffle || c->of[i].tag_dropout > 0;
	}
	if (given->keep_tokens && !moved)
		note("keep_tokens: does nothing without shuffle_caption; set that too, or leave it out");
	if (given->warmup_min != 1 && !warmed)
		note("token_warmup_min: does nothing without token_warmup_step; set that too, or leave it out");
}

/* 1: a tokenizer does not read all of the caption of the first visit; -1: the caption is no valid text (*e). */
static int check_words(const struct captions *c, const struct latent_sample *s,
		       const struct caption_options *options, struct error *e)
{
	struct caption_options o = *options;
	char *words;
	int cut = 0;

	o.tag_dropout = o.warmup_steps = 0;
	words = caption_variant(&o, latent_sample_caption(s), &(struct caption_visit){ 0 });
	for (int i = 0; i < c->texts && !cut; i++)
		cut = chunks_cut(c->tokenizer[i], words, o.weighted, c->chunks, c->length, e);
	free(words);
	return cut < 0 ? fail_at(e, s->key) : cut;
}

int captions_open(struct run_data *d, struct model_files *files, bool live, uint64_t seed, long total,
		      struct error *e)
{
	struct captions *c = d->captions = xcalloc(1, sizeof(*c));
	size_t i, cut = 0, n = d->set.count + d->held_out;
	int found, encoded = d->set.sample[0].text.of[CONDITION_CONTEXT].length;

	if (caption_options_check(&d->s->captions, e) < 0)
		return -1;
	c->length = model_files_config(files)->text[0].length;
	c->texts = model_files_config(files)->family->texts;
	if (chunks_of(d->s->max_token_length, &c->chunks, e) < 0)
		return -1;
	if (!live && option_is_set("max-token-length") && encoded != chunks_length(c->chunks, c->length))
		return fail(e, EXIT_USAGE, "max_token_length is %ld, but the latents' text outputs have %d tokens; "
					   "give it to lora-encode too (one --config for both)", d->s->max_token_length,
					   encoded - 2);
	if (live && tokenizers_open(files, c->tokenizer, e) < 0)
		return -1;
	c->of = xcalloc(n, sizeof(*c->of));
	for (i = 0; i < n; i++) {
		const struct latent_sample *s = &d->set.sample[i];
		if (caption_options_override(&d->s->captions, s->caption_options, s->key, &c->of[i], e) < 0)
			return -1;
		c->count++;
		found = live ? check_words(c, s, &c->of[i], e) :
			check_encoded(s, &c->of[i], seed, total, e) < 0 ? -1 : follow_encoded(&c->of[i], s, e);
		if (found < 0)
			return -1;
		cut += found;
	}
	chunks_tell_cut(cut, n, c->chunks, c->length);
	tell_idle(c, &d->s->captions);
	return 0;
}

void captions_free(struct captions *c)
{
	size_t i;

	if (!c)
		return;
	for (i = 0; i < c->count; i++)
		caption_options_free(&c->of[i]);
	free(c->of);
	tokenizers_close(c->tokenizer);
	free(c);
}

/* ---- a visit ---- */

bool captions_live(const struct run_data *d)
{
	return d->captions->tokenizer[0] != NULL;
}

uint32_t captions_draw(const struct run_data *d, uint32_t sample, const struct caption_visit *v)
{
	const struct latent_sample *s = &d->set.sample[sample];
	struct random draw = { v->seed, RANDOM_CAPTION, v->step, v->item };

	if (s->empty >= 0 && caption_left_out(&d->captions->of[sample], v))
		return s->empty;
	return random_below(&draw, 0, s->variants - (s->empty >= 0));
}

char *captions_words(const struct run_data *d, uint32_t sample, const struct caption_visit *v)
{
	return caption_of_visit(&d->captions->of[sample], latent_sample_caption(&d->set.sample[sample]), v);
}

char *captions_plain(const struct run_data *d, uint32_t sample)
{
	struct caption_options o = d->captions->of[sample];

	o.shuffle = o.wildcard = false;
	o.tag_dropout = o.warmup_steps = 0;
	return caption_variant(&o, latent_sample_caption(&d->set.sample[sample]), &(struct caption_visit){ 0 });
}

/* Words are made of a caption that was checked when the run was set up, and of separators that are UTF-8. */
void captions_ids(const struct run_data *d, const char *words, struct batch *b, int i)
{
	const struct captions *c = d->captions;
	const size_t first = (size_t)i * c->chunks * c->length;
	struct error e;

	for (int k = 0; k < c->texts; k++) {
		int32_t *const ids = b->ids[k] + first;
		float *const weights = b->weights[k];

		if ((weights ? chunks_encode_weighted(c->tokenizer[k], words, c->chunks, c->length, ids,
						      weights + first, &e) :
			       chunks_encode(c->tokenizer[k], words, c->chunks, c->length, ids, &e)) < 0)
			die(EXIT_OTHER, "bug: %s", e.text);
	}
}

const struct caption_options *captions_options(const struct run_data *d, size_t sample)
{
	return d->captions ? &d->captions->of[sample] : &d->s->captions;
}

void captions_facts(const struct run_data *d, struct training_facts *f)
{
	const struct caption_options *o = captions_options(d, 0);

	f->max_token_length = d->captions && d->captions->chunks > 1 ? d->s->max_token_length : 0;
	f->shuffle_caption = o->shuffle;
	f->keep_tokens = o->keep_tokens;
	f->caption_dropout = o->dropout;
	f->caption_dropout_epochs = o->dropout_every_epochs;
	f->caption_tag_dropout = o->tag_dropout;
}

char *captions_identity(const struct train_settings *s)
{
	const struct caption_options *o = &s->captions;
	struct buffer texts = { 0 };
	char hex[65], *word;

	if (!caption_options_vary(o) && !caption_options_drop(o) && !o->second_separator)
		return xstrdup(o->weighted ? "weighted" : "");
	buffer_addf(&texts, "%s\n%s\n%s", o->separator ? o->separator : ",", o->keep_separator ? o->keep_separator : "",
		    o->second_separator ? o->second_separator : "");
	sha256_hex_of(texts.data, texts.len, hex);
	word = xprintf("shuffle%d,wildcard%d,keep%ld,dropout%.17g,every%ld,tags%.17g,warmup%ld-%.17g,%.8s%s",
		       o->shuffle, o->wildcard,
		       o->keep_tokens, o->dropout, o->dropout_every_epochs, o->tag_dropout, o->warmup_min,
		       o->warmup_steps, hex, o->weighted ? ",weighted" : "");
	buffer_free(&texts);
	return word;
}
