/* The table of configuration keys: searchable, complete in what it says, and described by lora-config(5). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/config/known_keys.h"
#include "../../libcommon/io/publish.h"
#include <cmocka.h>     /* after error.h: its fail() is a macro */

#define MANUAL "man/lora-config.5"

static void every_key_is_found(void **state)
{
	size_t count;
	const struct known_key *k = known_keys(&count);

	assert_true(count > 200);
	for (size_t i = 0; i < count; i++) {
		if (i && strcmp(k[i - 1].name, k[i].name) >= 0)
			fail_msg("'%s' stands before '%s'", k[i - 1].name, k[i].name);
		assert_ptr_equal(known_key(k[i].name), &k[i]);
	}
	assert_null(known_key("learning_rat"));
	assert_null(known_key(""));
}

static void every_key_says_why(void **state)
{
	size_t count;
	const struct known_key *k = known_keys(&count);

	for (size_t i = 0; i < count; i++) {
		bool must_say = k[i].class == KEY_IGNORED || k[i].class == KEY_RESIDUE || k[i].class == KEY_REFUSED;
		if (must_say && (!k[i].say || !*k[i].say))
			fail_msg("'%s' has nothing to say", k[i].name);
		if (k[i].alias && (k[i].class != KEY_OURS || !known_key(k[i].alias) ||
				   known_key(k[i].alias)->class != KEY_OURS))
			fail_msg("'%s' stands for '%s', which is no key of ours", k[i].name, k[i].alias);
	}
}

static bool names(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = text; (p = strstr(p, key)); p += n)
		if (p >= text + 3 && !memcmp(p - 3, "Ic ", 3) && strchr(" \n", p[n]))
			return true;
	return false;
}

static void the_manual_names_every_key(void **state)
{
	struct buffer text = { 0 };
	struct error e = { 0 };
	size_t count;
	const struct known_key *k = known_keys(&count);

	if (read_file(MANUAL, 1 << 20, &text, &e))
		fail_msg("%s (run from the top of the tree)", e.text);
	for (size_t i = 0; i < count; i++)
		if (!names(text.data, k[i].name))
			fail_msg("%s does not name '%s'", MANUAL, k[i].name);
	buffer_free(&text);
}

/* What the tutorial's file and most files in the wild hold must not be refused outright. */
static void common_keys_have_their_class(void **state)
{
	static const struct { const char *key; enum key_class class; } cases[] = {
		{ "pretrained_model_name_or_path", KEY_OURS }, { "vae", KEY_OURS }, { "resolution", KEY_OURS },
		{ "batch_size", KEY_OURS }, { "train_batch_size", KEY_OURS }, { "max_train_steps", KEY_OURS },
		{ "learning_rate", KEY_OURS }, { "lr_scheduler", KEY_OURS }, { "lr_warmup_steps", KEY_OURS },
		{ "output_dir", KEY_OURS }, { "output_name", KEY_OURS }, { "save_precision", KEY_OURS },
		{ "mixed_precision", KEY_OURS }, { "gradient_checkpointing", KEY_OURS },
		{ "gradient_accumulation_steps", KEY_OURS }, { "network_module", KEY_OURS },
		{ "network_dim", KEY_OURS }, { "network_alpha", KEY_OURS }, { "network_train_unet_only", KEY_OURS },
		{ "network_train_text_encoder_only", KEY_OURS }, { "optimizer_type", KEY_OURS },
		{ "max_grad_norm", KEY_OURS }, { "sample_every_n_steps", KEY_OURS }, { "xformers", KEY_IGNORED },
		{ "sdpa", KEY_IGNORED }, { "cache_latents", KEY_IGNORED }, { "max_data_loader_n_workers", KEY_IGNORED },
		{ "epoch", KEY_RESIDUE }, { "min_lr", KEY_RESIDUE }, { "sdxl", KEY_RESIDUE }, { "v2", KEY_REFUSED },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct known_key *k = known_key(cases[i].key);
		if (!k || k->class != cases[i].class)
			fail_msg("'%s' is missing or of another class", cases[i].key);
	}
}

