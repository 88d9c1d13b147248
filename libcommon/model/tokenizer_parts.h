/*
 * tokenizer_parts.h - what the two halves of the tokenizer share: tokenizer_folder.c fills it, tokenizer.c goes by it.
 */
#ifndef MODEL_TOKENIZER_PARTS_H
#define MODEL_TOKENIZER_PARTS_H

#include "bpe.h"
#include "tokenizer.h"

enum special_role { BOS, EOS, UNKNOWN, PAD, SPECIALS };

#define CLIP_BOS "<|startoftext|>"
#define CLIP_EOS "<|endoftext|>"

struct special {
	char *text;
	size_t length;
	int id;
	bool normalized;                /* looked for in the normalized text: any case matches */
};

struct tokenizer {
	struct bpe *bpe;
	struct special special[SPECIALS];
	bool pad_known;
	int length;
	int vocab_size;
};

#endif
