/* Which model a file is for, by a few names and shapes of each program. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/adapter/made_for.h"
#include "../../libcommon/base/memory.h"
#include <cmocka.h>     /* last: it takes the name fail */

enum { MOST = 3 };

/* Modules with a lora_down [4,in] and a lora_up [8,4]. */
static const struct {
	const char *model, *module[MOST];
	int in;
	struct metadata says;
} files[] = {
	{ "SDXL", { "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k" }, 2048 },
	{ "Stable Diffusion 1.5", { "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_v" }, 768 },
	{ "Stable Diffusion 2", { "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k" }, 1024 },
	{ "the SDXL refiner", { "lora_unet_middle_block_1_transformer_blocks_0_attn2_to_k" }, 1280 },
	/* without a cross-attention, or with one of a size of its own */
	{ "SDXL", { "lora_unet_output_blocks_0_1_transformer_blocks_1_ff_net_2" }, 72 },
	{ "Stable Diffusion 1.5", { "lora_unet_down_blocks_0_attentions_0_proj_in" }, 320 },
	{ "Stable Diffusion 1.5", { "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k" }, 72 },
	{ "SDXL", { "lora_te1_text_model_encoder_layers_0_mlp_fc1", "lora_te2_text_model_encoder_layers_0_mlp_fc1" },
	  72 },
	{ "Flux", { "lora_unet_double_blocks_0_img_attn_qkv", "lora_unet_double_blocks_0_img_mlp_0" }, 3072 },
	{ "Flux", { "lora_te1_text_model_encoder_layers_0_mlp_fc1", "lora_unet_single_blocks_0_linear1" }, 3072 },
	{ "Flux", { "transformer.transformer_blocks.0.attn.add_q_proj",
		    "transformer.single_transformer_blocks.0.attn.to_q" }, 3072 },
	{ "Stable Diffusion 3", { "transformer.transformer_blocks.0.attn.add_k_proj" }, 1536 },
	{ "Stable Diffusion 3", { "lora_unet_joint_blocks_0_x_block_attn_qkv" }, 1536 },
	{ "Hunyuan Video", { "lora_unet_double_blocks_0_img_attn_qkv", "lora_unet_double_blocks_0_img_mlp_fc1" },
	  3072 },
	{ "Wan", { "diffusion_model.blocks.0.cross_attn.k" }, 5120 },
	{ "Qwen-Image", { "transformer.transformer_blocks.0.attn.add_k_proj",
			  "transformer.transformer_blocks.0.img_mod.1" }, 3072 },
	{ "Chroma", { "lora_unet_double_blocks_0_img_attn_qkv", "lora_unet_distilled_guidance_layer_in_proj" }, 64 },
	/* two words of a row in two names are none of it */
	{ NULL, { "a.transformer_blocks.0.x", "b.txt_mlp.x" }, 64 },
	{ NULL, { "lora_te1_text_model_encoder_layers_0_mlp_fc1" }, 768 },
	{ "Stable Diffusion 1.5", { "lora_te_text_model_encoder_layers_0_mlp_fc1" }, 768,
	  { "ss_base_model_version", "sd_v1" } },
	{ "Flux", { "lora_te1_text_model_encoder_layers_0_mlp_fc1" }, 768,
	  { "modelspec.architecture", "flux-1-dev/lora" } },
};

static void check(size_t i)
{
	static const float zeros[8 * 8192];
	struct safetensors_out t[2 * MOST];
	char *name[2 * MOST] = { NULL };
	struct buffer bytes = { 0 };
	struct safetensors *f;
	const char *model;
	struct error e;
	size_t n = 0;

	for (int k = 0; k < MOST && files[i].module[k]; k++) {
		name[n] = xprintf("%s.lora_down.weight", files[i].module[k]);
		t[n] = (struct safetensors_out){ name[n], DTYPE_F32, 2, { 4, files[i].in }, zeros, false };
		n++;
		name[n] = xprintf("%s.lora_up.weight", files[i].module[k]);
		t[n] = (struct safetensors_out){ name[n], DTYPE_F32, 2, { 8, 4 }, zeros, false };
		n++;
	}
	safetensors_serialize(&bytes, t, n, &files[i].says, files[i].says.key != NULL);
	f = safetensors_parse("test", bytes.data, bytes.len, &e);
	assert_non_null(f);
	model = adapter_made_for(f);
	if ((model == NULL) != (files[i].model == NULL) || (model && strcmp(model, files[i].model)))
		fail_msg("file %zu is for %s, not %s", i, model ? model : "nothing", files[i].model);
	safetensors_close(f);
	buffer_free(&bytes);
	while (n)
		free(name[--n]);
}

static void by_names_and_shapes(void **state)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		check(i);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(by_names_and_shapes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
