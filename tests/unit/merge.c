/* Merging against the product written out, folder against single file, and what must stay as it was. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>
#include "../../libcommon/base/error.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/adapter/adapter_file.h"
#include "../../libcommon/adapter/lora.h"
#include "../../libcommon/merge/merge.h"
#include "../../libcommon/adapter/metadata.h"
#include "model_layers.h"
#include "nearest_value.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define A "tests/golden/tiny-a"
#define B "tests/golden/tiny-b"
#define SINGLE_A "tests/golden/single-file/tiny-a.safetensors"
#define SINGLE_B "tests/golden/single-file/tiny-b.safetensors"

static char folder[] = "/tmp/test-merge-XXXXXX";

static char *in_folder(const char *name) { return path_join(folder, name); }

static int try_merge(const char *model, const char *config, const char *adapter, const char *second, const char *out,
		     bool nonfinite, struct error *e)
{
	const char *adapters[] = { adapter, second };
	const struct merge_options o = { .model = model,
					 .model_config = config,
					 .adapter = adapters,
					 .adapters = second ? 2 : 1,
					 .out = out,
					 .allow_nonfinite = nonfinite };

	*e = (struct error){ 0 };
	return merge_into(&o, e);
}

static void merge(const char *model, const char *config, const char *adapter, const char *second, const char *out)
{
	struct error e;

	if (try_merge(model, config, adapter, second, out, false, &e))
		fail_msg("%s", e.text);
}

static struct model_files *open_model(const char *path, const char *config)
{
	struct error e;
	struct model_files *m = model_files_open(path, config, NULL, &e);

	if (!m)
		fail_msg("%s", e.text);
	return m;
}

/* ---- numbers ---- */

/* of dora_scale: LyCORIS adds float32's epsilon to a norm */
#define LYCORIS_EPS 0x1p-23

/* sum [out][columns] becomes W': what is weight of the way from W to the sum with other lengths,
 * of rows or of columns */
static void change_lengths(double *sum, const float *before, const struct adapter_file *f, const struct file_module *m,
			   double weight)
{
	const struct weight *w = layer_weight(m->layer);
	const size_t taps = w->kh * w->kw, columns = w->in * taps, lengths = m->by_input ? w->in : w->out;
	double *squares = xcalloc(lengths, sizeof(*squares));
	struct error e;
	float *magnitude = adapter_file_floats(f, m->lengths, true, &e);

	for (size_t i = 0; i < w->out * columns; i++)
		squares[m->by_input ? i % columns / taps : i / columns] += sum[i] * sum[i];
	for (size_t i = 0; i < w->out * columns; i++) {
		const size_t k = m->by_input ? i % columns / taps : i / columns;
		sum[i] = before[i] + weight * (magnitude[k] / (sqrt(squares[k]) + LYCORIS_EPS) * sum[i] - before[i]);
	}
	free(squares);
	free(magnitude);
}

/* One module, the product written out in double.  The file's values must be the nearest to it that the type has. */
static void check_module(const struct adapter_file *f, const struct file_module *m, double weight,
			 const struct source_tensor *was, const struct source_tensor *is)
{
	const struct weight *w = layer_weight(m->layer);
	size_t columns = (size_t)w->in * w->kh * w->kw, n = w->out * columns;
	float *before = xmalloc(n * sizeof(float)), *after = xmalloc(n * sizeof(float));
	struct error e;
	float *down = adapter_file_floats(f, m->part[LORA_DOWN], true, &e),
		*up = adapter_file_floats(f, m->part[LORA_UP], true, &e);
	double *sum = xcalloc(n, sizeof(*sum)), share = m->lengths ? 1 : weight;

	assert_int_equal(to_float(before, was->bytes, was->dtype, n), 0);
	assert_int_equal(to_float(after, is->bytes, is->dtype, n), 0);
	for (size_t o = 0; o < (size_t)w->out; o++)
		for (size_t j = 0; j < columns; j++) {
			double *s = &sum[o * columns + j];

			for (int k = 0; k < m->form.rank; k++)
				*s += (double)up[o * m->form.rank + k] * down[k * columns + j];
			*s = before[o * columns + j] + share * m->alpha / m->form.rank * *s;
		}
	if (m->lengths)
		change_lengths(sum, before, f, m, weight);
	for (size_t i = 0; i < n; i++)
		assert_true(is_nearest(was->dtype, after[i], sum[i]));
	free(sum);
	free(before);
	free(after);
	free(down);
	free(up);
}

