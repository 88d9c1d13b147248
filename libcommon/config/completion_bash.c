/* The completion of bash: a function for `complete`, which needs nothing of the bash-completion package. */
#include <stdlib.h>
#include "completion.h"

/* Bash takes = for a word of its own.  In a name _ is as good as -. */
static const char head[] =
	"	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words='' ends=''\n"
	"	local files='' free='' end\n"
	"	COMPREPLY=()\n"
	"	if [[ $cur == = ]]; then\n"
	"		cur='' prev=$prev=\n"
	"	elif [[ $prev == = ]]; then\n"
	"		prev=${COMP_WORDS[COMP_CWORD-2]}=\n"
	"	fi\n"
	"	[[ $prev != --* ]] || prev=${prev//_/-}\n"
	"	case $prev in\n";

static const char tail[] =
	"	if [[ $free && $cur == -* ]]; then\n"
	"		words=$options files='' cur=${cur//_/-}\n"
	"	fi\n"
	"	[[ -z $words ]] || mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
	"	[[ $files ]] || return 0\n"
	"	compopt -o filenames 2> /dev/null\n"
	"	mapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < <(\n"
	"		if [[ $files = all && ! $ends ]]; then compgen -f -- \"$cur\"\n"
	"		else compgen -d -- \"$cur\"; fi\n"
	"		for end in $ends; do compgen -f -X \"!*$end\" -- \"$cur\"; done)\n"
	"}\n";

static void add_offered(const struct offered *w, struct buffer *out)
{
	if (w->words.len)
		buffer_addf(out, " words='%s'", w->words.data);
	if (w->files != OFFER_NO_FILES)
		buffer_addf(out, " files=%s", w->files == OFFER_FOLDERS ? "folders" : "all");
	if (w->ends.len)
		buffer_addf(out, " ends='%s'", w->ends.data);
}

static void add_name(const struct tool *tool, const struct option *o, struct buffer *out)
{
	char *name = completed_name(o);

	buffer_adds(out, out->data[out->len - 1] == '\'' ? "" : " ");
	if (o->letter)
		buffer_addf(out, "-%c ", o->letter);
	buffer_addf(out, "--%s", name);
	free(name);
}

static void add_case(const struct tool *tool, const struct option *o, struct buffer *out)
{
	const enum completed_word word = completed_word(o);
	struct offered w = offered_behind(o);

	if (word != WORD_NONE) {
		buffer_adds(out, "\t");
		if (o->letter)
			buffer_addf(out, "-%c | ", o->letter);
		if (word != WORD_ATTACHED)
			buffer_addf(out, "--%s | ", o->name);
		buffer_addf(out, "--%s=)", o->name);
		add_offered(&w, out);
		buffer_addf(out, "%s ;;\n", word == WORD_OPTIONAL ? " free=yes" : "");
	}
	offered_free(&w);
}

static void add_operands(const struct tool *tool, struct buffer *out)
{
	struct offered w = offered_operands(tool);

	buffer_adds(out, "\t*)");
	add_offered(&w, out);
	buffer_adds(out, " free=yes ;;\n\tesac\n");
	offered_free(&w);
}

/* Where no word before is a mode, one is wanted. */
static void add_modes(const struct tool *tool, struct buffer *out)
{
	struct offered w = offered_modes(tool);

	if (tool->modes)
		buffer_addf(out,
			    "	local word modes='%s' mode=''\n"
			    "	for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
			    "		[[ \" $modes \" != *\" $word \"* ]] || mode=$word\n"
			    "	done\n"
			    "	[[ -z $free || $mode ]] || { words=$modes; files=''; }\n", w.words.data);
	offered_free(&w);
}

void completion_bash(const struct tool *tool, struct buffer *out)
{
	char *function = xstrdup(tool->name);

	for (char *c = function; *c; c++)
		*c = *c == '-' ? '_' : *c;
	buffer_addf(out, "# Completion of %s for bash, as %s --help=completion-bash prints it.\n_%s()\n{\n", tool->name,
		    tool->name, function);
	buffer_adds(out, "	local options='");
	completed_each(tool, add_name, out);
	buffer_addf(out, "'\n%s", head);
	completed_each(tool, add_case, out);
	add_operands(tool, out);
	add_modes(tool, out);
	buffer_addf(out, "%scomplete -F _%s %s\n", tail, function, tool->name);
	free(function);
}
