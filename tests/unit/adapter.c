/* Adapters made, loaded and saved.  The device is the host's memory: only moving data is asked of it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>
#include "../../libcommon/adapter/adapter.h"
#include "../../libcommon/adapter/adapter_file.h"
#include "../../libcommon/adapter/lora.h"
#include "../../libcommon/adapter/metadata.h"
#include "model_layers.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define GOLDEN "tests/golden/tiny-a"
#define SD15 "tests/golden/families/sd15"

static void *host_alloc(struct device *d, size_t n) { return xmalloc(n); }
static void host_release(struct device *d, void *p) { free(p); }
static void host_upload(struct device *d, void *to, const void *from, size_t n) { memcpy(to, from, n); }
static void host_zero(struct device *d, struct values x, size_t n) { memset(x.at, 0, n * sizeof(float)); }

static const struct backend host = {
	.alloc = host_alloc, .release = host_release, .upload = host_upload, .download = host_upload, .zero = host_zero,
};

static char folder[] = "/tmp/test-adapter-XXXXXX";

static void layers_of(const char *golden, struct layer_list *layers)
{
	char *model = path_join(golden, "model");
	struct model_config m;
	struct error e;

	assert_int_equal(model_config_read(model, &m, &e), 0);
	test_layers(&m, layers);
	free(model);
}

static void golden_layers(struct layer_list *layers)
{
	layers_of(GOLDEN, layers);
}

static void sdxl_layers(struct layer_list *layers)
{
	struct model_config m;

	model_config_sdxl(&m);
	test_layers(&m, layers);
}

/* ---- new ---- */

static struct adapter *create(struct layer_list *layers, struct adapter_spec spec)
{
	struct error e;
	struct adapter *a = adapter_create(layers, &spec, &host, NULL, &e);

	assert_non_null(a);
	return a;
}

static void counts_of_sdxl(void **state)
{
	static const struct {
		struct adapter_spec spec;
		size_t modules;
	} cases[] = {
		{ { .unet = true, .rank = 1, .alpha = 1 }, 722 },
		{ { .unet = true, .rank = 1, .alpha = 1, .conv_rank = 1, .conv_alpha = 1 }, 788 },
		{ { .text = { true }, .rank = 1, .alpha = 1 }, 72 },
		{ { .text = { false, true }, .rank = 1, .alpha = 1, .conv_rank = 2 }, 192 },
	};
	struct layer_list layers;

	sdxl_layers(&layers);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct adapter *a = create(&layers, cases[i].spec);

		assert_int_equal(a->count, cases[i].modules);
		adapter_free(a);
	}
	for (size_t i = 0; i < layers.count; i++)
		assert_null(*layer_branch(&layers.layer[i]));
	free_test_layers(&layers);
}

/* 3x3 take conv_rank and conv_alpha, 1x1 and time projections the others; te1, te2, then the UNet. */
static void ranks_and_order(void **state)
{
	struct layer_list layers;
	struct adapter *a;
	int stage = 0;

	golden_layers(&layers);
	a = create(&layers, (struct adapter_spec){ .unet = true,
						   .text = { true, true },
						   .rank = 4,
						   .alpha = 2,
						   .conv_rank = 3,
						   .conv_alpha = 6 });
	for (size_t i = 0; i < a->count; i++) {
		const struct adapter_module *m = &a->module[i];
		int now = m->layer->component == COMPONENT_TE1 ? 0 : m->layer->component == COMPONENT_TE2 ? 1 : 2;
		bool spatial = layer_weight(m->layer)->kh == 3;

		assert_true(now >= stage);
		stage = now;
		assert_int_equal(m->form.rank, spatial ? 3 : 4);
		assert_true(m->branch.scale == (spatial ? 2.0f : 0.5f));
		assert_ptr_equal(*layer_branch(m->layer), &m->branch);
		assert_true(m->branch.part[LORA_DOWN].wants_grad && m->branch.part[LORA_UP].wants_grad &&
			    m->branch.part[LORA_DOWN].grad && m->branch.part[LORA_UP].grad);
	}
	adapter_free(a);
	free_test_layers(&layers);
}

