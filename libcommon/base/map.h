/*
 * map.h - a hash table from text to index, over strings that somebody else owns; and the nearest of several names.
 *
 * The hash is seeded per process, against collisions crafted in files from outside.  The table is never iterated, so
 * the seed cannot reach an output.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stddef.h>

struct map;
struct map *map_new(size_t expected);
void map_free(struct map *m);                                   /* accepts NULL */
/* Remember value under key (not copied).  Returns the value already there, or -1 when the key was new. */
long map_put(struct map *m, const char *key, size_t length, long value);
long map_get(const struct map *m, const char *key, size_t length);      /* -1: not there */

/* The entry of names[0..count) that is nearest to wrong by edit distance (case and -/_ ignored),
 * NULL when none is near. */
const char *nearest_name(const char *wrong, const char *const *names, size_t count);

#endif
