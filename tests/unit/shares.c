/* Block weights and what is left out: lists against sd-scripts' own, patterns against each of a module's names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/adapter/adapter_file.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/merge/shares.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define SDXL "tests/golden/tiny-a/lora_conv.safetensors"
#define SDXL_TEXT "tests/golden/tiny-a/lora_text.safetensors"
#define SD15 "tests/golden/families/sd15/lora_conv.safetensors"

static struct adapter_file *opened(const char *path)
{
	struct error e;
	struct adapter_file *a = adapter_file_open_alone(path, NULL, &e);

	if (!a)
		print_error("%s\n", e.text);
	assert_non_null(a);
	return a;
}

static const struct file_module *module_named(const struct adapter_file *a, const char *name)
{
	for (size_t i = 0; i < a->count; i++)
		if (!strcmp(a->module[i].name, name))
			return &a->module[i];
	print_error("no module %s\n", name);
	return NULL;
}

/* What module `name` of adapter number i gets; -1: it is left out */
static double share(const struct share_texts *t, size_t i, const struct adapter_file *a, const char *name)
{
	const struct file_module *m = module_named(a, name);
	struct error e;
	struct shares *s = shares_new(t, 2, &e);
	double weight;
	bool kept;

	if (!s)
		print_error("%s\n", e.text);
	assert_non_null(s);
	assert_non_null(m);
	assert_int_equal(share_of(s, i, a, m, &weight, &kept, &e), 0);
	shares_free(s);
	return kept ? weight : -1;
}

static double by_block(const struct adapter_file *a, const char *block, const char *name)
{
	return share(&(struct share_texts){ .block = &block, .blocks = 1 }, 0, a, name);
}

/* get_lbw_block_index() and LAYER12 to LAYER26 of sd-scripts' networks/svd_merge_lora.py, worked out by hand.  The
 * numbers of a list are 100 and up, so 1 is that of a block without one. */