static void check_first_values(const struct adapter_module *m)
{
	const struct weight *w = layer_weight(m->layer);
	float bound = (float)(1 / sqrt((double)w->in * w->kh * w->kw)), greatest = 0;

	for (size_t i = 0; i < tensor_count(&m->branch.part[LORA_DOWN]); i++) {
		assert_true(fabsf(m->branch.part[LORA_DOWN].data[i]) <= bound);
		greatest = fmaxf(greatest, fabsf(m->branch.part[LORA_DOWN].data[i]));
	}
	/* of at least 16 uniform values, all below half: once in 65,536, and these are fixed */
	assert_true(greatest > 0.5f * bound);
	for (size_t i = 0; i < tensor_count(&m->branch.part[LORA_UP]); i++)
		assert_true(m->branch.part[LORA_UP].data[i] == 0);
}

static const struct adapter_module *module_named(const struct adapter *a, const char *stem)
{
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->module[i].stem, stem) == 0)
			return &a->module[i];
	return NULL;
}

/* A module's first values do not depend on which others there are; another seed gives others. */
static void first_values(void **state)
{
	struct layer_list layers;
	struct adapter *all, *few, *other;

	golden_layers(&layers);
	all = create(&layers, (struct adapter_spec){ .unet = true, .text = { true }, .rank = 4, .alpha = 4,
						     .conv_rank = 4, .conv_alpha = 4, .seed = 7 });
	few = create(&layers, (struct adapter_spec){ .unet = true, .rank = 4, .alpha = 4, .seed = 7 });
	other = create(&layers, (struct adapter_spec){ .unet = true, .rank = 4, .alpha = 4, .seed = 8 });
	for (size_t i = 0; i < all->count; i++)
		check_first_values(&all->module[i]);
	for (size_t i = 0; i < few->count; i++) {
		const struct branch *a = &few->module[i].branch, *b = &module_named(all, few->module[i].stem)->branch,
				    *c = &other->module[i].branch;
		size_t n = tensor_count(&a->part[LORA_DOWN]) * sizeof(float);

		assert_memory_equal(a->part[LORA_DOWN].data, b->part[LORA_DOWN].data, n);
		assert_memory_not_equal(a->part[LORA_DOWN].data, c->part[LORA_DOWN].data, n);
	}
	adapter_free(all);
	adapter_free(few);
	adapter_free(other);
	free_test_layers(&layers);
}

static void nothing_to_train(void **state)
{
	struct layer_list layers;
	struct adapter_spec spec = { .rank = 4, .alpha = 4 };
	struct error e;

	golden_layers(&layers);
	assert_null(adapter_create(&layers, &spec, &host, NULL, &e));
	assert_int_equal(e.code, EXIT_USAGE);
	free_test_layers(&layers);
}

/* ---- loading and saving ---- */

static struct adapter *load(const char *path, struct layer_list *layers, double weight)
{
	struct error e;
	struct adapter *a = adapter_load(path, layers, weight, false, &host, NULL, &e);

	if (!a)
		fail_msg("%s", e.text);
	return a;
}

