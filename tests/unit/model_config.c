/* Reading models' config files: sizes, limits, and what is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/model/family.h"
#include <cmocka.h>     /* last: it takes the name fail */

#define TINY_A "tests/golden/tiny-a/model"
#define TINY_B "tests/golden/tiny-b/model"
#define SD15 "tests/golden/families/sd15/model"

static const char *const files[] = {
	"unet/config.json", "vae/config.json", "text_encoder/config.json", "text_encoder_2/config.json",
		"scheduler/scheduler_config.json",
};

static char folder[] = "/tmp/test-config-XXXXXX";

static void copy_config(const char *from, const char *file)
{
	char *source = xprintf("%s/%s", from, file), *target = xprintf("%s/%s", folder, file);
	json_t *j = json_load_file(source, 0, NULL);

	assert_non_null(j);
	*strrchr(target, '/') = 0;
	mkdir(target, 0755);
	target[strlen(target)] = '/';
	assert_int_equal(json_dump_file(j, target, 0), 0);
	json_decref(j);
	free(source);
	free(target);
}

static void fresh(void)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		copy_config(TINY_A, files[i]);
}

/* value NULL: the key goes */
static void edit(const char *file, const char *key, const char *value)
{
	char *path = xprintf("%s/%s", folder, file);
	json_t *j = json_load_file(path, 0, NULL);

	assert_non_null(j);
	if (value)
		assert_int_equal(json_object_set_new(j, key, json_loads(value, JSON_DECODE_ANY, NULL)), 0);
	else
		json_object_del(j, key);
	assert_int_equal(json_dump_file(j, path, 0), 0);
	json_decref(j);
	free(path);
}

static int make_folder(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char *command = xprintf("rm -rf %s", folder);
	int status = system(command);

	free(command);
	return status;
}

static void tiny_a_is_read(void **state)
{
	struct model_config c;
	struct error e = { 0 };

	assert_int_equal(model_config_read(TINY_A, &c, &e), 0);
	assert_int_equal(c.unet.levels, 3);
	assert_int_equal(c.unet.channels[2], 24);
	assert_int_equal(c.unet.heads[2], 3);
	assert_int_equal(c.unet.depth[0], 0);           /* the file says 1, for a level without attention */
	assert_int_equal(c.unet.depth[1], 1);
	assert_int_equal(c.unet.depth[2], 2);
	assert_false(c.unet.attention[0]);
	assert_true(c.unet.attention[1]);
	assert_int_equal(c.unet.resnets, 2);
	assert_int_equal(c.unet.groups, 4);
	assert_int_equal(c.unet.context, 72);
	assert_int_equal(c.unet.pooled, 48);
	assert_int_equal(c.vae.factor, 4);
	assert_int_equal(c.vae.resnets, 1);
	assert_int_equal(c.vae.groups, 4);
	assert_float_equal(c.vae.scaling_factor, 0.13025f, 0);
	/* its config has a projection_dim, the file no such tensor */
	assert_int_equal(c.text[0].projection, 0);
	assert_int_equal(c.text[0].activation, ACT_QUICK_GELU);
	assert_int_equal(c.text[1].projection, 48);
	assert_int_equal(c.text[1].activation, ACT_GELU);
	assert_int_equal(c.text[1].heads, 5);
	assert_int_equal(c.text[1].eos, 2);
	assert_true(c.schedule.scaled_linear);
	assert_int_equal(c.schedule.prediction, PREDICTION_EPSILON);
	assert_int_equal(c.schedule.steps_offset, 1);
	assert_int_equal(model_size_step(&c), 16);
}

static void tiny_b_is_read(void **state)
{
	struct model_config c;
	struct error e = { 0 };

	assert_int_equal(model_config_read(TINY_B, &c, &e), 0);
	assert_int_equal(c.vae.factor, 8);
	assert_int_equal(c.vae.groups, 8);
	assert_int_equal(c.unet.heads[1], 1);
	assert_int_equal(c.text[0].eos, 641);
	assert_int_equal(model_size_step(&c), 32);
}

