/*
 * tar_header.h - the block of 512 bytes before a tar's member: written as POSIX ustar, and read as ustar, old Unix, GNU
 * or pax wrote it.
 *
 * Our own.  libarchive links libxml2, which links ICU: 40 MB and 2.3 ms at each start, for formats that no stream has.
 * Must not know what the members are.
 */
#ifndef IO_TAR_HEADER_H
#define IO_TAR_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../base/memory.h"

enum { TAR_BLOCK = 512 };

enum tar_kind {
	TAR_FILE,
	TAR_SPARSE,             /* a file with holes */
	TAR_OTHER,              /* a link, a folder, a device, or a kind that nobody knows */
	/* No members: what their bytes say is about the next one. */
	TAR_LONG_NAME,          /* GNU */
	TAR_PAX,
	TAR_PASSED,             /* neither name nor size */
};

struct tar_header {
	enum tar_kind kind;
	char name[257];
	uint64_t size;          /* of the bytes that follow; below 2^62 */
};

/* name has at most 100 characters.  A plain file of mode 0644 without owner and time. */
void tar_header_write(unsigned char block[TAR_BLOCK], const char *name, uint64_t size);
bool tar_block_is_zero(const unsigned char block[TAR_BLOCK]);
/* NULL; else what is wrong. */
const char *tar_header_read(const unsigned char block[TAR_BLOCK], struct tar_header *h);

/* What pax records or a GNU long name say of the next member. */
struct tar_extension {
	struct buffer name;     /* empty: as the header has it */
	bool has_size, sparse;
	uint64_t size;
};
/* NULL; else what is wrong. */
const char *tar_extension_read(struct tar_extension *x, enum tar_kind kind, const char *bytes, size_t n);

#endif
