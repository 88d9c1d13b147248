/*
 * long_text.h - captions of more than 75 tokens, cut into chunks that run through the encoders one by one, as with
 * kohya's max_token_length 150 and 225.
 *
 * Owns how ids are cut.  Must not know where texts come from.
 */
#ifndef MODEL_LONG_TEXT_H
#define MODEL_LONG_TEXT_H

#include "text_encoders.h"
#include "tokenizer.h"

#define CHUNKS_MOST 3

/* The number of chunks: 1 for 75 or 77, 2 for 150, 3 for 225; EXIT_USAGE for another number. */
int chunks_of(long max_token_length, int *chunks, struct error *e) MUST_CHECK;
/* ids: [chunks][length], each chunk with its own BOS and EOS; for one chunk the same as tokenizer_encode_padded(). */
int chunks_encode(const struct tokenizer *t, const char *text, int chunks, int length, int32_t *ids,
		  struct error *e) MUST_CHECK;
/* The same for a text with brackets (prompt_weights.h), with the weight of each token, as kohya's weighted_captions; 1
 * outside the words. */
int chunks_encode_weighted(const struct tokenizer *t, const char *text, int chunks, int length, int32_t *ids,
			   float *weights, struct error *e) MUST_CHECK;

/* 1: the text has more tokens than are read; 0: it has not; -1: *e. */
int chunks_cut(const struct tokenizer *t, const char *text, bool weighted, int chunks, int length,
	       struct error *e) MUST_CHECK;
/* Prints a note of the number of captions whose end is not read; nothing where there are none. */
void chunks_tell_cut(size_t cut, size_t captions, int chunks, int length);

#endif
