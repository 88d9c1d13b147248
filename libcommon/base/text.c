/* Prints into an array; ends of texts. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "text.h"

size_t text_add(char *text, size_t room, size_t at, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text + at, room - at, format, args);
	va_end(args);
	return n < 0 ? at : at + n < room ? at + n : room - 1;
}

bool text_ends(const char *text, const char *with)
{
	const size_t n = strlen(text), k = strlen(with);

	return n >= k && !strcmp(text + n - k, with);
}
