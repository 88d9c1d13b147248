/* kohya's 23 blocks: which one a module is in, and the lists that give ranks and learning rates. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include "../../libcommon/adapter/blocks.h"
#include <cmocka.h>     /* after error.h: its fail() is a macro */

#define TWENTY_THREE "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22"

static void modules_have_their_block(void **state)
{
	static const struct { const char *stem; int block; } cases[] = {
		{ "lora_unet_input_blocks_1_0_in_layers_2", 2 }, { "lora_unet_input_blocks_8_1_proj_in", 9 },
		{ "lora_unet_middle_block_0_in_layers_2", 10 }, { "lora_unet_middle_block_1_proj_out", 11 },
		{ "lora_unet_output_blocks_0_1_proj_in", 13 }, { "lora_unet_output_blocks_8_0_in_layers_2", 21 },
		{ "lora_unet_output_blocks_9_0_in_layers_2", -1 },
		{ "lora_te1_text_model_encoder_layers_0_mlp_fc1", -1 },
		{ "lora_unet_time_embed_0", -1 },
		/* Stable Diffusion 1.5's, as networks/lora.py of sd-scripts counts them */
		{ "lora_unet_down_blocks_0_attentions_0_proj_in", 1 }, { "lora_unet_down_blocks_0_resnets_1_conv1", 2 },
		{ "lora_unet_down_blocks_0_downsamplers_0_conv", 3 }, { "lora_unet_down_blocks_3_resnets_1_conv2", 11 },
		{ "lora_unet_mid_block_attentions_0_proj_out", 12 }, { "lora_unet_mid_block_resnets_1_conv1", 12 },
		{ "lora_unet_up_blocks_0_resnets_0_conv1", 13 }, { "lora_unet_up_blocks_0_upsamplers_0_conv", 15 },
		{ "lora_unet_up_blocks_3_attentions_2_proj_in", 24 }, { "lora_unet_up_blocks_4_resnets_0_conv1", -1 },
		{ "lora_unet_conv_in", -1 }, { "lora_te_text_model_encoder_layers_0_mlp_fc1", -1 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(unet_block(cases[i].stem), cases[i].block);
}

/* As A1111's block weights call them, which count input_blocks from the first convolution. */
static void blocks_have_names(void **state)
{
	static const struct { const char *stem, *name; } cases[] = {
		{ "lora_unet_input_blocks_4_1_proj_in", "IN04" }, { "lora_unet_middle_block_1_proj_out", "M00" },
		{ "lora_unet_output_blocks_5_0_in_layers_2", "OUT05" },
		{ "lora_unet_down_blocks_0_attentions_0_proj_in", "IN01" },
		{ "lora_unet_down_blocks_3_resnets_1_conv2", "IN11" }, { "lora_unet_mid_block_resnets_1_conv1", "M00" },
		{ "lora_unet_up_blocks_1_attentions_0_proj_in", "OUT03" },
		{ "lora_te1_text_model_encoder_layers_0_mlp_fc1", "TE1" },
		{ "lora_te2_text_model_encoder_layers_0_mlp_fc1", "TE2" },
		{ "lora_te_text_model_encoder_layers_0_mlp_fc1", "TE1" }, { "lora_unet_time_embed_0", "OTHER" },
		{ "lora_unet_double_blocks_0_img_attn_qkv", "OTHER" },
	};
	char name[BLOCK_NAME];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		block_name(cases[i].stem, name);
		assert_string_equal(name, cases[i].name);
	}
}

static struct block_plan plan(const struct block_texts *t)
{
	struct block_plan p;
	struct error e = { 0 };

	if (block_plan_read(&p, t, &family_sdxl, 16, 8, 0, 1, &e))
		fail_msg("%s", e.text);
	return p;
}

static void lists_fill_what_is_given(void **state)
{
	struct block_plan p = plan(&(struct block_texts){ .dims = TWENTY_THREE });

	for (int i = 0; i < family_sdxl.blocks.total; i++)
		assert_true(p.rank[i] == i && p.alpha[i] == 8 && p.lr[i] == 1);
	assert_false(p.convolutions);
	p = plan(&(struct block_texts){ .conv_dims = TWENTY_THREE, .alphas = TWENTY_THREE });
	assert_true(p.convolutions);
	for (int i = 0; i < family_sdxl.blocks.total; i++)
		assert_true(p.rank[i] == 16 && p.conv_rank[i] == i && p.alpha[i] == i && p.conv_alpha[i] == 1);
}

static void presets_are_kohyas(void **state)
{
	struct block_plan p = plan(&(struct block_texts){ .down = "sine", .mid = "1,0.5",
							  .up = "reverse_linear+0.25" });

	for (int i = 0; i < 9; i++) {
		assert_true(fabs(p.lr[1 + i] - sin(M_PI * (i / 8.0) / 2)) < 1e-12);
		assert_true(fabs(p.lr[13 + i] - (0.25 + (8 - i) / 8.0)) < 1e-12);
	}
	assert_true(p.lr[10] == 1 && p.lr[11] == 0.5 && p.lr[12] == 1 && p.lr[0] == 1 && p.lr[22] == 1);
	p = plan(&(struct block_texts){ .down = "cosine", .up = "zeros", .zero_threshold = 0.2 });
	assert_true(p.lr[1] == 1 && p.lr[9] == 0);
	assert_true(p.lr[8] == 0);      /* sin(pi/16) = 0.195 */
	for (int i = 0; i < 9; i++)
		assert_true(p.lr[13 + i] == 0);
}

#define TWENTY_FIVE TWENTY_THREE ",23,24"

static void a_family_has_its_own_blocks(void **state)
{
	const struct block_texts lists = { .dims = TWENTY_FIVE, .down = "linear", .mid = "0.5", .up = "zeros" };
	const struct block_texts sdxls = { .dims = TWENTY_THREE }, one = { .mid = "cosine" };
	struct block_plan p;
	struct error e = { 0 };

	assert_int_equal(block_plan_read(&p, &lists, &family_sd15, 16, 8, 0, 1, &e), 0);
	assert_true(p.rank[24] == 24 && p.lr[0] == 0 && p.lr[11] == 1);
	assert_true(p.lr[12] == 0.5 && p.lr[13] == 0 && p.lr[24] == 0);
	assert_int_equal(block_plan_read(&p, &lists, NULL, 16, 8, 0, 1, &e), 0);        /* before the model is known */
	assert_int_equal(block_plan_read(&p, &lists, &family_sdxl, 16, 8, 0, 1, &e), -1);
	assert_non_null(strstr(e.text, "more than 23"));
	assert_int_equal(block_plan_read(&p, &sdxls, &family_sd15, 16, 8, 0, 1, &e), -1);
	assert_non_null(strstr(e.text, "block_dims: 23 numbers, Stable Diffusion 1.5's UNet has 25 blocks"));
	assert_int_equal(block_plan_read(&p, &(struct block_texts){ .dims = "1,2" }, NULL, 16, 8, 0, 1, &e), -1);
	assert_non_null(strstr(e.text, "SDXL's UNet has 23 blocks"));
	assert_int_equal(block_plan_read(&p, &one, &family_sd15, 16, 8, 0, 1, &e), 0);
	assert_true(p.lr[12] == 1);
}

static void mistakes_are_refused(void **state)
{
	static const struct { struct block_texts t; const char *says; } cases[] = {
		{ { .dims = "1,2,3" }, "block_dims: 3 numbers" },
		{ { .dims = TWENTY_THREE ",1" }, "more than 23" },
		{ { .dims = "1.5" ",1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22" }, "block_dims: 1.5" },
		{ { .alphas = "x" }, "block_alphas: 'x'" },
		{ { .conv_alphas = TWENTY_THREE }, "needs conv_block_dims" },
		{ { .down = "cosin" }, "'cosin' is neither" },
		{ { .mid = "1,1,1,1" }, "mid_lr_weight" },
		{ { .up = "linear+x" }, "up_lr_weight" },
		{ { .up = "1,,1" }, "up_lr_weight" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct block_plan p;
		struct error e = { 0 };

		if (block_plan_read(&p, &cases[i].t, &family_sdxl, 16, 8, 0, 1, &e) == 0 || e.code != EXIT_USAGE ||
		    !strstr(e.text, cases[i].says))
			fail_msg("case %zu: '%s', not '%s'", i, e.text, cases[i].says);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(modules_have_their_block), cmocka_unit_test(blocks_have_names),
		cmocka_unit_test(lists_fill_what_is_given),
		cmocka_unit_test(presets_are_kohyas), cmocka_unit_test(a_family_has_its_own_blocks),
		cmocka_unit_test(mistakes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
