/* Merging into layers that are wider than what is computed at once: every element is the nearest in every type, and the
 * memory does not grow with a tensor.  The model is tiny-a with a text encoder of another width inside. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/io/safetensors.h"
#include "../../libcommon/merge/merge.h"
#include "nearest_value.h"
#include "sanitized.h"
#include <cmocka.h>

#define A "tests/golden/tiny-a/model"
#define LAYER "text_model.encoder.layers.1.mlp."
enum { WIDTH = 32 };

static char folder[] = "/tmp/test-merge-XXXXXX", *model, *encoder, *adapter[2], *out, *merged;

/* A number from -1 to 1 that does not look like its neighbours. */
static double number(size_t i)
{
	return (double)(i * 2654435761u % 1000003 + 1) / 500002 - 1;
}

/* ---- the model ---- */

/* tiny-a's text encoder where each mlp is `inside` wide and its matrices are of a type; elements NULL: a hole */
static void write_encoder(size_t inside, enum dtype type, void (*elements)(unsigned char *to, enum dtype, size_t n))
{
	struct error e;
	struct safetensors *f = safetensors_open(A "/text_encoder/model.safetensors", &e);
	struct safetensors_out *t = xcalloc(f->count, sizeof(*t));
	size_t total = 0;

	for (size_t i = 0; i < f->count; i++) {
		size_t n = 1;

		t[i] = (struct safetensors_out){ f->tensor[i].name, f->tensor[i].dtype, f->tensor[i].dims };
		for (int k = 0; k < t[i].dims; k++)
			n *= t[i].shape[k] = f->tensor[i].shape[k] == 4 * WIDTH ? (int64_t)inside
										 : f->tensor[i].shape[k];
		if (strstr(t[i].name, ".mlp.") && t[i].dims == 2)
			t[i].dtype = type;
		total += n * dtype_size(t[i].dtype);
		if (!elements)
			continue;
		t[i].data = memcpy(xcalloc(n, 8), safetensors_bytes(f, &f->tensor[i]),
				   strstr(t[i].name, ".mlp.") ? 0 : f->tensor[i].bytes);
		if (t[i].dtype == type && t[i].dims == 2 && strstr(t[i].name, ".mlp."))
			elements((unsigned char *)t[i].data, type, n);
	}
	if (elements) {
		assert_int_equal(safetensors_save(encoder, t, f->count, NULL, 0, &e), 0);
	} else {
		struct buffer header = { 0 };

		safetensors_header(&header, t, f->count, NULL, 0);
		assert_int_equal(publish_bytes(encoder, header.data, header.len, &e), 0);
		assert_int_equal(truncate(encoder, (off_t)(header.len + total)), 0);
		buffer_free(&header);
	}
	for (size_t i = 0; i < f->count; i++)
		free((void *)t[i].data);
	free(t);
	safetensors_close(f);
}

static void make_model(size_t inside, enum dtype type, void (*elements)(unsigned char *to, enum dtype, size_t n))
{
	char *command = xprintf("rm -rf %s && cp -r " A " %s && sed -i 's/\"intermediate_size\": [0-9]*/"
				"\"intermediate_size\": %zu/' %s/text_encoder/config.json",
				model, model, inside, model);

	assert_int_equal(system(command), 0);
	write_encoder(inside, type, elements);
	free(command);
}

static void ordinary(unsigned char *to, enum dtype type, size_t n)
{
	float *x = xmalloc(n * sizeof(*x));

	for (size_t i = 0; i < n; i++)
		x[i] = (float)(number(i) / 8);
	assert_int_equal(from_float(to, type, x, n), 0);
	free(x);
}

/* ---- adapters ---- */

enum { RANK = 5 };
enum lengths { NONE, OF_OUTPUTS, OF_INPUTS };

struct matrices { float *up, *down, *lengths; float alpha; };

static struct matrices fill(size_t out_width, size_t in, enum lengths of, size_t seed)
{
	const size_t lengths = of == OF_INPUTS ? in : out_width;
	struct matrices m = { xmalloc(out_width * RANK * sizeof(float)), xmalloc(in * RANK * sizeof(float)),
			      xmalloc(lengths * sizeof(float)), 3 };

