/* lora-merge add: what it writes against dW by its definition, in double, and against the best of a rank, by the
 * singular values of the whole matrix. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/base/linalg.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/philox.h"
#include "../../libcommon/io/safetensors.h"
#include "../../libcommon/merge/merge.h"
#include <cmocka.h>     /* last: it takes the name fail */

enum { OUT = 24, IN = 20, SIZE = OUT * IN };
#define LINEAR "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q"
#define KERNEL "lora_unet_input_blocks_1_0_in_layers_2"
#define TEXT "lora_te1_text_model_encoder_layers_0_mlp_fc1"
enum { KERNEL_OUT = 8, KERNEL_IN = 6 };

static char folder[] = "/tmp/test-add-XXXXXX";

static char *at(const char *name) { return xprintf("%s/%s", folder, name); }

/* ---- adapters ---- */

struct made { struct safetensors_out tensor[32]; size_t count; };

static void put(struct made *a, enum dtype type, const char *stem, const char *suffix, int dims, const int64_t *shape,
		uint64_t seed)
{
	struct safetensors_out *t = &a->tensor[a->count++];
	size_t n = 1;
	float *x;

	for (int i = 0; i < dims; i++)
		n *= shape[i];
	x = xmalloc((n + 1) * sizeof(*x));
	random_normal(&(struct random){ .seed = seed + a->count, .purpose = RANDOM_TEST }, x, n);
	*t = (struct safetensors_out){ .name = xprintf("%s.%s", stem, suffix), .dtype = type, .dims = dims, .data = x,
				       .floats = true };
	if (dims)
		memcpy(t->shape, shape, dims * sizeof(*shape));
}

static void put_alpha(struct made *a, enum dtype type, const char *stem, float alpha)
{
	put(a, type, stem, "alpha", 0, NULL, 0);
	*(float *)a->tensor[a->count - 1].data = alpha;
}

static void put_lora(struct made *a, enum dtype type, const char *stem, int rank, float alpha, uint64_t seed)
{
	put(a, type, stem, "lora_down.weight", 2, (int64_t[]){ rank, IN }, seed);
	put(a, type, stem, "lora_up.weight", 2, (int64_t[]){ OUT, rank }, seed + 10);
	put_alpha(a, type, stem, alpha);
}

static void put_kernel(struct made *a, int rank, float alpha, uint64_t seed)
{
	put(a, DTYPE_F32, KERNEL, "lora_down.weight", 4, (int64_t[]){ rank, KERNEL_IN, 3, 3 }, seed);
	put(a, DTYPE_F32, KERNEL, "lora_up.weight", 4, (int64_t[]){ KERNEL_OUT, rank, 1, 1 }, seed + 10);
	put_alpha(a, DTYPE_F32, KERNEL, alpha);
}

static void put_loha(struct made *a, int rank, float alpha, uint64_t seed)
{
	put(a, DTYPE_F32, LINEAR, "hada_w1_a", 2, (int64_t[]){ OUT, rank }, seed);
	put(a, DTYPE_F32, LINEAR, "hada_w1_b", 2, (int64_t[]){ rank, IN }, seed + 10);
	put(a, DTYPE_F32, LINEAR, "hada_w2_a", 2, (int64_t[]){ OUT, rank }, seed + 20);
	put(a, DTYPE_F32, LINEAR, "hada_w2_b", 2, (int64_t[]){ rank, IN }, seed + 30);
	put_alpha(a, DTYPE_F32, LINEAR, alpha);
}

static void put_lokr(struct made *a, uint64_t seed)
{
	put(a, DTYPE_F32, LINEAR, "lokr_w1", 2, (int64_t[]){ 4, 4 }, seed);
	put(a, DTYPE_F32, LINEAR, "lokr_w2_a", 2, (int64_t[]){ OUT / 4, 2 }, seed + 10);
	put(a, DTYPE_F32, LINEAR, "lokr_w2_b", 2, (int64_t[]){ 2, IN / 4 }, seed + 20);
	put_alpha(a, DTYPE_F32, LINEAR, 1);
}

