/* Values as Python writes them; both hashes, against files that other programs wrote. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/hash.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/adapter/metadata.h"
#include <cmocka.h>     /* last: it takes the name fail */

static void python_floats(void **state)
{
	static const struct {
		double value;
		const char *text;
	} cases[] = {
		{ 1, "1.0" },
		{ 0, "0.0" },
		{ 0.0001, "0.0001" },
		{ 0.00001, "1e-05" },
		{ 1.5e-7, "1.5e-07" },
		{ 16, "16.0" },
		{ 0.1, "0.1" },
		{ 123456789, "123456789.0" },
		{ 1e15, "1000000000000000.0" },
		{ 1e16, "1e+16" },
		{ 1.25e22, "1.25e+22" },
		{ -2.5, "-2.5" },
		{ 0.30000000000000004, "0.30000000000000004" },
		{ 1.0 / 3, "0.3333333333333333" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct metadata_list l = { 0 };

		metadata_float(&l, "x", cases[i].value);
		assert_string_equal(metadata_find(&l, "x"), cases[i].text);
		metadata_free(&l);
	}
}

/* The tensors and ss_* keys of a file that PyTorch wrote must give the two hashes in it. */
static void check_hashes(const char *path)
{
	struct error e;
	struct safetensors *f = safetensors_open(path, &e);
	struct safetensors_out *t;
	struct metadata_list l = { 0 };
	char hex[65];

	assert_non_null(f);
	t = xcalloc(f->count, sizeof(*t));
	for (size_t i = 0; i < f->count; i++) {
		t[i] = (struct safetensors_out){ .name = f->tensor[i].name,
						 .dtype = f->tensor[i].dtype,
						 .dims = f->tensor[i].dims,
						 .data = safetensors_bytes(f, &f->tensor[i]) };
		memcpy(t[i].shape, f->tensor[i].shape, sizeof(t[i].shape));
	}
	for (size_t i = 0; i < f->metadata_count; i++)
		if (strncmp(f->metadata[i].key, "sshs_", 5))
			metadata_text(&l, f->metadata[i].key, f->metadata[i].value);
	metadata_add_hashes(&l, t, f->count);
	assert_string_equal(metadata_find(&l, "sshs_model_hash"), safetensors_metadata(f, "sshs_model_hash"));
	assert_string_equal(metadata_find(&l, "sshs_legacy_hash"), safetensors_metadata(f, "sshs_legacy_hash"));
	payload_hash(f, hex);
	assert_string_equal(hex, safetensors_metadata(f, "sshs_model_hash"));
	metadata_free(&l);
	free(t);
	safetensors_close(f);
}

static void hashes_of_golden_files(void **state)
{
	static const char *const files[] = {
		"tests/golden/tiny-a/lora_unet.safetensors", "tests/golden/tiny-a/lora_conv.safetensors",
		"tests/golden/tiny-a/lora_text.safetensors", "tests/golden/tiny-b/lora_unet.safetensors",
		"tests/golden/tiny-b/lora_conv.safetensors", "tests/golden/tiny-b/lora_text.safetensors",
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		check_hashes(files[i]);
}

/* A file that reaches beyond 1 MiB.  The legacy hash covers 0x10000 bytes at 0x100000 of the file with ss_* keys alone;
 * here that file is written down by hand. */
static void legacy_hash_of_a_long_file(void **state)
{
	static const char header[] =
		"{\"__metadata__\":{\"ss_v2\":\"False\"},\"x\":{\"dtype\":\"U8\",\"shape\":[1200000],"
		"\"data_offsets\":[0,1200000]}}";
	size_t n = 1200000, length = (sizeof(header) - 1 + 7) / 8 * 8, start = 0x100000 - 8 - length;
	unsigned char *x = xmalloc(n);
	struct safetensors_out t = { .name = "x", .dtype = DTYPE_U8, .dims = 1, .shape = { 1200000 }, .data = x };
	struct metadata_list l = { 0 };
	char hex[65];

	for (size_t i = 0; i < n; i++)
		x[i] = (unsigned char)(i * 2654435761u >> 13);
	metadata_text(&l, "ss_v2", "False");
	metadata_text(&l, "modelspec.title", "is not hashed");
	metadata_add_hashes(&l, &t, 1);
	sha256_hex_of(x + start, 0x10000, hex);
	hex[8] = 0;
	assert_string_equal(metadata_find(&l, "sshs_legacy_hash"), hex);
	sha256_hex_of(x, n, hex);
	assert_string_equal(metadata_find(&l, "sshs_model_hash"), hex);
	metadata_free(&l);
	free(x);
}

static struct training_facts facts(void)
{
	return (struct training_facts){ .output_name = "gizmo",
					.rank = 16,
					.alpha = 8,
					.conv_rank = 4,
					.conv_alpha = 1,
					.seed = 42,
					.learning_rate = 1e-4,
					.resolution = { 512, 512 },
					.prior_loss_weight = 1,
					.max_bucket = 2048,
					.min_bucket = 256,
					.debiased = true,
					.started = -1,
					.finished = -1 };
}

static void keys_of_a_run(void **state)
{
	static const char *const expected[][2] = {
		{ "ss_v2", "False" },
		{ "ss_base_model_version", "sdxl_base_v1-0" },
		{ "ss_network_module", "networks.lora" },
		{ "ss_network_dim", "16" },
		{ "ss_network_alpha", "8.0" },
		{ "ss_output_name", "gizmo" },
		{ "ss_learning_rate", "0.0001" },
		{ "ss_unet_lr", "None" },
		{ "ss_seed", "42" },
		{ "ss_resolution", "(512, 512)" },
		{ "ss_enable_bucket", "True" },
		{ "ss_debiased_estimation", "True" },
		{ "ss_network_args", "{\"conv_dim\":\"4\",\"conv_alpha\":\"1\"}" },
		{ "modelspec.resolution", "512x512" },
		{ "modelspec.title", "gizmo" },
		{ "ss_tag_frequency", "{}" },
		{ "modelspec.architecture", "stable-diffusion-xl-v1-base/lora" },
	};
	struct training_facts f = facts();
	struct metadata_list l = { 0 };

	training_metadata(&f, &l);
	metadata_add_modelspec(&l, NULL);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		const char *value = metadata_find(&l, expected[i][0]);

		if (!value)
			fail_msg("no %s", expected[i][0]);
		assert_string_equal(value, expected[i][1]);
	}
	for (size_t i = 0; i < l.count; i++)
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(l.item[i].key, l.item[k].key);
	metadata_free(&l);
}

/* What the golden adapters of the family say of themselves. */
static void keys_of_sd15(void **state)
{
	struct training_facts f = facts();
	struct metadata_list l = { 0 };

	f.family = &family_sd15;
	f.clip_skip = 2;
	f.resolution[0] = 0;
	training_metadata(&f, &l);
	metadata_add_modelspec(&l, &family_sd15);
	assert_string_equal(metadata_find(&l, "ss_v2"), "False");
	assert_string_equal(metadata_find(&l, "ss_base_model_version"), "sd_v1");
	assert_string_equal(metadata_find(&l, "ss_clip_skip"), "2");
	assert_string_equal(metadata_find(&l, "modelspec.encoder_layer"), "2");
	assert_string_equal(metadata_find(&l, "modelspec.architecture"), "stable-diffusion-v1/lora");
	assert_string_equal(metadata_find(&l, "modelspec.implementation"), "diffusers");
	assert_string_equal(metadata_find(&l, "modelspec.resolution"), "512x512");
	metadata_free(&l);
}

static void notes_of_its_maker(void **state)
{
	struct training_facts f = facts();
	struct metadata_list l = { 0 };

	f.notes = (struct model_notes){ "A title", "me", "what", "CC0", "a,b", "data:image/png;base64,AA==", "a gizmo",
					"weight 0.8" };
	f.comment = "first try";
	training_metadata(&f, &l);
	metadata_add_modelspec(&l, NULL);
	assert_string_equal(metadata_find(&l, "modelspec.title"), "A title");
	assert_string_equal(metadata_find(&l, "modelspec.author"), "me");
	assert_string_equal(metadata_find(&l, "modelspec.description"), "what");
	assert_string_equal(metadata_find(&l, "modelspec.license"), "CC0");
	assert_string_equal(metadata_find(&l, "modelspec.tags"), "a,b");
	assert_string_equal(metadata_find(&l, "modelspec.thumbnail"), "data:image/png;base64,AA==");
	assert_string_equal(metadata_find(&l, "modelspec.trigger_phrase"), "a gizmo");
	assert_string_equal(metadata_find(&l, "modelspec.usage_hint"), "weight 0.8");
	assert_string_equal(metadata_find(&l, "ss_training_comment"), "first try");
	metadata_free(&l);
}

/* no_metadata: the six keys of sd-scripts, its modelspec, and nothing else. */
static void least_metadata(void **state)
{
	static const char *const kept[] = { "ss_v2", "ss_base_model_version", "ss_network_module", "ss_network_dim",
					    "ss_network_alpha", "ss_network_args" };
	struct training_facts f = facts();
	struct metadata_list l = { 0 };
	size_t others = 0;

	f.least = true;
	training_metadata(&f, &l);
	metadata_add_modelspec(&l, NULL);
	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		assert_non_null(metadata_find(&l, kept[i]));
	for (size_t i = 0; i < l.count; i++)
		others += strncmp(l.item[i].key, "modelspec.", 10) != 0;
	assert_int_equal(others, sizeof(kept) / sizeof(*kept));
	assert_string_equal(metadata_find(&l, "modelspec.title"), "gizmo");
	metadata_free(&l);
}

static void dates_only_when_given(void **state)
{
	struct training_facts f = facts();
	struct metadata_list l = { 0 };

	training_metadata(&f, &l);
	assert_null(metadata_find(&l, "modelspec.date"));
	assert_null(metadata_find(&l, "ss_training_started_at"));
	assert_null(metadata_find(&l, "ss_training_finished_at"));
	assert_null(metadata_find(&l, "ss_session_id"));
	metadata_free(&l);
	f.started = 1700000000;
	f.finished = 1700000100;
	training_metadata(&f, &l);
	assert_string_equal(metadata_find(&l, "modelspec.date"), "2023-11-14T22:15:00");
	assert_string_equal(metadata_find(&l, "ss_training_started_at"), "1700000000.0");
	metadata_free(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(python_floats),
		cmocka_unit_test(hashes_of_golden_files),
		cmocka_unit_test(legacy_hash_of_a_long_file),
		cmocka_unit_test(keys_of_a_run),
		cmocka_unit_test(keys_of_sd15),
		cmocka_unit_test(notes_of_its_maker),
		cmocka_unit_test(least_metadata),
		cmocka_unit_test(dates_only_when_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
