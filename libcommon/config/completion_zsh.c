/* The completion of zsh: an autoloaded function around _arguments. */
#include <stdlib.h>
#include <string.h>
#include "completion.h"

/* As part of a word in '...'; of a specification [ ] and : have a meaning. */
static void add_text(struct buffer *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			buffer_adds(out, "'\\''");
		else
			buffer_addf(out, "%s%c", strchr("[]:\\", *text) ? "\\" : "", *text);
	}
}

/* _files -g "(*.toml|*.json)".  Brackets at the end of a pattern that hold no | are taken for a qualifier: with (*.tar)
 * nothing is offered. */
static void add_files(const struct offered *w, struct buffer *out)
{
	buffer_adds(out, w->files == OFFER_FOLDERS ? "_files -/" : "_files");
	if (!w->ends.len)
		return;
	buffer_adds(out, strchr(w->ends.data, ' ') ? " -g \"(*" : " -g \"*");
	for (const char *c = w->ends.data; *c; c++)
		if (*c == ' ')
			buffer_adds(out, "|*");
		else
			buffer_add(out, c, 1);
	buffer_adds(out, strchr(w->ends.data, ' ') ? ")\"" : "\"");
}

static void add_action(const struct offered *w, struct buffer *out)
{
	if (w->words.len && w->files != OFFER_NO_FILES) {
		buffer_addf(out, "{compadd -- %s; ", w->words.data);
		add_files(w, out);
		buffer_adds(out, "}");
	} else if (w->words.len) {
		buffer_addf(out, "(%s)", w->words.data);
	} else if (w->files != OFFER_NO_FILES) {
		add_files(w, out);
	} else {
		buffer_adds(out, " ");
	}
}

static void add_behind(const struct option *o, struct buffer *out)
{
	struct offered w = offered_behind(o);

	buffer_adds(out, completed_word(o) == WORD_NEEDED ? ":" : "::");
	add_text(out, o->argument ? o->argument : o->name);
	buffer_adds(out, ":");
	add_action(&w, out);
	offered_free(&w);
}

/* One spelling of an option; both exclude each other, unless it may come again. */
static void add_spelling(const struct option *o, const char *spelling, const char *glue, struct buffer *out)
{
	char *name = completed_name(o);

	buffer_adds(out, "\t'");
	if (o->kind == OPTION_LIST)
		buffer_adds(out, "*");
	else if (o->letter)
		buffer_addf(out, "(-%c --%s)", o->letter, name);
	buffer_addf(out, "%s%s[", spelling, glue);
	add_text(out, o->help && *o->help ? o->help : o->name);
	buffer_adds(out, "]");
	if (completed_word(o) != WORD_NONE)
		add_behind(o, out);
	buffer_adds(out, "' \\\n");
	free(name);
}

static void add_option(const struct tool *tool, const struct option *o, struct buffer *out)
{
	static const char *const glue[] = { [WORD_NONE] = "", [WORD_ATTACHED] = "=-", [WORD_OPTIONAL] = "=",
					    [WORD_NEEDED] = "=" };
	const enum completed_word word = completed_word(o);
	const char letter[] = { '-', o->letter, 0 };
	char *name = completed_name(o), *spelling = xprintf("--%s", name);

	if (o->letter)
		add_spelling(o, letter, word == WORD_NONE ? "" : "+", out);
	add_spelling(o, spelling, glue[word], out);
	free(spelling);
	free(name);
}

void completion_zsh(const struct tool *tool, struct buffer *out)
{
	struct offered modes = offered_modes(tool), operands = offered_operands(tool);

	buffer_addf(out, "#compdef %s\n# Completion of %s for zsh, as %s --help=completion-zsh prints it.\n"
			 "_arguments -s -S : \\\n", tool->name, tool->name, tool->name);
	completed_each(tool, add_option, out);
	if (tool->modes)
		buffer_addf(out, "\t'1:mode:(%s)' \\\n", modes.words.data);
	buffer_adds(out, "\t'*:file:");
	add_action(&operands, out);
	buffer_adds(out, "'\n");
	offered_free(&modes);
	offered_free(&operands);
}
