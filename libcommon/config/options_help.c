/* --help in 80 columns, and --print-config. */
#include <stdio.h>
#include <string.h>
#include "options_private.h"

enum { WIDTH = 79, NARROWEST = 20, WIDEST = 38, SCREEN = 24 };

static void indent(struct buffer *out, size_t n)
{
	buffer_addf(out, "%*s", (int)n, "");
}

/* Words in the column from left to WIDTH. */
static void add_wrapped(struct buffer *out, const char *text, size_t left)
{
	size_t at = left;

	while (*text) {
		size_t n = strcspn(text, " ");
		if (at > left && at + n + 1 > WIDTH) {
			buffer_adds(out, "\n");
			indent(out, left);
			at = left;
		} else if (at > left) {
			buffer_adds(out, " ");
			at++;
		}
		buffer_add(out, text, n);
		at += n;
		text += n + strspn(text + n, " ");
	}
	buffer_adds(out, "\n");
}

/* As many whole words as fit into the line beside the tail, which matters more. */
static void add_cut(struct buffer *out, const char *text, const char *tail, size_t left)
{
	size_t taken = left + strlen(tail), room = taken + 3 < WIDTH ? WIDTH - taken : 3, n = strlen(text);

	if (n <= room) {
		buffer_addf(out, "%s%s\n", text, tail);
		return;
	}
	for (n = room - 3; n && text[n] != ' '; n--)
		;
	while (n && strchr(" ,;:(", text[n - 1]))
		n--;
	buffer_addf(out, "%.*s%s%s\n", (int)n, text, n ? "..." : "", tail);
}

static void add_left(struct buffer *out, const char *left, size_t width)
{
	size_t n = strlen(left);

	buffer_adds(out, left);
	if (n + 2 > width) {
		buffer_adds(out, "\n");
		n = 0;
	}
	indent(out, width - n);
}

static void option_left(const struct option *o, struct buffer *left)
{
	bool off = option_is_flag(o) && o->fallback && !strcmp(o->fallback, "true");

	if (o->letter)
		buffer_addf(left, "  -%c, --%s%s", o->letter, off ? "no-" : "", o->name);
	else
		buffer_addf(left, "      --%s%s", off ? "no-" : "", o->name);
	if (o->argument)
		buffer_addf(left, " %s", o->argument);
}

static bool is_shown(const struct option *o, bool all)
{
	return o->kind != OPTION_SECTION && (all || !o->advanced);
}

static size_t left_width(const struct tool *tool, bool all)
{
	size_t width = NARROWEST;

	for (const struct option *o = tool->table; o->name || o->help; o++) {
		struct buffer left = { 0 };
		if (is_shown(o, all)) {
			option_left(o, &left);
			if (left.len + 2 > width && left.len + 2 <= WIDEST)
				width = left.len + 2;
		}
		buffer_free(&left);
	}
	return width;
}

static void add_details(const struct option *o, struct buffer *right)
{
	bool choices_shown = o->argument && o->choices && !strcmp(o->argument, o->choices);
	bool limits = option_has_value(o) && (o->min != 0 || o->max != 0 || (o->kind == OPTION_INT && o->choices));
	char buffer[KEY_SIZE];
	const char *key = option_key(o, buffer);

	if (limits || (o->kind == OPTION_CHOICE && !choices_shown)) {
		buffer_adds(right, "; ");
		option_expected(o, right);
	}
	if (key && o->key)
		buffer_addf(right, " [key %s]", key);
}

static void add_full(const struct option *o, const char *left, const char *help, struct buffer *tail, size_t width,
		     struct buffer *out)
{
	struct buffer right = { 0 };

	add_details(o, tail);
	buffer_addf(&right, "%s%s", help, tail->data);
	add_left(out, left, width);
	add_wrapped(out, right.data, width);
	buffer_free(&right);
}

static void add_option(const struct option *o, bool all, size_t width, struct buffer *out)
{
	struct buffer left = { 0 }, tail = { 0 };
	const char *help = o->help ? o->help : "";

	option_left(o, &left);
	buffer_adds(&tail, "");
	if (o->fallback && *o->fallback && !option_is_flag(o))
		buffer_addf(&tail, "%s(%s)", *help ? " " : "", o->fallback);
	if (all) {
		add_full(o, left.data, help, &tail, width, out);
	} else {
		size_t at = left.len + 2 > width ? left.len + 2 : width;
		buffer_addf(out, "%-*s", (int)at, left.data);
		add_cut(out, help, tail.data, at);
	}
	buffer_free(&left);
	buffer_free(&tail);
}

