/*
 * hash_paths.h - the two implementations of each hash, for the code that chooses one and for the test that compares
 * them.
 *
 * The fast ones may run only where cpu.h says that the processor has the instructions.
 */
#ifndef BASE_HASH_PATHS_H
#define BASE_HASH_PATHS_H

#include <stddef.h>
#include <stdint.h>

void sha256_blocks_portable(uint32_t state[8], const unsigned char *data, size_t blocks);
uint32_t crc32c_portable(uint32_t crc, const unsigned char *data, size_t n);
#ifdef __x86_64__
void sha256_blocks_ni(uint32_t state[8], const unsigned char *data, size_t blocks);
uint32_t crc32c_sse42(uint32_t crc, const unsigned char *data, size_t n);
#endif

#endif
