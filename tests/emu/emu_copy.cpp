/* The one piece of cp.async that sanitizers must see: bytes that move. */
#include "emu_internal.h"

void emu::copy_words(void *dst, const void *src, unsigned bytes, unsigned valid)
{
	uint32_t *to = (uint32_t *)dst;
	const uint32_t *from = (const uint32_t *)src;

	for (unsigned i = 0; i < bytes / 4; i++)
		to[i] = i * 4 < valid ? from[i] : 0;
}
