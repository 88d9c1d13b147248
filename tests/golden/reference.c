/* Reference tensors of a golden folder, and comparing a network's with them. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/base/memory.h"
#include "subject.h"

/* What is open, and which of its tensors were looked at. */
static struct { const struct safetensors *f; bool *seen; } files[8];
#define FILES (sizeof(files) / sizeof(*files))

void looked_at(const struct safetensors *f, const struct safetensor *r)
{
	for (size_t i = 0; i < FILES; i++)
		if (files[i].f == f && f)
			files[i].seen[r - f->tensor] = true;
}

static void enter(const struct safetensors *f)
{
	size_t i = 0;

	while (i < FILES && files[i].f)
		i++;
	if (i == FILES)
		die(EXIT_OTHER, "more than %zu reference files open at once; this is a bug in golden", FILES);
	files[i].f = f;
	files[i].seen = xcalloc(f->count + 1, sizeof(bool));
}

static void leave(const struct subject *s, const struct safetensors *f, const bool *seen)
{
	const char *first = NULL;
	size_t count = 0;

	for (size_t i = 0; i < f->count; i++)
		if (!seen[i] && !count++)
			first = f->tensor[i].name;
	if (count)
		skipped(s->tally, "%s %s: not compared: '%s'%s", s->label, strrchr(f->path, '/') + 1, first,
			count > 1 ? " and others" : "");
}

void close_reference(const struct subject *s, struct safetensors *f)
{
	for (size_t i = 0; f && i < FILES; i++)
		if (files[i].f == f) {
			if (s)
				leave(s, f, files[i].seen);
			free(files[i].seen);
			files[i].f = NULL;
		}
	safetensors_close(f);
}

bool exists(const char *folder, const char *name)
{
	char *path = path_join(folder, name);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

struct safetensors *open_reference(const char *folder, const char *name)
{
	char *path = path_join(folder, name);
	struct safetensors *f = NULL;
	struct error e = { 0 };

	if (access(path, F_OK) == 0) {
		f = safetensors_open(path, &e);
		if (!f)
			die(e.code, "%s", e.text);
		enter(f);
	}
	free(path);
	return f;
}

const struct safetensor *need(const struct safetensors *f, const char *name)
{
	const struct safetensor *x = safetensors_find(f, name);

	if (!x)
		die(EXIT_INPUT, "%s: no tensor '%s', which the layout promises", f->path, name);
	looked_at(f, x);
	return x;
}

float *need_floats(const struct safetensors *f, const char *name)
{
	struct error e = { 0 };
	float *x = safetensors_floats(f, name, safetensor_elements(need(f, name)), &e);

	if (!x)
		die(e.code, "%s", e.text);
	return x;
}

int32_t *need_ids(const struct safetensors *f, const char *name)
{
	size_t n = safetensor_elements(need(f, name));
	float *x = need_floats(f, name);        /* exact: ids are below 2^24 */
	int32_t *ids = xmalloc(n * sizeof(*ids));

	for (size_t i = 0; i < n; i++)
		ids[i] = x[i];
	free(x);
	return ids;
}

const char *need_metadata(const struct safetensors *f, const char *key)
{
	const char *value = safetensors_metadata(f, key);

	if (!value)
		die(EXIT_INPUT, "%s: no metadata '%s', which the layout promises", f->path, key);
	return value;
}

float *need_nhwc(const struct safetensors *f, const char *name)
{
	const struct safetensor *r = need(f, name);
	float *x = need_floats(f, name), *y;

	if (r->dims != 4)
		return x;
	y = xmalloc(safetensor_elements(r) * sizeof(*y));
	nhwc_from_nchw(y, x, r->shape[0], r->shape[1], r->shape[2], r->shape[3]);
	free(x);
	return y;
}

struct tensor *upload_reference(struct tape *t, const struct safetensors *f, const char *name)
{
	const struct safetensor *r = need(f, name);
	float *x = need_nhwc(f, name);
	struct tensor *y = NULL;

	if (r->dims == 4)
		y = tensor_from(t, r->shape[0], r->shape[2], r->shape[3], r->shape[1], x);
	else if (r->dims == 3)
		y = tensor_from(t, r->shape[0], r->shape[1], 1, r->shape[2], x);
	else if (r->dims == 2)
		y = tensor_from(t, r->shape[0], 1, 1, r->shape[1], x);
	else
		die(EXIT_INPUT, "%s: '%s' has %d dimensions", f->path, name, r->dims);
	free(x);
	return y;
}

void compare_tensor(struct subject *s, enum kind k, struct tape *t, const struct tensor *x,
		    const struct safetensors *want, const char *name)
{
	const struct safetensor *r = safetensors_find(want, name);
	size_t count;
	float *got, *expected;
	struct spread spread = { 0 };

	if (!r || tape_backend(t) == &dry_backend)
		return;
	looked_at(want, r);
	count = safetensor_elements(r);
	if (r->shape[0] > x->n || count / r->shape[0] != tensor_count(x) / x->n) {
		failed(s->tally, "%s %s: another size, %dx%dx%dx%d", s->label, name, x->n, x->h, x->w, x->c);
		return;
	}
	got = xmalloc(tensor_count(x) * sizeof(*got));
	tensor_download(t, x, got);
	expected = need_nhwc(want, name);
	spread_add(&spread, got, expected, count);
	judge(s->tally, k, &spread, "%s %s", s->label, name);
	free(got);
	free(expected);
}

void probe_tensor(void *probes, struct tape *t, const char *module, struct tensor *x)
{
	struct probes *p = probes;
	char *name = xprintf("%s%s", p->prefix, module);
	const struct safetensor *r = safetensors_find(p->want, name);

	if (r && r - p->want->tensor < 256)
		p->seen[r - p->want->tensor] = true;
	compare_tensor(p->s, p->kind, t, x, p->want, name);
	free(name);
}

void probes_end(struct probes *p)
{
	for (size_t i = 0; i < p->want->count && i < 256; i++)
		if (!strncmp(p->want->tensor[i].name, p->prefix, strlen(p->prefix)) && !p->seen[i]) {
			looked_at(p->want, &p->want->tensor[i]);
			skipped(p->s->tally, "%s %s: the network shows no such module", p->s->label,
				p->want->tensor[i].name);
		}
}
