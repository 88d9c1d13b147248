/* What a trainer knows, as kohya's keys. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../io/json.h"
#include "metadata.h"

/* What this program does not do, in kohya's words for "no".  Where it does after all, the row is given another
 * value. */
static const struct metadata unless_said[] = {
	{ "ss_network_module", "networks.lora" },
	{ "ss_network_dropout", "None" },
	{ "ss_full_fp16", "False" },
	{ "ss_clip_skip", "None" },
	{ "ss_cache_latents", "True" },
	{ "ss_lowram", "False" },
	{ "ss_multires_noise_iterations", "None" },
	{ "ss_multires_noise_discount", "0.3" },
	{ "ss_adaptive_noise_scale", "None" },
	{ "ss_face_crop_aug_range", "None" },
	{ "ss_scale_weight_norms", "None" },
	{ "ss_ip_noise_gamma", "None" },
	{ "ss_noise_offset_random_strength", "False" },
	{ "ss_ip_noise_gamma_random_strength", "False" },
	{ "ss_fp8_base", "False" },
	{ "ss_num_validation_images", "0" },
	{ "ss_color_aug", "False" },
	{ "ss_random_crop", "False" },
	{ "ss_sd_scripts_commit_hash", "None" },
};

static void number_or_none(struct metadata_list *l, const char *key, double value)
{
	if (value)
		metadata_float(l, key, value);
	else
		metadata_text(l, key, NULL);
}

static void add_family(const struct training_facts *f, struct metadata_list *l)
{
	const struct family *family = f->family ? f->family : &family_sdxl;

	metadata_text(l, "ss_v2", family->v2);
	metadata_text(l, "ss_base_model_version", family->base_model_version);
}

static void add_adapter(const struct training_facts *f, struct metadata_list *l)
{
	struct json_out j = { 0 };
	char text[40];

	metadata_text(l, "ss_output_name", f->output_name);
	metadata_int(l, "ss_network_dim", f->rank);
	metadata_float(l, "ss_network_alpha", f->alpha);
	if (f->network_args || !f->conv_rank) {
		metadata_text(l, "ss_network_args", f->network_args ? f->network_args : "{}");
		return;
	}
	json_begin(&j, NULL);
	snprintf(text, sizeof(text), "%d", f->conv_rank);
	json_text(&j, "conv_dim", text);
	snprintf(text, sizeof(text), "%g", f->conv_alpha);
	json_text(&j, "conv_alpha", text);
	json_end(&j);
	metadata_text(l, "ss_network_args", j.text.data);
	json_free(&j);
}

static void add_model(const struct training_facts *f, struct metadata_list *l)
{
	metadata_text(l, "ss_sd_model_name", f->model_name);
	if (f->vae_name)
		metadata_text(l, "ss_vae_name", f->vae_name);
	if (f->clip_skip) {
		metadata_int(l, "modelspec.encoder_layer", f->clip_skip);
		metadata_int(l, "ss_clip_skip", f->clip_skip);
		metadata_instead(l);
	}
	metadata_bool(l, "ss_zero_terminal_snr", f->zero_terminal_snr);
	metadata_text(l, "modelspec.prediction_type", f->prediction ? f->prediction : "epsilon");
	metadata_text(l, "ss_training_comment", f->comment);
}

