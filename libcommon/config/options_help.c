/* --help in 80 columns, and --print-config. */
#include <stdio.h>
#include <string.h>
#include "options_private.h"

enum { WIDTH = 79, INDENT = 27 };

/* Words from column `at` on, continued below INDENT. */
static void add_wrapped(struct buffer *out, const char *text, size_t at)
{
	while (*text) {
		size_t n = strcspn(text, " ");
		if (at > INDENT && at + n + 1 > WIDTH) {
			buffer_addf(out, "\n%*s", INDENT, "");
			at = INDENT;
		} else if (at > INDENT) {
			buffer_adds(out, " ");
			at++;
		}
		buffer_add(out, text, n);
		at += n;
		text += n + strspn(text + n, " ");
	}
	buffer_adds(out, "\n");
}

static void add_row(struct buffer *out, const char *left, const char *right)
{
	size_t n = strlen(left);

	buffer_adds(out, left);
	if (n < INDENT)
		buffer_addf(out, "%*s", (int)(INDENT - n), "");
	else
		buffer_addf(out, "\n%*s", INDENT, "");
	add_wrapped(out, right, INDENT);
}

static void add_details(const struct option *o, struct buffer *right)
{
	bool choices_shown = o->argument && o->choices && !strcmp(o->argument, o->choices);
	char buffer[KEY_SIZE];
	const char *key = option_key(o, buffer);

	if (o->kind == OPTION_CHOICE && !choices_shown) {
		buffer_adds(right, "; ");
		option_expected(o, right);
	} else if (option_has_value(o) && (o->min != 0 || o->max != 0)) {
		buffer_adds(right, "; ");
		option_expected(o, right);
	}
	if (key && o->key)
		buffer_addf(right, " [key %s]", key);
}

static void add_option(const struct option *o, bool all, struct buffer *out)
{
	struct buffer left = { 0 }, right = { 0 };
	bool off = o->kind == OPTION_FLAG && o->fallback && !strcmp(o->fallback, "true");

	if (o->letter)
		buffer_addf(&left, "  -%c, --%s%s", o->letter, off ? "no-" : "", o->name);
	else
		buffer_addf(&left, "      --%s%s", off ? "no-" : "", o->name);
	if (o->argument)
		buffer_addf(&left, "%s%s", o->argument[0] == '[' ? "" : " ", o->argument);
	buffer_adds(&left, " ");
	buffer_adds(&right, o->help ? o->help : "");
	if (o->fallback && *o->fallback && o->kind != OPTION_FLAG)
		buffer_addf(&right, " (%s)", o->fallback);
	if (o->kind == OPTION_LATER)
		buffer_adds(&right, " (not yet implemented)");
	if (all)
		add_details(o, &right);
	add_row(out, left.data, right.data);
	buffer_free(&left);
	buffer_free(&right);
}

static void add_common(const struct tool *tool, bool all, struct buffer *out)
{
	if (all)
		buffer_adds(out, "\nEvery tool\n");
	if (tool->takes_config)
		add_row(out, "      --config FILE", "read options from a TOML file; may be given several times");
	if (tool->takes_config && all)
		add_row(out, "      --print-config", "show every option as TOML with its origin, and stop");
	if (all) {
		add_row(out, "  -q, --quiet", "warnings and errors only");
		add_row(out, "      --version", "name and version");
	}
	add_row(out, "      --help[=all]", all ? "the common options, or all of them" : "this text, or every option and exit code");
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

void options_help(const struct tool *tool, bool all, struct buffer *out)
{
	buffer_addf(out, "Usage: %s %s\n%s\n\n", tool->name, tool->synopsis, tool->purpose);
	for (const struct option *o = tool->table; o->name || o->help; o++) {
		if (o->kind == OPTION_SECTION && all)
			buffer_addf(out, "\n%s\n", o->help);
		if (o->kind != OPTION_SECTION && (all || (!o->advanced && o->kind != OPTION_LATER)))
			add_option(o, all, out);
	}
	add_common(tool, all, out);
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
