/* What is said of models on disk that are damaged, incomplete or of another kind. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include "source_edit.h"

static const unsigned char zeros[1 << 20];

static void refused(const char *path, const char *config, const char *vae, const char *word, const char *word2)
{
	struct error e = { 0 };
	struct model_files *m = model_files_open(path, config, vae, &e);

	if (m)
		fail_msg("%s was accepted; '%s' expected", path, word);
	if (e.code != EXIT_INPUT || !strstr(e.text, word) || (word2 && !strstr(e.text, word2)))
		fail_msg("code %d, '%s' and '%s' not in: %s", e.code, word, word2 ? word2 : "", e.text);
}

/* Files with a few telling tensors each. */
static const struct { const char *what, *names[3]; } others[] = {
	{ "Stable Diffusion 1", { "cond_stage_model.transformer.text_model.final_layer_norm.weight",
		"model.diffusion_model.out.2.bias",
		"first_stage_model.quant_conv.bias" } },
	{ "Stable Diffusion 2", { "cond_stage_model.model.ln_final.weight", "model.diffusion_model.out.2.bias" } },
	{ "the SDXL refiner", { "conditioner.embedders.0.model.ln_final.weight", "model.diffusion_model.out.2.bias" } },
	{ "Flux", { "double_blocks.0.img_attn.qkv.weight" } },
	{ "Flux", { "model.diffusion_model.double_blocks.0.img_attn.qkv.weight" } },
	{ "Stable Diffusion 3", { "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight" } },
	{ "LoRA adapter", { "lora_unet_input_blocks_4_1_proj_in.lora_up.weight" } },
	{ "ControlNet", { "control_model.input_hint_block.0.weight" } },
	{ "a UNet out of a diffusers folder", { "down_blocks.0.resnets.0.conv1.weight" } },
	{ "a VAE alone", { "encoder.down_blocks.0.resnets.0.conv1.weight", "decoder.conv_in.weight" } },
};

static void other_architectures_are_named(void **state)
{
	const int64_t shape[] = { 4, 4 };

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct edit x = { 0 };

		for (int k = 0; k < 3 && others[i].names[k]; k++)
			edit_add(&x, others[i].names[k], DTYPE_F16, 2, shape, zeros);
		edit_save(&x, in_folder("other.safetensors"));
		refused(in_folder("other.safetensors"), NULL, NULL, others[i].what, "--model-config");
	}
}

/* The first missing name is told, too. */
static void the_first_missing_name_is_told(void **state)
{
	const int64_t shape[] = { 4, 4 };
	struct edit x = { 0 };

	edit_add(&x, "something.weight", DTYPE_F16, 2, shape, zeros);
	edit_save(&x, in_folder("none.safetensors"));
	refused(in_folder("none.safetensors"), NULL, NULL, "model.diffusion_model.label_emb.0.0.bias",
		"--model-config");
}

static void an_inpainting_model_is_named(void **state)
{
	struct edit x = edit_open(GOLDEN "/single-file/tiny-a.safetensors");
	struct safetensors_out *t = edit_find(&x, "model.diffusion_model.input_blocks.0.0.weight");

	t->shape[1] = 9;
	t->data = zeros;
	edit_save(&x, in_folder("inpainting.safetensors"));
	refused(in_folder("inpainting.safetensors"), GOLDEN "/tiny-a/model", NULL, "[8,9,3,3] where [8,4,3,3]",
		"inpainting");
	refused(in_folder("inpainting.safetensors"), NULL, NULL, "inpainting", "--model-config");
}

static void other_sizes_need_a_config(void **state)
{
	refused(GOLDEN "/single-file/tiny-a.safetensors", NULL, NULL, "label_emb.0.0.bias' is [32] where [1280]",
		"--model-config");
}

static void a_config_of_another_model_is_refused(void **state)
{
	refused(GOLDEN "/single-file/tiny-a.safetensors", GOLDEN "/tiny-b/model", NULL,
		"label_emb.0.0.weight' is [32,240] where [32,224]",
		"--model-config");
	refused(GOLDEN "/single-file/tiny-a.safetensors", "demo/tiny-sdxl", NULL, "label_emb", NULL);
	refused(GOLDEN "/single-file/tiny-a.safetensors", folder, NULL, "no unet/config.json", NULL);
}

