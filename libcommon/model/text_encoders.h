/*
 * text_encoders.h - all text encoders of a model: from token ids to the denoiser's conditioning.
 *
 * The family's row says which state of each encoder is read.  Owns how chunks of long texts are joined, and how weights
 * of tokens are applied.  Must not know where texts come from.
 */
#ifndef MODEL_TEXT_ENCODERS_H
#define MODEL_TEXT_ENCODERS_H

#include "clip.h"

struct text_encoders {
	const struct family *family;
	int count;                      /* 0: none is loaded */
	struct clip *clip[TEXT_ENCODERS];
};

/* on_host: matrices stay in host memory (struct weight) */
int text_encoders_load(struct text_encoders *x, const struct model_files *m, const struct backend *be, struct device *d,
		       bool on_host, struct error *e) MUST_CHECK;
void text_encoders_free(struct text_encoders *x);
void text_encoders_layers(const struct text_encoders *x, struct layer_list *list);      /* appends them */

/* n texts of `chunks` chunks each, in host memory. */
struct chunk_batch {
	int n, chunks;
	const int32_t *ids[TEXT_ENCODERS];              /* [n,chunks,length] for each encoder */
	const float *weights[TEXT_ENCODERS];            /* the same; NULL: all 1 */
	/* the state to read, as in struct text_reading; 0: the family's */
	int skip;
};

/* Tokens of the joined context: 77, 152, 227 where a chunk has 77. */
int chunks_length(int chunks, int length);
/* Computes context [n,chunks_length,1,width], each state times its token's weight, and pooled [n,1,1,projection] of
 * each text's first chunk, without weights.  Does not touch conditions that are not of text. */
void text_encoders_forward(struct tape *t, const struct text_encoders *x, const struct chunk_batch *b,
			   struct tensor *condition[CONDITIONS]);

/* EXIT_USAGE where there is no such state.  skip 0: the family's, which always exists. */
int text_skip_check(const struct model_config *c, int skip, struct error *e) MUST_CHECK;
/* The same as a number of struct chunk_batch: 0 where `skip` is the family's own. */
int text_skip_of(const struct model_config *c, int skip);
/* What clip_skip means in training: sd-scripts reads some families' own state whatever it says. */
int text_skip_trained(const struct model_config *c, int clip_skip);
/* 0, after a note where nothing comes of it; or EXIT_USAGE. */
int text_skip_trained_check(const struct model_config *c, int clip_skip, struct error *e) MUST_CHECK;

#endif
