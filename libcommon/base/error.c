/* Failures, warnings and notes: filling in struct error, and printing one line to stderr. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "printable.h"
#include "retry.h"
#include "text.h"

static int quietly;
static bool (*noted)(const char *line);          /* NULL: nobody keeps notes */

int fail(struct error *e, enum exit_code code, const char *format, ...)
{
	va_list args;

	e->code = code;
	va_start(args, format);
	vsnprintf(e->text, sizeof(e->text), format, args);
	va_end(args);
	return -1;
}

enum exit_code exit_of_errno(int number)
{
	static const struct { int number; enum exit_code code; } known[] = {
		{ ENOENT, EXIT_INPUT }, { ENOTDIR, EXIT_INPUT }, { ELOOP, EXIT_INPUT }, { ENAMETOOLONG, EXIT_INPUT },
		{ EISDIR, EXIT_INPUT }, { ENOMEM, EXIT_MEMORY },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (known[i].number == number)
			return known[i].code;
	return EXIT_IO;
}

int fail_at(struct error *e, const char *where)
{
	char old[sizeof(e->text)];

	memcpy(old, e->text, sizeof(old));
	text_add(e->text, sizeof(e->text), 0, "%s: %s", where, old);
	return -1;
}

/* One write, so that lines of several processes on one terminal do not mix. */
static void say(const char *kind, const char *text, bool once)
{
	char line[4 * sizeof(((struct error *)0)->text)];
	const char *end = text + strlen(text);
	/* a name may be of any length */
	const size_t begin = text_add(line, 300, 0, "%s: ", program_invocation_short_name);
	size_t n = text_add(line, 400, begin, "%s", kind);

	while (text < end && n < sizeof(line) - PRINTABLE_LONGEST - 1)
		n += printable_next(&text, end, line + n);
	line[n] = 0;
	if (once && noted && noted(line + begin))
		return;
	line[n++] = '\n';
	if (RETRY(write(STDERR_FILENO, line, n)) < 0)
		return;         /* stderr is gone: nobody is left to tell */
}

int report(const struct error *e)
{
	say("", e->text, false);
	return e->code;
}

void die(enum exit_code code, const char *format, ...)
{
	struct error e;
	va_list args;

	va_start(args, format);
	vsnprintf(e.text, sizeof(e.text), format, args);
	va_end(args);
	say("", e.text, false);
	_exit(code);
}

void warning(const char *format, ...)
{
	struct error e;
	va_list args;

	va_start(args, format);
	vsnprintf(e.text, sizeof(e.text), format, args);
	va_end(args);
	say("warning: ", e.text, true);
}

void note(const char *format, ...)
{
	struct error e;
	va_list args;

	if (quietly)
		return;
	va_start(args, format);
	vsnprintf(e.text, sizeof(e.text), format, args);
	va_end(args);
	say("", e.text, true);
}

void notes_kept_by(bool (*before)(const char *line))
{
	noted = before;
}

void quiet(int on)
{
	quietly = on;
}

int is_quiet(void)
{
	return quietly;
}
