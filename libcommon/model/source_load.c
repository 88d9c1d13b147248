/* Loading layers onto a device: shapes are checked, transposed matrices turned, types narrowed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "source_internal.h"

/* in 0: a vector.  kernel 0 and 1 are the same: a 1x1 convolution is a matrix. */
struct wanted { int out, in, kernel; };

static bool fits(const struct source_tensor *t, const struct wanted *w)
{
	int kernel = w->kernel ? w->kernel : 1;
	int kh = t->dims == 4 ? t->shape[2] : 1, kw = t->dims == 4 ? t->shape[3] : 1;

	if (t->shape[0] != w->out || (t->dims == 1) != !w->in)
		return false;
	return t->dims == 1 || (t->shape[1] == w->in && kh == kernel && kw == kernel);
}

static int find(const struct loader *l, const char *name, const char *kind, struct wanted w, struct source_tensor *t,
		struct error *e)
{
	char *full = xprintf("%s.%s", name, kind), is[SHAPE_ROOM], should[SHAPE_ROOM];
	int64_t shape[4] = { w.out, w.in, w.kernel, w.kernel };
	int status = source_find(l->files, l->component, full, t, e);

	if (!status && !fits(t, &w)) {
		shape_text(is, t->dims, t->shape, "x");
		shape_text(should, w.kernel ? 4 : w.in ? 2 : 1, shape, "x");
		status = fail(e, EXIT_INPUT, "%s: tensor '%s' is %s, the config asks for %s; they belong to different "
			      "models",
			      model_files_path(l->files), full, is, should);
	}
	free(full);
	return status;
}

static int no_memory(const char *name, struct error *e)
{
	return fail(e, EXIT_MEMORY, "no device memory for '%s'; use a smaller model, or a device with more memory",
		    name);
}

/* [in,out] to [out,in] */
static unsigned char *turned(const struct source_tensor *t)
{
	size_t size = dtype_size(t->dtype), out = t->shape[0], in = t->shape[1];
	unsigned char *copy = xmalloc(out * in * size);

	for (size_t o = 0; o < out; o++)
		for (size_t i = 0; i < in; i++)
			memcpy(copy + (o * in + i) * size, t->bytes + (i * out + o) * size, size);
	return copy;
}

/* As floats, scaled; false: the type is no number */
static bool floats_of(float *to, const struct source_tensor *t, size_t count)
{
	if (to_float(to, t->bytes, t->dtype, count))
		return false;
	for (size_t i = 0; t->scale != 1 && i < count; i++)
		to[i] *= t->scale;
	return true;
}

static size_t count_of(const struct source_tensor *t)
{
	size_t count = 1;

	for (int i = 0; i < t->dims; i++)
		count *= t->shape[i];
	return count;
}

/* What was loaded is in memory twice until the file's pages are given back: at full size 5 GB. */
static void loaded(const struct loader *l, const struct source_tensor *t, const unsigned char *bytes, size_t n)
{
	if (!backend_is_dry(l->be))
		safetensors_release(t->file, bytes, n);
}

float *source_floats(const struct model_files *m, enum component c, const char *name, size_t count, struct error *e)
{
	struct source_tensor t;
	unsigned char *copy = NULL;
	float *x;

	if (source_find(m, c, name, &t, e))
		return NULL;
	if (count_of(&t) != count || !dtype_is_float(t.dtype)) {
		fail(e, EXIT_INPUT, "%s: tensor '%s' has %zu numbers of type %s, not the %zu of its layer",
		     model_files_path(m), name, count_of(&t), dtype_name(t.dtype), count);
		return NULL;
	}
	x = xmalloc(count * sizeof(*x));
	if (t.transposed)
		t.bytes = copy = turned(&t);
	floats_of(x, &t, count);
	free(copy);
	return x;
}

/* Rounds to `to`.  A value that F16 cannot hold becomes infinite, which shows in the model's outputs. */
static unsigned char *converted(const struct source_tensor *t, enum dtype to)
{
	const size_t count = count_of(t);
	float *wide;
	unsigned char *copy;

	wide = xmalloc(count * sizeof(*wide));
	copy = xmalloc(count * dtype_size(to));
	floats_of(wide, t, count);
	from_float(copy, to, wide, count);
	free(wide);
	return copy;
}