static void add_notes(const struct training_facts *f, struct metadata_list *l)
{
	const struct model_notes *n = &f->notes;
	const struct metadata rows[] = {
		{ "modelspec.title", n->title ? n->title : f->output_name },
		{ "modelspec.author", n->author },
		{ "modelspec.description", n->description },
		{ "modelspec.license", n->license },
		{ "modelspec.tags", n->tags },
		{ "modelspec.thumbnail", n->thumbnail },
		{ "modelspec.trigger_phrase", n->trigger_phrase },
		{ "modelspec.usage_hint", n->usage_hint },
		{ "modelspec.merged_from", n->merged_from },
		{ "modelspec.preprocessor", n->preprocessor },
		{ "modelspec.is_negative_embedding", n->is_negative_embedding },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (rows[i].value)
			metadata_text(l, rows[i].key, rows[i].value);
}

static void add_optimizer(const struct training_facts *f, struct metadata_list *l)
{
	metadata_float(l, "ss_learning_rate", f->learning_rate);
	number_or_none(l, "ss_unet_lr", f->unet_lr);
	number_or_none(l, "ss_text_encoder_lr", f->text_encoder_lr);
	metadata_text(l, "ss_optimizer", f->optimizer);
	metadata_text(l, "ss_lr_scheduler", f->lr_scheduler);
	metadata_int(l, "ss_lr_warmup_steps", f->warmup_steps);
	metadata_float(l, "ss_max_grad_norm", f->max_grad_norm);
	metadata_int(l, "ss_gradient_accumulation_steps", f->accumulation);
	metadata_bool(l, "ss_gradient_checkpointing", f->checkpointing);
	metadata_text(l, "ss_mixed_precision", f->mixed_precision ? f->mixed_precision : "no");
	metadata_int(l, "ss_max_train_steps", f->max_steps);
	metadata_int(l, "ss_steps", f->steps);
	metadata_int(l, "ss_epoch", f->epoch);
	metadata_int(l, "ss_num_epochs", f->epochs);
}

static void number_instead(struct metadata_list *l, const char *key, double value)
{
	if (!value)
		return;
	metadata_float(l, key, value);
	metadata_instead(l);
}

static void flag_instead(struct metadata_list *l, const char *key, bool value)
{
	metadata_bool(l, key, value);
	metadata_instead(l);
}

static void add_restraints(const struct training_facts *f, struct metadata_list *l)
{
	number_instead(l, "ss_network_dropout", f->network_dropout);
	number_instead(l, "ss_scale_weight_norms", f->scale_weight_norms);
}

static void add_noise(const struct training_facts *f, struct metadata_list *l)
{
	number_or_none(l, "ss_noise_offset", f->noise_offset);
	number_instead(l, "ss_adaptive_noise_scale", f->adaptive_noise_scale);
	number_instead(l, "ss_ip_noise_gamma", f->ip_noise_gamma);
	number_instead(l, "ss_multires_noise_discount", f->multires_discount);
	flag_instead(l, "ss_noise_offset_random_strength", f->noise_offset_random);
	flag_instead(l, "ss_ip_noise_gamma_random_strength", f->ip_noise_random);
	if (f->multires_iterations) {
		metadata_int(l, "ss_multires_noise_iterations", f->multires_iterations);
		metadata_instead(l);
	}
}

static void add_objective(const struct training_facts *f, struct metadata_list *l)
{
	char seed[24], range[48];

	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)f->seed);
	metadata_text(l, "ss_seed", seed);
	metadata_float(l, "ss_prior_loss_weight", f->prior_loss_weight);
	number_or_none(l, "ss_min_snr_gamma", f->min_snr_gamma);
	add_noise(f, l);
	metadata_bool(l, "ss_debiased_estimation", f->debiased);
	metadata_text(l, "ss_loss_type", f->loss_type ? f->loss_type : "l2");
	if (f->huber_schedule) {
		metadata_text(l, "ss_huber_schedule", f->huber_schedule);
		metadata_float(l, "ss_huber_c", f->huber_c);
		metadata_float(l, "ss_huber_scale", f->huber_scale);
	}
	if (f->timesteps[1]) {
		snprintf(range, sizeof(range), "%ld,%ld", f->timesteps[0], f->timesteps[1]);
		metadata_text(l, "modelspec.timestep_range", range);
	}
}

static void add_sizes(const struct training_facts *f, struct metadata_list *l)
{
	char text[60];

	if (!f->resolution[0])
		return;
	snprintf(text, sizeof(text), "(%d, %d)", f->resolution[0], f->resolution[1]);
	metadata_text(l, "ss_resolution", text);
	snprintf(text, sizeof(text), "%dx%d", f->resolution[0], f->resolution[1]);
	metadata_text(l, "modelspec.resolution", text);
}

