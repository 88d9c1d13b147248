/*
 * tokenizer.h - CLIP's tokenizer: from text to the ids that Hugging Face's fast CLIPTokenizer gives.
 *
 * Owns the text rules and the files of a tokenizer folder.  Must not know encoders, captions' syntax or prompts'
 * weights.
 *
 * Rules: the spelling of BOS, EOS and the unknown token gives their ids; that of the padding token does not, so a "!"
 * in a text is a word, "!</w>", where "!" is the padding.  The rest: normalization form C, lower case by character, cut
 * into 's|'t|'re|'ve|'m|'ll|'d | letters | one number | anything else but white space; each piece through bpe.h.
 */
#ifndef MODEL_TOKENIZER_H
#define MODEL_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>
#include "../base/error.h"

struct tokenizer;

/* Reads vocab.json and merges.txt or, without them, tokenizer.json; and, where present, special_tokens_map.json and
 * tokenizer_config.json (the first wins).  Without those: <|startoftext|>, <|endoftext|>, the latter as padding, 77. */
struct tokenizer *tokenizer_open(const char *folder, struct error *e) MUST_CHECK;
/* CLIP's own vocabulary, which is part of the program, with the defaults above. */
struct tokenizer *tokenizer_open_clip(struct error *e) MUST_CHECK;
void tokenizer_free(struct tokenizer *t);                       /* accepts NULL */

/* Writes BOS, the text's ids and EOS, cut to length (at least 2; EOS stays last).  Returns their number; *whole (may be
 * NULL): their number before the cut.  Fails on text that is not UTF-8, naming the byte, from 0 (EXIT_INPUT). */
int tokenizer_encode(const struct tokenizer *t, const char *text, int length, int32_t *ids, int *whole,
		     struct error *e) MUST_CHECK;
/* The same, filled up to length with the padding token.  Returns 0. */
int tokenizer_encode_padded(const struct tokenizer *t, const char *text, int length, int32_t *ids,
			    struct error *e) MUST_CHECK;

int tokenizer_bos(const struct tokenizer *t);
int tokenizer_eos(const struct tokenizer *t);
int tokenizer_pad(const struct tokenizer *t);
int tokenizer_length(const struct tokenizer *t);                /* model_max_length */
int tokenizer_vocab_size(const struct tokenizer *t);            /* highest id + 1 */

/* SDXL's second encoder was trained with 0 as padding.  A folder says so in its configuration; for one that says
 * nothing (tokenizer_pad_known() false) the caller does.  id: below the vocabulary's size. */
bool tokenizer_pad_known(const struct tokenizer *t);
void tokenizer_set_pad(struct tokenizer *t, int id);

#endif