/* A half holds every value of F8; what is scaled needs a float. */
static enum dtype type_in_memory(const struct loader *l, const struct source_tensor *t)
{
	const enum dtype narrow = l->files->narrow;
	const bool f8 = t->dtype == DTYPE_F8_E4M3 || t->dtype == DTYPE_F8_E5M2;
	const enum dtype type = t->scale != 1 ? DTYPE_F32 : f8 ? DTYPE_F16 : t->dtype;

	return type == DTYPE_F32 && (narrow == DTYPE_F16 || narrow == DTYPE_BF16) ? narrow : type;
}

/* As it is to be in memory, F32 narrowed as model_files_narrow() asks; *copy is the new memory, if any. */
static void convert(const struct loader *l, struct source_tensor *t, unsigned char **copy)
{
	const enum dtype to = type_in_memory(l, t);

	if (to == t->dtype && t->scale == 1)
		return;
	if (!backend_is_dry(l->be))
		t->bytes = *copy = converted(t, to);
	t->dtype = to;
	t->scale = 1;
}

/* As floats, [out][kh][kw][in]: row by row, [in][taps] in the file. */
static float *stored_floats(const struct source_tensor *t, const struct weight *w)
{
	const size_t taps = (size_t)w->kh * w->kw, row = w->in * taps;
	float *x = xmalloc(weight_count(w) * sizeof(*x)), *line = xmalloc(row * sizeof(*line)), *at = x;
	struct source_tensor one = *t;

	for (int o = 0; o < w->out; o++, at += row, one.bytes += row * dtype_size(t->dtype)) {
		floats_of(taps > 1 ? line : at, &one, row);
		for (size_t i = 0; taps > 1 && i < row; i++)
			at[i % taps * w->in + i / taps] = line[i];
	}
	free(line);
	return x;
}

static int prepare_quantised(const struct loader *l, const char *name, const struct source_tensor *t, struct weight *w)
{
	struct quantising *q = l->files->quantising;
	struct quantise_loss loss;
	float *x;
	char *bytes;
	int status;

	w->dtype = q->type;
	if (backend_is_dry(l->be))
		return l->be->prepare(l->device, w, NULL);
	x = stored_floats(t, w);
	bytes = xmalloc(weight_bytes(w));
	quantise(bytes, x, w, &loss);
	free(x);
	status = l->be->prepare(l->device, w, bytes);
	free(bytes);
	if (q->closed)
		return status;
	GROW(q->layer, q->count, q->capacity);
	q->layer[q->count++] = (struct quantised_layer){ l->component, xstrdup(name), loss };
	return status;
}

static bool to_quantise(const struct loader *l)
{
	return l->inner && l->files->quantising && is_quantised(l->files->quantising->type);
}

enum { STACK_ALIGN = 64 };

static void place(const struct loader *l, struct weight *w)
{
	struct weight_stack *s = l->stack;
	const size_t bytes = weight_bytes(w);

	if (!s || s->placed == s->count || w->on_host || bytes % STACK_ALIGN)
		return;
	if (!s->block) {
		s->block = l->be->alloc(l->device, s->count * bytes);
		s->each = bytes;
	}
	if (!s->block || bytes != s->each)
		return;
	w->data = (char *)s->block + bytes * s->placed++;
	w->placed = true;
}

static int load_weight(const struct loader *l, const char *name, struct wanted want, struct weight *w, struct error *e)
{
	struct source_tensor t;
	unsigned char *copy = NULL, *other = NULL;
	const unsigned char *bytes;
	size_t n;
	int kernel = want.kernel ? want.kernel : 1, status;

	*w = (struct weight){ .out = want.out, .in = want.in, .kh = kernel, .kw = kernel, .on_host = l->on_host };
	if (find(l, name, "weight", want, &t, e))
		return -1;
	bytes = t.bytes;
	n = count_of(&t) * dtype_size(t.dtype);
	if (!to_quantise(l))
		convert(l, &t, &other);
	w->dtype = t.dtype;
	if (t.transposed && !backend_is_dry(l->be))
		t.bytes = copy = turned(&t);
	if (!to_quantise(l))
		place(l, w);
	status = to_quantise(l) ? prepare_quantised(l, name, &t, w) : l->be->prepare(l->device, w, t.bytes);
	free(copy);
	free(other);
	loaded(l, &t, bytes, n);
	return status ? no_memory(name, e) : 0;
}

