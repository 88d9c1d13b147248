/*
 * conditioning.h - what a denoiser reads beside the noisy latent and the timestep: named tensors, one row a text or a sample.
 *
 * Owns their names and how rows are kept and copied in host memory.  Must not know who makes them or who reads them.
 */
#ifndef MODEL_CONDITIONING_H
#define MODEL_CONDITIONING_H

#include <stdbool.h>
#include <stddef.h>

enum condition {
	CONDITION_CONTEXT,              /* states of the text encoders, a vector a token, side by side */
	CONDITION_POOLED,               /* one vector a text */
	CONDITION_TIME_IDS,             /* six numbers of the picture: original h and w, crop's top and left, target h and w */
};
#define CONDITIONS 3
#define TIME_IDS 6

/* The names that files have, "context" and so on; NULL: there are no more. */
const char *condition_name(int condition);
/* Made of the text: it can be encoded beforehand, and lies in latent tars as [rows,length,width], or [rows,width] where there is one
 * vector a text. */
bool condition_is_text(int condition);
bool condition_has_tokens(int condition);

struct conditioning {
	int rows;
	struct { int length, width; float *data; } of[CONDITIONS];      /* [rows,length,width]; length 0: the family has none */
};

size_t condition_size(const struct conditioning *c, int condition);     /* numbers in a row */
bool conditioning_alike(const struct conditioning *a, const struct conditioning *b);    /* of the same shapes, but for rows */
/* Memory for so many rows of c's shapes, or of another's; what was there is gone or stays, but is not cleared. */
void conditioning_reserve(struct conditioning *c, int rows);
struct conditioning conditioning_like(const struct conditioning *c, int rows);
struct conditioning conditioning_shape(const struct conditioning *c);    /* without memory */
/* From row `row` on, in the same memory. */
struct conditioning conditioning_at(const struct conditioning *c, int row);
/* Row from `from`, of those tensors that both have. */
void conditioning_copy(struct conditioning *to, int row, const struct conditioning *from, int from_row);
void conditioning_zero(struct conditioning *c, int row);                 /* of the text */
/* A row's numbers of the picture, [w,h], [left,top] and [w,h] in pixels; nothing where the family reads none. */
void conditioning_sizes(struct conditioning *c, int row, const int original[2], const int crop[2], const int target[2]);
void conditioning_free(struct conditioning *c);

#endif
