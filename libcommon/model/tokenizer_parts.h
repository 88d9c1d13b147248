/*
 * tokenizer_parts.h - struct tokenizer, which tokenizer_folder.c or tokenizer_clip.c fills in and tokenizer.c reads.
 * Private to these.
 */
#ifndef MODEL_TOKENIZER_PARTS_H
#define MODEL_TOKENIZER_PARTS_H

#include "bpe.h"
#include "tokenizer.h"

enum special_role { BOS, EOS, UNKNOWN, PAD, SPECIALS };

#define CLIP_BOS "<|startoftext|>"
#define CLIP_EOS "<|endoftext|>"
#define CLIP_LENGTH 77

/* CLIP's merges as bpe_new_pairs() takes them. */
#define CLIP_MERGES 48894
extern const unsigned char clip_merges[CLIP_MERGES * BPE_PAIR];

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
