/*
 * caption_wildcards.h - enable_wildcard: takes one line of a caption, and one choice of each "{a|b}" in it.
 *
 * Owns the reading of braces, which is kohya's.  Must not know who chooses: the caller brings a chooser.
 */
#ifndef DATA_CAPTION_WILDCARDS_H
#define DATA_CAPTION_WILDCARDS_H

#include <stdint.h>

/* choose() returns a number below n, for n of at least 1. */
struct chooser { uint32_t (*choose)(void *arg, uint32_t n); void *arg; };

char *wildcards_choose(const struct chooser *c, const char *caption);   /* malloced */

#endif
