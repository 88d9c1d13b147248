/*
 * tokenizers.h - the tokenizers of a model: those of its folder, or CLIP's own where the folder has none.
 *
 * Owns that choice, and the token for padding.  Must not know texts.
 */
#ifndef MODEL_TOKENIZERS_H
#define MODEL_TOKENIZERS_H

#include "source.h"
#include "tokenizer.h"

/* Opens one for each text encoder; the rest are NULL.  -1 with all NULL: tokenizer_open() failed, or there are ids that
 * the text encoder does not have (EXIT_INPUT). */
int tokenizers_open(const struct model_files *m, struct tokenizer *out[TEXT_ENCODERS], struct error *e) MUST_CHECK;
void tokenizers_close(struct tokenizer *t[TEXT_ENCODERS]);      /* accepts NULLs, and leaves NULLs */

#endif
