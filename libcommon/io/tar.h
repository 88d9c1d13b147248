/*
 * tar.h - sample streams: the tar files that flow between the tools.
 *
 * A sample is a picture or a latent with what belongs to it: members KEY.SUFFIX, the payloads, and last KEY.json with
 * size and CRC-32C of each payload.  The members of one sample are adjacent.  Members are ustar with mtime, uid and gid
 * 0 and mode 0644.  The end record `__lora__/end` closes a stream; without it the stream is truncated (EXIT_INPUT), as
 * a tar that is cut at the edge of a member is a sound tar.
 * `cat a.tar b.tar` is a stream too.  Each of the joined archives is a part: it has its own end record, and keys are
 * unique within it.
 *
 * Owns this layout.  Must not know what the payloads are.
 */
#ifndef IO_TAR_H
#define IO_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../base/error.h"
#include "../base/memory.h"
#include "json.h"
#include "publish.h"

#define TAR_MEMBER_CAP (1u << 30)       /* no member may be larger, whatever its header claims */
#define TAR_MAX_MEMBERS 8

struct tar_member {
	char suffix[32];                /* after the key's dot: "latent.safetensors", "png" */
	struct buffer bytes;
	uint64_t at;                    /* as read: where its bytes begin in the input */
};

struct tar_sample {
	char key[16];                   /* "%08u" as written */
	struct tar_member member[TAR_MAX_MEMBERS];      /* payloads, without the json */
	int members;
	json_t *json;                   /* the whole KEY.json; its "payloads" were checked against the members */
	int part;                       /* 0 for the first archive of a concatenation */
};

/* ---- writing ---- */
struct tar_writer;
/* format: "image" or "latent", stored in the end record and in each sample's json. */
struct tar_writer *tar_create(struct publish *out, const char *format);
/* Add one sample: payloads, then json.  fields is an open json_out object holding every field but "payloads" (and
 * already begun with "key", "format"): see tar_sample_begin.  The writer adds "payloads" and closes it. */
void tar_sample_begin(struct json_out *fields, struct tar_writer *w, uint32_t index);
int tar_sample_add(struct tar_writer *w, uint32_t index, const struct tar_member *member, int members,
		   struct json_out *fields, struct error *e) MUST_CHECK;
/* Writes the end record and the end of the archive.  The caller ends the publish.  Frees w either way. */
int tar_finish(struct tar_writer *w, struct error *e) MUST_CHECK;
void tar_abandon(struct tar_writer *w);

/* ---- reading ---- */
struct tar_reader;
/* "-" is standard input.  format: refuse another kind by name (NULL: any). */
struct tar_reader *tar_open(const char *path, const char *format, struct error *e) MUST_CHECK;
/* The same of a file whose own hash is wanted: SHA-256 of the whole input, once tar_next() has come to a sound end and
 * nothing was skimmed. */
struct tar_reader *tar_open_hashed(const char *path, const char *format, struct error *e) MUST_CHECK;
void tar_hash(const struct tar_reader *r, char hex[65]);
/* From the next sample on, payloads are skipped: neither read nor checked, by seeking where the input can, and their
 * buffers are empty.  For a first pass over what a stream holds. */
void tar_skim(struct tar_reader *r);
/* 1: *s holds the next sample (its buffers are reused by the next call); 0: sound end; -1: *e. */
int tar_next(struct tar_reader *r, struct tar_sample *s, struct error *e) MUST_CHECK;
/* After -1: is only that sample (or end record) damaged, so that tar_next() may be called for the next one? */
bool tar_goes_on(const struct tar_reader *r);
const char *tar_format(const struct tar_reader *r);             /* known once the first sample was read; "" before */
uint64_t tar_count(const struct tar_reader *r);                 /* samples so far */
void tar_close(struct tar_reader *r);
/* Looks at the first sample of a file without its payloads, so that a wrong one shows before a model is read.  What is
 * no regular file is passed over: it could not be read again, and a pipe's writer may take its time. */
int tar_look(const char *path, const char *format, struct error *e) MUST_CHECK;
void tar_sample_free(struct tar_sample *s);
const struct tar_member *tar_find(const struct tar_sample *s, const char *suffix);      /* NULL: not there */

#endif
