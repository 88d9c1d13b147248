/*
 * safetensors.h - the safetensors container: a JSON header and raw tensors.
 *
 * Owns every check of docs/reliability.md section 4 (duplicate names, overlap, holes, overflow, header caps), and the
 * canonical order of writing: dtype size descending, among equal sizes the reference library's order of types, then
 * name; metadata first; compact JSON padded with spaces.  Must not know what the tensors mean.
 */
#ifndef IO_SAFETENSORS_H
#define IO_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../base/error.h"
#include "dtype.h"
#include "publish.h"

#define SAFETENSORS_MAX_DIMS 8
#define SAFETENSORS_MAX_HEADER 100000000

struct safetensor {
	const char *name;
	enum dtype dtype;
	int dims;                               /* 0: a scalar */
	int64_t shape[SAFETENSORS_MAX_DIMS];
	uint64_t offset, bytes;                 /* offset from the start of the data section */
};

struct metadata { const char *key, *value; };

struct safetensors {
	char *path;                             /* for messages */
	struct safetensor *tensor; size_t count;        /* in file order of their data (by offset) */
	struct metadata *metadata; size_t metadata_count;       /* in header order */
	uint64_t data_start, file_bytes;        /* absolute offset of the data section; whole size */
	const unsigned char *data;              /* the mapped data section (or the caller's memory); may be unaligned */
	/* private: */ void *map; size_t map_bytes; void *names; struct map *index;
};

/* Open and check a file; the data is mapped, not read.  NULL: *e says what is wrong, in terms of a truncated download,
 * a pickle, an HTML page or a git-lfs pointer where it is one (EXIT_INPUT). */
struct safetensors *safetensors_open(const char *path, struct error *e) MUST_CHECK;
/* The same over bytes in memory (a tar member), which must outlive it.  label is used in messages. */
struct safetensors *safetensors_parse(const char *label, const void *bytes, size_t n, struct error *e) MUST_CHECK;
void safetensors_close(struct safetensors *s);                  /* accepts NULL */

const struct safetensor *safetensors_find(const struct safetensors *s, const char *name);       /* NULL: not there */
const char *safetensors_metadata(const struct safetensors *s, const char *key);                  /* NULL: not there */
/* its bytes, maybe unaligned */
const void *safetensors_bytes(const struct safetensors *s, const struct safetensor *t);
/* Gives back the memory that these bytes of a mapped file take, and the pages around that came with them; they are read
 * anew when somebody looks again. */
void safetensors_release(const struct safetensors *s, const void *bytes, size_t n);
size_t safetensor_elements(const struct safetensor *t);
/* A shape in words, "320,4,3,3", with `between` between its numbers; returns text. */
#define SHAPE_ROOM (SAFETENSORS_MAX_DIMS * 22)
const char *shape_text(char text[SHAPE_ROOM], int dims, const int64_t *shape, const char *between);
/* As floats in new memory (count elements expected; a mismatch or a type that is no number is an error). */
float *safetensors_floats(const struct safetensors *s, const char *name, size_t count, struct error *e) MUST_CHECK;

/* ---- writing ---- */
struct safetensors_out {                        /* one tensor to write */
	const char *name;
	/* of the file: F32 data is converted when it differs and `floats` is set */
	enum dtype dtype;
	int dims;
	int64_t shape[SAFETENSORS_MAX_DIMS];
	const void *data;                       /* dtype's own bytes; or float when floats is true */
	bool floats;
};
/* Sorts a copy into the canonical order and writes it to p.  Metadata in the order given. */
int safetensors_write(struct publish *p, const struct safetensors_out *tensors, size_t count,
		      const struct metadata *metadata, size_t metadata_count, struct error *e) MUST_CHECK;
int safetensors_save(const char *path, const struct safetensors_out *tensors, size_t count,
		     const struct metadata *metadata, size_t metadata_count, struct error *e) MUST_CHECK;
/* The same with one metadata entry more, "sha256" over all the others and over every tensor's name, type, shape and
 * bytes.  For files that only we read: nothing in them can change unnoticed. */
int safetensors_save_sealed(const char *path, const struct safetensors_out *tensors, size_t count,
			    const struct metadata *metadata, size_t metadata_count, struct error *e) MUST_CHECK;
/* EXIT_INPUT: damaged, or never sealed */
int safetensors_check_seal(const struct safetensors *s, struct error *e) MUST_CHECK;
/* The same bytes into memory, for a tar member or for kohya's hashes. */
void safetensors_serialize(struct buffer *out, const struct safetensors_out *tensors, size_t count,
			   const struct metadata *metadata, size_t metadata_count);
/* The same bytes one piece after another, the header as the first: nothing of the size of the file is held. */
typedef void safetensors_piece(void *arg, const void *bytes, size_t n);
void safetensors_pieces(safetensors_piece *take, void *arg, const struct safetensors_out *tensors, size_t count,
			const struct metadata *metadata, size_t metadata_count);
/* The eight bytes of length and the header, keeping the order given (lora-merge copies a checkpoint and must keep its
 * order); the data follows without a gap. */
void safetensors_header(struct buffer *out, const struct safetensors_out *tensors, size_t count,
			const struct metadata *metadata, size_t metadata_count);

#endif