/* What PyTorch wrote, loaded and saved, has the same tensors and so the same hash. */
static void check_copy(const char *golden, const char *name, size_t modules)
{
	static const char *const said[] = { "sshs_model_hash", "modelspec.architecture", "modelspec.implementation" };
	char *copy = xprintf("%s/copy.safetensors", folder), *path = path_join(golden, name);
	struct layer_list layers;
	struct safetensors *was, *is;
	struct adapter *a;
	struct error e;

	layers_of(golden, &layers);
	a = load(path, &layers, 1);
	assert_int_equal(a->count, modules);
	assert_int_equal(adapter_save(a, copy, DTYPE_F32, NULL, 0, &e), 0);
	was = safetensors_open(path, &e);
	is = safetensors_open(copy, &e);
	assert_int_equal(was->count, is->count);
	for (size_t i = 0; i < was->count; i++) {
		assert_string_equal(was->tensor[i].name, is->tensor[i].name);
		assert_int_equal(was->tensor[i].dims, is->tensor[i].dims);
		assert_memory_equal(was->tensor[i].shape, is->tensor[i].shape, sizeof(was->tensor[i].shape));
		assert_memory_equal(safetensors_bytes(was, &was->tensor[i]), safetensors_bytes(is, &is->tensor[i]),
				    was->tensor[i].bytes);
	}
	for (size_t i = 0; i < sizeof(said) / sizeof(*said); i++)
		if (safetensors_metadata(was, said[i]))
			assert_string_equal(safetensors_metadata(was, said[i]), safetensors_metadata(is, said[i]));
	assert_non_null(safetensors_metadata(is, "modelspec.architecture"));
	safetensors_close(was);
	safetensors_close(is);
	adapter_free(a);
	free_test_layers(&layers);
	free(path);
	free(copy);
}

static void golden_files_survive(void **state)
{
	check_copy(GOLDEN, "lora_unet.safetensors", 192);
	check_copy(GOLDEN, "lora_conv.safetensors", 258);
	check_copy(GOLDEN, "lora_text.safetensors", 42);
	check_copy(SD15, "lora_unet.safetensors", 192);
	check_copy(SD15, "lora_conv.safetensors", 278);
	check_copy(SD15, "lora_text.safetensors", 24);
}

/* [rank,in,3,3] in the file is [rank,3,3,in] on the device. */
static void layout_of_filters(void **state)
{
	struct layer_list layers;
	struct safetensors *f;
	struct adapter *a;
	const struct adapter_module *m;
	struct error e;
	float *down;
	int in;

	golden_layers(&layers);
	a = load(GOLDEN "/lora_conv.safetensors", &layers, 0.5);
	m = module_named(a, "lora_unet_input_blocks_1_0_in_layers_2");
	assert_non_null(m);
	in = m->branch.part[LORA_DOWN].c;
	assert_int_equal(m->branch.part[LORA_DOWN].n, 3);
	assert_int_equal(m->branch.part[LORA_DOWN].h, 3);
	assert_int_equal(m->branch.part[LORA_UP].c, 3);
	assert_true(m->alpha == 2 && m->branch.scale == (float)(2.0 / 3 * 0.5));
	f = safetensors_open(GOLDEN "/lora_conv.safetensors", &e);
	down = safetensors_floats(f, "lora_unet_input_blocks_1_0_in_layers_2.lora_down.weight", (size_t)3 * in * 9, &e);
	for (int r = 0; r < 3; r++)
		for (int i = 0; i < in; i++)
			for (int k = 0; k < 9; k++)
				assert_true(down[(r * in + i) * 9 + k] ==
					    m->branch.part[LORA_DOWN].data[(r * 9 + k) * in + i]);
	free(down);
	safetensors_close(f);
	adapter_free(a);
	free_test_layers(&layers);
}

/* Two adapters on one layer stand in the order of loading; taking off the first leaves the second. */
static void several_on_one_layer(void **state)
{
	struct layer_list layers;
	struct adapter *a, *b;

	golden_layers(&layers);
	a = load(GOLDEN "/lora_unet.safetensors", &layers, 1);
	b = load(GOLDEN "/lora_unet.safetensors", &layers, 2);
	assert_ptr_equal(*layer_branch(a->module[0].layer), &a->module[0].branch);
	assert_ptr_equal(a->module[0].branch.next, &b->module[0].branch);
	adapter_free(a);
	assert_ptr_equal(*layer_branch(b->module[0].layer), &b->module[0].branch);
	adapter_free(b);
	free_test_layers(&layers);
}

/* ---- small files by hand: one module on te1's first fc1, [128,32] ---- */

#define STEM "lora_te1_text_model_encoder_layers_0_mlp_fc1"

