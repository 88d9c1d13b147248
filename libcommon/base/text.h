/*
 * text.h - printing into an array that is there, for messages: without memory, and never beyond its end; and how a text
 * ends.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include "error.h"

/* Prints to text[at..], in an array of `room` bytes.  What does not fit is cut, and the array always ends in NUL.
 * Returns where the text ends, which is less than room.  snprintf returns where it would have ended: whoever adds that
 * up writes and reads beyond the array. */
size_t text_add(char *text, size_t room, size_t at, const char *format, ...) PRINTF_LIKE(4, 5);
/* Every text ends with "". */
bool text_ends(const char *text, const char *with);

#endif
