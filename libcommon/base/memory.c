/* Allocation that succeeds or ends the program, and text that grows. */
#include <malloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "memory.h"

static void *checked(void *p, size_t bytes)
{
	if (!p)
		die(EXIT_MEMORY, "no memory for %zu bytes; free some, or choose smaller settings", bytes);
	return p;
}

void memory_keep(void)
{
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

void memory_return(void)
{
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

void *xmalloc(size_t bytes)
{
	return checked(malloc(bytes ? bytes : 1), bytes);
}

void *xcalloc(size_t count, size_t bytes)
{
	return checked(calloc(count ? count : 1, bytes ? bytes : 1), count * bytes);
}

void *xrealloc(void *p, size_t bytes)
{
	return checked(realloc(p, bytes ? bytes : 1), bytes);
}

char *xstrdup(const char *s)
{
	return s ? xstrndup(s, strlen(s)) : NULL;
}

char *xstrndup(const char *s, size_t n)
{
	char *copy = xmalloc(n + 1);

	memcpy(copy, s, n);
	copy[n] = 0;
	return copy;
}

/* How long the text will be. */
static size_t length(const char *format, va_list args)
{
	int n = vsnprintf(NULL, 0, format, args);

	if (n < 0)
		die(EXIT_MEMORY, "no memory for a text");
	return n;
}

char *xprintf(const char *format, ...)
{
	struct buffer b = { 0 };
	va_list args;
	size_t n;

	va_start(args, format);
	n = length(format, args);
	va_end(args);
	b.data = xmalloc(n + 1);
	va_start(args, format);
	vsnprintf(b.data, n + 1, format, args);
	va_end(args);
	return b.data;
}

void *grow_array(void *array, size_t count, size_t *capacity, size_t element)
{
	if (count < *capacity)
		return array;
	*capacity = count + count / 2 + 16;
	if (*capacity > SIZE_MAX / 2 / element)
		die(EXIT_MEMORY, "no memory for %zu elements of %zu bytes", *capacity, element);
	return xrealloc(array, *capacity * element);
}

static void reserve(struct buffer *b, size_t more)
{
	size_t want = b->len + more + 1;

	if (want <= b->capacity)
		return;
	b->capacity = want + want / 2 + 64;
	b->data = xrealloc(b->data, b->capacity);
}

void buffer_room(struct buffer *b, size_t n)
{
	if (b->len + n < b->capacity)
		return;
	b->capacity = b->len + n + 1;
	b->data = xrealloc(b->data, b->capacity);
}

void buffer_add(struct buffer *b, const void *bytes, size_t n)
{
	reserve(b, n);
	if (n)
		memcpy(b->data + b->len, bytes, n);
	b->len += n;
	b->data[b->len] = 0;
}

void buffer_adds(struct buffer *b, const char *text)
{
	buffer_add(b, text, strlen(text));
}

void buffer_addf(struct buffer *b, const char *format, ...)
{
	va_list args;
	size_t n;

	va_start(args, format);
	n = length(format, args);
	va_end(args);
	reserve(b, n);
	va_start(args, format);
	vsnprintf(b->data + b->len, n + 1, format, args);
	va_end(args);
	b->len += n;
}

void buffer_clear(struct buffer *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = 0;
}

void buffer_free(struct buffer *b)
{
	free(b->data);
	*b = (struct buffer){ 0 };
}

char *buffer_steal(struct buffer *b)
{
	char *text;

	reserve(b, 0);
	b->data[b->len] = 0;
	text = b->data;
	*b = (struct buffer){ 0 };
	return text;
}
