/* Claims the files that the command line names (io/claims.h), so that none is both read and written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../io/claims.h"
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

static int claim_option(const struct option *o, struct error *e)
{
	const struct text_list *list = o->value;
	char as[KEY_SIZE];
	int status = 0;

	snprintf(as, sizeof(as), "--%s", o->name);
	if (o->kind == OPTION_STRING && *(const char **)o->value)
		status = claim(o->file, as, *(const char **)o->value, e);
	for (size_t i = 0; o->kind == OPTION_LIST && i < list->count && !status; i++)
		status = claim(o->file, as, list->item[i], e);
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

int options_claim_files(const struct parse *p, char **argv, int operands, struct error *e)
{
	int status = claim_operands(p->tool, argv, operands, e);

	for (size_t i = 0; i < p->count && !status; i++)
		if (p->origin[i])               /* by default the place for pictures is ".", whatever is there */
			status = claim_option(&p->tool->table[i], e);
	return status ? status : claim_output("", "-", e);
}
