/* Adapters opened without a model: the same modules, layers and shapes as with their model. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "../../libcommon/adapter/adapter_file.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/model/outline.h"
#include "../../libcommon/model/family.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define GOLDEN "tests/golden/"

static void check_module(const struct file_module *alone, const struct file_module *with)
{
	const struct weight *a = layer_weight(alone->layer), *b = layer_weight(with->layer);

	assert_string_equal(alone->layer->name, with->layer->name);
	assert_int_equal(alone->layer->component, with->layer->component);
	assert_int_equal(alone->layer->convolution, with->layer->convolution);
	assert_ptr_equal(alone->kind, with->kind);
	if (!alone->kind->needs_base) {         /* OFT's tensors tell one side alone */
		assert_int_equal(a->out, b->out);
		assert_int_equal(a->in, b->in);
		assert_int_equal(a->kh, b->kh);
		assert_int_equal(a->kw, b->kw);
	}
	assert_int_equal(alone->form.rank, with->form.rank);
	assert_int_equal(alone->by_input, with->by_input);
	assert_true(alone->alpha == with->alpha);
}

static void check_file(const char *folder, const char *name)
{
	char *path = xprintf(GOLDEN "%s", name), *model = xprintf(GOLDEN "%s", folder);
	struct adapter_file *alone, *with, *told;
	struct model_config c;
	struct outline o;
	struct error e;

	assert_int_equal(model_config_read(model, &c, &e), 0);
	outline_of_config(&o, &c);
	with = adapter_file_open(path, &o.layers, &e);
	assert_non_null(with);
	alone = adapter_file_open_alone(path, NULL, &e);
	assert_non_null(alone);
	told = adapter_file_open_alone(path, &c, &e);
	assert_non_null(told);
	assert_int_equal(alone->count, with->count);
	assert_int_equal(told->count, with->count);
	for (size_t i = 0; i < with->count; i++) {
		check_module(&alone->module[i], &with->module[i]);
		check_module(&told->module[i], &with->module[i]);
	}
	assert_string_equal(alone->family->name, c.family->name);
	adapter_file_close(alone);
	adapter_file_close(told);
	adapter_file_close(with);
	outline_free(&o);
	free(path);
	free(model);
}

static void every_kind(void **unused)
{
	static const char *const names[] = {
		"tiny-a/lora_conv.safetensors", "tiny-a/lora_text.safetensors", "adapters/oft_peft",
		"adapters/loha_tucker.safetensors", "adapters/loha_dora_in.safetensors",
		"adapters/lokr_dora_out.safetensors", "adapters/oft_kohya_tight.safetensors",
		"adapters/locon_tucker.safetensors", "adapters/rslora_peft", "adapters/tlora.safetensors",
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		check_file("tiny-a/model", names[i]);
}

static void another_model(void **unused)
{
	(void)unused;
	check_file("tiny-b/model", "tiny-b/lora_conv.safetensors");
}

static void another_family(void **unused)
{
	struct adapter_file *a;
	struct error e;

	(void)unused;
	a = adapter_file_open_alone(GOLDEN "families/sd15/lora_conv.safetensors", NULL, &e);
	assert_non_null(a);
	assert_string_equal(a->family->name, "sd15");
	adapter_file_close(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind),
		cmocka_unit_test(another_model),
		cmocka_unit_test(another_family),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
