/*
 * prompt_weights.h - A1111's brackets: which words of a prompt count more or less.
 *
 * (x) 1.1, [x] 1/1.1, (x:1.3) 1.3, nested ones multiply; \( \) \[ \] \\ are the characters.  A bracket inside 64 others weighs nothing;
 * a weight is a million at most.
 * Must not know tokens.
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
