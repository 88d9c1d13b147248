/* Whose configuration is it?  Programs are named by what is in their files,
 * and a preset of the kohya_ss GUI comes out as TOML. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/config/foreign.h"
#include "../../libcommon/io/publish.h"
#include <cmocka.h>     /* after error.h: its fail() is a macro */

static char path[] = "/tmp/foreign.XXXXXX";

static struct toml *read_text(const char *text, struct buffer *preset, struct error *e)
{
	if (publish_bytes(path, text, strlen(text), e))
		fail_msg("%s", e->text);
	return config_file_read(path, preset, e);
}

static const struct { const char *text, *say; } files[] = {
	{ "{\"training_method\": \"LORA\", \"model_type\": \"STABLE_DIFFUSION_XL_10_BASE\"}",
	  "this is a configuration of OneTrainer" },
	{ "\xef\xbb\xbf \n{ \"base_model_name\": \"x\",\n \"lora_rank\": 16 }", "OneTrainer" },
	{ "[\n {\"name\": \"a\", \"path\": \"b\", \"include_subdirectories\": true}\n]",
	  "these are concepts of OneTrainer" },
	{ "{\"--model_family\": \"sdxl\", \"--data_backend_config\": \"c.json\"}",
	  "this is a configuration of SimpleTuner" },
	{ "{\"model_family\": \"sdxl\"}", "SimpleTuner" },
	{ "[{\"id\": \"a\", \"type\": \"local\", \"instance_data_dir\": \"x\", \"caption_strategy\": \"textfile\"}]",
	  "data backend file of SimpleTuner" },
	{ "---\njob: extension\nconfig:\n  name: x\n  process:\n    - type: 'sd_trainer'\n",
	  "this is a job of ai-toolkit" },
	{ "# comment\n\njob: extension\n", "ai-toolkit" },
	{ "{\"job\": \"extension\", \"config\": {\"process\": []}}", "ai-toolkit" },
	{ "compute_environment: LOCAL_MACHINE\ndistributed_type: 'NO'\n", "accelerate" },
	{ "{\"_class_name\": \"UNet2DConditionModel\"}", "a model's own config" },
	{ "{\"peft_type\": \"LORA\"}", "a PEFT adapter" },
	{ "{}", "not a TOML file; write the keys of lora-config(5) into a .toml" },
	{ "[ { } ]", "not a TOML file" },
	{ "a: 1\n", "not a TOML file" },
	{ "{\"optimizer\": ", "not a TOML file" },
	{ "{\n  \"LoRA_type\": \"Standard\",\n}", "kohya_ss" },             /* a comma too many */
	{ "{\"max_resolution\": \"1024,1024\", \"epoch\": 1}", "kohya_ss GUI, in JSON; lora-train --config " },
	{ "output_dir = 'x'\n[model]\ntype = 'sdxl'\n", ":3: this is a file of diffusion-pipe" },
	{ "resolutions = [512]\nframe_buckets = [1, 33]\n[[directory]]\npath = 'x'\n",
	  ":3: this is a dataset file of diffusion-pipe" },
	{ "[general]\nresolution = [960, 544]\n[[datasets]]\nvideo_directory = 'x'\n",
	  ":4: this is a dataset file of musubi-tuner" },
	{ "[[datasets]]\nimage_jsonl_file = 'x'\n", "musubi-tuner" },
	{ "task = 't2v-14B'\n", "musubi-tuner" },
	{ "dit = 'x'\nnetwork_module = 'networks.lora_wan'\n", "musubi-tuner" },
	{ "[m]\nclip_l = 'a'\nt5xxl = 'b'\nae = 'c'\n", "for FLUX or SD3" },
	{ "qwen3 = 'q'\ndiscrete_flow_shift = 3.0\n", "for Anima" },
	{ "network_module = 'networks.lora_wan'\n", "musubi-tuner" },
	{ "model_family = 'sdxl'\n", "SimpleTuner" },
	{ "model_type = 'chroma'\n", "for FLUX or Chroma" },
	{ "timestep_sampling = 'shift'\n", "for a flow model such as FLUX" },
	{ "model_train_type = 'lumina-lora'\n", "lora-scripts for another model" },
	{ "[prompt]\nwidth = 1\n[[prompt.subset]]\n", "this is a prompt file" },
};

