/*
 * hash.h - SHA-256 (FIPS 180-4; for kohya's hashes and content addresses) and CRC-32C (for checksums of payloads and
 * of TensorBoard's records).
 *
 * SHA-256 is our own.  With the processor's instructions for it nettle 3.8 does 1.60 GB/s and this 1.79 (one core of an
 * EPYC), and nettle would be one more library to install and to load at each start.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct sha256 {
	uint32_t state[8];
	uint64_t bytes;
	unsigned char block[64];
};
void sha256_begin(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t n);
void sha256_end(struct sha256 *s, unsigned char digest[32]);
void sha256_hex(struct sha256 *s, char hex[65]);                /* ends it; lower case, NUL-terminated */
void sha256_hex_of(const void *data, size_t n, char hex[65]);

/* CRC-32C (Castagnoli, reflected 0x82f63b78).  Start with 0, feed the result back in to go on. */
uint32_t crc32c(uint32_t crc, const void *data, size_t n);

#endif