struct file { struct safetensors_out t[4]; size_t count; float down[2 * 32], up[128 * 2]; };

static void make_file(struct file *f)
{
	*f = (struct file){ .count = 2 };
	for (int i = 0; i < 64; i++)
		f->down[i] = 0.01f * (float)i;
	for (int i = 0; i < 256; i++)
		f->up[i] = 0.02f * (float)i;
	f->t[0] = (struct safetensors_out){ STEM ".lora_down.weight", DTYPE_F32, 2, { 2, 32, 1, 1 }, f->down, true };
	f->t[1] = (struct safetensors_out){ STEM ".lora_up.weight", DTYPE_F32, 2, { 128, 2, 1, 1 }, f->up, true };
}

static struct adapter *load_file(const struct file *f, struct layer_list *layers, struct error *e)
{
	char *path = xprintf("%s/small.safetensors", folder);
	struct adapter *a;

	*e = (struct error){ 0 };
	assert_int_equal(safetensors_save(path, f->t, f->count, NULL, 0, e), 0);
	a = adapter_load(path, layers, 1, false, &host, NULL, e);
	free(path);
	return a;
}

static void alphas(void **state)
{
	static const double f64 = 6;
	static const int64_t i64 = 6;
	static const float six = 6;
	const struct safetensors_out cases[] = {
		{ STEM ".alpha", DTYPE_F64, 0, { 0 }, &f64, false },
		{ STEM ".alpha", DTYPE_I64, 0, { 0 }, &i64, false },
		{ STEM ".alpha", DTYPE_F32, 0, { 0 }, &six, true },
		{ STEM ".alpha", DTYPE_F16, 0, { 0 }, &six, true },
		{ STEM ".alpha", DTYPE_BF16, 1, { 1 }, &six, true },
	};
	struct layer_list layers;
	struct file f;
	struct error e;

	golden_layers(&layers);
	for (size_t i = 0; i <= sizeof(cases) / sizeof(cases[0]); i++) {
		bool given = i < sizeof(cases) / sizeof(cases[0]);
		struct adapter *a;

		make_file(&f);
		if (given)
			f.t[f.count++] = cases[i];
		a = load_file(&f, &layers, &e);
		assert_non_null(a);
		assert_true(a->module[0].alpha == (given ? 6 : 2));     /* none: the rank */
		assert_true(a->module[0].branch.scale == (given ? 3 : 1));
		adapter_free(a);
	}
	free_test_layers(&layers);
}

/* ---- a DoRA's lengths: of outputs or of inputs? ---- */

#define SQUARE "lora_te1_text_model_encoder_layers_0_self_attn_q_proj"
#define LYCORIS(x) "{\"algo\": \"lora\", \"dora_wd\": \"True\", \"wd_on_output\": \"" x "\"}"

