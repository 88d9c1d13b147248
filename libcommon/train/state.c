#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/memory.h"
#include "../io/safetensors.h"
#include "state.h"

/* ---- what is written and read: the same list, in parameter order ---- */

struct item { char *name; void *device; enum dtype dtype; size_t count; };

static size_t list_items(const struct optimizer *o, const struct state_more *more, struct item **items)
{
	size_t i, n = 0;
	int k;

	*items = xcalloc(o->count * (2 + OPTIMIZER_SLOTS), sizeof(**items));
	for (i = 0; i < o->count; i++) {
		const struct parameter *p = &o->parameter[i];
		(*items)[n++] = (struct item){ xprintf("param.%s", p->name), p->tensor->data, DTYPE_F32, p->count };
		for (k = 0; k < OPTIMIZER_SLOTS; k++)
			if (p->slot[k].count)
				(*items)[n++] = (struct item){ xprintf("slot%d.%s", k, p->name), p->slot[k].data, p->slot[k].dtype,
							       p->slot[k].count };
		if (more->ema)
			(*items)[n++] = (struct item){ xprintf("ema.%s", p->name), more->ema[i], DTYPE_F32, p->count };
	}
	return n;
}

static void free_items(struct item *items, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		free(items[i].name);
	free(items);
}

/* ---- saving ---- */

static int64_t *steps_of(const struct optimizer *o)
{
	int64_t *steps = xcalloc(o->count, sizeof(*steps));
	size_t i;

	for (i = 0; i < o->count; i++)
		steps[i] = o->parameter[i].steps;
	return steps;
}

static int check_finite(const char *path, const struct item *item, const float *x, struct error *e)
{
	size_t i;

	for (i = 0; i < item->count && item->dtype == DTYPE_F32; i++)
		if (!isfinite(x[i]))
			return fail(e, EXIT_DIVERGED, "%s: not written: '%s' holds a NaN or an infinity; lower the learning rate", path, item->name);
	return 0;
}

int state_save(const char *path, const struct optimizer *o, const struct state_more *more, long step, const char *identity, const char *config,
	       struct error *e)
{
	struct item *items;
	size_t i, n = list_items(o, more, &items);
	struct safetensors_out *out = xcalloc(n + 3, sizeof(*out));
	int64_t *steps = steps_of(o);
	const int scalars = optimizer_scalars(o);
	char *number = xprintf("%ld", step);
	const struct metadata metadata[] = { { "format", STATE_FORMAT }, { "step", number }, { "identity", identity }, { "config", config } };
	int result = 0;

	for (i = 0; i < n && !result; i++) {
		const size_t bytes = items[i].count * dtype_size(items[i].dtype);
		void *host = xmalloc(bytes);
		o->be->download(o->device, host, items[i].device, bytes);
		out[i] = (struct safetensors_out){ items[i].name, items[i].dtype, 1, { items[i].count }, host, false };
		result = check_finite(path, &items[i], host, e);
	}
	out[n] = (struct safetensors_out){ "steps", DTYPE_I64, 1, { o->count }, steps, false };
	out[n + 1] = (struct safetensors_out){ "curves", DTYPE_F64, 1, { more->n_curves }, more->curves, false };
	out[n + 2] = (struct safetensors_out){ "scalars", DTYPE_F64, 1, { scalars }, o->scalar, false };
	if (!result)
		result = safetensors_save_sealed(path, out, n + 2 + (scalars > 0), metadata, sizeof(metadata) / sizeof(*metadata), e);
	for (i = 0; i <= n; i++)                /* curves and scalars are their owners' */
		free((void *)out[i].data);
	free(out);
	free(number);
	free_items(items, n);
	return result;
}

/* ---- loading ---- */

static bool is_list(const struct safetensors *f, const char *name, enum dtype dtype, size_t count)
{
	const struct safetensor *t = safetensors_find(f, name);

	return t && t->dtype == dtype && safetensor_elements(t) == count;
}

static int check_layout(const struct safetensors *f, const struct item *items, size_t n, const struct optimizer *o, size_t curves,
			struct error *e)
{
	const size_t scalars = optimizer_scalars(o);
	size_t i;

	if (f->count != n + 2 + (scalars > 0) || !is_list(f, "steps", DTYPE_I64, o->count) || !is_list(f, "curves", DTYPE_F64, curves) ||
	    (scalars && !is_list(f, "scalars", DTYPE_F64, scalars)))
		return fail(e, EXIT_INPUT, "%s: the state of another network; resume from another", f->path);
	for (i = 0; i < n; i++)
		if (!is_list(f, items[i].name, items[i].dtype, items[i].count))
			return fail(e, EXIT_INPUT, "%s: tensor '%s' is missing or has another size", f->path, items[i].name);
	return 0;
}

