/*
 * publish.h - output files that appear whole or not at all, and reading whole files with a cap.
 *
 * A file is written as .NAME.PID.tmp beside its target, then fsync, rename, fsync of the folder.  kill -9 at any moment
 * leaves the old file or the new one.  Mode is 0666 & ~umask, or that of the file it replaces.  "-" is standard output,
 * which is never renamed and, for binary data, never a terminal.
 */
#ifndef IO_PUBLISH_H
#define IO_PUBLISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include "../base/error.h"
#include "../base/memory.h"

struct publish;

/* Open the temporary file.  A stale temporary of the same target whose process is gone is removed.  NULL: *e says why.
 * binary: refuse a terminal when path is "-". */
struct publish *publish_begin(const char *path, bool binary, struct error *e) MUST_CHECK;
int publish_write(struct publish *p, const void *data, size_t n, struct error *e) MUST_CHECK;
/* For gigabytes: what follows is gathered and goes to the disk itself where that can be, not through the memory that
 * the system keeps of files.  Filling that costs more than merging a model does, and drives out what others use. */
void publish_past_memory(struct publish *p);
/* Bytes that were written already become others. */
int publish_change(struct publish *p, uint64_t at, const void *data, size_t n, struct error *e) MUST_CHECK;
int publish_fd(struct publish *p);                              /* do not close */
/* Make it durable and visible.  On failure the temporary is removed and the old file untouched.  Frees p either way. */
int publish_end(struct publish *p, struct error *e) MUST_CHECK;
/* The same where the target must not exist yet.  Returns 1, and changes nothing, where it exists. */
int publish_end_new(struct publish *p, struct error *e) MUST_CHECK;
void publish_abandon(struct publish *p);                        /* remove the temporary, free; accepts NULL */

/* Instead of publish_abandon(), after a failure too: the temporary stays, for publish_leftovers() of a later run. */
void publish_leave(struct publish *p);
/* The temporaries that killed writers of a target left, for somebody who can go on from them.  To be asked for before
 * publish_begin(), which then lets them be: they are locked until they are freed. */
struct leftovers;
struct leftovers *publish_leftovers(const char *path);
/* a descriptor, the caller's; -1: no more */
int leftover_at(const struct leftovers *l, size_t i, const char **path);
void leftovers_remove(struct leftovers *l);                                     /* the files; accepts NULL */
void leftovers_free(struct leftovers *l);                                       /* accepts NULL */

/* Remove the temporaries that dead writers of START... left in the folder, whatever their target was. */
void publish_clean(const char *folder, const char *start);

/* A folder likewise: filled as .NAME.PID.tmp beside its target, then renamed.  A target that is there and not empty is
 * EXIT_USAGE; folders above it are made. */
struct publish_folder;
struct publish_folder *publish_folder_begin(const char *path, struct error *e) MUST_CHECK;
const char *publish_folder_path(const struct publish_folder *p);        /* where to fill it */
int publish_folder_end(struct publish_folder *p, struct error *e) MUST_CHECK;
void publish_folder_abandon(struct publish_folder *p);                  /* with all that is in it; accepts NULL */

/* What was made, renamed or removed in a folder becomes durable. */
int sync_folder(const char *path, struct error *e) MUST_CHECK;

/* Could a regular file of that name be published later, by what can be seen now?  EXIT_USAGE: a folder, pipe or device
 * has the name, or it is longer than the disk takes; EXIT_IO: nobody can tell, as of a link to itself. */
int publish_could(const char *path, struct error *e) MUST_CHECK;

int publish_bytes(const char *path, const void *data, size_t n, struct error *e) MUST_CHECK;

/* A descriptor for reading, or -1: what is not there is EXIT_INPUT, what may not be read EXIT_IO. */
int open_input(const char *path, struct error *e) MUST_CHECK;
/* 1: the path exists, and *st describes it (links are followed); 0: it does not exist; -1: that cannot be told, which
 * never counts as "does not exist". */
int path_stat(const char *path, struct stat *st, struct error *e) MUST_CHECK;
int path_is_there(const char *path, struct error *e) MUST_CHECK;
int path_is_folder(const char *path, struct error *e) MUST_CHECK;
/* Read a whole file of at most cap bytes. */
int read_file(const char *path, size_t cap, struct buffer *out, struct error *e) MUST_CHECK;
/* Its first n bytes, or all of them. */
int read_head(const char *path, size_t n, struct buffer *out, struct error *e) MUST_CHECK;
int make_folders(const char *path, struct error *e) MUST_CHECK; /* mkdir -p */
char *existing_folder(const char *path);        /* the folder itself, or the one that it would be made in, malloced */
int make_parents(const char *file, struct error *e) MUST_CHECK; /* the folders that it will stand in */
char *path_join(const char *folder, const char *name);          /* malloced */

/* At the start of every main: descriptors 0-2 that are closed become /dev/null, so that no data file becomes stdout.
 * Writing to a standard output that was closed fails (EXIT_IO), and so does writing beyond a limit on the size of
 * files. */
void claim_standard_streams(void);

#endif