const struct option options_common[] = {
	{ "config", 0, OPTION_STRING, NULL, "FILE", "read options from a TOML file", .key = "", .file = FILE_READ,
	  .completes = "*.toml" },
	{ "print-config", 0, OPTION_FLAG, NULL, NULL, "show every option as TOML with its origin, and stop", .key = "",
	  .advanced = true },
	{ "threads", 0, OPTION_INT, NULL, "N", "instead of OMP_NUM_THREADS, or all cores; from 1 to 1024", .key = "",
	  .advanced = true },
	{ "quiet", 'q', OPTION_FLAG, NULL, NULL, "warnings and errors only", .key = "", .advanced = true },
	{ "version", 0, OPTION_FLAG, NULL, NULL, "name and version", .key = "", .advanced = true },
	{ 0 },
};

static void add_common(const struct tool *tool, bool all, size_t width, struct buffer *out)
{
	if (all)
		buffer_adds(out, "\nEvery tool\n");
	for (const struct option *o = options_common + (tool->takes_config ? 0 : COMMON_OF_CONFIG); o->name; o++)
		if (is_shown(o, all))
			add_option(o, all, width, out);
	add_left(out, "      --help[=all]", width);
	add_wrapped(out, all ? "the common options, or all of them; =completion-bash, -zsh or -fish: what that shell "
			       "completes" : "this; or every option and exit code", width);
}

static int count_lines(const struct buffer *text)
{
	int lines = 0;

	for (size_t i = 0; i < text->len; i++)
		lines += text->data[i] == '\n';
	return lines;
}

/* --help must fit a terminal's screen, with a line for the prompt after it: what the table has too much is left to
 * --help=all. */
static void add_screen(const struct tool *tool, size_t width, struct buffer *out)
{
	int room = SCREEN - 1 - count_lines(out) - tool->takes_config - 1, wanted = 0, shown = 0;

	for (const struct option *o = tool->table; o->name || o->help; o++)
		wanted += is_shown(o, false);
	if (wanted > room)
		room--;
	for (const struct option *o = tool->table; (o->name || o->help) && shown < room; o++) {
		if (!is_shown(o, false))
			continue;
		add_option(o, false, width, out);
		shown++;
	}
	if (shown < wanted)
		buffer_addf(out, "      (%d more with --help=all)\n", wanted - shown);
}

static void add_all(const struct tool *tool, size_t width, struct buffer *out)
{
	for (const struct option *o = tool->table; o->name || o->help; o++) {
		if (o->kind == OPTION_SECTION)
			buffer_addf(out, "\n%s\n", o->help);
		else
			add_option(o, true, width, out);
	}
}

static void add_exits(const struct tool *tool, struct buffer *out)
{
	if (tool->takes_config)
		buffer_adds(out, "\nAn option on the command line wins over the environment (LORA_ and the key in\n"
				 "capitals), that over later --config files, these over earlier ones.\n");
	buffer_adds(out, "\nExit codes\n"
			 "  0 done  1 other  2 command line or configuration  3 bad or truncated input\n"
			 "  4 disk or permission  5 memory or device  6 diverged  75 stopped but saved\n");
	if (tool->exits)
		buffer_addf(out, "%s\n", tool->exits);
}

static void add_head(const struct tool *tool, struct buffer *out)
{
	size_t left = strlen("Usage:  ") + strlen(tool->name);

	buffer_addf(out, "Usage: %s ", tool->name);
	add_wrapped(out, tool->synopsis, left);
	add_wrapped(out, tool->purpose, 0);
}

void options_help(const struct tool *tool, bool all, struct buffer *out)
{
	size_t width = left_width(tool, all);

	add_head(tool, out);
	if (!all || tool->table->kind != OPTION_SECTION)
		buffer_adds(out, "\n");
	if (all)
		add_all(tool, width, out);
	else
		add_screen(tool, width, out);
	add_common(tool, all, width, out);
	if (all)
		add_exits(tool, out);
}

static void add_origin(const struct option *o, struct buffer *out)
{
	const char *origin = option_origin(o->name);

	buffer_adds(out, "  # ");
	for (; *origin; origin++) {             /* a line end in a file's name must not end the comment */
		bool control = (unsigned char)*origin < 0x20 || *origin == 0x7f;
		buffer_add(out, control ? "?" : origin, 1);
	}
}

void options_print(const struct tool *tool, struct buffer *out, bool origins)
{
	char buffer[KEY_SIZE];

	for (const struct option *o = tool->table; o->name || o->help; o++) {
		const char *key = option_key(o, buffer);
		if (!key || !option_has_value(o))
			continue;
		buffer_addf(out, "%s = ", key);
		option_print_value(o, out);
		if (origins)
			add_origin(o, out);
		buffer_adds(out, "\n");
	}
}
