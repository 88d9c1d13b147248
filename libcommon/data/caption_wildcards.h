/*
 * caption_wildcards.h - what enable_wildcard makes of a caption: one of its lines, and one of each "{a|b}".
 *
 * Owns the reading of braces, which is kohya's.  Must not know who chooses.
 */
#ifndef DATA_CAPTION_WILDCARDS_H
#define DATA_CAPTION_WILDCARDS_H

#include <stdint.h>

/* A number below n, for n at least 1. */
struct chooser { uint32_t (*choose)(void *arg, uint32_t n); void *arg; };

char *wildcards_choose(const struct chooser *c, const char *caption);   /* malloced */

#endif
