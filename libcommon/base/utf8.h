/*
 * utf8.h - what counts as a well-formed character (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* How many bytes of p[0..n), n > 0, are one well-formed character; 0 when they begin none. */
size_t utf8_length(const unsigned char *p, size_t n);
/* The code point of a well-formed character of so many bytes. */
uint32_t utf8_decode(const unsigned char *p, size_t length);
/* Of text[0..n) the longest beginning of at most `most` bytes that ends between characters. */
size_t utf8_cut(const char *text, size_t n, size_t most);
/* The bytes of one code point, returns how many (1-4).  The caller has kept out surrogates and what is above U+10FFFF. */
size_t utf8_encode(uint32_t c, char out[4]);

#endif
