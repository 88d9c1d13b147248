/*
 * tar_input.h - the lower half of reading a sample stream: bytes, and one member after another.
 *
 * Shared by tar_input.c, which opens the stream and reads members, and tar_read.c, which knows what a stream must hold.
 * "Part" is defined in tar.h.
 */
#ifndef IO_TAR_INPUT_H
#define IO_TAR_INPUT_H

#include "../base/hash.h"
#include "tar.h"
#include "tar_header.h"
#include "tar_names.h"

enum {
	TAR_LONGEST_NAME = 255,
	TAR_LARGEST_EXTENSION = 1 << 20,        /* a pax header, or a long name */
	TAR_LARGEST_GAP = 1 << 20,      /* zeros before, between and behind joined tars; /dev/zero has no other end */
};

struct tar_reader {
	char *path;                     /* for messages */
	int fd;
	char *input;                    /* what was read last, and how much of it is still to be taken */
	size_t begin, end;
	const char *wanted;             /* "image", "latent", NULL */
	char format[32], kind[16];      /* "lora-image-1", "image"; empty before the first sample */
	uint64_t raw_bytes, zeros;      /* read in all; of them, zeros at the end */
	struct sha256 *all;             /* of what was read, in all; NULL: not asked for */
	bool skims;
	uint64_t left, padding;         /* of the member: bytes to come, and zeros behind them */
	struct tar_extension extension;
	bool lost;                      /* the next member can no longer be found */
	uint64_t samples;               /* in all */
	/* the part that is being read */
	int part;
	bool in_part;                   /* something was read after the last end record */
	uint64_t part_samples, part_bytes, part_padding;
	struct sha256 hash;
	unsigned char *seen;            /* one bit a key */
	size_t seen_bytes;
	struct buffer text;             /* the json or the end record */
};

/* "PATH: ..." as EXIT_INPUT; returns -1. */
int tar_complain(const struct tar_reader *r, struct error *e, const char *format, ...) PRINTF_LIKE(3, 4);
int tar_ended_early(const struct tar_reader *r, struct error *e);

/* 1: *name is that of the next member, a plain file with a plain name; 0: the input is over; -1: *e. */
int tar_next_member(struct tar_reader *r, char name[TAR_LONGEST_NAME + 1], struct error *e) MUST_CHECK;
uint64_t tar_position(const struct tar_reader *r);              /* of the byte that comes next */
int tar_pass_member(struct tar_reader *r, struct error *e) MUST_CHECK;
/* All of that member's bytes, at most cap. */
int tar_read_member(struct tar_reader *r, const char *name, struct buffer *to, size_t cap, struct error *e) MUST_CHECK;

#endif