static const struct axis {
	const char *stem, *suffix;
	int in, out, dims, shape[4];
	struct metadata says;
	int by_input;                   /* -1: refused */
} axes[] = {
	{ STEM, "dora_scale", 32, 128, 2, { 128, 1 }, { 0 }, 0 },
	{ STEM, "dora_scale", 32, 128, 2, { 1, 32 }, { 0 }, 1 },
	{ STEM, "dora_scale", 32, 128, 1, { 128 }, { 0 }, 0 },
	{ STEM, "dora_scale", 32, 128, 1, { 32 }, { 0 }, 1 },
	{ STEM, "dora_scale", 32, 128, 1, { 31 }, { 0 }, -1 },
	{ STEM, "dora_scale", 32, 128, 2, { 32, 1 }, { 0 }, -1 },
	{ STEM, "dora_scale", 32, 128, 2, { 128, 2 }, { 0 }, -1 },
	{ STEM, "dora_scale", 32, 128, 4, { 1, 32, 1, 1 }, { 0 }, 1 },
	{ STEM, "dora_scale", 32, 128, 4, { 1, 32, 1, 2 }, { 0 }, -1 },
	{ STEM, "magnitude", 32, 128, 1, { 128 }, { 0 }, 0 },
	/* what a reader that only broadcasts would get wrong */
	{ SQUARE, "dora_scale", 32, 32, 2, { 32, 1 }, { 0 }, 0 },
	{ SQUARE, "dora_scale", 32, 32, 2, { 1, 32 }, { 0 }, 1 },
	{ SQUARE, "dora_scale", 32, 32, 1, { 32 }, { 0 }, -1 },
	{ SQUARE, "dora_scale", 32, 32, 1, { 32 }, { DORA_AXIS_KEY, "output" }, 0 },
	{ SQUARE, "dora_scale", 32, 32, 1, { 32 }, { DORA_AXIS_KEY, "input" }, 1 },
	{ SQUARE, "dora_scale", 32, 32, 1, { 32 }, { "ss_network_args", LYCORIS("True") }, 0 },
	{ SQUARE, "dora_scale", 32, 32, 1, { 32 }, { "ss_network_args", LYCORIS("False") }, 1 },
	{ SQUARE, "dora_scale", 32, 32, 1, { 32 }, { "ss_network_args", "{}" }, -1 },
	/* PEFT's are of outputs, whatever their shape and the file say; those of a convolution are [1,out,1,1] */
	{ SQUARE, "lora_magnitude_vector", 32, 32, 1, { 32 }, { 0 }, 0 },
	{ SQUARE, "lora_magnitude_vector", 32, 32, 1, { 32 }, { DORA_AXIS_KEY, "input" }, 0 },
	{ SQUARE, "lora_magnitude_vector", 32, 32, 4, { 1, 32, 1, 1 }, { 0 }, 0 },
	{ SQUARE, "lora_magnitude_vector.weight", 32, 32, 2, { 1, 32 }, { 0 }, 0 },
	{ SQUARE, "lora_magnitude_vector.default.weight", 32, 32, 2, { 32, 1 }, { 0 }, 0 },
	{ SQUARE, "magnitude", 32, 32, 2, { 1, 32 }, { 0 }, 0 },
	{ STEM, "lora_magnitude_vector", 32, 128, 4, { 1, 128, 1, 1 }, { 0 }, 0 },
	{ STEM, "lora_magnitude_vector", 32, 128, 2, { 1, 32 }, { 0 }, -1 },
	{ STEM, "lora_magnitude_vector", 32, 128, 1, { 32 }, { 0 }, -1 },
	{ STEM, "lora_magnitude_vector", 32, 128, 2, { 16, 8 }, { 0 }, -1 },
};

static void check_axis(const struct axis *a, size_t number, const struct layer_list *layers, const char *path)
{
	static const float numbers[4096] = { 1 };
	char *name[] = { xprintf("%s.lora_down.weight", a->stem), xprintf("%s.lora_up.weight", a->stem),
			 xprintf("%s.%s", a->stem, a->suffix) };
	const struct safetensors_out t[] = {
		{ name[0], DTYPE_F32, 2, { 2, a->in }, numbers }, { name[1], DTYPE_F32, 2, { a->out, 2 }, numbers },
		{ name[2], DTYPE_F32, a->dims, { a->shape[0], a->shape[1], a->shape[2], a->shape[3] }, numbers },
	};
	struct error e;
	struct adapter_file *f;

	assert_int_equal(safetensors_save(path, t, 3, &a->says, a->says.key != NULL, &e), 0);
	f = adapter_file_open(path, layers, &e);
	if (a->by_input < 0 ? f != NULL || e.code != EXIT_INPUT :
	    !f || !f->lengths || f->module[0].by_input != (a->by_input == 1))
		fail_msg("axis %zu: %s", number, f ? "taken" : e.text);
	adapter_file_close(f);
	for (int i = 0; i < 3; i++)
		free(name[i]);
}