static size_t check_adapter(const char *path, double weight, struct model_files *was, struct model_files *is)
{
	struct layer_list layers;
	struct adapter_file *f;
	struct error e;
	size_t count;

	test_layers(model_files_config(was), &layers);
	f = adapter_file_open(path, &layers, &e);
	assert_non_null(f);
	for (size_t i = 0; i < f->count; i++) {
		char *name = xprintf("%s.weight", f->module[i].layer->name);
		struct source_tensor before, after;

		assert_int_equal(source_find(was, f->module[i].layer->component, name, &before, &e), 0);
		assert_int_equal(source_find(is, f->module[i].layer->component, name, &after, &e), 0);
		check_module(f, &f->module[i], weight, &before, &after);
		free(name);
	}
	count = f->count;
	adapter_file_close(f);
	free_test_layers(&layers);
	return count;
}

static size_t tensors_that_differ(struct model_files *was, struct model_files *is)
{
	size_t n = 0;

	assert_int_equal(source_files(was), source_files(is));
	for (size_t i = 0; i < source_files(was); i++) {
		const struct safetensors *a = source_file(was, i), *b = source_file(is, i);

		assert_int_equal(a->count, b->count);
		assert_int_equal(a->metadata_count, b->metadata_count);
		for (size_t k = 0; k < a->count; k++) {
			const struct safetensor *x = &a->tensor[k], *y = &b->tensor[k];

			assert_string_equal(x->name, y->name);
			assert_int_equal(x->dtype, y->dtype);
			assert_int_equal(x->dims, y->dims);
			assert_memory_equal(x->shape, y->shape, sizeof(x->shape));
			n += memcmp(safetensors_bytes(a, x), safetensors_bytes(b, y), x->bytes) != 0;
		}
	}
	return n;
}

/* What the merge changed is what the adapter says, at weight 0.75, and nothing else. */
static void merge_and_check(const char *adapter, const char *weighted, const char *out)
{
	struct model_files *was, *is;

	merge(A "/model", NULL, weighted, NULL, out);
	was = open_model(A "/model", NULL);
	is = open_model(out, NULL);
	assert_int_equal(tensors_that_differ(was, is), check_adapter(adapter, 0.75, was, is));
	model_files_close(was);
	model_files_close(is);
}

static void folder_values(void **state)
{
	static const char *const adapters[] = { "lora_unet", "lora_conv", "lora_text" };

	for (int k = 0; k < 3; k++) {
		char *out = in_folder(adapters[k]), *adapter = xprintf(A "/%s.safetensors", adapters[k]),
		     *weighted = xprintf("%s:0.75", adapter);

		merge_and_check(adapter, weighted, out);
		free(out);
		free(adapter);
		free(weighted);
	}
}

