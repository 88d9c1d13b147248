/* Warnings about the layout of a data set's folders. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "../base/memory.h"
#include "folder_traps.h"

/* Pictures of one folder stand together. */
struct group { const char *path; size_t length; const char *tokens; long long samples; };

static size_t folder_length(const char *path)
{
	return (size_t)(strrchr(path, '/') - path);
}

static size_t group_pictures(const struct pictures *list, struct group **groups)
{
	size_t count = 0, capacity = 0;

	*groups = NULL;
	for (size_t i = 0; i < list->count && !list->picture[i].regularization; i++) {
		const struct picture *p = &list->picture[i];
		const size_t n = folder_length(p->path);

		if (!count || (*groups)[count - 1].length != n || strncmp((*groups)[count - 1].path, p->path, n)) {
			GROW(*groups, count, capacity);
			(*groups)[count++] = (struct group){ p->path, n, p->class_tokens, 0 };
		}
		(*groups)[count - 1].samples += p->repeats;
	}
	return count;
}

/* "person" of "mysubject_person" or "mysubject person". */
static bool is_class_of(const char *class, const char *subject)
{
	const size_t n = strlen(class), all = strlen(subject);

	return n && all > n + 1 && strchr(" _-", subject[all - n - 1]) && !strcasecmp(subject + all - n, class);
}

static bool is_regularization_name(const char *tokens)
{
	static const char *const names[] = { "reg", "regs", "regularization", "regularisation", "class" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcasecmp(tokens, names[i]))
			return true;
	return false;
}

static bool outweighs_its_subject(const struct group *class, const struct group *groups, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct group *g = &groups[i];

		if (g != class && g->tokens && class->samples > g->samples &&
		    (is_class_of(class->tokens, g->tokens) || is_regularization_name(class->tokens)))
			return true;
	}
	return false;
}

void pictures_warn_of_class_folders(const struct pictures *list)
{
	struct group *groups;
	const size_t count = group_pictures(list, &groups);
	long long all = 0;

	for (size_t i = 0; i < count; i++)
		all += groups[i].samples;
	for (size_t i = 0; i < count; i++) {
		const struct group *g = &groups[i];

		if (g->tokens && outweighs_its_subject(g, groups, count))
			warning("%.*s gives %lld of %lld samples, and is learnt as the subject is; "
				"if its pictures are for regularisation, put it into another folder, as 1_%s, "
				"and name that one with reg_data_dir", (int)g->length, g->path,
				g->samples, all, g->tokens);
	}
	free(groups);
}

char *regularization_folder_name(const struct pictures *list, size_t first, long long wanted)
{
	const long long pictures = (long long)(list->count - first), repeats = pictures ? wanted / pictures : 0;
	const struct picture *p = &list->picture[first];

	return p->class_tokens && repeats >= 1 && repeats < p->repeats ?
		xprintf("%lld_%s", repeats, p->class_tokens) : NULL;
}
