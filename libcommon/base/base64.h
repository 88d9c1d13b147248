/* base64.h - bytes as text: RFC 4648's base64 with padding. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "memory.h"

void buffer_add_base64(struct buffer *out, const void *bytes, size_t n);

#endif
