/*
 * tokenizers.h - the tokenizers of a model: those of its folder, or CLIP's own where it brings none.
 *
 * Owns that choice, and what they pad with.  Must not know texts.
 */
#ifndef MODEL_TOKENIZERS_H
#define MODEL_TOKENIZERS_H

#include "source.h"
#include "tokenizer.h"

/* One for each text encoder, the rest NULL.  -1 with all NULL: what tokenizer_open() says, or ids that the text encoder has not
 * (EXIT_INPUT). */
int tokenizers_open(const struct model_files *m, struct tokenizer *out[TEXT_ENCODERS], struct error *e) MUST_CHECK;
void tokenizers_close(struct tokenizer *t[TEXT_ENCODERS]);      /* accepts NULLs, and leaves NULLs */

#endif
