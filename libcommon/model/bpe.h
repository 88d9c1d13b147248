/*
 * bpe.h - byte pair encoding: turns the bytes of one word into token ids, by a vocabulary and a ranked list of merges.
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
/* Adds merges in order of rank, best first; a pair that is added twice has the rank of the last.  -1, with a text in *e
 * but no place, where the vocabulary lacks one of the parts or their merge. */
int bpe_add_merge(struct bpe *b, const char *left, size_t left_n, const char *right, size_t right_n,
		  struct error *e) MUST_CHECK;
void bpe_end_merges(struct bpe *b);

/* The same without a vocabulary file, by the rule by which OpenAI numbered CLIP's tokens: the bytes in order of their
 * printable characters, the same at the end of a word, then the result of each merge.  Ready for bpe_word().  pairs:
 * the merges, best first; each is the ids of its two parts, 16 bits, least significant byte first. */
#define BPE_BYTES 256
#define BPE_PAIR 4
struct bpe *bpe_new_pairs(const unsigned char *pairs, size_t count);

/* Writes the ids of a word of n > 0 bytes; ids has room for n.  Returns their number.  Takes time n log n, so that a
 * word of a megabyte does no harm. */
size_t bpe_word(const struct bpe *b, const char *word, size_t n, int32_t *ids);

#endif
