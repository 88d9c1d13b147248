/* What a module does, in numbers: products and singular values against the matrix written out. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/adapter/module_update.h"
#include "../../libcommon/base/memory.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define GOLDEN "tests/golden/"

static struct adapter_file *opened(const char *name)
{
	char *path = xprintf(GOLDEN "%s", name);
	struct error e;
	struct adapter_file *a = adapter_file_open_alone(path, NULL, &e);

	assert_non_null(a);
	free(path);
	return a;
}

/* dW of a kind that needs no W, element by element */
static double *written_out(const struct module_update *u)
{
	double *x = xcalloc(u->rows * u->columns, sizeof(*x));

	delta_add_rows(&u->delta, 0, u->rows, x, NULL);
	return x;
}

static double dot(const double *x, const double *y, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += x[i] * y[i];
	return sum;
}

/* Sums of n products in double, in two orders: n 2^-53 of the sizes multiplied, and 1e-9 is asked for. */
static void check_dot(const struct module_update *a, const struct module_update *b)
{
	double *x = written_out(a), *y = written_out(b);
	const size_t n = a->rows * a->columns;
	const double size = sqrt(dot(x, x, n) * dot(y, y, n));

	assert_true(size > 0);
	assert_true(fabs(module_update_dot(a, b) - dot(x, y, n)) <= 1e-12 * size);
	assert_true(fabs(module_update_norm(a) - sqrt(dot(x, x, n))) <= 1e-12 * sqrt(dot(x, x, n)));
	free(x);
	free(y);
}

static const struct file_module *same_layer(const struct adapter_file *a, const struct file_module *m)
{
	for (size_t i = 0; i < a->count; i++)
		if (a->module[i].layer->component == m->layer->component &&
		    !strcmp(a->module[i].layer->name, m->layer->name))
			return &a->module[i];
	return NULL;
}

static size_t check_pairs(const char *one, const char *other)
{
	struct adapter_file *a = opened(one), *b = opened(other);
	size_t pairs = 0;

	for (size_t i = 0; i < a->count; i++) {
		const struct file_module *m = same_layer(b, &a->module[i]);
		struct module_update u, v;
		struct error e;

		if (!m)
			continue;
		assert_int_equal(module_update_open(&u, a, &a->module[i], NULL, &e), 0);
		assert_int_equal(module_update_open(&v, b, m, NULL, &e), 0);
		check_dot(&u, &v);
		module_update_close(&u);
		module_update_close(&v);
		pairs++;
	}
	adapter_file_close(a);
	adapter_file_close(b);
	return pairs;
}

static void products_are_those_of_the_matrices(void **state)
{
	assert_int_equal(check_pairs("tiny-a/lora_conv.safetensors", "tiny-a/lora_conv.safetensors"), 258);
	assert_int_equal(check_pairs("tiny-a/lora_unet.safetensors", "tiny-a/lora_conv.safetensors"), 192);
	assert_int_equal(check_pairs("adapters/loha_tucker.safetensors", "tiny-a/lora_conv.safetensors"), 8);
	assert_int_equal(check_pairs("adapters/lokr_both.safetensors", "adapters/tlora.safetensors"), 9);
	assert_int_equal(check_pairs("adapters/locon_tucker.safetensors", "adapters/lokr_tucker.safetensors"), 8);
}

/* The squares of the values are the norm's, and there are no more of them than the layer has sides.  Factors that are
 * products of floats are rounded once: 2^-24. */
static void check_values(const char *name)
{
	struct adapter_file *a = opened(name);

	for (size_t i = 0; i < a->count; i++) {
		struct module_update u;
		struct error e;
		double *value;
		size_t n;

		assert_int_equal(module_update_open(&u, a, &a->module[i], NULL, &e), 0);
		n = module_update_values(&u, &value);
		assert_true(n <= u.rows && n <= u.columns);
		assert_true(fabs(sqrt(dot(value, value, n)) / module_update_norm(&u) - 1) < 1e-6);
		for (size_t k = 1; k < n; k++)
			assert_true(value[k] <= value[k - 1] && value[k] >= 0);
		free(value);
		module_update_close(&u);
	}
	adapter_file_close(a);
}

static void values_are_as_long_as_the_matrix(void **state)
{
	check_values("tiny-a/lora_conv.safetensors");
	check_values("tiny-a/lora_text.safetensors");
	check_values("adapters/loha_tucker.safetensors");
	check_values("adapters/lokr_both.safetensors");
	check_values("adapters/lokr_tucker.safetensors");
	check_values("adapters/locon_tucker.safetensors");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(products_are_those_of_the_matrices),
		cmocka_unit_test(values_are_as_long_as_the_matrix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