/* The adapter at `from` with lengths, which lie some way from where a DoRA begins. */
static void write_dora(const char *from, const char *to, bool by_input)
{
	struct error e;
	struct safetensors *f = safetensors_open(from, &e);
	struct safetensors_out *t = xcalloc(2 * f->count, sizeof(*t));
	float lengths[256];
	size_t n = 0;

	for (int i = 0; i < 256; i++)
		lengths[i] = 0.5f + 0.01f * (i * 37 % 101);
	for (size_t i = 0; i < f->count; i++) {
		const struct safetensor *x = &f->tensor[i];
		const size_t stem = strlen(x->name) - strlen(by_input ? ".lora_down.weight" : ".lora_up.weight");
		t[n] = (struct safetensors_out){ .name = x->name, .dtype = x->dtype, .dims = x->dims,
						 .data = safetensors_bytes(f, x) };
		memcpy(t[n++].shape, x->shape, sizeof(x->shape));
		if (x->dims < 2 || strcmp(x->name + stem, by_input ? ".lora_down.weight" : ".lora_up.weight"))
			continue;
		assert_in_range(x->shape[by_input], 1, 256);
		t[n++] = (struct safetensors_out){ xprintf("%.*s.dora_scale", (int)stem, x->name), DTYPE_F32, x->dims,
						   { by_input ? 1 : x->shape[0], by_input ? x->shape[1] : 1, 1, 1 },
						   lengths };
	}
	assert_int_equal(safetensors_save(to, t, n, NULL, 0, &e), 0);
	for (size_t i = 0; i < n; i++)
		if (t[i].data == lengths)
			free((char *)t[i].name);
	free(t);
	safetensors_close(f);
}

static void dora_values(void **state)
{
	char *adapter = in_folder("dora.safetensors"), *weighted = xprintf("%s:0.75", adapter);

	for (int by_input = 0; by_input < 2; by_input++) {
		char *out = in_folder(by_input ? "by-input" : "by-output");

		write_dora(A "/lora_conv.safetensors", adapter, by_input);
		merge_and_check(adapter, weighted, out);
		free(out);
	}
	free(adapter);
	free(weighted);
}

/* tiny-b is F16, its data is not aligned, and the text encoder's q, k and v share a tensor. */
static void half_precision_is_rounded_once(void **state)
{
	char *out = in_folder("b.safetensors");
	struct model_files *was, *is;

	merge(SINGLE_B, B "/model", B "/lora_text.safetensors", NULL, out);
	was = open_model(SINGLE_B, B "/model");
	is = open_model(out, B "/model");
	assert_int_equal(check_adapter(B "/lora_text.safetensors", 1, was, is), 42);
	assert_in_range(tensors_that_differ(was, is), 1, 42 - 2 * 3);
	assert_int_equal(source_file(was, 0)->data_start, source_file(is, 0)->data_start);
	model_files_close(was);
	model_files_close(is);
	free(out);
}

/* ---- layouts ---- */

static void check_same(const char *single, const char *config, const char *directory)
{
	struct model_files *a = open_model(single, config), *b = open_model(directory, NULL);

	for (int c = COMPONENT_UNET; c <= COMPONENT_VAE; c++) {
		char x[65], y[65];

		model_files_hash(a, c, x);
		model_files_hash(b, c, y);
		assert_string_equal(x, y);
	}
	model_files_close(a);
	model_files_close(b);
}

static void check_both_layouts(const char *adapter, const char *second, const char *name)
{
	char *single = xprintf("%s/%s.safetensors", folder, name), *directory = xprintf("%s/%s-folder", folder, name);
	struct safetensors *f;
	struct error e;
	char hex[65];

	merge(SINGLE_A, A "/model", adapter, second, single);
	merge(A "/model", NULL, adapter, second, directory);
	check_same(single, A "/model", directory);
	f = safetensors_open(single, &e);
	payload_hash(f, hex);
	assert_string_equal(safetensors_metadata(f, "modelspec.hash_sha256") + 2, hex);
	assert_string_equal(safetensors_metadata(f, "modelspec.title"), "tiny-a");
	safetensors_close(f);
	free(single);
	free(directory);
}

static void single_file_equals_folder(void **state)
{
	check_both_layouts(A "/lora_conv.safetensors", A "/lora_text.safetensors:-0.5", "both");
}

