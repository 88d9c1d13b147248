/*
 * names.h - the names of a table's rows in one text, for messages, help and the choices of an option.
 *
 * A new row is named there by itself.  Must not know what the rows are.
 */
#ifndef BASE_NAMES_H
#define BASE_NAMES_H

#include <stddef.h>

struct names { char text[400]; };

/* `count` names, the first at *first and each `stride` bytes behind the one before.  "a, b or c" is between ", " and
 * last " or ". */
struct names names_joined(const char *const *first, size_t stride, size_t count, const char *between, const char *last);
/* of an array of structs that have a .name */
#define NAMES_OF(table, between, last) \
	names_joined(&(table)[0].name, sizeof(*(table)), sizeof(table) / sizeof(*(table)), between, last)

#endif
