/* Reading an existing log, and refusing other files. */
#include <ctype.h>
#include <string.h>
#include "../../io/json.h"
#include "../../io/kind.h"
#include "../../io/publish.h"
#include "old_log.h"

#define LOG_CAP (1u << 30)

/* Takes literal from *at; true too where the text ends within it, as an incomplete line does. */
static bool take(const char **at, const char *end, const char *literal)
{
	const size_t n = strlen(literal), there = (size_t)(end - *at) < n ? (size_t)(end - *at) : n;
	const bool same = !memcmp(*at, literal, there);

	*at += there;
	return same;
}

/* {"event":"KIND","step":N, as events_begin() opens each line, or as much of it as there is. */
static bool begins_as_event(const char *line, size_t n)
{
	const char *at = line, *end = line + n;

	if (!take(&at, end, "{\"event\":\""))
		return false;
	while (at < end && islower((unsigned char)*at))
		at++;
	if (!take(&at, end, "\",\"step\":"))
		return false;
	while (at < end && isdigit((unsigned char)*at))
		at++;
	return at == end || *at == ',' || *at == '}';
}

/* After a power failure a file may end in zeros: its size was stored, and its last data was not. */
static bool is_zeros(const char *bytes, size_t n)
{
	return n && !bytes[0] && !memcmp(bytes, bytes + 1, n - 1);
}

json_t *old_log_next(const struct buffer *text, size_t sound, size_t *at)
{
	const char *line = text->data + *at, *end = *at < sound ? memchr(line, '\n', sound - *at) : NULL;
	struct error ignored;

	if (!end)
		return NULL;
	*at += (size_t)(end - line) + 1;
	return json_parse("log", line, (size_t)(end - line), &ignored);
}

static int not_ours(const char *path, size_t line, const struct buffer *text, struct error *e)
{
	const char *kind = kind_of(text->data, text->len);

	if (kind && strcmp(kind, "JSON"))
		return fail(e, EXIT_USAGE, "%s: is %s, no log to go on with; nothing was changed; "
					   "name another file with --log", path, kind);
	return fail(e, EXIT_USAGE, "%s:%zu: no event of lora-train, so this is no log to go on with; "
				   "nothing was changed; name another file with --log", path, line);
}

int old_log_read(const char *path, struct buffer *text, size_t *sound, struct error *e)
{
	size_t at = 0, number = 0, from;

	if (read_file(path, LOG_CAP, text, e) < 0)
		return -1;
	for (*sound = text->len; *sound && text->data[*sound - 1] != '\n'; --*sound)
		;
	while (at < *sound) {
		json_t *event;

		from = at;
		number++;
		event = old_log_next(text, *sound, &at);
		json_decref(event);
		if (!event || !begins_as_event(text->data + from, at - from - 1))
			return not_ours(path, number, text, e);
	}
	if (begins_as_event(text->data + at, text->len - at) || (number && is_zeros(text->data + at, text->len - at)))
		return 0;
	return not_ours(path, number + 1, text, e);
}
