/*
 * memory.h - allocation that succeeds or ends the program with EXIT_MEMORY; arrays and text that grow; text in an array
 * of fixed size.
 *
 * For sizes that our own code chose.  A size that comes from outside is checked against its cap before it gets here.
 */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stdarg.h>
#include <stddef.h>
#include "error.h"
#include "text.h"

void *xmalloc(size_t bytes);
void *xcalloc(size_t count, size_t bytes);
void *xrealloc(void *p, size_t bytes);
char *xstrdup(const char *s);                           /* NULL gives NULL */
char *xstrndup(const char *s, size_t n);
char *xprintf(const char *format, ...) PRINTF_LIKE(1, 2);       /* malloced text */

/* From now on the program keeps large freed blocks for the next allocations.  Without this malloc maps each large block
 * anew, and every page of it faults: a tenth of the time of a tool that reads many pictures. */
void memory_keep(void);
/* From now on the program's memory is what it has asked for: all threads share one heap, which keeps at most 1 MiB that
 * was freed at its end, and in which blocks of up to 4 MiB lie side by side.  Without this a thread's heap keeps some
 * 0.5 MiB, and each block from 128 KiB on takes a page more, or not, as malloc has come to see it. */
void memory_return(void);

/* Make room for one more element at array[count]; *capacity grows by half.  Use: GROW(list, n, cap); list[n++] = x; */
#define GROW(array, count, capacity) \
	((array) = grow_array((array), (count), &(capacity), sizeof(*(array))))
void *grow_array(void *array, size_t count, size_t *capacity, size_t element);

/* Bytes that grow.  data is always NUL-terminated once anything was added (len does not count it). */
struct buffer {
	char *data;
	size_t len, capacity;
};
/* Makes room for exactly n more bytes.  The other functions grow the buffer by half. */
void buffer_room(struct buffer *b, size_t n);
void buffer_add(struct buffer *b, const void *bytes, size_t n);
void buffer_adds(struct buffer *b, const char *text);
void buffer_addf(struct buffer *b, const char *format, ...) PRINTF_LIKE(2, 3);
void buffer_clear(struct buffer *b);                    /* empty, memory kept */
void buffer_free(struct buffer *b);
char *buffer_steal(struct buffer *b);                   /* hands over the text (never NULL), leaves an empty buffer */

#endif
