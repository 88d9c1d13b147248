/*
 * unicode.h - the properties of characters that CLIP's tokenizer needs.
 *
 * Owns the tables (unicode_tables.h, generated).  They follow Hugging Face's tokenizers rather than one version of
 * Unicode; the generator, tests/tools/unicode_tables.py, says how.  Must not know tokens.
 */
#ifndef MODEL_UNICODE_H
#define MODEL_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum unicode_class { UNICODE_OTHER, UNICODE_LETTER, UNICODE_NUMBER, UNICODE_SPACE };
enum unicode_class unicode_class(uint32_t code);                /* general category L, N; White_Space; or none */

/* Lower case without context: 1 character, or 2 for U+0130 (i and a dot above). */
int unicode_lower(uint32_t code, uint32_t lower[2]);

/* The canonical decomposition of a character; the character itself where it has none.  At most four parts. */
int unicode_decompose(uint32_t code, uint32_t parts[4]);
/* stands above, below or through the character before it */
bool unicode_is_mark(uint32_t code);

/* Normalization form C.  Returns malloced characters, *count of them. */
uint32_t *unicode_nfc(const uint32_t *codes, size_t n, size_t *count);

#endif