static void save(struct made *a, const char *name)
{
	const struct metadata said[] = { { "ss_base_model_version", "sdxl_base_v1-0" } };
	char *path = at(name);
	struct error e;

	assert_int_equal(safetensors_save(path, a->tensor, a->count, said, 1, &e), 0);
	for (size_t i = 0; i < a->count; i++) {
		free((char *)a->tensor[i].name);
		free((void *)a->tensor[i].data);
	}
	free(path);
}

/* ---- dW by its definition ---- */

static double *read_tensor(const struct safetensors *s, const char *stem, const char *suffix, int64_t *first)
{
	char *name = xprintf("%s.%s", stem, suffix);
	const struct safetensor *t = safetensors_find(s, name);
	double *x = NULL;

	free(name);
	if (!t)
		return NULL;
	x = xcalloc(safetensor_elements(t) + 1, sizeof(*x));
	for (size_t i = 0; i < safetensor_elements(t); i++) {
		float one;

		assert_int_equal(to_float(&one, (const char *)safetensors_bytes(s, t) + i * dtype_size(t->dtype),
					  t->dtype, 1), 0);
		x[i] = one;
	}
	if (first)
		*first = t->shape[0];
	return x;
}

/* to [rows][columns] += by * alpha / rank * up down */
static bool add_product(double *to, const struct safetensors *s, const char *stem, int rows, int columns, double by)
{
	int64_t rank;
	double *down = read_tensor(s, stem, "lora_down.weight", &rank),
	       *up = read_tensor(s, stem, "lora_up.weight", NULL), *alpha = read_tensor(s, stem, "alpha", NULL);
	const bool there = down && up;

	for (int o = 0; there && o < rows; o++)
		for (int i = 0; i < columns; i++)
			for (int k = 0; k < rank; k++)
				to[o * columns + i] += by * alpha[0] / rank * up[o * rank + k] * down[k * columns + i];
	free(down), free(up), free(alpha);
	return there;
}

/* arXiv 2108.06098: (w1_a w1_b) * (w2_a w2_b), element by element */
static bool add_hadamard(double *to, const struct safetensors *s, const char *stem, double by)
{
	int64_t rank;
	double *a1 = read_tensor(s, stem, "hada_w1_a", NULL), *b1 = read_tensor(s, stem, "hada_w1_b", &rank),
	       *a2 = read_tensor(s, stem, "hada_w2_a", NULL), *b2 = read_tensor(s, stem, "hada_w2_b", NULL),
	       *alpha = read_tensor(s, stem, "alpha", NULL);
	const bool there = a1;

	for (int o = 0; there && o < OUT; o++)
		for (int i = 0; i < IN; i++) {
			double one = 0, other = 0;

			for (int k = 0; k < rank; k++) {
				one += a1[o * rank + k] * b1[k * IN + i];
				other += a2[o * rank + k] * b2[k * IN + i];
			}
			to[o * IN + i] += by * alpha[0] / rank * one * other;
		}
	free(a1), free(b1), free(a2), free(b2), free(alpha);
	return there;
}

/* w1 (x) (w2_a w2_b) */
static bool add_kronecker(double *to, const struct safetensors *s, const char *stem, double by)
{
	enum { ROWS = OUT / 4, COLUMNS = IN / 4, RANK = 2 };
	double *w1 = read_tensor(s, stem, "lokr_w1", NULL), *a = read_tensor(s, stem, "lokr_w2_a", NULL),
	       *b = read_tensor(s, stem, "lokr_w2_b", NULL), *alpha = read_tensor(s, stem, "alpha", NULL);
	const bool there = w1;

	for (int o = 0; there && o < OUT; o++)
		for (int i = 0; i < IN; i++)
			for (int k = 0; k < RANK; k++)
				to[o * IN + i] += by * alpha[0] / RANK * w1[o / ROWS * 4 + i / COLUMNS] *
						  a[o % ROWS * RANK + k] * b[k * COLUMNS + i % COLUMNS];
	free(w1), free(a), free(b), free(alpha);
	return there;
}