/* Edits of tiny-a, and what must be in the message. */
static const struct { const char *drop, *add; enum dtype type; const char *word, *word2; } edits[] = {
	{ "model.diffusion_model.middle_block.1.proj_in.weight", NULL, DTYPE_F32,
		"no tensor 'model.diffusion_model.middle_block.1.proj_in.weight'",
		NULL },
	{ "conditioner.embedders.1.model.text_projection", NULL, DTYPE_F32,
		"no tensor 'conditioner.embedders.1.model.text_projection'", NULL },
	{ "conditioner.embedders.1.model.transformer.resblocks.2.attn.in_proj_bias", NULL, DTYPE_F32,
		"resblocks.2.attn.in_proj_bias", NULL },
	{ "first_stage_model.decoder.up.2.block.1.conv1.weight", NULL, DTYPE_F32, "decoder.up.2.block.1.conv1.weight",
		NULL },
	{ NULL, "model.diffusion_model.input_blocks.4.1.transformer_blocks.1.attn1.to_q.weight", DTYPE_F32,
		"input_blocks.4.1.transformer_blocks.1.attn1.to_q.weight' is one more", "--model-config" },
	{ NULL, "conditioner.embedders.0.transformer.text_model.encoder.layers.3.mlp.fc1.bias", DTYPE_F32,
		"layers.3.mlp.fc1.bias", NULL },
	{ NULL, "conditioner.embedders.1.model.transformer.resblocks.4.ln_1.bias", DTYPE_F32, "resblocks.4.ln_1.bias",
		NULL },
	{ NULL, "first_stage_model.encoder.down.3.block.0.conv1.bias", DTYPE_F32, "down.3.block.0.conv1.bias", NULL },
	{ "model.diffusion_model.input_blocks.5.1.norm.bias", "model.diffusion_model.input_blocks.5.1.norm.bias",
		DTYPE_I8, "I8",
		"norm.bias" },
};

static void what_is_missing_or_too_much_is_told(void **state)
{
	const int64_t shape[] = { 16 };

	for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
		struct edit x = edit_open(GOLDEN "/single-file/tiny-a.safetensors");

		if (edits[i].drop)
			edit_drop(&x, edits[i].drop);
		if (edits[i].add)
			edit_add(&x, edits[i].add, edits[i].type, 1, shape, zeros);
		edit_save(&x, in_folder("edited.safetensors"));
		refused(in_folder("edited.safetensors"), GOLDEN "/tiny-a/model", NULL, edits[i].word, edits[i].word2);
	}
}

/* A 1x1 convolution where SDXL has a linear layer: the same numbers, another model. */
static void convolutions_as_projections_are_refused(void **state)
{
	struct edit x = edit_open(GOLDEN "/single-file/tiny-a.safetensors");
	struct safetensors_out *t = edit_find(&x, "model.diffusion_model.input_blocks.4.1.proj_in.weight");

	t->dims = 4;
	t->shape[2] = t->shape[3] = 1;
	edit_save(&x, in_folder("conv.safetensors"));
	refused(in_folder("conv.safetensors"), GOLDEN "/tiny-a/model", NULL, "proj_in.weight' is [16,16,1,1]", NULL);
}

static void no_such_path(void **state)
{
	refused("/nowhere/at/all.safetensors", NULL, NULL, "no such file or folder", NULL);
	shell("mkdir nothing");                 /* not the folder itself, which holds several checkpoints by now */
	refused(in_folder("nothing"), NULL, NULL, "no unet/config.json", "diffusers folder");
}

static void a_folder_needs_no_config(void **state)
{
	struct error e = { 0 };

	assert_null(model_files_open(GOLDEN "/tiny-a/model", GOLDEN "/tiny-a/model", NULL, &e));
	assert_int_equal(e.code, EXIT_USAGE);
	assert_non_null(strstr(e.text, "--model-config"));
}

static void fresh_copy(void)
{
	char *command = xprintf("rm -rf %s/m && cp -r " GOLDEN "/tiny-a/model %s/m", folder, folder);

	assert_int_equal(system(command), 0);
	free(command);
}

static void pickled_weights_get_a_way_out(void **state)
{
	fresh_copy();
	shell("mv m/text_encoder/model.safetensors m/text_encoder/pytorch_model.bin");
	refused(in_folder("m"), NULL, NULL, "text_encoder/pytorch_model.bin: pickled", "weights_only=True");
	shell("rm m/text_encoder/pytorch_model.bin");
	refused(in_folder("m"), NULL, NULL, "no model.safetensors", "text_encoder");
}

