/* Prints text from outside. */
#include <string.h>
#include "print.h"
#include "printable.h"
#include "retry.h"

void buffer_add_printable(struct buffer *b, const char *text, size_t n)
{
	const char *end = text + n;
	char out[PRINTABLE_LONGEST];

	while (text < end) {
		const size_t length = printable_next(&text, end, out);
		buffer_add(b, out, length);
	}
}

int print_text_to(int fd, const char *text, size_t n, struct error *e)
{
	struct buffer b = { 0 };
	const char *end = text + n;
	char out[PRINTABLE_LONGEST];
	int result = 0;

	while (text < end) {
		const bool plain = *text == '\n' || *text == '\t';
		const size_t length = plain ? 1 : printable_next(&text, end, out);

		buffer_add(&b, plain ? text++ : out, length);
	}
	if (write_all(fd, b.data, b.len) < 0)
		result = fail(e, EXIT_IO, "standard output: %s; write to another place", strerror(errno));
	buffer_free(&b);
	return result;
}

int print_text(const char *text, size_t n, struct error *e)
{
	return print_text_to(STDOUT_FILENO, text, n, e);
}
