/*
 * seed.h - a seed as options and prompts write it: a whole number from 0 to 2^64-1.
 *
 * It is a text until it is used: a number of JSON or of a configuration file may lose digits above 2^53.
 */
#ifndef CONFIG_SEED_H
#define CONFIG_SEED_H

#include <stdbool.h>
#include <stdint.h>
#include "../base/error.h"

/* false: text is no seed */
bool seed_parse(const char *text, uint64_t *seed);
/* The same for the option `name`.  text NULL: *seed stays.  -1: *e (EXIT_USAGE). */
int seed_read(const char *name, const char *text, uint64_t *seed, struct error *e) MUST_CHECK;

#endif
