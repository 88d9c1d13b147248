/* Claims the files that the command line names (io/claims.h), so that none is both read and written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../io/claims.h"
#include "../io/kind.h"
#include "../io/publish.h"
#include "options_private.h"

/* "FILE:0.8" without its weight, unless there is a file of the whole name; malloced. */
static char *without_weight(const char *text)
{
	const char *colon = strrchr(text, ':');

	return colon && access(text, F_OK) < 0 ? xstrndup(text, (size_t)(colon - text)) : xstrdup(text);
}

static int claim(enum option_file file, const char *as, const char *value, struct error *e)
{
	char *path;
	int status;

	if (file == FILE_WRITTEN)
		return claim_output_file(as, value, e);
	if (file == FILE_WRITTEN_IN)
		return claim_output(as, value, e);
	if (file == FILE_READ)
		return claim_input(value, e);
	if (file == FILE_READ_WHOLE)
		return claim_input_whole(value, e);
	if (file != FILE_READ_WEIGHTED)
		return 0;
	path = without_weight(value);
	status = claim_input(path, e);
	free(path);
	return status;
}

/* The i-th text of an option; NULL: there are no more. */
static const char *text_at(const struct option *o, size_t i)
{
	const struct text_list *list = o->value;

	if (o->kind == OPTION_STRING)
		return i ? NULL : *(const char **)o->value;
	return o->kind == OPTION_LIST && i < list->count ? list->item[i] : NULL;
}

static int claim_option(const struct option *o, struct error *e)
{
	char as[KEY_SIZE];
	const char *text;
	int status = 0;

	snprintf(as, sizeof(as), "--%s", o->name);
	for (size_t i = 0; !status && (text = text_at(o, i)); i++)
		status = claim(o->file, as, text, e);
	return status;
}

/* Programs that take files as operands read standard input where none is named. */
static int claim_operands(const struct tool *tool, char **argv, int operands, struct error *e)
{
	int status = operands ? 0 : claim(tool->operands, "", "-", e);

	for (int i = 0; i < operands && !status; i++)
		status = claim(tool->operands, "", argv[i], e);
	return status;
}

/* A shell makes a home folder of ~ only where a word begins with it: --output-dir=~/loras comes as it is, as a file's
 * text does, and would be a folder of that name. */
static int refuse_tilde(const struct option *o, const char *origin, struct error *e)
{
	const bool file = strchr(origin, ':') != NULL;
	const char *text;

	for (size_t i = 0; (text = text_at(o, i)); i++) {
		char *where;

		if (*text != '~' || (text[1] && text[1] != '/'))
			continue;
		where = option_place(o, origin);
		fail(e, EXIT_USAGE, "%s: %s: ~ is the shell's, which did not see it; write %sthe whole path", where,
		     text, file ? "" : "$HOME/... or ");
		free(where);
		return -1;
	}
	return 0;
}

/* A file of another kind was not meant to be replaced.  /dev/stdout leads where the caller opened it to. */
static int refuse_other_kind(const struct option *o, struct error *e)
{
	const char *path = o->kind == OPTION_STRING ? *(const char **)o->value : NULL, *is;
	struct buffer head = { 0 };
	struct stat st;
	int status = 0;

	if (!path || !strncmp(path, "/dev/", 5) || !strncmp(path, "/proc/", 6) || stat(path, &st) < 0 ||
	    !S_ISREG(st.st_mode) || !st.st_size)
		return 0;
	if (read_head(path, KIND_BYTES, &head, e) < 0)
		return -1;
	is = kind_of(head.data, head.len);
	if (!is || strcmp(is, o->writes))
		status = fail(e, EXIT_USAGE, "%s: --%s would write %s over a file that is %s; name another file", path,
			      o->name, o->writes, is ? is : "none");
	buffer_free(&head);
	return status;
}

int options_claim_files(const struct parse *p, char **argv, int operands, struct error *e)
{
	const struct option *table = p->tool->table;
	int status = 0;

	for (size_t i = 0; i < p->count && !status; i++)
		if (p->origin[i] && table[i].file)
			status = refuse_tilde(&table[i], p->origin[i], e);
	if (!status)
		status = claim_operands(p->tool, argv, operands, e);
	for (size_t i = 0; i < p->count && !status; i++)
		if (p->origin[i])               /* by default the place for pictures is ".", whatever is there */
			status = claim_option(&table[i], e);
	for (size_t i = 0; i < p->count && !status; i++)
		if (table[i].writes)
			status = refuse_other_kind(&table[i], e);
	return status ? status : claim_output("", "-", e);
}