static void programs_are_named(void **state)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		struct error e = { 0 };
		struct toml *t = read_text(files[i].text, NULL, &e);
		if (t)
			fail_msg("taken: %s", files[i].text);
		if (!strstr(e.text, files[i].say) || e.code != EXIT_USAGE)
			fail_msg("%s\ncode %d: %s", files[i].text, e.code, e.text);
	}
}

static const char *const ours[] = {
	"", "# only a comment\n", "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'x'\n", "[model]\nvae = 'x'\n",
	"['quoted']\na = 1\n",
	"t5xxl = ''\nclip_l = ''\ndit = ''\nqwen3 = []\n", "network_module = 'networks.lora'\n",
	"model_train_type = 'sdxl-lora'\n", "model_train_type = 'sd-lora'\n",
};

static void files_of_ours_are_read(void **state)
{
	for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++) {
		struct error e = { 0 };
		struct toml *t = read_text(ours[i], NULL, &e);
		if (!t)
			fail_msg("%s\n%s", ours[i], e.text);
		toml_free(t);
	}
}

#define HEAD "# From a preset of the kohya_ss GUI.\n"
static const struct { const char *json, *toml; } presets[] = {
	{ "{\"LoRA_type\": \"Standard\", \"adaptive_noise_scale\": 0, \"additional_parameters\": "
	  "\"--max_grad_norm=0 --zero_terminal_snr --network-args rank_dropout=0.1 module_dropout=0.2\", \"epoch\": 4, "
	  "\"max_grad_norm\": 1, \"max_resolution\": \"1024,1024\"}",
	  HEAD "max_grad_norm = 0\nzero_terminal_snr = true\n"
	       "network_args = [\"rank_dropout=0.1\", \"module_dropout=0.2\"]\n"
	  "resolution = \"1024,1024\"\nmax_train_epochs = 4\n" },
	{ "{\"LoRA_type\": \"Kohya LoCon\", \"conv_dim\": 8, \"conv_alpha\": 4, \"network_dim\": 32, \"xformers\": "
	  "\"xformers\", \"gradient_accumulation_steps\": \"1\"}",
	  HEAD "network_dim = 32\ngradient_accumulation_steps = 1\nconv_dim = 8\nconv_alpha = 4\n" },
	{ "{\"LoRA_type\": \"Standard\", \"conv_dim\": 8, \"color_aug\": true, \"learning_rate\": 1e-4, "
	  "\"save_precision\": \"fp16\", \"seed\": \"\"}",
	  HEAD "# color_aug = true  is left out: it needs each visit's picture encoded anew, "
	       "and latents are computed once here; put changed copies of the pictures into the folder\n"
	       "learning_rate = 0.0001\nsave_precision = \"fp16\"\n" },
	{ "{\"LoRA_type\": \"Kohya LoHa\", \"optimizer\": \"Adafactor\", \"optimizer_args\": "
	  "\"\\\"scale_parameter=False\\\" warmup_init=False\"}",
	  HEAD "optimizer_type = \"Adafactor\"\noptimizer_args = [\"scale_parameter=False\", \"warmup_init=False\"]\n"
	       "network_module = \"networks.loha\"\n" },
	{ "{\"LoRA_type\": \"LyCORIS/LoKr\", \"sdxl\": false}",
	  HEAD "# It was not made for SDXL (sdxl was off): look at resolution and learning rates.\n"
	       "network_module = \"lycoris.kohya\"\n"
	  "network_args = [\"algo=lokr\"]\n" },
	{ "{\"LoRA_type\": \"LyCORIS/LoHa\", \"use_cp\": true, \"factor\": 0, \"conv_dim\": 4, \"LyCORIS_preset\": "
	  "\"full\", \"additional_parameters\": \"--network_args rank_dropout=0.1\"}",
	  HEAD "network_args = [\"algo=loha\", \"use_tucker=True\", \"preset=full\", \"rank_dropout=0.1\"]\n"
	  "network_module = \"lycoris.kohya\"\nconv_dim = 4\n" },
	{ "{\"LoRA_type\": \"Standard\", \"noise_offset_type\": \"Multires\", \"noise_offset\": 0.1, "
	  "\"multires_noise_iterations\": 6, \"multires_noise_discount\": 0.2}",
	  HEAD "multires_noise_iterations = 6\nmultires_noise_discount = 0.2\n" },
	{ "{\"LoRA_type\": \"Standard\", \"noise_offset_type\": \"Original\", \"noise_offset\": 0.1, "
	  "\"multires_noise_iterations\": 6}",
	  HEAD "noise_offset = 0.1\n" },
	{ "{\"LoRA_type\": \"Standard\", \"unet_lr\": 0.0002, \"text_encoder_lr\": 0}",
	  HEAD "unet_lr = 0.0002\nnetwork_train_unet_only = true\n" },
	{ "{\"LoRA_type\": \"Standard\", \"unet_lr\": 0, \"text_encoder_lr\": [1e-5, 1e-6]}",
	  HEAD "text_encoder_lr = [1e-5, 1e-6]\nnetwork_train_text_encoder_only = true\n" },
	{ "{\"LoRA_type\": \"Standard\", \"lr_warmup\": 10, \"lr_scheduler\": \"cosine_with_restarts\", \"epoch\": "
	  "\"3\", \"max_train_steps\": \"500\"}",
	  HEAD "lr_scheduler = \"cosine_with_restarts\"\nmax_train_steps = 500\nlr_warmup_steps = \"10%\"\n"
	       "lr_scheduler_num_cycles = 3\n" },
	{ "{\"LoRA_type\": \"Standard\", \"seed\": \"12345678901234567890\", \"network_alpha\": \".5\", "
	  "\"network_dim\": \"008\", \"min_snr_gamma\": \" 5 \", \"output_name\": \"nan\", \"unet_lr\": \"1.e-4\", "
	  "\"text_encoder_lr\": 1e-4}",
	  HEAD "seed = \"12345678901234567890\"\nnetwork_alpha = 0.5\nnetwork_dim = 8\nmin_snr_gamma = 5\n"
	       "output_name = \"nan\"\nunet_lr = 0.0001\n"
	  "text_encoder_lr = 0.0001\n" },
	{ "{\"LoRA_type\": \"Standard\", \"log_with\": \"wandb\", \"sample_prompts\": \"a cat --w 512\\na dog\", "
	  "\"output_name\": \"a \\\"b\\\"\"}",
	  HEAD "# log_with = \"wandb\"  is left out: no program here uses the network\noutput_name = \"a \\\"b\\\"\"\n"
	  "# Write these prompts into a file and name it in sample_prompts:\n#   a cat --w 512\n#   a dog\n" },
};

static void presets_become_toml(void **state)
{
	for (size_t i = 0; i < sizeof(presets) / sizeof(*presets); i++) {
		struct buffer toml = { 0 };
		struct error e = { 0 };
		struct toml *t = read_text(presets[i].json, &toml, &e);
		assert_null(t);
		assert_non_null(strstr(e.text, "kohya_ss GUI"));
		buffer_adds(&toml, "");
		assert_string_equal(toml.data, presets[i].toml);
		t = toml_parse("x", toml.data, toml.len, &e);
		if (!t)
			fail_msg("%s\n%s", e.text, toml.data);
		toml_free(t);
		buffer_free(&toml);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(programs_are_named),
		cmocka_unit_test(files_of_ours_are_read),
		cmocka_unit_test(presets_become_toml),
	};
	int failed, fd = mkstemp(path);

	if (fd < 0)
		return 1;
	close(fd);
	failed = cmocka_run_group_tests_name("foreign", tests, NULL, NULL);
	unlink(path);
	return failed;
}
