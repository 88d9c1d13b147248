/*
 * settings.h - what a training run is told: one option table, filled by command line, config files and environment.
 *
 * Names are kohya's where kohya has one.  Must not know how anything is done.
 */
#ifndef TRAIN_SETTINGS_SETTINGS_H
#define TRAIN_SETTINGS_SETTINGS_H

#include <string.h>
#include "../../config/options.h"
#include "../../adapter/blocks.h"
#include "../../adapter/kind.h"
#include "../../data/bucket.h"
#include "../../data/caption_variants.h"
#include "../../model/config.h"
#include "metadata.h"

struct train_settings {
	const char *model, *model_config;
	const char *output_dir, *output_name;
	const char *device;
	bool allow_other_encoders;
	/* data */
	long batch_size, accumulate, replicas;
	long ranks;                                             /* programs that run it together (share.h) */
	long max_token_length, clip_skip;                       /* clip_skip 0: not said */
	struct caption_options captions;                        /* where a sample says nothing of its own */
	/* adapter */
	long rank, conv_rank;
	double alpha, conv_alpha;
	bool unet_only, text_only;
	const char *network_module;
	struct text_list network_args;
	const struct adapter_kind *kind;                        /* what comes of the module, and its own arguments */
	struct kind_args kind_args;
	bool lycoris;                                           /* the module is LyCORIS' */
	struct block_texts blocks;
	double network_dropout, rank_dropout, module_dropout, scale_weight_norms;       /* 0: off */
	const char *network_weights;
	bool dim_from_weights, dora;
	const char *dora_axis;
	struct text_list base_weights;
	const char *base_multipliers;
	/* optimizer and schedule */
	const char *optimizer, *lr_scheduler, *warmup, *decay;
	struct text_list optimizer_args;
	bool use_8bit_adam, use_lion;                           /* kohya's old spellings of optimizer */
	double learning_rate;
	/* NULL: learning_rate; "0": not trained; "X,Y": of each encoder */
	const char *unet_lr, *text_encoder_lr;
	double plus_ratio, plus_unet_ratio, plus_text_ratio;    /* LoRA+; 0: off */
	struct { double unet, text[TEXT_ENCODERS]; } lr;        /* what comes of these; 0: not trained */
	double lr_cycles, lr_power, lr_min_ratio;
	long lr_timescale;
	double max_grad_norm;
	long max_steps, max_epochs;
	/* objective */
	bool debiased;
	double min_snr_gamma;
	bool v_prediction, zero_terminal_snr, scale_v_like_noise;
	double v_like;                  /* v_pred_like_loss */
	double noise_offset, adaptive_noise_scale, multires_discount, ip_noise_gamma;
	bool noise_offset_random, ip_noise_random;
	long multires_iterations, min_timestep, max_timestep;
	bool flow_model, train_inpainting;
	const char *timestep_sampling;
	double flow_shift, logit_mean, logit_std;
	const char *loss_type, *huber_schedule;
	double huber_c, huber_scale;
	bool masked_loss;
	const char *seed;
	/* memory and speed */
	enum option_switch checkpointing;                       /* as written */
	enum option_switch checkpoints;                         /* what comes of it: not said, "auto" on the CPU */
	const char *mixed_precision, *offload;
	const char *base_precision;                             /* "fp16": as the file has it */
	bool fp8_base;                                          /* kohya's; then whether that is "fp8" */
	const char *card;                                       /* for --plan; NULL: none */
	const char *vram;                                       /* as written; NULL: not said */
	size_t vram_bytes;                                      /* what comes of it; 0: no limit is known */
	struct bucket_rules buckets;                            /* what to plan for where there are no latents */
	/* saving */
	const char *save_precision;
	long save_every_steps, save_every_epochs, keep_states;
	double save_every_minutes;
	long save_epoch_ratio;                                  /* adapters in all; sets save_every_epochs */
	long keep_adapters, keep_steps, keep_epochs, keep_steps_state, keep_epochs_state;       /* 0: all */
	bool save_state, save_state_at_end;
	double ema_decay;                                       /* 0: none */
	const char *resume, *max_duration;
	bool stamp;
	struct metadata_settings metadata;
	/* samples on the way */
	const char *sample_prompts, *sample_sampler, *vae;
	long sample_every_steps, sample_every_epochs;
	bool sample_at_first;
	/* validation */
	double validation_split;
	long validate_every_steps, validate_every_epochs, max_validation_steps;
	const char *validation_seed;
	/* logs */
	const char *log, *logging_dir, *log_with, *log_prefix, *html;
	/* what only shows */
	bool print_lr, dry_run, plan, check, json;
	double prior_loss_weight;                               /* heard where it is set */
	/* lora-prep's report, in place of latents; NULL: none */
	const char *pictures;
	long replay_step;                                       /* 0: no */
};

/* The table of lora-train, its values pointing into *s; malloced. */
const struct option *train_options(struct train_settings *s);
/* The settings whose rows say at most this, as TOML: what a state shows, what an adapter shows.  Malloced. */
char *settings_text(const struct tool *tool, enum option_identity most);
char *settings_text_of_defaults(const struct tool *tool);

/* The batches of a step, which are the leaves of a tree (optimize/leaves.h). */
enum { MOST_LEAVES = 65536 };
static inline long leaves_a_step(const struct train_settings *s) { return s->accumulate * s->replicas; }
/* The frozen model's weights stay in host memory. */
static inline bool train_offloads(const struct train_settings *s)
{
	return s->offload && !strcmp(s->offload, "weights");
}
static inline bool trains_text(const struct train_settings *s) { return !s->unet_only; }
/* network_args, optimizer_args ("k=v") into the fields above; checks what single rows cannot. */
struct optimizer_settings;
int train_settings_finish(struct train_settings *s, struct optimizer_settings *optimizer, struct error *e) MUST_CHECK;
/* "0.1", "10%" of total, or steps; kohya: a number below 1 is a ratio.  total 0: not known; a ratio is then 1. */
int train_schedule_steps(const char *key, const char *text, long total, long *steps, struct error *e) MUST_CHECK;

#endif
