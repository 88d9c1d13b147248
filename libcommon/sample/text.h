/*
 * text.h - turns prompts into the denoiser's conditioning.
 *
 * Owns the cutting into chunks and the weights of tokens.  Must not know noise or pictures.
 */
#ifndef SAMPLE_TEXT_H
#define SAMPLE_TEXT_H

#include "../base/error.h"
#include "../model/conditioning.h"

struct pipeline;
struct painting;

/* A prompt longer than a chunk (75 tokens) is cut into several, which run through the encoders one by one.  The states
 * are joined as in sd-scripts: BOS of the first chunk, the words of all, EOS of the last. */
enum { PROMPT_CHUNKS_MOST = 32 };

/* Fills in the rows of c: the prompt, and the negative prompt where c->rows is 2.  Allocates all tensors that the
 * family reads; the caller fills in those that are not of the text. */
int text_encode(struct pipeline *p, const struct painting *what, struct conditioning *c, struct error *e) MUST_CHECK;

#endif
