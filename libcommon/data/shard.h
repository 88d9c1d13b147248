/*
 * shard.h - parts of a data set that several programs encode at once: which part this program is, how the parts' files
 * are called, and the list of them that is read as one tar.
 *
 * A list has a line for each part: the file's name, its samples, the SHA-256 of its bytes, with a tab between them.
 * Names are beside the list.  Must not know what the samples are.
 */
#ifndef DATA_SHARD_H
#define DATA_SHARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../base/error.h"
#include "../io/tar.h"

#define SHARD_LIST "latents.list"

struct shard { uint32_t index, count; };                /* index < count */

/* "I/N"; "auto", by the variables of whatever launched the program (shard.c); NULL: one part, the whole.
 * Two launchers that say different parts, or none at all, are EXIT_USAGE. */
int shard_read(struct shard *s, const char *text, struct error *e) MUST_CHECK;
char *shard_file(const struct shard *s);                /* "latents-00000-of-00004.tar", malloced */

struct shard_part { char *path; uint64_t samples; char sha256[65]; };
struct shard_list { struct shard_part *part; size_t count; };

bool shard_is_list(const char *path);                   /* by its name */
/* All parts in the order of their names.  A line that is none, a part that is missing (of those that the names count,
 * or on the disk) and one that comes twice are EXIT_INPUT. */
int shard_list_read(struct shard_list *l, const char *path, struct error *e) MUST_CHECK;
void shard_list_free(struct shard_list *l);
/* A reader that was opened hashed has come to its end: is it what the list says?  skimmed: its bytes were not read. */
int shard_part_check(const struct shard_part *p, const struct tar_reader *r, bool skimmed, struct error *e) MUST_CHECK;

/* A part of so many samples has appeared in the folder: writes its line into a list of its own, beside it, and the
 * whole list when every other part has its line there too.  *there: parts that have. */
int shard_list_add(const char *folder, const struct shard *s, uint64_t samples, uint32_t *there,
		   struct error *e) MUST_CHECK;

#endif
