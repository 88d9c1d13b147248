/*
 * text.h - prompts to what the UNet reads of them: states of both encoders and the pooled vector.
 *
 * Owns chunks and weights of tokens.  Must not know noise or pictures.
 */
#ifndef SAMPLE_TEXT_H
#define SAMPLE_TEXT_H

#include <stdbool.h>
#include "../base/error.h"

struct pipeline;
struct painting;

/* A prompt longer than a chunk (75 tokens) is cut into several that the encoders read apart; the states are joined as sd-scripts does:
 * the beginning of the first, the inner ones of all, the end of the last. */
enum { PROMPT_CHUNKS_MOST = 32 };

struct conditioning {
	int n;                          /* 1: the prompt; 2: the negative one too */
	int length;                     /* tokens */
	float *context;                 /* [n,length,width1+width2] */
	float *pooled;                  /* [n,projection], of the first chunk */
};

int text_encode(struct pipeline *p, const struct painting *what, struct conditioning *c, struct error *e) MUST_CHECK;
void conditioning_free(struct conditioning *c);

#endif