static bool add_update(double *to, const char *name, const char *stem, double by)
{
	const bool kernel = !strcmp(stem, KERNEL);
	char *path = at(name);
	struct error e;
	struct safetensors *s = safetensors_open(path, &e);
	bool there;

	assert_non_null(s);
	there = add_product(to, s, stem, kernel ? KERNEL_OUT : OUT, kernel ? KERNEL_IN * 9 : IN, by) ||
		add_hadamard(to, s, stem, by) || add_kronecker(to, s, stem, by);
	safetensors_close(s);
	free(path);
	return there;
}

static double norm(const double *x, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += x[i] * x[i];
	return sqrt(sum);
}

/* ---- adding ---- */

struct run { const char *name[3]; double weight[3]; long rank; const char *precision; };

static int add(const struct run *r, struct error *e)
{
	const char *adapter[3];
	struct merge_options o = { .adapter = adapter, .out = at("sum"), .rank = r->rank,
				   .save_precision = r->precision };
	int status;

	for (; o.adapters < 3 && r->name[o.adapters]; o.adapters++)
		adapter[o.adapters] = xprintf("%s/%s:%.17g", folder, r->name[o.adapters], r->weight[o.adapters]);
	status = merge_add(&o, e);
	for (size_t i = 0; i < o.adapters; i++)
		free((char *)adapter[i]);
	free((char *)o.out);
	return status;
}

/* want [SIZE] is what the sum should be.  Returns the norm of what is missing. */
static double missing(const struct run *r, const char *stem, double want[SIZE])
{
	double got[SIZE] = { 0 };

	memset(want, 0, SIZE * sizeof(*want));
	for (int i = 0; i < 3 && r->name[i]; i++)
		add_update(want, r->name[i], stem, r->weight[i]);
	assert_true(add_update(got, "sum", stem, 1));
	for (int i = 0; i < SIZE; i++)
		got[i] -= want[i];
	return norm(got, SIZE);
}

static void make_adapters(void)
{
	struct made a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 }, half = { 0 }, half2 = { 0 };

	put_lora(&a, DTYPE_F32, LINEAR, 4, 3, 1);
	put_kernel(&a, 3, 1, 2);
	put_lora(&a, DTYPE_F32, TEXT, 2, 2, 3);
	save(&a, "a");
	put_lora(&b, DTYPE_F32, LINEAR, 6, 1, 4);
	put_kernel(&b, 2, 5, 5);
	save(&b, "b");
	put_loha(&c, 2, 1.5f, 6);
	save(&c, "loha");
	put_lokr(&d, 7);
	save(&d, "lokr");
	put_lora(&half, DTYPE_F16, LINEAR, 4, 1, 8);
	save(&half, "half");
	put_lora(&half2, DTYPE_F16, LINEAR, 4, 4, 9);
	save(&half2, "half2");
}

/* The README's bars: 1e-6 in F32, 1e-3 in F16. */
static void test_exact(void **state)
{
	static const struct run runs[] = {
		{ { "a", "b" }, { 1, 1 } }, { { "a", "b" }, { 0.7, -0.3 } }, { { "a", "b", "a" }, { 2, 1, -0.5 } },
		{ { "a", "loha" }, { 0.5, 0.25 } }, { { "lokr", "a", "loha" }, { -1, 0.1, 3 } },
		{ { "loha" }, { -0.3 } }, { { "lokr" }, { 0.6 } }, { { "a" }, { -2 } }, { { "a", "b" }, { 1e-4, 1e3 } },
		{ { "half", "half2" }, { 0.8, -0.6 } }, { { "half" }, { 0.3 } },
		{ { "a", "b" }, { 0.7, 0.3 }, 0, "fp16" }, { { "a", "b" }, { 0.7, 0.3 }, 0, "bf16" },
	};

	for (size_t i = 0; i < sizeof(runs) / sizeof(*runs); i++) {
		const struct run *r = &runs[i];
		const bool half = !strncmp(r->name[0], "half", 4) || r->precision;
		const double bar = !half ? 1e-6 : r->precision && *r->precision == 'b' ? 8e-3 : 1e-3;
		double want[SIZE], lost;
		struct error e = { 0 };

		if (add(r, &e))
			print_error("%s\n", e.text);
		assert_int_equal(e.code, 0);
		lost = missing(r, LINEAR, want);
		assert_true(lost <= bar * norm(want, SIZE));
		if (strcmp(r->name[0], "a") || !r->name[1] || strcmp(r->name[1], "b"))
			continue;
		lost = missing(r, KERNEL, want);
		assert_true(lost <= bar * norm(want, SIZE));
		lost = missing(r, TEXT, want);
		assert_true(lost <= bar * norm(want, SIZE));
	}
}

