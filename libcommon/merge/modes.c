/* lora-merge: the table of its modes, and what an option or operand of the wrong mode is told. */
#include <stdint.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/names.h"
#include "../config/options.h"
#include "merge.h"

#define MANY SIZE_MAX

static const struct merge_mode modes[] = {
	{ "into", "-m MODEL --lora FILE[:W]... -o OUT",
	  "model model-config lora output report allow-nonfinite block only without", 0, 0, merge_into },
	{ "add", "FILE[:W]... -o OUT", "model model-config output report exact rank save-precision block "
	  "only without method density seed", 1, MANY, merge_add },
	{ "scale", "FILE:W -o OUT", "output report save-precision block only without", 1, 1, merge_add },
	{ "negate", "FILE[:W] -o OUT", "output report save-precision block only without", 1, 1, merge_negate },
	{ "resize", "FILE --rank R|--keep SHARE -o OUT",
	  "output report rank conv-rank keep dynamic-method dynamic-param save-precision only without", 1, 1,
	  merge_resize },
	{ "extract", "--base A --tuned B --rank R -o OUT",
	  "model-config output report rank conv-rank save-precision base tuned bias norm", 0, 0, merge_extract },
	{ "average", "FILE FILE... [--ema DECAY | --sigma-rel S] -o OUT", "output report ema sigma-rel", 2, MANY,
	  merge_average },
	{ "interference", "FILE[:W] FILE[:W]...", "model model-config report block only without", 2, MANY,
	  merge_interference },
	{ "convert", "FILE --to kohya|diffusers|peft|comfy -o OUT",
	  "output report to rank keep-kind model model-config only without", 1, 1, merge_convert },
};
#define MODES (sizeof(modes) / sizeof(*modes))

struct names merge_mode_names(void)
{
	return NAMES_OF(modes, ", ", " and ");
}

struct names merge_mode_choices(void)
{
	return NAMES_OF(modes, "|", "|");
}

/* The blank-separated list has the word. */
static bool among(const char *list, const char *word)
{
	const size_t n = strlen(word);

	for (const char *p = list; (p = strstr(p, word)); p += n)
		if ((p == list || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
			return true;
	return false;
}

static int find_mode(const char *name, const struct merge_mode **mode, struct error *e)
{
	for (*mode = modes; *mode < modes + MODES; ++*mode)
		if (!strcmp((*mode)->name, name))
			return 0;
	return fail(e, EXIT_USAGE, "'%s' is no mode; the modes are %s", name,
		    merge_mode_names().text);
}

/* "add and resize": the modes that take the option. */
static int refuse_option(const struct merge_mode *mode, const char *option, struct error *e)
{
	const char *takers[MODES];
	size_t n = 0;

	for (size_t i = 0; i < MODES; i++)
		if (among(modes[i].takes, option))
			takers[n++] = modes[i].name;
	return fail(e, EXIT_USAGE, "--%s says nothing to lora-merge %s; it is for %s", option, mode->name,
		    n ? names_joined(takers, sizeof(*takers), n, ", ", " and ").text : "no mode");
}

static int check_options(const struct merge_mode *mode, const struct tool *tool, struct error *e)
{
	for (const struct option *o = tool->table; o->name; o++)
		if (option_is_typed(o->name) && !among(mode->takes, o->name))
			return refuse_option(mode, o->name, e);
	return options_refuse_idle(tool, e);
}

/* A mode reads an adapter or two models, and most write. */
static int check_needs(const struct merge_mode *mode, const struct merge_options *o, size_t operands, struct error *e)
{
	if (!mode->most && operands)
		return fail(e, EXIT_USAGE, "%s takes no operands; say lora-merge %s %s", mode->name, mode->name,
			    mode->synopsis);
	if (operands < mode->least || operands > mode->most)
		return fail(e, EXIT_USAGE, "%zu adapters; say lora-merge %s %s", operands, mode->name, mode->synopsis);
	if (!o->out && among(mode->takes, "output"))
		return fail(e, EXIT_USAGE, "nowhere to write; say -o OUT");
	return 0;
}

int merge_run(const char *const *operand, size_t operands, const struct tool *tool, struct merge_options *o,
	      struct error *e)
{
	const struct merge_mode *mode;

	if (!operands)
		return fail(e, EXIT_USAGE, "no mode; say lora-merge %s %s, or another of %s", modes[0].name,
			    modes[0].synopsis, merge_mode_names().text);
	if (find_mode(operand[0], &mode, e) || check_options(mode, tool, e) || check_needs(mode, o, operands - 1, e))
		return -1;
	if (mode->most) {
		o->adapter = operand + 1;
		o->adapters = operands - 1;
	}
	return mode->run(o, e);
}
