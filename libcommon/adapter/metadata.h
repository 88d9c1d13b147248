/*
 * metadata.h - what an adapter file says about itself: kohya's ss_* keys, the modelspec, and kohya's two hashes.
 *
 * Owns the keys and how Python would have written their values ("None", "True", "0.0001").  Must not know training, nor
 * look at the clock: times are given or left out.
 */
#ifndef ADAPTER_METADATA_H
#define ADAPTER_METADATA_H

#include <time.h>
#include "../io/safetensors.h"
#include "../model/family.h"

/* The run's own settings as TOML: what `lora-inspect --rebuild-config` gives back.  Not of kohya, so not under ss_. */
#define CONFIG_KEY "lora_tools.config"

/* Which run wrote the file, and at which step for which reason ("step=8 by=steps,epochs"): in adapters and in
 * states. */
#define RUN_KEY "lora_tools.run"
#define SAVED_KEY "lora_tools.saved"

/* Which adapters it was made of, with weights and hashes: a JSON list. */
#define MERGED_KEY "lora_tools.merged_from"

/* "output" or "input": what a DoRA's lengths are of.  Not of kohya either. */
#define DORA_AXIS_KEY "lora_tools.dora_axis"

struct metadata_list { struct metadata *item; size_t count, capacity; };

void metadata_text(struct metadata_list *l, const char *key, const char *value);        /* NULL: "None" */
void metadata_int(struct metadata_list *l, const char *key, long value);
void metadata_float(struct metadata_list *l, const char *key, double value);            /* as repr() of Python */
void metadata_bool(struct metadata_list *l, const char *key, bool value);               /* "True", "False" */
/* The newest value moves to the row that its key has already, if any. */
void metadata_instead(struct metadata_list *l);
const char *metadata_find(const struct metadata_list *l, const char *key);              /* NULL: not there */
void metadata_free(struct metadata_list *l);

/* What its maker says of an adapter, for the modelspec.  NULL: nothing; the title is then the output name. */
struct model_notes {
	const char *title, *author, *description, *license, *tags, *thumbnail, *trigger_phrase, *usage_hint,
		*merged_from, *preprocessor, *is_negative_embedding;
};

/* What a trainer knows.  NULL and, where 0 makes no sense, 0: "None". */
struct training_facts {
	const char *output_name, *comment;
	struct model_notes notes;               /* thumbnail: a data: URL */
	bool least;                             /* of kohya's keys only those that readers need */
	/* model */
	const struct family *family;            /* NULL: SDXL */
	long clip_skip;                         /* 0: None */
	const char *model_name;                 /* its path's last part */
	const char *vae_name;
	const char *prediction;                 /* "epsilon", "v", "flow" */
	bool zero_terminal_snr;
	/* adapter */
	int rank; double alpha;
	int conv_rank; double conv_alpha;       /* 0: none */
	double network_dropout, scale_weight_norms;             /* 0: None */
	const char *network_args;               /* JSON object, instead of the one made from conv_rank and conv_alpha */
	/* optimizer and schedule */
	double learning_rate, unet_lr, text_encoder_lr;         /* the last two 0: not set */
	const char *optimizer;                  /* "torch.optim.adamw.AdamW(weight_decay=0.01)" */
	const char *lr_scheduler;
	long warmup_steps, max_steps;
	double max_grad_norm;
	long accumulation;
	bool checkpointing;
	const char *mixed_precision;            /* "no", "fp16", "bf16" */
	/* progress */
	long steps, epoch, epochs;
	uint64_t seed;
	/* objective */
	double prior_loss_weight, min_snr_gamma;                /* 0: None */
	double noise_offset, adaptive_noise_scale, ip_noise_gamma;      /* 0: None */
	bool noise_offset_random, ip_noise_random;
	long multires_iterations;               /* 0: None */
	double multires_discount;               /* 0: sd-scripts' default */
	const char *huber_schedule;             /* NULL: left out, with both that follow */
	double huber_c, huber_scale;
	long timesteps[2];                      /* from, to; 0 and 0: all, left out */
	bool debiased;
	const char *loss_type;                  /* NULL: "l2" */
	/* data */
	long train_images, reg_images, batches_per_epoch, batch_size;
	int resolution[2];                      /* [w,h]; 0: left out */
	int min_bucket, max_bucket;             /* 0: no buckets */
	bool flip, bucket_no_upscale, shuffle_caption;
	long keep_tokens;
	long caption_dropout_epochs, max_token_length;  /* the latter 0: None */
	double caption_dropout, caption_tag_dropout;
	const char *dataset_dirs, *reg_dataset_dirs, *tag_frequency, *bucket_info;      /* JSON texts */
	/* the clock, which is never asked here: -1 leaves every date out */
	time_t started, finished;
	const char *session_id;                 /* NULL: left out */
};

void training_metadata(const struct training_facts *f, struct metadata_list *out);

/* Append the modelspec.* keys that the list does not have; the title is ss_output_name.  family NULL: SDXL */
void metadata_add_modelspec(struct metadata_list *l, const struct family *family);
/* Append sshs_model_hash and sshs_legacy_hash of these tensors (types as they will be saved) under the ss_* keys in the
 * list.  The second is kohya's hash of a file with the ss_* keys alone: the finished file does not have it. */
void metadata_add_hashes(struct metadata_list *l, const struct safetensors_out *tensors, size_t count);
/* SHA-256 of everything behind the header: what sshs_model_hash, and with "0x" before it modelspec.hash_sha256, must
 * be. */
void payload_hash(const struct safetensors *s, char hex[65]);

#endif