static int upload(const struct loader *l, const char *name, const struct source_tensor *t, size_t count,
		  float **device, struct error *e)
{
	float *host = backend_is_dry(l->be) ? NULL : xmalloc(count * sizeof(float));

	if (host && !floats_of(host, t, count)) {
		free(host);
		return fail(e, EXIT_INPUT, "%s: '%s' is %s; numbers are needed", model_files_path(l->files), name,
			    dtype_name(t->dtype));
	}
	*device = l->be->alloc(l->device, count * sizeof(float));
	if (*device && host)
		l->be->upload(l->device, *device, host, count * sizeof(float));
	free(host);
	loaded(l, t, t->bytes, count * dtype_size(t->dtype));
	return *device ? 0 : no_memory(name, e);
}

static int load_vector(const struct loader *l, const char *name, const char *kind, int n, float **device,
		       struct error *e)
{
	struct source_tensor t;

	*device = NULL;
	if (find(l, name, kind, (struct wanted){ n, 0, 0 }, &t, e))
		return -1;
	return upload(l, name, &t, n, device, e);
}

int load_linear(const struct loader *l, const char *name, int out, int in, bool bias, struct linear *layer,
		struct error *e)
{
	*layer = (struct linear){ 0 };
	if (load_weight(l, name, (struct wanted){ out, in, 0 }, &layer->w, e) ||
	    (bias && load_vector(l, name, "bias", out, &layer->bias, e))) {
		free_linear(l->be, l->device, layer);
		return -1;
	}
	return 0;
}

int load_conv1x1(const struct loader *l, const char *name, int out, int in, struct linear *layer, struct error *e)
{
	*layer = (struct linear){ 0 };
	if (load_weight(l, name, (struct wanted){ out, in, 1 }, &layer->w, e) ||
	    load_vector(l, name, "bias", out, &layer->bias, e)) {
		free_linear(l->be, l->device, layer);
		return -1;
	}
	return 0;
}

int load_conv(const struct loader *l, const char *name, int out, int in, int kernel, int stride, struct conv *layer,
	      struct error *e)
{
	*layer = (struct conv){ .stride = stride };
	if (load_weight(l, name, (struct wanted){ out, in, kernel }, &layer->w, e) ||
	    load_vector(l, name, "bias", out, &layer->bias, e)) {
		free_conv(l->be, l->device, layer);
		return -1;
	}
	return 0;
}

int load_norm(const struct loader *l, const char *name, int c, int groups, float eps, struct norm *layer,
	      struct error *e)
{
	*layer = (struct norm){ .c = c, .groups = groups, .eps = eps,
				.w = { .dtype = DTYPE_F32, .out = c, .in = 1, .kh = 1, .kw = 1 } };
	if (load_vector(l, name, "weight", c, &layer->gain, e) || load_vector(l, name, "bias", c, &layer->bias, e)) {
		free_norm(l->be, l->device, layer);
		return -1;
	}
	return 0;
}

int load_table(const struct loader *l, const char *name, int rows, int cols, struct weight *table, struct error *e)
{
	struct loader here = *l;

	here.on_host = false;           /* few of its rows are read */
	return load_weight(&here, name, (struct wanted){ rows, cols, 0 }, table, e);
}

int load_floats(const struct loader *l, const char *name, size_t count, float **device, struct error *e)
{
	struct source_tensor t;
	char *full = xprintf("%s.weight", name);
	int status = source_find(l->files, l->component, full, &t, e);
	size_t elements = 1;

	*device = NULL;
	free(full);
	if (status)
		return -1;
	for (int i = 0; i < t.dims; i++)
		elements *= t.shape[i];
	if (elements != count || t.transposed)
		return fail(e, EXIT_INPUT, "%s: '%s' has %zu values, the config asks for %zu; they belong to different "
			    "models",
			    model_files_path(l->files), name, elements, count);
	return upload(l, name, &t, count, device, e);
}

void free_table(const struct backend *be, struct device *d, struct weight *table)
{
	if (table->data)
		be->unprepare(d, table);
	*table = (struct weight){ 0 };
}

void free_linear(const struct backend *be, struct device *d, struct linear *layer)
{
	free_table(be, d, &layer->w);
	be->release(d, layer->bias);
	*layer = (struct linear){ 0 };
}

void free_conv(const struct backend *be, struct device *d, struct conv *layer)
{
	free_table(be, d, &layer->w);
	be->release(d, layer->bias);
	*layer = (struct conv){ 0 };
}

void free_norm(const struct backend *be, struct device *d, struct norm *layer)
{
	be->release(d, layer->gain);
	be->release(d, layer->bias);
	*layer = (struct norm){ 0 };
}