static void test_lists(void **state)
{
	static const struct { const char *file; int numbers; const char *module; int share; } cases[] = {
		{ SDXL, 20, "lora_unet_input_blocks_1_0_in_layers_2", 102 },
		{ SDXL, 20, "lora_unet_input_blocks_3_0_op", 104 },
		{ SDXL, 20, "lora_unet_input_blocks_8_0_out_layers_3", 109 },
		{ SDXL, 20, "lora_unet_middle_block_0_in_layers_2", 110 },
		{ SDXL, 20, "lora_unet_middle_block_2_in_layers_2", 110 },
		{ SDXL, 20, "lora_unet_output_blocks_0_0_in_layers_2", 111 },
		{ SDXL, 20, "lora_unet_output_blocks_8_0_in_layers_2", 119 },
		{ SDXL_TEXT, 20, "lora_te2_text_model_encoder_layers_0_mlp_fc1", 100 },
		{ SDXL, 12, "lora_unet_input_blocks_1_0_in_layers_2", 1 },
		{ SDXL, 12, "lora_unet_input_blocks_4_0_in_layers_2", 101 },
		{ SDXL, 12, "lora_unet_input_blocks_6_0_op", 1 },
		{ SDXL, 12, "lora_unet_input_blocks_8_0_in_layers_2", 104 },
		{ SDXL, 12, "lora_unet_middle_block_2_in_layers_2", 105 },
		{ SDXL, 12, "lora_unet_output_blocks_5_0_in_layers_2", 111 },
		{ SDXL, 12, "lora_unet_output_blocks_6_0_in_layers_2", 1 },
		{ SDXL_TEXT, 12, "lora_te1_text_model_encoder_layers_0_mlp_fc1", 100 },
		{ SD15, 26, "lora_unet_down_blocks_0_resnets_0_conv1", 102 },
		{ SD15, 26, "lora_unet_down_blocks_0_downsamplers_0_conv", 104 },
		{ SD15, 26, "lora_unet_down_blocks_3_resnets_1_conv1", 112 },
		{ SD15, 26, "lora_unet_mid_block_resnets_1_conv2", 113 },
		{ SD15, 26, "lora_unet_up_blocks_0_resnets_0_conv1", 114 },
		{ SD15, 26, "lora_unet_up_blocks_0_upsamplers_0_conv", 116 },
		{ SD15, 26, "lora_unet_up_blocks_1_resnets_0_conv1", 117 },
		{ SD15, 17, "lora_unet_down_blocks_0_resnets_0_conv1", 101 },
		{ SD15, 17, "lora_unet_down_blocks_0_downsamplers_0_conv", 1 },
		{ SD15, 17, "lora_unet_down_blocks_1_resnets_1_conv1", 104 },
		{ SD15, 17, "lora_unet_down_blocks_3_resnets_0_conv1", 1 },
		{ SD15, 17, "lora_unet_mid_block_resnets_0_conv1", 107 },
		{ SD15, 17, "lora_unet_up_blocks_0_resnets_2_conv1", 1 },
		{ SD15, 17, "lora_unet_up_blocks_1_resnets_0_conv1", 108 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct adapter_file *a = opened(cases[i].file);
		struct buffer list = { 0 };
		double got;

		for (int k = 0; k < cases[i].numbers; k++)
			buffer_addf(&list, "%s%d", k ? ", " : i % 2 ? "[" : "", 100 + k);
		buffer_adds(&list, i % 2 ? "]" : "");
		got = by_block(a, list.data, cases[i].module);
		if (got != cases[i].share)
			print_error("%s, %d numbers: %g\n", cases[i].module, cases[i].numbers, got);
		assert_true(got == cases[i].share);
		buffer_free(&list);
		adapter_file_close(a);
	}
}

static void test_patterns(void **state)
{
	static const struct { const char *block, *module; double share; } cases[] = {
		{ "down_blocks.0.downsamplers=0.5", "lora_unet_input_blocks_3_0_op", 0.5 },
		{ "^unet[.]down=0.5", "lora_unet_input_blocks_3_0_op", 0.5 },
		{ "input_blocks_3=-2", "lora_unet_input_blocks_3_0_op", -2 },
		{ "output=7", "lora_unet_input_blocks_3_0_op", 1 },
		{ "1:op$=3", "lora_unet_input_blocks_3_0_op", 3 },
		{ "2:op$=3", "lora_unet_input_blocks_3_0_op", 1 },
		{ "a=b|op=4", "lora_unet_input_blocks_3_0_op", 4 },
		{ "IN03=5", "lora_unet_input_blocks_3_0_op", 5 },
		{ "IN04=5", "lora_unet_input_blocks_3_0_op", 1 },
		{ "^MID$=6", "lora_unet_middle_block_2_in_layers_2", 6 },
	};
	const char *two[] = { "op=0.5", "input=3" };
	struct adapter_file *a = opened(SDXL);

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_true(by_block(a, cases[i].block, cases[i].module) == cases[i].share);
	assert_true(share(&(struct share_texts){ .block = two, .blocks = 2 }, 0, a, cases[0].module) == 1.5);
	adapter_file_close(a);
}

static void test_kept(void **state)
{
	static const struct { const char *file, *only, *without, *module; bool kept; } cases[] = {
		{ SDXL, "unet", NULL, "lora_unet_input_blocks_3_0_op", true },
		{ SDXL, "te1", NULL, "lora_unet_input_blocks_3_0_op", false },
		{ SDXL, NULL, "unet", "lora_unet_input_blocks_3_0_op", false },
		{ SDXL, "conv", NULL, "lora_unet_input_blocks_3_0_op", true },
		{ SDXL, "conv", NULL, "lora_unet_input_blocks_1_0_in_layers_2", true },
		{ SDXL, "conv", NULL, "lora_unet_input_blocks_1_0_emb_layers_1", false },
		{ SDXL, "conv", "input_blocks_1_", "lora_unet_input_blocks_1_0_in_layers_2", false },
		{ SDXL, "attn", NULL, "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", true },
		{ SDXL, "attn", NULL, "lora_unet_input_blocks_4_1_transformer_blocks_0_ff_net_2", false },
		{ SDXL, "attn", NULL, "lora_unet_input_blocks_4_1_proj_in", false },
		{ SDXL, "ff", NULL, "lora_unet_input_blocks_4_1_transformer_blocks_0_ff_net_2", true },
		{ SDXL, "ff", NULL, "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", false },
		{ SDXL_TEXT, "te1", NULL, "lora_te1_text_model_encoder_layers_0_mlp_fc1", true },
		{ SDXL_TEXT, "te", NULL, "lora_te2_text_model_encoder_layers_0_mlp_fc1", true },
		{ SDXL, "te", NULL, "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", false },
		{ SDXL_TEXT, "te2", NULL, "lora_te1_text_model_encoder_layers_0_mlp_fc1", false },
		{ SDXL_TEXT, "te2", NULL, "lora_te2_text_model_encoder_layers_0_mlp_fc1", true },
		{ SDXL_TEXT, "ff", NULL, "lora_te2_text_model_encoder_layers_0_mlp_fc1", true },
		{ SDXL_TEXT, "attn", NULL, "lora_te2_text_model_encoder_layers_0_mlp_fc1", false },
		{ SDXL_TEXT, "attn", NULL, "lora_te1_text_model_encoder_layers_0_self_attn_q_proj", true },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct adapter_file *a = opened(cases[i].file);
		const struct share_texts t = { .only = &cases[i].only, .onlys = cases[i].only != NULL,
					       .without = &cases[i].without, .withouts = cases[i].without != NULL };
		const bool kept = share(&t, 0, a, cases[i].module) >= 0;

		if (kept != cases[i].kept)
			print_error("case %zu: %s\n", i, cases[i].module);
		assert_int_equal(kept, cases[i].kept);
		adapter_file_close(a);
	}
}

static void test_refused(void **state)
{
	static const struct { const char *block, *say; } cases[] = {
		{ "1,2,3", "3 numbers" }, { "nothing", "neither" }, { "a=", "no number" }, { "a=1x", "no number" },
		{ "a=nan", "no number" }, { "(=1", "no regular expression" }, { "3:a=1", "there is no adapter 3" },
		{ "0:a=1", "there is no adapter 0" }, { "1,2,,3", "neither" }, { "", "neither" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct share_texts t = { .block = &cases[i].block, .blocks = 1 };
		struct error e = { 0 };

		assert_null(shares_new(&t, 2, &e));
		assert_int_equal(e.code, EXIT_USAGE);
		if (!strstr(e.text, cases[i].say))
			print_error("%s\n", e.text);
		assert_non_null(strstr(e.text, cases[i].say));
	}
}

/* A list of the other family's. */
static void test_other_family(void **state)
{
	struct adapter_file *a = opened(SD15);
	const char *list = "1,1,1,1,1,1,1,1,1,1,1,1";
	struct error e = { 0 };
	struct shares *s = shares_new(&(struct share_texts){ .block = &list, .blocks = 1 }, 1, &e);
	double weight;
	bool kept;

	assert_non_null(s);
	assert_int_equal(share_of(s, 0, a, &a->module[0], &weight, &kept, &e), -1);
	assert_int_equal(e.code, EXIT_USAGE);
	shares_free(s);
	adapter_file_close(a);
}

static void try_all(struct shares *s, size_t i, const struct adapter_file *a)
{
	struct error e;
	double weight;
	bool kept;

	for (size_t k = 0; k < a->count; k++)
		assert_int_equal(share_of(s, i, a, &a->module[k], &weight, &kept, &e), 0);
}

/* NULL: the pattern fits some module of one of both, or may fit none. */
static void test_fits_none(void **state)
{
	static const struct { const char *option, *text, *says; } cases[] = {
		{ "block", "attn2=0", NULL }, { "block", "atn2=0", "--block 'atn2=0' fits no module;" },
		{ "block", "te2.*mlp=0", NULL }, { "block", "2:te2.*mlp=0", NULL },
		{ "block", "1:te2.*mlp=0", "--block '1:te2.*mlp=0' fits no module of adapter 1;" },
		{ "block", "OUT11=0", NULL }, { "block", "^(MID|IN0[3-9])$=0", NULL }, { "block", "BASE=0", NULL },
		{ "block", "OUT12=0", "OUT12" }, { "block", "IN4=0", "IN4" },
		{ "block", "1,1,1,1,1,1,1,1,1,1,1,1", NULL },
		{ "only", "te1", NULL }, { "only", "conv", NULL }, { "only", "te3", "--only 'te3' fits no module;" },
		{ "without", "ff", NULL }, { "without", "atn1", "--without 'atn1' fits no module;" },
		{ "without", "IN11", NULL }, { "without", "conv_in", "--without 'conv_in'" },
	};
	struct adapter_file *a[] = { opened(SDXL), opened(SDXL_TEXT) };

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct share_texts t = {
			.block = &cases[i].text, .only = &cases[i].text, .without = &cases[i].text,
			.blocks = !strcmp(cases[i].option, "block"), .onlys = !strcmp(cases[i].option, "only"),
			.withouts = !strcmp(cases[i].option, "without"),
		};
		struct error e = { 0 };
		struct shares *s = shares_new(&t, 2, &e);
		int status;

		assert_non_null(s);
		for (size_t k = 0; k < 2; k++)
			try_all(s, k, a[k]);
		status = shares_check(s, &e);
		if (!status != !cases[i].says || (status && !strstr(e.text, cases[i].says)))
			print_error("--%s %s: %s\n", cases[i].option, cases[i].text, status ? e.text : "taken");
		assert_int_equal(!status, !cases[i].says);
		assert_true(!status || (e.code == EXIT_USAGE && strstr(e.text, cases[i].says)));
		shares_free(s);
	}
	adapter_file_close(a[0]);
	adapter_file_close(a[1]);
}

/* A pattern that another one goes before is tried too. */
static void test_all_tried(void **state)
{
	const char *only[] = { "unet", "op$" }, *without[] = { "te", "input_blocks_3_0_op" };
	struct adapter_file *a = opened(SDXL);
	struct error e = { 0 };
	struct shares *s = shares_new(&(struct share_texts){ .only = only, .onlys = 2, .without = without,
							     .withouts = 2 }, 1, &e);

	assert_non_null(s);
	try_all(s, 0, a);
	assert_int_equal(shares_check(s, &e), 0);
	shares_free(s);
	adapter_file_close(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists), cmocka_unit_test(test_patterns), cmocka_unit_test(test_kept),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_other_family),
		cmocka_unit_test(test_fits_none), cmocka_unit_test(test_all_tried),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