	for (size_t i = 0; i < out_width * RANK; i++)
		m.up[i] = (float)number(seed + i) / 16;
	for (size_t i = 0; i < in * RANK; i++)
		m.down[i] = (float)number(seed + 77777 + i);
	for (size_t i = 0; i < lengths; i++)
		m.lengths[i] = 0.4f + 0.1f * (float)number(seed + i);
	return m;
}

static void free_matrices(struct matrices *m)
{
	free(m->up);
	free(m->down);
	free(m->lengths);
}

static void write_adapter(const char *path, const struct matrices *m, size_t layer, size_t out_width, size_t in,
			  enum lengths of)
{
	char *stem = xprintf("lora_te1_text_model_encoder_layers_1_mlp_fc%zu", layer),
	     *name[] = { xprintf("%s.lora_up.weight", stem), xprintf("%s.lora_down.weight", stem),
			 xprintf("%s.alpha", stem), xprintf("%s.dora_scale", stem) };
	const bool rows = of == OF_OUTPUTS;
	const struct safetensors_out t[] = {
		{ name[0], DTYPE_F32, 2, { out_width, RANK }, m->up },
		{ name[1], DTYPE_F32, 2, { RANK, in }, m->down },
		{ name[2], DTYPE_F32, 0, { 0 }, &m->alpha },
		{ name[3], DTYPE_F32, 2, { rows ? out_width : 1, rows ? 1 : in }, m->lengths },
	};
	struct error e;

	assert_int_equal(safetensors_save(path, t, of == NONE ? 3 : 4, NULL, 0, &e), 0);
	for (int i = 0; i < 4; i++)
		free(name[i]);
	free(stem);
}

/* ---- merging ---- */

static int merge(const char *first, const char *second)
{
	const char *adapters[] = { first, second };
	const struct merge_options o = { .model = model, .adapter = adapters, .adapters = second ? 2 : 1, .out = out };
	struct error e = { 0 };
	int status = merge_into(&o, &e);

	if (status)
		fprintf(stderr, "%s\n", e.text);
	return status;
}

static void remove_out(void)
{
	char *command = xprintf("rm -rf %s", out);

	assert_int_equal(system(command), 0);
	free(command);
}

static double product(const struct matrices *m, size_t o, size_t j, size_t in)
{
	double sum = 0;

	for (size_t k = 0; k < RANK; k++)
		sum += (double)m->up[o * RANK + k] * m->down[k * in + j];
	return sum * m->alpha / RANK;
}

/* of dora_scale: LyCORIS adds float32's epsilon to a norm */
#define LYCORIS_EPS 0x1p-23

/* exact [out][in] += weight (W' - W), W' = W + dW with its lengths */
static void add_exactly(double *exact, const float *before, const struct matrices *m, double weight, size_t out_width,
			size_t in, enum lengths of)
{
	double *own = xmalloc(out_width * in * sizeof(*own)), *squares = xcalloc(out_width + in, sizeof(*squares));

	for (size_t i = 0; i < out_width * in; i++) {
		own[i] = before[i] + product(m, i / in, i % in, in);
		squares[of == OF_INPUTS ? i % in : i / in] += own[i] * own[i];
	}
	for (size_t i = 0; i < out_width * in; i++) {
		const size_t l = of == OF_INPUTS ? i % in : i / in;
		const double gain = of == NONE ? 1 : m->lengths[l] / (sqrt(squares[l]) + LYCORIS_EPS);

		exact[i] += weight * (of == NONE ? product(m, i / in, i % in, in) : gain * own[i] - before[i]);
	}
	free(own);
	free(squares);
}

static float *floats_of(const char *path, size_t layer, size_t n)
{
	struct error e;
	struct safetensors *f = safetensors_open(path, &e);
	char *name = xprintf(LAYER "fc%zu.weight", layer);
	float *x = safetensors_floats(f, name, n, &e);

	assert_non_null(x);
	safetensors_close(f);
	free(name);
	return x;
}