static void axes_of_dora(void **state)
{
	char *path = xprintf("%s/small.safetensors", folder);
	struct layer_list layers;

	golden_layers(&layers);
	for (size_t i = 0; i < sizeof(axes) / sizeof(*axes); i++)
		check_axis(&axes[i], i, &layers, path);
	free_test_layers(&layers);
	free(path);
}

static void four_dimensions_for_a_matrix(void **state)
{
	struct layer_list layers;
	struct file f;
	struct error e;
	struct adapter *a;

	golden_layers(&layers);
	make_file(&f);
	f.t[0].dims = f.t[1].dims = 4;
	a = load_file(&f, &layers, &e);
	assert_non_null(a);
	assert_true(a->module[0].branch.part[LORA_UP].data[3] == f.up[3]);
	adapter_free(a);
	free_test_layers(&layers);
}

/* What is wrong, and a word of the message. */
static void lone_down(struct file *f)    { f->count = 1; }
static void wrong_width(struct file *f)  { f->t[0].shape[0] = 1; f->t[0].shape[1] = 64; }
static void ranks_differ(struct file *f) { f->t[1].shape[0] = 256; f->t[1].shape[1] = 1; }
static void not_a_number(struct file *f) { f->up[5] = NAN; }
static void no_layer(struct file *f)
{
	f->t[f->count++] = (struct safetensors_out){ "lora_te1_nothing.alpha", DTYPE_F32, 0, { 0 }, f->up, true };
}
static void no_adapter(struct file *f)
{
	f->t[f->count++] = (struct safetensors_out){ "conv_in.weight", DTYPE_F32, 0, { 0 }, f->up, true };
}
static void two_kinds(struct file *f)
{
	f->t[f->count++] = (struct safetensors_out){ STEM ".hada_w1_a", DTYPE_F32, 0, { 0 }, f->up, true };
}
static void another_method(struct file *f)
{
	f->t[f->count++] = (struct safetensors_out){ STEM ".on_input", DTYPE_F32, 0, { 0 }, f->up, true };
}
static void lengths_of_nothing(struct file *f)
{
	f->t[f->count++] = (struct safetensors_out){ STEM ".dora_scale", DTYPE_F32, 0, { 0 }, f->up, true };
}
static void long_alpha(struct file *f)
{
	f->t[f->count++] = (struct safetensors_out){ STEM ".alpha", DTYPE_F32, 1, { 2 }, f->up, true };
}
static void bad_alpha(struct file *f)
{
	f->down[0] = INFINITY;
	f->t[f->count++] = (struct safetensors_out){ STEM ".alpha", DTYPE_F32, 0, { 0 }, f->down, true };
}
static void two_dialects(struct file *f)
{
	f->t[f->count] = f->t[0];
	f->t[f->count++].name = "text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_A.weight";
}
static void bytes_for_numbers(struct file *f)
{
	f->t[0].dtype = DTYPE_U8;
	f->t[0].floats = false;
}

static void broken_files(void **state)
{
	static const struct {
		void (*spoil)(struct file *f);
		const char *says;
	} cases[] = {
		{ lone_down, "has no lora_up" },
		{ wrong_width, "do not fit the model's layer" },
		{ ranks_differ, "do not fit" },
		{ not_a_number, "NaN or infinity" },
		{ no_layer, "1 of its 3 tensors fit no layer" },
		{ no_adapter, "no part of a LoRA" },
		{ two_kinds, "the file mixes two adapters" }, { another_method, "IA3" },
		{ lengths_of_nothing, "do not fit" },
		{ long_alpha, "one finite number" },
		{ bad_alpha, "one finite number" },
		{ two_dialects, "mixes two dialects" },
		{ bytes_for_numbers, "must be F32, F16, BF16 or F8" },
	};
	struct layer_list layers;

	golden_layers(&layers);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct file f;
		struct error e;

		make_file(&f);
		cases[i].spoil(&f);
		assert_null(load_file(&f, &layers, &e));
		assert_int_equal(e.code, EXIT_INPUT);
		if (!strstr(e.text, cases[i].says) || !strstr(e.text, "small.safetensors"))
			fail_msg("case %zu says: %s", i, e.text);
	}
	for (size_t i = 0; i < layers.count; i++)
		assert_null(*layer_branch(&layers.layer[i]));
	free_test_layers(&layers);
}

