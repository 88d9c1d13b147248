/* Files of single steps: names, the runs that wrote them, rotation. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/memory.h"
#include "../base/retry.h"
#include "../io/safetensors.h"
#include "../adapter/metadata.h"
#include "saved.h"

/* ---- names ---- */

char *saved_path(const char *folder, const char *name, long step, const char *suffix)
{
	return xprintf("%s/%s-step%08ld%s", folder, name, step, suffix);
}

static int newest_first(const void *a, const void *b)
{
	return strcmp(*(char *const *)b, *(char *const *)a);
}

static bool is_step_of(const char *file, const char *name, const char *suffix)
{
	size_t n = strlen(name);

	return !strncmp(file, name, n) && !strncmp(file + n, "-step", 5) && strspn(file + n + 5, "0123456789") == 8 &&
	       !strcmp(file + n + 13, suffix);
}

static int add_matching(DIR *d, const char *folder, const char *name, const char *suffix, struct saved_files *files)
{
	struct dirent *entry;

	while (errno = 0, (entry = readdir(d)))
		if (is_step_of(entry->d_name, name, suffix)) {
			GROW(files->path, files->count, files->capacity);
			files->path[files->count++] = path_join(folder, entry->d_name);
		}
	return errno ? -1 : 0;
}

int saved_list(const char *folder, const char *name, const char *suffix, struct saved_files *files, struct error *e)
{
	DIR *d = open_folder(folder);
	int result = d ? add_matching(d, folder, name, suffix, files) : errno == ENOENT ? 0 : -1;

	if (result < 0)
		fail(e, EXIT_IO, "%s: looking what is there: %s; check the folder and its permissions", folder,
		     strerror(errno));
	if (d)
		closedir(d);
	if (files->count)
		qsort(files->path, files->count, sizeof(*files->path), newest_first);
	return result;
}

void saved_files_free(struct saved_files *files)
{
	for (size_t i = 0; i < files->count; i++)
		free(files->path[i]);
	free(files->path);
	*files = (struct saved_files){ 0 };
}

long saved_step(const char *path, const char *suffix)
{
	return strtol(path + strlen(path) - strlen(suffix) - 8, NULL, 10);
}

/* ---- owners ---- */

static const struct { unsigned bit; const char *name; } reasons[] = {
	{ SAVED_BY_STEPS, "steps" }, { SAVED_BY_EPOCHS, "epochs" }, { SAVED_BY_CLOCK, "minutes" },
	{ SAVED_ON_REQUEST, "request" }, { SAVED_AT_STOP, "stop" }, { SAVED_AT_END, "end" },
};
enum { REASONS = sizeof(reasons) / sizeof(*reasons) };

char *saved_text(long step, unsigned by)
{
	struct buffer text = { 0 };

	buffer_addf(&text, "step=%ld", step);
	for (size_t i = 0, said = 0; i < REASONS; i++)
		if (by & reasons[i].bit)
			buffer_addf(&text, "%s%s", said++ ? "," : " by=", reasons[i].name);
	return buffer_steal(&text);
}

static void read_text(const char *text, long *step, unsigned *by)
{
	const char *at = strstr(text, " by=");

	*step = !strncmp(text, "step=", 5) ? strtol(text + 5, NULL, 10) : 0;
	*by = 0;
	for (at = at ? at + 4 : ""; *at; at += strcspn(at, ","), at += *at == ',')
		for (size_t i = 0; i < REASONS; i++)
			if (strcspn(at, ",") == strlen(reasons[i].name) &&
			    !strncmp(at, reasons[i].name, strlen(reasons[i].name)))
				*by |= reasons[i].bit;
}

bool saved_by_run(const char *path, const char *run, long *step, unsigned *by)
{
	struct error ignored;
	struct safetensors *f = safetensors_open(path, &ignored);
	const char *mark = f ? safetensors_metadata(f, RUN_KEY) : NULL,
		*text = f ? safetensors_metadata(f, SAVED_KEY) : NULL;
	const bool own = mark && !strcmp(mark, run);

	if (own)
		read_text(text ? text : "", step, by);
	safetensors_close(f);
	return own;
}

/* ---- steps whose files are damaged ---- */

void step_set_add(struct step_set *s, long step)
{
	GROW(s->step, s->count, s->capacity);
	s->step[s->count++] = step;
}

static bool is_in(const struct step_set *s, long step)
{
	for (size_t i = 0; s && i < s->count; i++)
		if (s->step[i] == step)
			return true;
	return false;
}

void step_set_drop(struct step_set *s, long step)
{
	size_t i, n = 0;

	for (i = 0; i < s->count; i++)
		if (s->step[i] != step)
			s->step[n++] = s->step[i];
	s->count = n;
}

/* ---- rotation ---- */

struct seen { long all, epochs, others; };

/* Called for one file after another, from the newest on: does a reason keep this one? */
static bool is_wanted(const struct rotation *keep, struct seen *seen, unsigned by, long age)
{
	const bool others = !by || (by & ~(SAVED_BY_STEPS | SAVED_BY_EPOCHS));

	seen->all++;
	seen->epochs += (by & SAVED_BY_EPOCHS) != 0;
	seen->others += others;
	if (keep->all && seen->all > keep->all)
		return false;
	return (by & SAVED_BY_STEPS && (!keep->steps || age <= keep->steps)) ||
	       (by & SAVED_BY_EPOCHS && (!keep->epochs || seen->epochs <= keep->epochs)) ||
	       (others && (!keep->others || seen->others <= keep->others));
}

void saved_rotate(const char *folder, const char *name, const char *suffix, const char *run,
		  const struct rotation *keep, long now, const struct step_set *damaged)
{
	struct saved_files files = { 0 };
	struct seen seen = { 0 };
	struct error e;
	size_t i;

	if (saved_list(folder, name, suffix, &files, &e) < 0)
		warning("%s; nothing is removed there", e.text);
	for (i = 0; i < files.count; i++) {
		const char *path = files.path[i];
		const long step = saved_step(path, suffix);
		unsigned by;
		long said;

		if (step <= now && !is_in(damaged, step) && saved_by_run(path, run, &said, &by) &&
		    !is_wanted(keep, &seen, by, now - step) &&
		    unlink(path) && errno != ENOENT)
			warning("%s: cannot be removed: %s; it is no longer kept", path, strerror(errno));
	}
	saved_files_free(&files);
}

long saved_kept(const struct rotation *keep, unsigned (*due)(const void *run, long step), const void *run, long from,
		long to, long *saved)
{
	struct seen seen = { 0 };
	long kept = 0, last = 0;

	for (; to >= from; to--) {
		const unsigned by = due(run, to);
		if (!by)
			continue;
		last = last ? last : to;
		kept += is_wanted(keep, &seen, by, last - to);
	}
	*saved = seen.all;
	return kept;
}
