/*
 * utf8.h - well-formed UTF-8 characters (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The length in bytes of the well-formed character at p[0..n), n > 0; 0 where there is none. */
size_t utf8_length(const unsigned char *p, size_t n);
/* The code point of a well-formed character of `length` bytes. */
uint32_t utf8_decode(const unsigned char *p, size_t length);
/* Reads the character at text[0..n): its length in bytes, 0 where there is none or n is 0. */
size_t utf8_read(const char *text, size_t n, uint32_t *code);
/* The number of leading bytes of text[0..n) that are well-formed; n: all. */
size_t utf8_valid(const char *text, size_t n);
/* The length of the longest prefix of text[0..n) of at most `most` bytes that does not cut a character. */
size_t utf8_cut(const char *text, size_t n, size_t most);
/* Writes one code point and returns its number of bytes, 1 to 4.  The caller excludes surrogates and what is above
 * U+10FFFF. */
size_t utf8_encode(uint32_t c, char out[4]);

#endif
