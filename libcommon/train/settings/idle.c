#include <string.h>
#include "idle.h"

static bool either(const char *is, const char *a, const char *b)
{
	return !strcmp(is, a) || !strcmp(is, b);
}

/* Defaults are no news: kohya's GUI writes all of them into every file. */
void settings_tell_idle(const struct train_settings *s)
{
	const bool bends = either(s->loss_type, "huber", "smooth_l1");
	const bool low = either(s->lr_scheduler, "cosine_with_min_lr", "warmup_stable_decay");
	const bool waves = low || !strcmp(s->lr_scheduler, "cosine_with_restarts");
	const bool convolutions = s->conv_rank || s->blocks.conv_dims || s->dim_from_weights;
	const bool saves = s->save_every_steps || s->save_every_epochs || s->save_epoch_ratio;
	const struct { bool idle; const char *key, *needs; } rows[] = {
		{ s->noise_offset_random && !s->noise_offset, "noise_offset_random_strength", "noise_offset" },
		{ s->ip_noise_random && !s->ip_noise_gamma, "ip_noise_gamma_random_strength", "ip_noise_gamma" },
		{ s->multires_discount != 0.3 && !s->multires_iterations, "multires_noise_discount", "multires_noise_iterations" },
		{ s->huber_c != 0.1 && !bends, "huber_c", "loss_type = \"huber\" or \"smooth_l1\"" },
		{ s->huber_scale != 1 && !bends, "huber_scale", "loss_type = \"huber\" or \"smooth_l1\"" },
		{ strcmp(s->huber_schedule, "snr") && !bends, "huber_schedule", "loss_type = \"huber\" or \"smooth_l1\"" },
		{ s->conv_alpha && s->conv_alpha != 1 && !convolutions, "conv_alpha", "conv_dim" },
		{ s->lr_power != 1 && strcmp(s->lr_scheduler, "polynomial"), "lr_scheduler_power", "lr_scheduler = \"polynomial\"" },
		{ s->lr_cycles != 1 && !waves, "lr_scheduler_num_cycles", "lr_scheduler = \"cosine_with_restarts\"" },
		{ s->lr_min_ratio && !low, "lr_scheduler_min_lr_ratio", "lr_scheduler = \"cosine_with_min_lr\" or \"warmup_stable_decay\"" },
		{ s->decay && strcmp(s->decay, "0") && strcmp(s->lr_scheduler, "warmup_stable_decay"), "lr_decay_steps",
		  "lr_scheduler = \"warmup_stable_decay\"" },
		{ s->lr_timescale && strcmp(s->lr_scheduler, "inverse_sqrt"), "lr_scheduler_timescale", "lr_scheduler = \"inverse_sqrt\"" },
		{ s->keep_steps && !saves, "save_last_n_steps", "save_every_n_steps" },
		{ s->keep_epochs && !saves, "save_last_n_epochs", "save_every_n_epochs" },
		{ s->keep_adapters && !saves, "save_last_n", "save_every_n_steps" },
		{ s->validation_seed && !s->validation_split, "validation_seed", "validation_split" },
		{ s->max_validation_steps && !s->validation_split, "max_validation_steps", "validation_split" },
		{ s->log_prefix && !s->logging_dir, "log_prefix", "logging_dir" },
		{ s->sample_prompts && !(s->sample_every_steps || s->sample_every_epochs || s->sample_at_first), "sample_prompts",
		  "sample_every_n_steps (or signal USR2)" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (rows[i].idle)
			note("%s: does nothing without %s; set that too, or leave it out", rows[i].key, rows[i].needs);
}
