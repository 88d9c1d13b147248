/* The adapter that a mode writes: modules copied byte for byte, new factors under the same names and shapes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/adapter/lora.h"
#include "../../libcommon/adapter/metadata.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/merge/output.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define GOLDEN "tests/golden/"

static char file[] = "/tmp/test-output-XXXXXX";

static struct adapter_file *opened(const char *path)
{
	struct error e;
	struct adapter_file *a = adapter_file_open_alone(path, NULL, &e);

	if (!a)
		print_error("%s\n", e.text);
	assert_non_null(a);
	return a;
}

static void same_tensors(const struct adapter_file *a, const char *path)
{
	struct error e;
	struct safetensors *s = safetensors_open(path, &e);
	char hash[65];

	assert_non_null(s);
	assert_int_equal(s->count, a->file->count);
	for (size_t i = 0; i < s->count; i++) {
		const struct safetensor *t = &s->tensor[i], *was = safetensors_find(a->file, t->name);

		if (!was)
			print_error("%s is not in %s\n", t->name, a->file->path);
		assert_non_null(was);
		assert_int_equal(t->dtype, was->dtype);
		assert_int_equal(t->dims, was->dims);
		assert_memory_equal(t->shape, was->shape, t->dims * sizeof(*t->shape));
		assert_memory_equal(safetensors_bytes(s, t), safetensors_bytes(a->file, was), t->bytes);
	}
	payload_hash(s, hash);
	assert_string_equal(safetensors_metadata(s, "sshs_model_hash"), hash);
	assert_string_equal(safetensors_metadata(s, "ss_base_model_version"), a->family->base_model_version);
	safetensors_close(s);
}

static void copies(void **unused)
{
	static const char *const names[] = { "tiny-a/lora_conv.safetensors", "tiny-a/lora_text.safetensors",
					     "adapters/loha_dora_in.safetensors", "adapters/lokr_tucker.safetensors",
					     "families/sd15/lora_conv.safetensors" };

	(void)unused;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char *path = xprintf(GOLDEN "%s", names[i]);
		struct adapter_file *a = opened(path);
		struct output *o = output_new(a->family, &a->blocks, DTYPE_F32);
		struct error e;

		for (size_t k = 0; k < a->count; k++)
			assert_int_equal(output_copy(o, a, &a->module[k], &e), 0);
		assert_int_equal(output_save(o, file, &e), 0);
		output_free(o);
		same_tensors(a, file);
		adapter_file_close(a);
		free(path);
	}
}

static void new_factors(void **unused)
{
	struct adapter_file *a = opened(GOLDEN "tiny-a/lora_conv.safetensors");
	struct output *o = output_new(a->family, &a->blocks, DTYPE_F32);
	struct error e;

	(void)unused;
	for (size_t k = 0; k < a->count; k++) {
		const struct file_module *m = &a->module[k];
		struct output_lora l = { m->layer, m->form.rank, m->alpha,
					 adapter_file_floats(a, m->part[LORA_DOWN], true, &e),
					 adapter_file_floats(a, m->part[LORA_UP], true, &e) };

		output_add_lora(o, &l);
	}
	assert_int_equal(output_save(o, file, &e), 0);
	output_free(o);
	same_tensors(a, file);
	adapter_file_close(a);
}

static void out_of_range(void **unused)
{
	struct adapter_file *a = opened(GOLDEN "tiny-a/lora_conv.safetensors");
	struct output *o = output_new(a->family, &a->blocks, DTYPE_F16);
	struct error e;
	struct output_lora l = { a->module[0].layer, a->module[0].form.rank, 1,
				 adapter_file_floats(a, a->module[0].part[LORA_DOWN], true, &e),
				 adapter_file_floats(a, a->module[0].part[LORA_UP], true, &e) };

	(void)unused;
	l.up[0] = 70000;
	output_add_lora(o, &l);
	assert_int_equal(output_save(o, file, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	output_free(o);
	adapter_file_close(a);
}

static int begin(void **unused)
{
	(void)unused;
	return close(mkstemp(file));
}

static int end(void **unused)
{
	(void)unused;
	return unlink(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies),
		cmocka_unit_test(new_factors),
		cmocka_unit_test(out_of_range),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