static void a_folder_whose_config_is_of_another_model(void **state)
{
	fresh_copy();
	shell("sed -i 's/\"num_hidden_layers\": 3/\"num_hidden_layers\": 2/' m/text_encoder/config.json");
	refused(in_folder("m"), NULL, NULL, "encoder.layers.2", "one more");
	shell("sed -i 's/\"num_hidden_layers\": 2/\"num_hidden_layers\": 4/' m/text_encoder/config.json");
	refused(in_folder("m"), NULL, NULL, "no tensor 'text_model.encoder.layers.3", "text_encoder/model.safetensors");
}

static const struct { const char *shard; const char *word; } bad_shards[] = {
	{ "/etc/passwd", "/etc/passwd" }, { "../vae/diffusion_pytorch_model.safetensors", "plain name" },
	{ "a/b.safetensors", "plain name" },
	{ "", "plain name" }, { ".hidden", "plain name" }, { "..", "plain name" }, 
	{ "none.safetensors", "none.safetensors" },
	{ "whole.safetensors", "should be in whole.safetensors" },
};

/* An index names files; only those beside it are read. */
static void shards_are_plain_names(void **state)
{
	fresh_copy();
	shell("mv m/unet/diffusion_pytorch_model.safetensors m/unet/whole.safetensors");
	for (size_t i = 0; i < sizeof(bad_shards) / sizeof(bad_shards[0]); i++) {
		char *text = xprintf("{\"metadata\":{},\"weight_map\":{\"no.such.tensor\":\"%s\"}}",
				     bad_shards[i].shard);
		struct error e = { 0 };

		put_bytes(in_folder("m/unet/diffusion_pytorch_model.safetensors.index.json"), text, strlen(text));
		assert_null(model_files_open(in_folder("m"), NULL, NULL, &e));
		if (!strstr(e.text, bad_shards[i].word))
			fail_msg("'%s' not in: %s", bad_shards[i].word, e.text);
		free(text);
	}
	put_bytes(in_folder("m/unet/diffusion_pytorch_model.safetensors.index.json"), "{}", 2);
	refused(in_folder("m"), NULL, NULL, "weight_map", NULL);
	put_bytes(in_folder("m/unet/diffusion_pytorch_model.safetensors.index.json"), "{\"weight_map\":{\"a\":5}}", 22);
	refused(in_folder("m"), NULL, NULL, "plain name", NULL);
}

static void a_vae_of_other_sizes_in_one_file_is_refused(void **state)
{
	refused(GOLDEN "/tiny-a/model", NULL, GOLDEN "/tiny-b/model/vae/diffusion_pytorch_model.safetensors",
		"config.json", "where");
	refused(GOLDEN "/tiny-a/model", NULL, GOLDEN "/tiny-a/model/unet", "config.json", NULL);
	refused(GOLDEN "/tiny-a/model", NULL, GOLDEN, "neither config.json nor vae/config.json", NULL);
}

static void a_hub_miss_prints_the_command(void **state)
{
	setenv("HF_HUB_CACHE", in_folder("empty-cache"), 1);
	refused("some-org/some.model", NULL, NULL, "hf download some-org/some.model model_index.json unet/config.json",
		"scheduler_config.json");
	refused(GOLDEN "/tiny-a/model", NULL, "some-org/a-vae", 
		"hf download some-org/a-vae config.json diffusion_pytorch_model.safetensors", NULL);
	refused("some-org/../x", NULL, NULL, "no such file or folder", NULL);
	refused("a/b/c", NULL, NULL, "no such file or folder", NULL);
	unsetenv("HF_HUB_CACHE");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(other_architectures_are_named),
		cmocka_unit_test(the_first_missing_name_is_told),
		cmocka_unit_test(an_inpainting_model_is_named),
		cmocka_unit_test(other_sizes_need_a_config),
		cmocka_unit_test(a_config_of_another_model_is_refused),
		cmocka_unit_test(what_is_missing_or_too_much_is_told),
		cmocka_unit_test(convolutions_as_projections_are_refused),
		cmocka_unit_test(no_such_path),
		cmocka_unit_test(a_folder_needs_no_config),
		cmocka_unit_test(pickled_weights_get_a_way_out),
		cmocka_unit_test(a_folder_whose_config_is_of_another_model),
		cmocka_unit_test(shards_are_plain_names),
		cmocka_unit_test(a_vae_of_other_sizes_in_one_file_is_refused),
		cmocka_unit_test(a_hub_miss_prints_the_command),
	};

	quiet(1);
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
