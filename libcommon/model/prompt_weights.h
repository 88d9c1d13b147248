/*
 * * prompt_weights.h - weights of words in a prompt, by A1111's brackets.
 *
 * (x) is 1.1, [x] is 1/1.1, (x:1.3) is 1.3, and nested ones multiply; \( \) \[ \] \\ are the characters themselves.  A
 * bracket inside 64 others is ignored; a weight is a million at most.  Must not know tokens.
 */
#ifndef MODEL_PROMPT_WEIGHTS_H
#define MODEL_PROMPT_WEIGHTS_H

#include <stddef.h>

struct weighted_text { char *text; float weight; };     /* text malloced */
struct weighted_texts { struct weighted_text *part; size_t count, capacity; };

/* At least one part, with no two neighbours of one weight; a prompt without brackets is one part, itself. */
void prompt_weights_parse(const char *prompt, struct weighted_texts *list);
void prompt_weights_free(struct weighted_texts *list);

#endif
