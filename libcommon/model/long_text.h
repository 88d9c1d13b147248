/*
 * long_text.h - captions beyond 75 tokens, as kohya's max_token_length 150 and 225 read them: in chunks that run apart.
 *
 * Owns how ids are cut and states joined again.  Must not know where texts come from.
 */
#ifndef MODEL_LONG_TEXT_H
#define MODEL_LONG_TEXT_H

#include "clip.h"
#include "tokenizer.h"

#define CHUNKS_MOST 3

/* 75 or 77: 1; 150: 2; 225: 3.  EXIT_USAGE for another number. */
int chunks_of(long max_token_length, int *chunks, struct error *e) MUST_CHECK;
/* Tokens of the joined context: 77, 152, 227 where a chunk has 77. */
int chunks_length(int chunks, int length);

/* ids [chunks][length], each chunk with a beginning and an end of its own; one chunk: tokenizer_encode_padded(). */
int chunks_encode(const struct tokenizer *t, const char *text, int chunks, int length, int32_t *ids, struct error *e) MUST_CHECK;
/* The same of a text with brackets (prompt_weights.h), and the weight of each token, as kohya's weighted_captions: 1 outside the words. */
int chunks_encode_weighted(const struct tokenizer *t, const char *text, int chunks, int length, int32_t *ids, float *weights,
			   struct error *e) MUST_CHECK;

/* 1: the text has more tokens than are read; 0: it has not; -1: *e. */
int chunks_cut(const struct tokenizer *t, const char *text, bool weighted, int chunks, int length, struct error *e) MUST_CHECK;
/* Says of how many captions the end is not read; silent where there are none. */
void chunks_tell_cut(size_t cut, size_t captions, int chunks, int length);

/* n texts of so many chunks, host memory */
struct chunk_batch {
	int n, chunks;
	const int32_t *ids1, *ids2;             /* [n,chunks,length] */
	const float *weights1, *weights2;       /* the same; NULL: all 1 */
};

/* Both encoders: context [n,chunks_length,1,width1+width2], each state times its token's weight; pooled [n,1,1,projection] of each
 * text's first chunk, which knows no weights. */
struct tensor *chunks_context(struct tape *t, const struct clip *te1, const struct clip *te2, const struct chunk_batch *b,
			      struct tensor **pooled);

#endif