/* The projection is turned in the single file; the adapter's up and down differ, so a forgotten turn shows. */
static void projection_is_turned(void **state)
{
	char *adapter = in_folder("projection.adapter");
	struct model_files *m = open_model(A "/model", NULL);
	const struct clip_config *c = &model_files_config(m)->text[1];
	float *down = xcalloc(c->width, sizeof(float)), *up = xcalloc(c->projection, sizeof(float));
	const struct safetensors_out t[] = {
		{ "lora_te2_text_projection.lora_down.weight", DTYPE_F32, 2, { 1, c->width }, down, true },
		{ "lora_te2_text_projection.lora_up.weight", DTYPE_F32, 2, { c->projection, 1 }, up, true },
	};
	struct error e;

	for (int i = 0; i < c->width; i++)
		down[i] = 0.1f * (float)(i % 7);
	for (int i = 0; i < c->projection; i++)
		up[i] = 0.05f * (float)(i % 5) - 0.1f;
	assert_int_equal(safetensors_save(adapter, t, 2, NULL, 0, &e), 0);
	check_both_layouts(adapter, NULL, "projection");
	model_files_close(m);
	free(down);
	free(up);
	free(adapter);
}

/* What was added can be taken away: plus and minus in one go leave every byte. */
static void plus_and_minus(void **state)
{
	char *out = in_folder("zero.safetensors");
	struct model_files *was, *is;

	merge(SINGLE_B, B "/model", B "/lora_conv.safetensors", B "/lora_conv.safetensors:-1", out);
	was = open_model(SINGLE_B, B "/model");
	is = open_model(out, B "/model");
	assert_int_equal(tensors_that_differ(was, is), 0);
	model_files_close(was);
	model_files_close(is);
	free(out);
}

/* ---- refusals ---- */

static void refused(const char *model, const char *config, const char *adapter, const char *out, int code,
		    const char *says)
{
	struct error e;
	bool there = access(out, F_OK) == 0;

	assert_int_equal(try_merge(model, config, adapter, NULL, out, false, &e), -1);
	assert_int_equal(e.code, code);
	if (!strstr(e.text, says))
		fail_msg("says: %s", e.text);
	assert_int_equal(access(out, F_OK) == 0, there);
}

static void refusals(void **state)
{
	char *out = in_folder("never"), *file = in_folder("never.safetensors");

	refused(A "/model", NULL, B "/lora_unet.safetensors", out, EXIT_INPUT, "another model");
	refused(A "/model", NULL, "nowhere.safetensors", out, EXIT_INPUT, "nowhere.safetensors");
	refused(A "/model", NULL, A "/lora_unet.safetensors", folder, EXIT_USAGE, "exists");
	refused(SINGLE_B, B "/model", B "/lora_unet.safetensors:1e9", file, EXIT_INPUT, "leaves the range of F16");
	refused(A "/model", NULL, A "/lora_unet.safetensors", "-", EXIT_USAGE, "standard output");
	free(out);
	free(file);
}

/* A model with one NaN in a weight that no adapter touches. */
static void broken_model(void **state)
{
	char *model = in_folder("broken.safetensors"), *out = in_folder("from-broken.safetensors");
	struct buffer b = { 0 };
	struct safetensors *f;
	struct error e;
	const float bad = NAN;
	size_t at;

	assert_int_equal(read_file(SINGLE_A, 1 << 24, &b, &e), 0);
	f = safetensors_open(SINGLE_A, &e);
	at = f->data_start + safetensors_find(f, "first_stage_model.quant_conv.weight")->offset;
	safetensors_close(f);
	memcpy(b.data + at, &bad, sizeof(bad));
	assert_int_equal(publish_bytes(model, b.data, b.len, &e), 0);
	refused(model, A "/model", A "/lora_unet.safetensors", out, EXIT_INPUT, "first_stage_model.quant_conv.weight");
	assert_int_equal(try_merge(model, A "/model", A "/lora_unet.safetensors", NULL, out, true, &e), 0);
	assert_int_equal(access(out, F_OK), 0);
	buffer_free(&b);
	free(model);
	free(out);
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *place) { return remove(path); }

static int make_folder(void **state)
{
	quiet(1);
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) { return nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(folder_values), cmocka_unit_test(dora_values),
		cmocka_unit_test(half_precision_is_rounded_once),
		cmocka_unit_test(single_file_equals_folder),
		cmocka_unit_test(projection_is_turned),
		cmocka_unit_test(plus_and_minus),
		cmocka_unit_test(refusals),
		cmocka_unit_test(broken_model),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
