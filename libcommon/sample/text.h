/*
 * text.h - prompts to what the denoiser reads of them.
 *
 * Owns chunks and weights of tokens.  Must not know noise or pictures.
 */
#ifndef SAMPLE_TEXT_H
#define SAMPLE_TEXT_H

#include "../base/error.h"
#include "../model/conditioning.h"

struct pipeline;
struct painting;

/* A prompt longer than a chunk (75 tokens) is cut into several that the encoders read apart; the states are joined as sd-scripts does:
 * the beginning of the first, the inner ones of all, the end of the last. */
enum { PROMPT_CHUNKS_MOST = 32 };

/* Rows of c: the prompt, and the negative one where c->rows is 2.  c gets memory, for all that the family reads; what is not of the text
 * is the caller's to fill in. */
int text_encode(struct pipeline *p, const struct painting *what, struct conditioning *c, struct error *e) MUST_CHECK;

#endif