/* Every key of training files found in public repositories,
 * residue of GUIs and typing mistakes included: each works or is said. */
static void keys_in_the_wild_are_known(void **state)
{
	char wild[] =
		"adaptive_noise_scale ae async_upload author batch_size betas bucket_no_upscale bucket_reso_steps "
		"cache_latents cache_latents_to_disk cache_text_encoder_outputs cache_text_encoder_outputs_to_disk "
		"caption_dropout_every_n_epochs caption_dropout_rate caption_extension caption_tag_dropout_rate "
		"clip_skip color_aug dataset_repeats debug_dataset description dim_from_weights dynamo_backend "
		"enable_bucket epoch flip_aug full_bf16 full_fp16 gradient_accumulation_steps gradient_checkpointing "
		"highvram huber_c huber_scale huber_schedule image_dir in_json is_reg keep_tokens learning_rate "
		"log_prefix log_tracker_name log_with logging_dir loss_type lowram lr_restart_cycles lr_scheduler "
		"lr_scheduler_args lr_scheduler_num_cycles lr_scheduler_power lr_scheduler_type lr_warmup_steps "
		"max_bucket_reso max_data_loader_n_workers max_grad_norm max_timestep max_token_length "
		"max_train_epochs max_train_steps mem_eff_attn metadata_author metadata_description metadata_title "
		"min_bucket_reso min_lr min_snr_gamma min_timestep mixed_precision model_train_type "
		"multires_noise_discount multires_noise_iterations name network_alpha network_args network_dim "
		"network_dropout network_module network_train_text_encoder_only network_train_unet_only no_half_vae "
		"no_metadata noise_offset noise_offset_type num_prompts num_repeats optimizer_args optimizer_type "
		"output_dir output_name persistent_data_loader_workers pretrained_model_name_or_path prior_loss_weight "
		"random_crop reg_data_dir resolution resume resume_from_huggingface sample_at_first "
		"sample_every_n_epochs sample_every_n_steps sample_prompts sample_sampler save_every_n_epochs "
		"save_every_n_steps save_last_n_epochs save_last_n_steps_state save_model_as save_n_epoch_ratio "
		"save_precision save_state save_state_to_huggingface scale_v_pred_loss_like_noise_pred "
		"scale_weight_norms sdpa sdxl seed shuffle_caption text_encoder_lr token_warmup_min token_warmup_step "
		"train_batch_size train_data_dir train_inpainting train_text_encoder training_comment unet_lr "
		"use_8bit_adam use_lion_optimizer v2 v_parameterization vae vae_batch_size version wandb_api_key "
		"wandb_run_name warmup_ratio weight_decay weighted_captions xformers";
	int count = 0;

	for (char *rest = wild, *key; (key = strsep(&rest, " ")); count++)
		if (!known_key(key))
			fail_msg("'%s' is not known, or not decided on", key);
	assert_int_equal(count, 139);
}