static void add_data(const struct training_facts *f, struct metadata_list *l)
{
	add_sizes(f, l);
	metadata_int(l, "ss_num_train_images", f->train_images);
	metadata_int(l, "ss_num_reg_images", f->reg_images);
	metadata_int(l, "ss_num_batches_per_epoch", f->batches_per_epoch);
	metadata_int(l, "ss_batch_size_per_device", f->batch_size);
	metadata_int(l, "ss_total_batch_size", f->batch_size);
	metadata_bool(l, "ss_flip_aug", f->flip);
	metadata_bool(l, "ss_shuffle_caption", f->shuffle_caption);
	metadata_int(l, "ss_keep_tokens", f->keep_tokens);
	metadata_float(l, "ss_caption_dropout_rate", f->caption_dropout);
	if (f->max_token_length)
		metadata_int(l, "ss_max_token_length", f->max_token_length);
	else
		metadata_text(l, "ss_max_token_length", NULL);
	metadata_int(l, "ss_caption_dropout_every_n_epochs", f->caption_dropout_epochs);
	metadata_float(l, "ss_caption_tag_dropout_rate", f->caption_tag_dropout);
	metadata_bool(l, "ss_enable_bucket", f->max_bucket != 0);
	metadata_bool(l, "ss_bucket_no_upscale", f->bucket_no_upscale);
	if (f->max_bucket) {
		metadata_int(l, "ss_min_bucket_reso", f->min_bucket);
		metadata_int(l, "ss_max_bucket_reso", f->max_bucket);
	}
}

static void add_json(const struct training_facts *f, struct metadata_list *l)
{
	metadata_text(l, "ss_dataset_dirs", f->dataset_dirs ? f->dataset_dirs : "{}");
	metadata_text(l, "ss_reg_dataset_dirs", f->reg_dataset_dirs ? f->reg_dataset_dirs : "{}");
	metadata_text(l, "ss_tag_frequency", f->tag_frequency ? f->tag_frequency : "{}");
	metadata_text(l, "ss_bucket_info", f->bucket_info ? f->bucket_info : "null");
}

/* Universal time: the local zone is no business of a file's. */
static void add_dates(const struct training_facts *f, struct metadata_list *l)
{
	char text[40];
	struct tm tm;

	if (f->started != -1)
		metadata_float(l, "ss_training_started_at", f->started);
	if (f->finished != -1)
		metadata_float(l, "ss_training_finished_at", f->finished);
	if (f->finished != -1 && gmtime_r(&f->finished, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm))
		metadata_text(l, "modelspec.date", text);
	if (f->session_id)
		metadata_text(l, "ss_session_id", f->session_id);
}

static bool is_needed(const char *key)
{
	static const char *const needed[] = { "ss_v2",		"ss_base_model_version", "ss_network_module",
					      "ss_network_dim", "ss_network_alpha",	 "ss_network_args" };

	for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++)
		if (!strcmp(needed[i], key))
			return true;
	return strncmp(key, "ss_", 3) != 0;
}

static void keep_least(struct metadata_list *l)
{
	size_t i, kept = 0;

	for (i = 0; i < l->count; i++) {
		if (is_needed(l->item[i].key)) {
			l->item[kept++] = l->item[i];
		} else {
			free((char *)l->item[i].key);
			free((char *)l->item[i].value);
		}
	}
	l->count = kept;
}

void training_metadata(const struct training_facts *f, struct metadata_list *out)
{
	add_family(f, out);
	for (size_t i = 0; i < sizeof(unless_said) / sizeof(unless_said[0]); i++)
		metadata_text(out, unless_said[i].key, unless_said[i].value);
	add_adapter(f, out);
	add_restraints(f, out);
	add_model(f, out);
	add_notes(f, out);
	add_optimizer(f, out);
	add_objective(f, out);
	add_data(f, out);
	add_json(f, out);
	add_dates(f, out);
	if (f->least)
		keep_least(out);
}
