/*
 * tokenizers.h - the two tokenizers of a model: those of its folder, or CLIP's own where it brings none.
 *
 * Owns that choice and the second one's padding.  Must not know texts.
 */
#ifndef MODEL_TOKENIZERS_H
#define MODEL_TOKENIZERS_H

#include "source.h"
#include "tokenizer.h"

/* 0, or -1 with both NULL: what tokenizer_open() says, or ids that the text encoder has not (EXIT_INPUT). */
int tokenizers_open(const struct model_files *m, struct tokenizer *out[2], struct error *e) MUST_CHECK;

#endif
