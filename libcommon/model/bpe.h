/*
 * bpe.h - byte pair encoding: the bytes of one word to token ids, by a vocabulary and a ranked list of merges.
 *
 * Owns the merging and the printable spelling that vocabulary files give to bytes.  Must not know files, text rules or
 * special tokens.
 */
#ifndef MODEL_BPE_H
#define MODEL_BPE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include "../base/error.h"

struct bpe;

/* vocabulary: an object {"token": id}, ids checked to be integers that fit int32_t; not changed, and needed until
 * bpe_end_merges().  unknown: the id of bytes that the vocabulary lacks. */
struct bpe *bpe_new(json_t *vocabulary, int unknown);
void bpe_free(struct bpe *b);                                   /* accepts NULL */
/* Merges in order of rank, best first; a pair that comes twice has the rank of the last.  -1, with the text of *e but no
 * place, when the vocabulary lacks a part or what they make. */
int bpe_add_merge(struct bpe *b, const char *left, size_t left_n, const char *right, size_t right_n,
		  struct error *e) MUST_CHECK;
void bpe_end_merges(struct bpe *b);

/* Without a vocabulary, by the rule that OpenAI made CLIP's with: the bytes in order of their printable characters, the
 * same at a word's end, then what each merge makes.  Ready for bpe_word().  pairs: the merges, best first; one is the
 * ids of its two parts, each below what it makes, 16 bits, least significant byte first. */
#define BPE_BYTES 256
#define BPE_PAIR 4
struct bpe *bpe_new_pairs(const unsigned char *pairs, size_t count);

/* ids has room for n, n > 0.  Returns how many there are.  Time n log n: a word of a megabyte is no trouble. */
size_t bpe_word(const struct bpe *b, const char *word, size_t n, int32_t *ids);

#endif
