/*
 * run_captions.h - which words a sample has on a visit: live where text encoders run, else a choice among what was encoded.
 * Private to a run.
 */
#ifndef TRAIN_CAPTIONS_H
#define TRAIN_CAPTIONS_H

#include "../adapter/metadata.h"
#include "internal.h"

/* After the data: each sample's caption options.  live: text encoders run, so the tokenizers are opened too.  EXIT_USAGE where the
 * options ask for what the encoded text cannot give. */
int run_captions_open(struct run *r, bool live, struct error *e) MUST_CHECK;
void run_captions_free(struct run_captions *c);                 /* accepts NULL */

/* item counts the samples of a step over all its batches. */
uint32_t run_caption_variant(const struct run *r, uint32_t sample, uint32_t item);      /* of the encoded ones */
char *run_caption_words(const struct run *r, uint32_t sample, uint32_t item);           /* malloced */
char *run_caption_plain(const struct run *r, uint32_t sample);                          /* without any draw; malloced */
/* Of such words, by both tokenizers, into the batch's text i: ids, and weights where the batch has any */
void run_caption_ids(const struct run *r, const char *words, struct batch *b, int i);

const struct caption_options *run_caption_options(const struct run *r, size_t sample);
void run_captions_facts(const struct run *r, struct training_facts *f);         /* those of the first sample */

int run_caption_chunks(const struct run *r);    /* of max_token_length */

/* What a resumed run must have in common, as one word without blanks; malloced, "" where no option is on */
char *run_captions_identity(const struct run *r);

#endif
