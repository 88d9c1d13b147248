/*
 * weighted_tokens.h - the tokens of a text with A1111's brackets, each with its weight.
 *
 * Must not know encoders, nor how weights are applied.
 */
#ifndef MODEL_WEIGHTED_TOKENS_H
#define MODEL_WEIGHTED_TOKENS_H

#include "prompt_weights.h"
#include "tokenizer.h"

/* Tokens without BOS and EOS; arrays malloced.  cut: there were more than were asked for. */
struct weighted_tokens { int32_t *id; float *weight; int count; bool cut; };

/* Tokenizes each part by itself, as A1111's and kohya's programs do; at most `most` tokens.  *out must be freed even
 * after a failure. */
int weighted_tokens_read(const struct tokenizer *t, const struct weighted_texts *parts, int most,
			 struct weighted_tokens *out, struct error *e) MUST_CHECK;
void weighted_tokens_free(struct weighted_tokens *w);

#endif