/* Its files have the keys that the released ones have, and diffusers' defaults stand for the rest. */
static void sd15_is_read(void **state)
{
	struct model_config c;
	struct error e = { 0 };

	if (model_config_read(SD15, &c, &e))
		fail_msg("%s", e.text);
	assert_ptr_equal(c.family, &family_sd15);
	assert_int_equal(c.unet.levels, 4);
	assert_int_equal(c.unet.heads[3], 2);           /* one number: of every level */
	assert_int_equal(c.unet.depth[0], 1);
	assert_int_equal(c.unet.depth[3], 0);
	assert_int_equal(c.unet.mid_depth, 1);
	assert_false(c.unet.attention[3]);
	assert_true(c.unet.conv_projection);
	assert_int_equal(c.unet.pooled, 0);
	assert_int_equal(c.unet.time_ids_dim, 0);
	assert_float_equal(c.vae.scaling_factor, 0.18215f, 0);
	assert_int_equal(c.schedule.prediction, PREDICTION_EPSILON);
	assert_int_equal(c.schedule.steps_offset, 1);
	assert_true(c.schedule.scaled_linear);
	assert_int_equal(model_size_step(&c), 32);
}

/* Told by its UNet, which has linear projections and reads no sizes. */
static void sd2_is_named(void **state)
{
	struct model_config c;
	struct error e = { 0 };
	char *command = xprintf("rm -rf %s && cp -r " SD15 " %s && chmod -R u+w %s", folder, folder, folder);

	assert_int_equal(system(command), 0);
	edit("unet/config.json", "use_linear_projection", "true");
	assert_int_equal(model_config_read(folder, &c, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	assert_non_null(strstr(e.text, "this is Stable Diffusion 2"));
	assert_non_null(strstr(e.text, "Stable Diffusion 1.5"));
	free(command);
}

static void one_number_serves_all_levels(void **state)
{
	struct model_config c;
	struct error e = { 0 };

	fresh();
	edit("unet/config.json", "attention_head_dim", "2");
	edit("unet/config.json", "transformer_layers_per_block", "3");
	assert_int_equal(model_config_read(folder, &c, &e), 0);
	assert_int_equal(c.unet.heads[0], 2);
	assert_int_equal(c.unet.heads[2], 2);
	assert_int_equal(c.unet.depth[0], 0);
	assert_int_equal(c.unet.depth[2], 3);
}

static void prediction_and_schedule(void **state)
{
	struct model_config c;
	struct error e = { 0 };

	fresh();
	edit("scheduler/scheduler_config.json", "prediction_type", "\"v_prediction\"");
	edit("scheduler/scheduler_config.json", "rescale_betas_zero_snr", "true");
	edit("scheduler/scheduler_config.json", "beta_schedule", "\"linear\"");
	assert_int_equal(model_config_read(folder, &c, &e), 0);
	assert_int_equal(c.schedule.prediction, PREDICTION_V);
	assert_true(c.schedule.zero_terminal_snr);
	assert_false(c.schedule.scaled_linear);
}

/* What the numbers alone tell apart: channels of the UNet, and the scheduler's class. */
static void families_are_told_by_their_configs(void **state)
{
	struct model_config c;
	struct error e = { 0 };

	fresh();
	assert_int_equal(model_config_read(folder, &c, &e), 0);
	assert_ptr_equal(c.family, &family_sdxl);
	edit("unet/config.json", "in_channels", "9");
	assert_int_equal(model_config_read(folder, &c, &e), 0);
	assert_ptr_equal(c.family, &family_sdxl_inpaint);
	edit("unet/config.json", "in_channels", "8");
	assert_int_equal(model_config_read(folder, &c, &e), -1);
	fresh();
	edit("scheduler/scheduler_config.json", "_class_name", "\"FlowMatchEulerDiscreteScheduler\"");
	edit("scheduler/scheduler_config.json", "shift", "3.0");
	assert_int_equal(model_config_read(folder, &c, &e), 0);
	assert_ptr_equal(c.family, &family_sdxl_flow);
	assert_int_equal(c.schedule.prediction, PREDICTION_FLOW);
	assert_true(c.schedule.shift == 3);
	edit("scheduler/scheduler_config.json", "use_dynamic_shifting", "true");
	assert_int_equal(model_config_read(folder, &c, &e), -1);
}

static void without_scheduler_sdxls_own(void **state)
{
	struct model_config c;
	struct error e = { 0 };
	char *path = xprintf("%s/scheduler/scheduler_config.json", folder);

	fresh();
	assert_int_equal(unlink(path), 0);
	assert_int_equal(model_config_read(folder, &c, &e), 0);
	assert_int_equal(c.schedule.train_steps, 1000);
	assert_true(c.schedule.beta_end == 0.012);
	assert_int_equal(c.schedule.steps_offset, 1);
	free(path);
}

static const struct { const char *file, *key, *value; } refused[] = {
	{ "unet/config.json", "addition_embed_type", NULL },
	{ "unet/config.json", "addition_embed_type", "\"image\"" },
	{ "unet/config.json", "use_linear_projection", "false" },
	{ "unet/config.json", "use_linear_projection", NULL },
	{ "unet/config.json", "class_embed_type", "\"timestep\"" },
	{ "unet/config.json", "act_fn", "\"gelu\"" },
	{ "unet/config.json", "resnet_time_scale_shift", "\"scale_shift\"" },
	{ "unet/config.json", "mid_block_type", "\"UNetMidBlock2D\"" },
	{ "unet/config.json", "flip_sin_to_cos", "false" },
	{ "unet/config.json", "freq_shift", "1" },
	{ "unet/config.json", "conv_in_kernel", "5" },
	{ "unet/config.json", "encoder_hid_dim", "10" },
	{ "unet/config.json", "only_cross_attention", "true" },
	{ "unet/config.json", "down_block_types",
		"[\"DownBlock2D\",\"SimpleCrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\"]" },
	{ "unet/config.json", "down_block_types",
		"[\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"DownBlock2D\"]" },
	{ "unet/config.json", "up_block_types", "[\"UpBlock2D\",\"CrossAttnUpBlock2D\",\"UpBlock2D\"]" },
	{ "unet/config.json", "attention_head_dim", "[1,2]" },
	{ "unet/config.json", "attention_head_dim", "[1,3,3]" },
	{ "unet/config.json", "attention_head_dim", "0" },
	{ "unet/config.json", "transformer_layers_per_block", "[1,1,100000000]" },
	{ "unet/config.json", "norm_num_groups", "3" },
	{ "unet/config.json", "norm_num_groups", "0" },
	{ "unet/config.json", "block_out_channels", "[]" },
	{ "unet/config.json", "block_out_channels", "[8,16,99999999999]" },
	{ "unet/config.json", "layers_per_block", "\"2\"" },
	{ "unet/config.json", "cross_attention_dim", NULL },
	{ "unet/config.json", "projection_class_embeddings_input_dim", "100" },
	{ "vae/config.json", "latents_mean", "[0.1,0,0,0]" },
	{ "vae/config.json", "mid_block_add_attention", "false" },
	{ "vae/config.json", "scaling_factor", "0" },
	{ "vae/config.json", "down_block_types",
		"[\"DownEncoderBlock2D\",\"AttnDownEncoderBlock2D\",\"DownEncoderBlock2D\"]" },
	{ "vae/config.json", "shift_factor", "0.1" },
	{ "text_encoder/config.json", "hidden_act", "\"relu\"" },
	{ "text_encoder/config.json", "num_attention_heads", "5" },
	{ "text_encoder_2/config.json", "projection_dim", NULL },
	{ "text_encoder_2/config.json", "model_type", "\"t5\"" },
	{ "scheduler/scheduler_config.json", "prediction_type", "\"sample\"" },
	{ "scheduler/scheduler_config.json", "beta_schedule", "\"squaredcos_cap_v2\"" },
	{ "scheduler/scheduler_config.json", "_class_name", "\"FlowMatchHeunDiscreteScheduler\"" },
};

static void unsupported_settings_are_refused_with_file_and_key(void **state)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct model_config c;
		struct error e = { 0 };

		fresh();
		edit(refused[i].file, refused[i].key, refused[i].value);
		if (!model_config_read(folder, &c, &e))
			fail_msg("%s %s was accepted", refused[i].key, refused[i].value);
		assert_int_equal(e.code, EXIT_INPUT);
		if (!strstr(e.text, refused[i].file) || !strstr(e.text, refused[i].key))
			fail_msg("%s %s: %s", refused[i].file, refused[i].key, e.text);
	}
}

