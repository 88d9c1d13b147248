/* Unknown keys and options: the nearest known name, and one message that names them all. */
#include <stdlib.h>
#include <string.h>
#include "../base/map.h"
#include "known_keys.h"
#include "options_private.h"
#include "other_names.h"

enum { SENTENCE = 800 };        /* bytes; struct error has room for the rest of it */

void unknown_add(struct unknown_names *u, const char *name, const char *place, int line, const char *program,
		 char *advice)
{
	GROW(u->item, u->count, u->capacity);
	u->item[u->count++] = (struct unknown_name){ xstrdup(name), place, line, program, advice };
}

/* Only names that work are offered: leading a typing mistake to a key that is ignored helps nobody. */
static char *nearest_key(const struct tool *tool, const char *wrong)
{
	size_t known, own = 0, count = 0;
	const struct known_key *k = known_keys(&known);
	const char **names, *near;
	char (*buffer)[KEY_SIZE], *result;

	while (tool->table[own].name || tool->table[own].help)
		own++;
	names = xmalloc((known + own) * sizeof(*names));
	buffer = xmalloc(own * sizeof(*buffer) + 1);
	for (size_t i = 0; i < known; i++)
		if (k[i].class == KEY_OURS)
			names[count++] = k[i].name;
	for (size_t i = 0; i < own; i++) {
		const char *key = option_key(&tool->table[i], buffer[i]);
		if (key && option_has_value(&tool->table[i]))
			names[count++] = key;
	}
	near = nearest_name(wrong, names, count);
	result = near ? xstrdup(near) : NULL;
	free(buffer);
	free(names);
	return result;
}

char *meant_key(const struct tool *tool, const char *wrong)
{
	const struct other_name *o = other_name(wrong);

	return o && o->ours ? xstrdup(o->ours) : o ? NULL : nearest_key(tool, wrong);
}

void unknown_key(struct unknown_names *u, const struct tool *tool, const char *key, int line)
{
	const struct other_name *o = other_name(key);
	char *meant = meant_key(tool, key), *advice = NULL;

	if (o && o->say)
		advice = xstrdup(o->say);
	else if (meant)
		advice = xprintf("did you mean '%s'?", meant);
	unknown_add(u, key, NULL, line, o ? o->program : NULL, advice);
	free(meant);
}

/* "'steps' (line 4; did you mean 'max_train_steps'?)": what stands in brackets where there are several. */
static void add_item(struct buffer *b, const struct unknown_name *n, bool alone, bool first)
{
	buffer_addf(b, "'%s'", n->name);
	if (n->program)
		buffer_addf(b, " of %s", n->program);
	if (n->place)
		buffer_addf(b, " in %s", n->place);
	if (alone || (!n->advice && (first || !n->line)))
		return;
	buffer_adds(b, " (");
	if (n->line && !first)
		buffer_addf(b, "line %d%s", n->line, n->advice ? "; " : "");
	buffer_addf(b, "%s)", n->advice ? n->advice : "");
}

int unknown_fail(struct unknown_names *u, const char *path, const char *kind, const char *otherwise, struct error *e)
{
	struct buffer b = { 0 };
	bool alone = u->count == 1;

	if (path)
		buffer_addf(&b, "%s:%d: ", path, u->item[0].line);
	buffer_addf(&b, "unknown %s%s ", kind, alone ? "" : "s");
	for (size_t i = 0; i < u->count; i++) {
		buffer_adds(&b, i ? ", " : "");
		if (b.len > SENTENCE) {
			buffer_addf(&b, "and %zu more", u->count - i);
			break;
		}
		add_item(&b, &u->item[i], alone, !i);
	}
	if (alone && u->item[0].advice)
		fail(e, EXIT_USAGE, "%s; %s%s", b.data, u->item[0].advice, path ? "" : " (try --help)");
	else
		fail(e, EXIT_USAGE, "%s; %s", b.data, otherwise);
	buffer_free(&b);
	unknown_free(u);
	return -1;
}

void unknown_free(struct unknown_names *u)
{
	for (size_t i = 0; i < u->count; i++) {
		free(u->item[i].name);
		free(u->item[i].advice);
	}
	free(u->item);
	*u = (struct unknown_names){ 0 };
}
