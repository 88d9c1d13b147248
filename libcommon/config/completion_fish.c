/* The completion of fish: a line for each option. */
#include <stdlib.h>
#include <string.h>
#include "completion.h"

static void add_quoted(struct buffer *out, const char *text)
{
	buffer_adds(out, "'");
	for (; *text; text++)
		buffer_addf(out, "%s%c", strchr("'\\", *text) ? "\\" : "", *text);
	buffer_adds(out, "'");
}

/* -a 'auto (__fish_complete_suffix .toml)': nothing where any file fits, which -F says. */
static void add_values(const struct offered *w, struct buffer *out)
{
	const bool folders = w->files == OFFER_FOLDERS, ends = w->ends.len > 0;
	struct buffer values = { 0 };

	buffer_adds(&values, w->words.data);
	if (folders)
		buffer_adds(&values, " (__fish_complete_directories)");
	if (ends)
		buffer_addf(&values, " (__fish_complete_suffix %s)", w->ends.data);
	if (values.len) {
		buffer_adds(out, " -a ");
		add_quoted(out, values.data + strspn(values.data, " "));
	}
	buffer_free(&values);
}

static void add_option(const struct tool *tool, const struct option *o, struct buffer *out)
{
	static const char *const kinds[] = { [WORD_NONE] = "", [WORD_ATTACHED] = " -f", [WORD_OPTIONAL] = " -f",
					     [WORD_NEEDED] = " -r -f" };
	const enum completed_word word = completed_word(o);
	struct offered w = offered_behind(o);
	char *name = completed_name(o);

	buffer_addf(out, "complete -c %s -l %s", tool->name, name);
	if (o->letter)
		buffer_addf(out, " -s %c", o->letter);
	if (o->help && *o->help) {
		buffer_adds(out, " -d ");
		add_quoted(out, o->help);
	}
	buffer_adds(out, w.files == OFFER_FILES && !w.ends.len ? " -r -F" : kinds[word]);
	if (word != WORD_NONE)
		add_values(&w, out);
	buffer_adds(out, "\n");
	free(name);
	offered_free(&w);
}

static void add_operands(const struct tool *tool, const char *when, struct buffer *out)
{
	struct offered w = offered_operands(tool);

	buffer_addf(out, "complete -c %s%s", tool->name, when);
	buffer_adds(out, w.files == OFFER_FILES && !w.ends.len ? " -F" : " -f");
	add_values(&w, out);
	buffer_adds(out, "\n");
	offered_free(&w);
}

void completion_fish(const struct tool *tool, struct buffer *out)
{
	struct offered modes = offered_modes(tool);
	char *when = xprintf(" -n '__fish_seen_subcommand_from %s'", modes.words.data);

	buffer_addf(out, "# Completion of %s for fish, as %s --help=completion-fish prints it.\n", tool->name,
		    tool->name);
	completed_each(tool, add_option, out);
	if (tool->modes)
		buffer_addf(out, "complete -c %s -f -n 'not __fish_seen_subcommand_from %s' -a '%s'\n", tool->name,
			    modes.words.data, modes.words.data);
	add_operands(tool, tool->modes ? when : "", out);
	free(when);
	offered_free(&modes);
}