static const struct { const char *file, *key, *value, *word; } torn[] = {
	{ "unet/config.json", "cross_attention_dim", "80", "cross_attention_dim" },
	{ "text_encoder_2/config.json", "projection_dim", "40", "projection_dim" },
	{ "vae/config.json", "latent_channels", "16", "latent_channels" },
	{ "text_encoder/config.json", "max_position_embeddings", "78", "max_position_embeddings" },
};

static void parts_of_two_models_are_refused(void **state)
{
	for (size_t i = 0; i < sizeof(torn) / sizeof(torn[0]); i++) {
		struct model_config c;
		struct error e = { 0 };

		fresh();
		edit(torn[i].file, torn[i].key, torn[i].value);
		assert_int_equal(model_config_read(folder, &c, &e), -1);
		assert_int_equal(e.code, EXIT_INPUT);
		assert_non_null(strstr(e.text, torn[i].word));
	}
}

static void a_missing_part_tells_what_the_folder_is(void **state)
{
	struct model_config c;
	struct error e = { 0 };
	char *path = xprintf("%s/text_encoder_2/config.json", folder);

	fresh();
	assert_int_equal(unlink(path), 0);
	assert_int_equal(model_config_read(folder, &c, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	assert_non_null(strstr(e.text, "Stable Diffusion 1 and 2"));
	free(path);
}

static void sdxl_and_its_sizes(void **state)
{
	struct model_config c;
	struct error e = { 0 };

	model_config_sdxl(&c);
	assert_int_equal(model_size_step(&c), 32);
	assert_int_equal(c.unet.pooled + 6 * c.unet.time_ids_dim, 2816);
	assert_int_equal(c.text[0].width + c.text[1].width, c.unet.context);
	for (int i = 0; i < c.unet.levels; i++)
		assert_int_equal(c.unet.channels[i] / c.unet.heads[i], 64);
	assert_int_equal(model_size_check(&c, 1024, 992, &e), 0);
	assert_int_equal(model_size_check(&c, 1000, 1000, &e), -1);
	assert_int_equal(e.code, EXIT_USAGE);
	assert_non_null(strstr(e.text, "32"));
	assert_non_null(strstr(e.text, "992x992"));
	assert_int_equal(model_size_check(&c, 1, 64, &e), -1);
	assert_non_null(strstr(e.text, "32x64"));
	assert_int_equal(model_size_check(&c, 0, 64, &e), -1);
	assert_int_equal(model_size_check(&c, -32, 64, &e), -1);
}

/* A card computes with floats where one is wider than it knows in half precision. */
static void widest_heads(void **state)
{
	struct model_config c;

	model_config_sdxl(&c);
	assert_int_equal(model_widest_head(&c), 64);
	c.unet.heads[0] = 1;            /* no attention there */
	assert_int_equal(model_widest_head(&c), 64);
	c.unet.heads[1] = 2;
	assert_int_equal(model_widest_head(&c), 320);
	c.unet.heads[1] = 10;
	c.text[1].heads = 4;
	assert_int_equal(model_widest_head(&c), 320);
	assert_int_equal(inner_on_card(DTYPE_F16, 160), DTYPE_F16);
	assert_int_equal(inner_on_card(DTYPE_BF16, 160), DTYPE_BF16);
	assert_int_equal(inner_on_card(DTYPE_F16, 161), DTYPE_F32);
	assert_int_equal(inner_on_card(DTYPE_F32, 64), DTYPE_F32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tiny_a_is_read),
		cmocka_unit_test(tiny_b_is_read),
		cmocka_unit_test(sd15_is_read),
		cmocka_unit_test(sd2_is_named),
		cmocka_unit_test(one_number_serves_all_levels),
		cmocka_unit_test(prediction_and_schedule),
		cmocka_unit_test(families_are_told_by_their_configs),
		cmocka_unit_test(without_scheduler_sdxls_own),
		cmocka_unit_test(unsupported_settings_are_refused_with_file_and_key),
		cmocka_unit_test(parts_of_two_models_are_refused),
		cmocka_unit_test(a_missing_part_tells_what_the_folder_is),
		cmocka_unit_test(sdxl_and_its_sizes),
		cmocka_unit_test(widest_heads),
	};

	quiet(1);
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