/* ---- precisions ---- */

static void half_precision(void **state)
{
	static const enum dtype types[] = { DTYPE_F16, DTYPE_BF16 };
	char *path = xprintf("%s/half.safetensors", folder);
	const struct metadata metadata[] = { { "ss_output_name", "half" } };
	struct layer_list layers;
	struct adapter *a;
	struct error e;

	golden_layers(&layers);
	a = load(GOLDEN "/lora_text.safetensors", &layers, 1);
	for (int k = 0; k < 2; k++) {
		struct safetensors *f;

		assert_int_equal(adapter_save(a, path, types[k], metadata, 1, &e), 0);
		f = safetensors_open(path, &e);
		assert_non_null(f);
		for (size_t i = 0; i < f->count; i++)
			assert_int_equal(f->tensor[i].dtype, types[k]);
		assert_string_equal(safetensors_metadata(f, "modelspec.title"), "half");
		safetensors_close(f);
	}
	adapter_free(a);
	free_test_layers(&layers);
	free(path);
}

/* Neither NaN nor what F16 cannot hold gets a file's name. */
static void nonfinite_is_not_published(void **state)
{
	static const float bad[] = { NAN, INFINITY, 70000 };
	char *path = xprintf("%s/bad.safetensors", folder);
	struct layer_list layers;
	struct adapter *a;
	struct error e;

	golden_layers(&layers);
	a = load(GOLDEN "/lora_text.safetensors", &layers, 1);
	for (int k = 0; k < 3; k++) {
		a->module[3].branch.part[LORA_UP].data[1] = bad[k];
		assert_int_equal(adapter_save(a, path, DTYPE_F16, NULL, 0, &e), -1);
		assert_int_equal(e.code, EXIT_DIVERGED);
		assert_int_equal(access(path, F_OK), -1);
	}
	adapter_free(a);
	free_test_layers(&layers);
	free(path);
}

static void weights_of_paths(void **state)
{
	static const struct {
		const char *text, *path;
		double weight;
	} cases[] = {
		{ "a.safetensors", "a.safetensors", 1 },
		{ "a.safetensors:0.5", "a.safetensors", 0.5 },
		{ "a:b:-1", "a:b", -1 },
		{ "a:b", "a:b", 1 },
		{ "a:", "a:", 1 },
		{ "a:1e-2", "a", 0.01 },
	};
	char *path;
	double weight;
	struct error e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(weighted_path(cases[i].text, &path, &weight, &e), 0);
		assert_string_equal(path, cases[i].path);
		assert_true(weight == cases[i].weight);
		free(path);
	}
	assert_int_equal(weighted_path("a:nan", &path, &weight, &e), -1);
	assert_int_equal(e.code, EXIT_USAGE);
}

static int make_folder(void **state) { return mkdtemp(folder) ? 0 : -1; }

static int remove_folder(void **state)
{
	static const char *const names[] = { "copy", "small", "half" };

	for (int i = 0; i < 3; i++) {
		char *path = xprintf("%s/%s.safetensors", folder, names[i]);

		unlink(path);
		free(path);
	}
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_of_sdxl),
		cmocka_unit_test(ranks_and_order),
		cmocka_unit_test(first_values),
		cmocka_unit_test(nothing_to_train),
		cmocka_unit_test(golden_files_survive),
		cmocka_unit_test(layout_of_filters),
		cmocka_unit_test(several_on_one_layer),
		cmocka_unit_test(alphas),
		cmocka_unit_test(four_dimensions_for_a_matrix),
		cmocka_unit_test(axes_of_dora),
		cmocka_unit_test(broken_files),
		cmocka_unit_test(half_precision),
		cmocka_unit_test(nonfinite_is_not_published),
		cmocka_unit_test(weights_of_paths),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
