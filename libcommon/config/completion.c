/* --help=completion-bash and the like: what a tool's table says to a shell. */
#include <string.h>
#include "../base/names.h"
#include "completion.h"

static const struct shell {
	const char *name;
	void (*write)(const struct tool *tool, struct buffer *out);
} shells[] = {
	{ "completion-bash", completion_bash },
	{ "completion-zsh", completion_zsh },
	{ "completion-fish", completion_fish },
};

static const struct option help_row = { "help", 0, OPTION_STRING, NULL, "[=WHAT]", "the common options, or all of them",
					.key = "",
					.completes = "all|completion-bash|completion-zsh|completion-fish" };

struct names completion_names(void)
{
	return NAMES_OF(shells, ", ", " or ");
}

bool options_completion(const struct tool *tool, const char *name, struct buffer *out)
{
	for (size_t i = 0; i < sizeof(shells) / sizeof(*shells); i++)
		if (!strcmp(shells[i].name, name)) {
			shells[i].write(tool, out);
			return true;
		}
	return false;
}

static void each_of(const struct tool *tool, const struct option *o, completed_row *add, struct buffer *out)
{
	for (; o->name || o->help; o++)
		if (option_has_value(o))
			add(tool, o, out);
}

void completed_each(const struct tool *tool, completed_row *add, struct buffer *out)
{
	each_of(tool, tool->table, add, out);
	each_of(tool, options_common + (tool->takes_config ? 0 : COMMON_OF_CONFIG), add, out);
	add(tool, &help_row, out);
}

char *completed_name(const struct option *o)
{
	const bool off = option_is_flag(o) && o->fallback && !strcmp(o->fallback, "true");

	return xprintf("%s%s", off ? "no-" : "", o->name);
}

enum completed_word completed_word(const struct option *o)
{
	if (o->kind == OPTION_FLAG)
		return WORD_NONE;
	if (o->argument && !strncmp(o->argument, "[=", 2))
		return WORD_ATTACHED;
	return o->kind == OPTION_SWITCH || option_word_is_optional(o) ? WORD_OPTIONAL : WORD_NEEDED;
}

/* "auto|*.tar|/": a word, an end, folders. */
static void offer(struct offered *w, const char *list)
{
	for (size_t n; list && *list; list += n + (list[n] == '|')) {
		n = strcspn(list, "|");
		if (*list == '/') {
			w->files = OFFER_FOLDERS;
		} else if (*list == '*') {
			w->files = OFFER_FILES;
			buffer_addf(&w->ends, "%s%.*s", w->ends.len ? " " : "", (int)n - 1, list + 1);
		} else {
			buffer_addf(&w->words, "%s%.*s", w->words.len ? " " : "", (int)n, list);
		}
	}
}

static struct offered offered(const char *list, enum option_file file)
{
	struct offered w = { 0 };

	if (file == FILE_LISTED || file == FILE_WRITTEN_IN)
		w.files = OFFER_FOLDERS;
	else if (file != FILE_NONE)
		w.files = OFFER_FILES;
	buffer_adds(&w.words, "");
	buffer_adds(&w.ends, "");
	offer(&w, list);
	return w;
}

struct offered offered_behind(const struct option *o)
{
	return offered(o->completes ? o->completes : o->choices, o->file);
}

struct offered offered_operands(const struct tool *tool)
{
	return offered(tool->completes, tool->operands);
}

struct offered offered_modes(const struct tool *tool)
{
	return offered(tool->modes, FILE_NONE);
}

void offered_free(struct offered *w)
{
	buffer_free(&w->words);
	buffer_free(&w->ends);
}