/* The weights of two adapters, the second 0: it is not there. */
static void check_elements(enum dtype type, size_t layer, size_t out_width, size_t in, enum lengths of,
			   const double weight[2])
{
	struct matrices m[2] = { fill(out_width, in, of, 1), fill(out_width, in, NONE, 555) };
	char *weighted[] = { xprintf("%s:%g", adapter[0], weight[0]), xprintf("%s:%g", adapter[1], weight[1]) };
	double *exact = xcalloc(out_width * in, sizeof(*exact));
	float *before = floats_of(encoder, layer, out_width * in), *after;
	size_t changed = 0;

	write_adapter(adapter[0], &m[0], layer, out_width, in, of);
	write_adapter(adapter[1], &m[1], layer, out_width, in, NONE);
	assert_int_equal(merge(weighted[0], weight[1] != 0 ? weighted[1] : NULL), 0);
	after = floats_of(merged, layer, out_width * in);
	add_exactly(exact, before, &m[0], weight[0], out_width, in, of);
	if (weight[1] != 0)
		add_exactly(exact, before, &m[1], weight[1], out_width, in, NONE);
	for (size_t i = 0; i < out_width * in; i++) {
		assert_true(is_nearest(type, after[i], before[i] + exact[i]));
		changed += before[i] != after[i];
	}
	assert_true(changed > out_width * in / 50);
	for (int i = 0; i < 2; i++) {
		free_matrices(&m[i]);
		free(weighted[i]);
	}
	free(exact);
	free(before);
	free(after);
	remove_out();
}

/* 700 rows or columns are some bands of rows, some tiles of columns, and a part of each. */
static void every_element_is_the_nearest(void **state)
{
	static const enum dtype types[] = { DTYPE_F16, DTYPE_BF16, DTYPE_F8_E4M3, DTYPE_F8_E5M2, DTYPE_F32 };
	static const double one[] = { 0.75, 0 }, two[] = { 1, -0.5 };
	const size_t inside = 700;

	for (size_t t = 0; t < sizeof(types) / sizeof(*types); t++) {
		make_model(inside, types[t], ordinary);
		for (size_t layer = 1; layer <= 2; layer++) {
			const size_t rows = layer == 1 ? inside : WIDTH, columns = layer == 1 ? WIDTH : inside;

			check_elements(types[t], layer, rows, columns, NONE, one);
			check_elements(types[t], layer, rows, columns, NONE, two);
			check_elements(types[t], layer, rows, columns, OF_OUTPUTS, two);
			check_elements(types[t], layer, rows, columns, OF_INPUTS, two);
		}
	}
}

/* Six tensors of 32 MB, one of which is merged into: the whole file once was resident, and the tensor twice.  What is
 * allowed is half of the file: the adapter's own numbers are 25 MB of it. */
static void memory_does_not_grow_with_a_tensor(void **state)
{
	const size_t inside = 500000;
	struct rusage used;
	int status;
	pid_t child;

	if (SANITIZED)
		skip();
	for (size_t layer = 1; layer <= 2; layer++)
		for (int of = NONE; of <= OF_INPUTS; of++) {
			const size_t rows = layer == 1 ? inside : WIDTH, columns = layer == 1 ? WIDTH : inside;
			struct matrices m = fill(rows, columns, of, 1);

			make_model(inside, DTYPE_F16, NULL);
			write_adapter(adapter[0], &m, layer, rows, columns, of);
			free_matrices(&m);
			child = fork();
			if (child == 0)
				_exit(merge(adapter[0], NULL) ? 1 : 0);
			assert_int_equal(wait4(child, &status, 0, &used), child);
			assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
			assert_true(used.ru_maxrss < 96 * 1024);
			remove_out();
		}
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *place) { return remove(path); }

static int make_folder(void **state)
{
	quiet(1);
	if (!mkdtemp(folder))
		return -1;
	model = path_join(folder, "model");
	encoder = path_join(model, "text_encoder/model.safetensors");
	adapter[0] = path_join(folder, "first.safetensors");
	adapter[1] = path_join(folder, "second.safetensors");
	out = path_join(folder, "out");
	merged = path_join(out, "text_encoder/model.safetensors");
	return setenv("OMP_NUM_THREADS", "2", 1);
}

static int remove_folder(void **state)
{
	char *paths[] = { model, encoder, adapter[0], adapter[1], out, merged };

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		free(paths[i]);
	return nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_element_is_the_nearest),
		cmocka_unit_test(memory_does_not_grow_with_a_tensor),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
