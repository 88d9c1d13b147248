/*
 * captions.h - the caption of a sample on a visit: live where text encoders run, else one of its encoded variants.
 */
#ifndef TRAIN_CAPTIONS_H
#define TRAIN_CAPTIONS_H

#include "../adapter/metadata.h"
#include "data.h"
#include "step.h"

/* Called after data_open(): reads each sample's caption options.  live: text encoders run, so the tokenizers are opened
 * too.  EXIT_USAGE where the options ask for what the encoded text cannot give.  seed and total are the run's. */
int captions_open(struct run_data *d, struct model_files *files, bool live, uint64_t seed, long total,
		      struct error *e) MUST_CHECK;
void captions_free(struct captions *c);                 /* accepts NULL */
bool captions_live(const struct run_data *d);

/* of the encoded ones */
uint32_t captions_draw(const struct run_data *d, uint32_t sample, const struct caption_visit *v);
char *captions_words(const struct run_data *d, uint32_t sample, const struct caption_visit *v);      /* malloced */
char *captions_plain(const struct run_data *d, uint32_t sample);                     /* without any draw; malloced */
/* Tokenizes words with each tokenizer into text i of the batch: ids, and weights where the batch has them. */
void captions_ids(const struct run_data *d, const char *words, struct batch *b, int i);

const struct caption_options *captions_options(const struct run_data *d, size_t sample);
void captions_facts(const struct run_data *d, struct training_facts *f);    /* those of the first sample */

/* The caption options as one word without blanks, for the identity; malloced, "" where no option is on. */
char *captions_identity(const struct train_settings *s);

#endif