static void test_rank(void **state)
{
	static const struct run runs[] = {
		{ { "a", "b" }, { 1, 1 }, 3 }, { { "a", "b" }, { 0.7, -0.3 }, 8 },
		{ { "a", "loha" }, { 0.5, 0.25 }, 1 },
		{ { "lokr", "a", "b" }, { 1, 1, 1 }, 5 }, { { "lokr" }, { 1 }, 2 }, { { "a" }, { 1 }, 2 },
		{ { "a", "b" }, { 1, 1 }, 64 }, { { "half", "half2" }, { 1, 1 }, 3 },
	};

	for (size_t i = 0; i < sizeof(runs) / sizeof(*runs); i++) {
		double want[SIZE], u[OUT * IN], s[IN], vt[IN * IN], best = 0, lost;
		struct error e = { 0 };

		assert_int_equal(add(&runs[i], &e), 0);
		lost = missing(&runs[i], LINEAR, want);
		svd_small(u, s, vt, want, OUT, IN);
		for (int k = (int)runs[i].rank; k < IN; k++)
			best += s[k] * s[k];
		/* rounding to F32, where nothing is cut off */
		assert_true(lost <= 1.001 * sqrt(best) + 1e-6 * norm(want, SIZE));
	}
}

static void test_difference_of_the_same(void **state)
{
	static const struct run none = { { "a", "a" }, { 1, -1 } };
	static const char *const stems[] = { LINEAR, KERNEL, TEXT };
	struct error e = { 0 };

	assert_int_equal(add(&none, &e), 0);
	for (int i = 0; i < 3; i++) {
		double got[SIZE] = { 0 };

		assert_true(add_update(got, "sum", stems[i], 1));
		assert_true(norm(got, SIZE) == 0);
	}
}

/* Weights 1 and 0 give the first one's tensors. */
static void test_first_alone(void **state)
{
	static const struct run first = { { "a", "b" }, { 1, 0 } };
	char *a = at("a"), *sum = at("sum");
	struct error e = { 0 };
	struct safetensors *x, *y;

	assert_int_equal(add(&first, &e), 0);
	x = safetensors_open(a, &e);
	y = safetensors_open(sum, &e);
	assert_int_equal(x->count, y->count);
	for (size_t i = 0; i < x->count; i++) {
		const struct safetensor *t = &x->tensor[i], *u = safetensors_find(y, t->name);

		assert_non_null(u);
		assert_int_equal(t->bytes, u->bytes);
		assert_memory_equal(safetensors_bytes(x, t), safetensors_bytes(y, u), t->bytes);
	}
	safetensors_close(x);
	safetensors_close(y);
	free(a), free(sum);
}

static void test_nothing_left(void **state)
{
	static const struct run none = { { "a", "b" }, { 0, 0 } };
	struct error e = { 0 };

	assert_int_equal(add(&none, &e), -1);
	assert_int_equal(e.code, EXIT_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact), cmocka_unit_test(test_rank),
		cmocka_unit_test(test_difference_of_the_same), cmocka_unit_test(test_first_alone),
		cmocka_unit_test(test_nothing_left),
	};
	char *command;
	int failed;

	quiet(1);
	if (!mkdtemp(folder))
		return 1;
	make_adapters();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	command = xprintf("rm -r %s", folder);
	if (system(command))
		failed = 1;
	free(command);
	return failed;
}
