/* Prompt files, read by their ending: lines, TOML or JSON. */
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include "../base/lines.h"
#include "../base/memory.h"
#include "../io/kind.h"
#include "../io/publish.h"
#include "prompts.h"

#define FILE_CAP (16u << 20)

static bool ends_in(const char *path, const char *ending)
{
	size_t n = strlen(path), k = strlen(ending);

	return n > k && !strcasecmp(path + n - k, ending);
}

static int read_lines(const char *path, struct prompt_list *list, struct error *e)
{
	struct buffer b = { 0 };
	char *line, *save = NULL;
	int number = 0, result = 0;

	if (read_file(path, FILE_CAP, &b, e) < 0)
		return -1;
	if (b.len && strlen(b.data) != b.len) {
		fail(e, EXIT_USAGE, "%s: holds a NUL byte; a prompt file is text", path);
		result = kind_tell(path, b.data, b.len, NULL, "a text with a prompt a line", e);
	}
	b.len = lines_unify(b.data, b.len);
	save = b.data;
	while (!result && save && (line = strsep(&save, "\n"))) {
		number++;
		result = prompt_parse_line(path, number, line, list, e);
	}
	buffer_free(&b);
	return result;
}

int prompts_read(const char *path, struct prompt_list *list, struct error *e)
{
	size_t before = list->count;
	int result = ends_in(path, ".toml") ? prompts_read_toml(path, list, e) :
		ends_in(path, ".json") ? prompts_read_json(path, list, e) : read_lines(path, list, e);

	if (!result && list->count == before)
		result = fail(e, EXIT_USAGE, "%s: no prompts in it; write one a line", path);
	return result;
}