/* "a=1 b=2" against "a=1 b=3": names the first word that differs */
static int same_identity(const struct safetensors *f, const char *is, struct error *e)
{
	const char *was = safetensors_metadata(f, "identity");
	size_t i, word = 0;

	if (!strcmp(was, is))
		return 0;
	for (i = 0; was[i] && was[i] == is[i]; i++)
		if (was[i] == ' ')
			word = i + 1;
	if ((!was[i] && is[i] == ' ') || (!is[i] && was[i] == ' ')) {           /* one ends where the other has more words */
		was = was[i] ? was + i + 1 : "nothing";
		is = is[i] ? is + i + 1 : "nothing";
		word = 0;
	}
	return fail(e, EXIT_USAGE, "%s: that run had %.*s, this one has %.*s; use the same settings, model and data, or start anew without --resume",
		    f->path, (int)strcspn(was + word, " "), was + word, (int)strcspn(is + word, " "), is + word);
}

static void put_back(const struct safetensors *f, const struct item *items, size_t n, struct optimizer *o, const struct state_more *more)
{
	const unsigned char *steps = safetensors_bytes(f, safetensors_find(f, "steps"));
	size_t i;

	for (i = 0; i < n; i++) {
		const struct safetensor *t = safetensors_find(f, items[i].name);
		void *host = xmalloc(t->bytes);
		memcpy(host, safetensors_bytes(f, t), t->bytes);
		o->be->upload(o->device, items[i].device, host, t->bytes);
		free(host);
	}
	for (i = 0; i < o->count; i++) {
		int64_t k;
		memcpy(&k, steps + i * sizeof(k), sizeof(k));
		o->parameter[i].steps = k;
	}
	if (optimizer_scalars(o))
		memcpy(o->scalar, safetensors_bytes(f, safetensors_find(f, "scalars")), optimizer_scalars(o) * sizeof(*o->scalar));
	memcpy(more->curves, safetensors_bytes(f, safetensors_find(f, "curves")), more->n_curves * sizeof(*more->curves));
}

/* Soundness first: a flipped bit in the identity must not look like other settings, or nothing older would be tried. */
static int verify(const struct safetensors *f, const struct item *items, size_t n, const struct optimizer *o, size_t curves,
		  const char *identity, struct error *e)
{
	const char *format = safetensors_metadata(f, "format");

	if (!format || strcmp(format, STATE_FORMAT) || !safetensors_metadata(f, "step") || !safetensors_metadata(f, "identity"))
		return fail(e, EXIT_INPUT, "%s: no state of a training run; resume from NAME-stepNNNNNNNN-state.safetensors", f->path);
	if (safetensors_check_seal(f, e) < 0 || (identity && same_identity(f, identity, e) < 0))
		return -1;
	return check_layout(f, items, n, o, curves, e);
}

int state_load(const char *path, struct optimizer *o, const struct state_more *more, long *step, const char *identity, struct error *e)
{
	struct safetensors *f = safetensors_open(path, e);
	struct item *items;
	size_t n;
	int result;

	if (!f)
		return -1;
	n = list_items(o, more, &items);
	result = verify(f, items, n, o, more->n_curves, identity, e);
	if (!result) {
		put_back(f, items, n, o, more);
		*step = strtol(safetensors_metadata(f, "step"), NULL, 10);
	}
	free_items(items, n);
	safetensors_close(f);
	return result;
}

/* ---- files ---- */

char *state_path(const char *folder, const char *name, long step)
{
	return xprintf("%s/%s-step%08ld" STATE_SUFFIX, folder, name, step);
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

static size_t list(const char *folder, const char *name, const char *suffix, char ***paths)
{
	DIR *d = opendir(folder);
	struct dirent *entry;
	size_t n = 0, capacity = 0;

	*paths = NULL;
	while (d && (entry = readdir(d)))
		if (is_step_of(entry->d_name, name, suffix)) {
			GROW(*paths, n, capacity);
			(*paths)[n++] = path_join(folder, entry->d_name);
		}
	if (d)
		closedir(d);
	if (n)
		qsort(*paths, n, sizeof(**paths), newest_first);
	return n;
}

size_t state_list(const char *folder, const char *name, char ***paths)
{
	return list(folder, name, STATE_SUFFIX, paths);
}

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

long step_of_file(const char *path, const char *suffix)
{
	return strtol(path + strlen(path) - strlen(suffix) - 8, NULL, 10);
}

void steps_prune(const char *folder, const char *name, const char *suffix, long now, long keep, long oldest, const struct step_set *damaged)
{
	char **paths;
	size_t i, n = list(folder, name, suffix, &paths);
	long seen = 0;

	for (i = 0; i < n; i++) {
		const long step = step_of_file(paths[i], suffix);
		const bool counts = keep && step <= now && !is_in(damaged, step);
		seen += counts;
		if (step <= now && ((counts && seen > keep) || step < oldest))
			unlink(paths[i]);
		free(paths[i]);
	}
	free(paths);
}