/* Every option of sdxl_train_network.py 0.11.1. */
static void options_of_sd_scripts_are_known(void **state)
{
	char options[] =
		"adaptive_noise_scale alpha_mask async_upload base_weights base_weights_multiplier blocks_to_swap "
		"bucket_no_upscale bucket_reso_steps cache_info cache_latents cache_latents_to_disk "
		"cache_text_encoder_outputs cache_text_encoder_outputs_to_disk caption_dropout_every_n_epochs "
		"caption_dropout_rate caption_extension caption_extention caption_prefix caption_separator "
		"caption_suffix caption_tag_dropout_rate clip_skip color_aug conditioning_data_dir config_file "
		"console_log_file console_log_level console_log_simple cpu_offload_checkpointing dataset_class "
		"dataset_config dataset_repeats ddp_gradient_as_bucket_view ddp_static_graph ddp_timeout "
		"debiased_estimation_loss debug_dataset deepspeed dim_from_weights disable_mmap_load_safetensors "
		"dynamo_backend enable_bucket enable_wildcard face_crop_aug_range flip_aug "
		"fp16_master_weights_and_gradients fp8_base fp8_base_unet full_bf16 full_fp16 fused_backward_pass "
		"gradient_accumulation_steps gradient_checkpointing highvram huber_c huber_scale huber_schedule "
		"huggingface_path_in_repo huggingface_repo_id huggingface_repo_type huggingface_repo_visibility "
		"huggingface_token in_json initial_epoch initial_step ip_noise_gamma ip_noise_gamma_random_strength "
		"keep_tokens keep_tokens_separator learning_rate log_config log_prefix log_tracker_config "
		"log_tracker_name log_with logging_dir logit_mean logit_std loss_type lowram lr_decay_steps "
		"lr_scheduler lr_scheduler_args lr_scheduler_min_lr_ratio lr_scheduler_num_cycles lr_scheduler_power "
		"lr_scheduler_timescale lr_scheduler_type lr_warmup_steps masked_loss max_bucket_reso "
		"max_data_loader_n_workers max_grad_norm max_timestep max_token_length max_train_epochs "
		"max_train_steps max_validation_steps mem_eff_attn metadata_author metadata_description "
		"metadata_is_negative_embedding metadata_license metadata_merged_from metadata_preprocessor "
		"metadata_tags metadata_thumbnail metadata_title metadata_trigger_phrase metadata_usage_hint "
		"min_bucket_reso min_snr_gamma min_timestep mixed_precision mode_scale multires_noise_discount "
		"multires_noise_iterations network_alpha network_args network_dim network_dropout network_module "
		"network_train_text_encoder_only network_train_unet_only network_weights no_half_vae no_metadata "
		"noise_offset noise_offset_random_strength offload_optimizer_device offload_optimizer_nvme_path "
		"offload_param_device offload_param_nvme_path optimizer_args optimizer_type output_config output_dir "
		"output_name persistent_data_loader_workers pretrained_model_name_or_path prior_loss_weight "
		"random_crop reg_data_dir resize_interpolation resolution resume resume_from_huggingface "
		"sample_at_first sample_every_n_epochs sample_every_n_steps sample_prompts sample_sampler "
		"save_every_n_epochs save_every_n_steps save_last_n_epochs save_last_n_epochs_state save_last_n_steps "
		"save_last_n_steps_state save_model_as save_n_epoch_ratio save_precision save_state "
		"save_state_on_train_end save_state_to_huggingface scale_v_pred_loss_like_noise_pred "
		"scale_weight_norms sdpa secondary_separator seed shuffle_caption skip_cache_check "
		"skip_image_resolution skip_until_initial_step text_encoder_batch_size text_encoder_lr "
		"token_warmup_min token_warmup_step tokenizer_cache_dir torch_compile train_batch_size train_data_dir "
		"train_inpainting training_comment unet_lr use_8bit_adam use_lion_optimizer use_safetensors v2 "
		"v_parameterization v_pred_like_loss vae vae_batch_size validate_every_n_epochs validate_every_n_steps "
		"validation_seed validation_split wandb_api_key wandb_run_name weighted_captions weighting_scheme "
		"xformers zero3_init_flag zero3_save_16bit_model zero_stage zero_terminal_snr";
	int count = 0;

	for (char *rest = options, *key; (key = strsep(&rest, " ")); count++)
		if (!known_key(key))
			fail_msg("'%s' is not known, or not decided on", key);
	assert_int_equal(count, 205);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_is_found),
		cmocka_unit_test(every_key_says_why),
		cmocka_unit_test(the_manual_names_every_key),
		cmocka_unit_test(common_keys_have_their_class),
		cmocka_unit_test(keys_in_the_wild_are_known),
		cmocka_unit_test(options_of_sd_scripts_are_known),
	};

	return cmocka_run_group_tests_name("known_keys", tests, NULL, NULL);
}
