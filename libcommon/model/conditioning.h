/*
 * conditioning.h - the conditioning: named tensors that a denoiser reads beside the noisy latent and the timestep, with
 * one row for each text or sample.
 *
 * Owns their names, and storing and copying rows in host memory.  Must not know who makes them or who reads them.
 */
#ifndef MODEL_CONDITIONING_H
#define MODEL_CONDITIONING_H

#include <stdbool.h>
#include <stddef.h>

enum condition {
	CONDITION_CONTEXT,              /* states of the text encoders, a vector a token, side by side */
	CONDITION_POOLED,               /* one vector a text */
	/* six numbers of the picture: original h and w, crop's top and left, target h and w */
	CONDITION_TIME_IDS,
};
#define CONDITIONS 3
#define TIME_IDS 6

/* The names that files have, "context" and so on; NULL: there are no more. */
const char *condition_name(int condition);
/* Made of the text: it can be encoded beforehand, and lies in latent tars as [rows,length,width], or [rows,width] where
 * there is one vector a text. */
bool condition_is_text(int condition);
bool condition_has_tokens(int condition);

struct conditioning {
	int rows;
	/* [rows,length,width]; length 0: the family has none */
	struct { int length, width; float *data; } of[CONDITIONS];
};

size_t condition_size(const struct conditioning *c, int condition);     /* numbers in a row */
/* Have they equal shapes, but for rows? */
bool conditioning_alike(const struct conditioning *a, const struct conditioning *b);
/* Memory for so many rows of c's shapes, or of another's; contents undefined. */
void conditioning_reserve(struct conditioning *c, int rows);
struct conditioning conditioning_like(const struct conditioning *c, int rows);
struct conditioning conditioning_shape(const struct conditioning *c);    /* without memory */
/* A view of it from row `row` on, in the same memory. */
struct conditioning conditioning_at(const struct conditioning *c, int row);
/* Copies row from_row of `from` to row `row` of *to, for the tensors that both have. */
void conditioning_copy(struct conditioning *to, int row, const struct conditioning *from, int from_row);
void conditioning_zero(struct conditioning *c, int row);                 /* the tensors of the text */
/* Sets a row's sizes of the picture, [w,h], [left,top] and [w,h] in pixels; nothing where the family reads none. */
void conditioning_sizes(struct conditioning *c, int row, const int original[2], const int crop[2], const int target[2]);
void conditioning_free(struct conditioning *c);

#endif
