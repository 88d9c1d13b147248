/* Inner products of updates from small matrices, against those of the whole updates. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/merge/inner.h"
#include "../../libcommon/merge/whole_update.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define GOLDEN "tests/golden/"
enum { MOST = 3 };

/* Of weight 1. */
static double *whole_of(const struct inputs *in, const struct term *t, size_t *elements)
{
	const struct weight *w = layer_weight(t->module->layer);
	struct delta d;
	struct error e;
	double *sum;

	assert_int_equal(file_module_delta(&d, in->item[t->input].file, t->module, &e), 0);
	*elements = (size_t)w->out * w->in * w->kh * w->kw;
	sum = xcalloc(*elements, sizeof(*sum));
	delta_add_rows(&d, 0, w->out, sum, NULL);
	delta_end(&d);
	return sum;
}

static double dot(const double *a, const double *b, size_t n)
{
	long double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (long double)a[i] * b[i];
	return (double)sum;
}

static void check_layer(const struct inputs *in, const struct term *t, size_t n)
{
	double gram[MOST * MOST], *whole[MOST];
	struct error e;
	size_t elements;

	assert_true(n <= MOST);
	assert_int_equal(inner_products(gram, in, t, n, &e), 0);
	for (size_t i = 0; i < n; i++)
		whole[i] = whole_of(in, &t[i], &elements);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++) {
			const double want = t[i].weight * t[j].weight * dot(whole[i], whole[j], elements);
			const double size = sqrt(gram[i * n + i] * gram[j * n + j]);

			/* sums of a few thousand products in double are off by less than 1e-12 of what they are of */
			if (!(fabs(gram[i * n + j] - want) <= 1e-12 * size))
				fail_msg("%s: %.17g, not %.17g", t->module->name, gram[i * n + j], want);
		}
	for (size_t i = 0; i < n; i++)
		free(whole[i]);
}

static void check(const char *const *adapter, size_t n)
{
	const struct merge_options o = { .adapter = adapter, .adapters = n };
	struct term_list terms = { 0 };
	struct inputs in;
	struct error e = { 0 };

	if (inputs_open(&in, &o, &e) || inputs_terms(&in, &terms, &e))
		fail_msg("%s", e.text);
	for (size_t at = 0; at < terms.count;) {
		const size_t m = terms_of_layer(&terms.item[at], terms.count - at);

		check_layer(&in, &terms.item[at], m);
		at += m;
	}
	free(terms.item);
	inputs_close(&in);
}

static void loras(void **state)
{
	static const char *const files[] = { GOLDEN "tiny-a/lora_unet.safetensors:0.7",
					     GOLDEN "tiny-a/lora_conv.safetensors:-2", GOLDEN "adapters/rslora_peft" };

	check(files, 3);
}

static void other_kinds(void **state)
{
	static const char *const files[] = { GOLDEN "adapters/lokr_both.safetensors:1.5",
					     GOLDEN "tiny-a/lora_conv.safetensors",
					     GOLDEN "adapters/loha_tucker.safetensors" },
				*const middle[] = { GOLDEN "adapters/locon_tucker.safetensors",
						    GOLDEN "tiny-a/lora_conv.safetensors" };

	check(files, 3);
	check(middle, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(loras), cmocka_unit_test(other_kinds) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
