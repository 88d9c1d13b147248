/*
 * long_text.h - captions beyond 75 tokens, as kohya's max_token_length 150 and 225 read them: in chunks that run apart.
 *
 * Owns how ids are cut.  Must not know where texts come from.
 */
#ifndef MODEL_LONG_TEXT_H
#define MODEL_LONG_TEXT_H

#include "text_encoders.h"
#include "tokenizer.h"

#define CHUNKS_MOST 3

/* 75 or 77: 1; 150: 2; 225: 3.  EXIT_USAGE for another number. */
int chunks_of(long max_token_length, int *chunks, struct error *e) MUST_CHECK;
/* ids [chunks][length], each chunk with a beginning and an end of its own; one chunk: tokenizer_encode_padded(). */
int chunks_encode(const struct tokenizer *t, const char *text, int chunks, int length, int32_t *ids, struct error *e) MUST_CHECK;
/* The same of a text with brackets (prompt_weights.h), and the weight of each token, as kohya's weighted_captions: 1 outside the words. */
int chunks_encode_weighted(const struct tokenizer *t, const char *text, int chunks, int length, int32_t *ids, float *weights,
			   struct error *e) MUST_CHECK;

/* 1: the text has more tokens than are read; 0: it has not; -1: *e. */
int chunks_cut(const struct tokenizer *t, const char *text, bool weighted, int chunks, int length, struct error *e) MUST_CHECK;
/* Says of how many captions the end is not read; silent where there are none. */
void chunks_tell_cut(size_t cut, size_t captions, int chunks, int length);

#endif
