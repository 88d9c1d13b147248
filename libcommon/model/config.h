/*
 * config.h - the numbers of a model: read from a diffusers folder's config files, or SDXL's own.
 *
 * Owns every size; nothing above or below has one built in.  Must not know tensors' names or data.
 */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include <stdbool.h>
#include "../backend.h"
#include "../base/error.h"

#define MAX_LEVELS 8
#define TEXT_ENCODERS 2         /* the most that a model has */

struct family;

struct unet_config {
	int in_channels, out_channels, levels;
	int channels[MAX_LEVELS];
	/* heads a level: diffusers' `attention_head_dim` is that number, in spite of its name */
	int heads[MAX_LEVELS];
	int depth[MAX_LEVELS];          /* transformer blocks a level; 0: none */
	/* the mid block's: the last of transformer_layers_per_block, whether its level has attention or not */
	int mid_depth;
	bool attention[MAX_LEVELS];     /* down_block_types[i] is CrossAttnDownBlock2D */
	/* transformers' proj_in and proj_out are 1x1 convolutions: not use_linear_projection */
	bool conv_projection;
	int resnets;                    /* layers_per_block; up blocks have one more */
	int groups; float norm_eps;
	int context;                    /* cross_attention_dim */
	/* addition_time_embed_dim: sinusoids for each number; 0: neither sizes nor a pooled vector are inputs */
	int time_ids_dim;
	int pooled;                     /* projection_class_embeddings_input_dim - 6*time_ids_dim */
};

/* Does it read a mask and the latent of the masked picture beside the noisy one? */
bool unet_inpaints(const struct unet_config *c);

struct vae_config {
	int in_channels, latent_channels, levels;
	int channels[MAX_LEVELS];
	int resnets;                    /* layers_per_block; the decoder has one more */
	int groups; float norm_eps;     /* 1e-6 */
	float scaling_factor;
	int factor;                     /* pixels a latent: 2^(levels-1) */
	bool quant_conv, post_quant_conv;
};

struct clip_config {
	int vocabulary, length;         /* length: max_position_embeddings, 77 */
	int width, layers, heads, mlp;
	enum activation activation;
	float norm_eps;
	int projection;                 /* 0: no text_projection */
	int eos;                        /* eos_token_id; 2 means: the highest id in the row */
};

/* What the UNet predicts from a noisy latent. */
enum prediction { PREDICTION_EPSILON, PREDICTION_V, PREDICTION_FLOW };
const char *prediction_name(enum prediction p);         /* as modelspec has it: "epsilon", "v"; "flow" */

struct schedule_config {
	int train_steps;                /* 1000 */
	double beta_start, beta_end;
	bool scaled_linear;             /* beta_schedule; else linear */
	enum prediction prediction;
	double shift;                   /* of a flow: flow.h */
	int steps_offset;
	bool zero_terminal_snr;
	/* timestep_spacing is not "leading", the only one that sampling has */
	bool other_spacing;
};

struct model_config {
	const struct family *family;
	struct unet_config unet;
	struct vae_config vae;
	struct clip_config text[TEXT_ENCODERS];         /* as many as the family has */
	struct schedule_config schedule;
	bool vae_assumed;               /* the folder has no vae/config.json, so vae is SDXL's */
};

/* The parts of a model, and sets of them. */
enum component { COMPONENT_UNET, COMPONENT_TE1, COMPONENT_TE2, COMPONENT_VAE = COMPONENT_TE1 + TEXT_ENCODERS };
#define COMPONENTS (COMPONENT_VAE + 1)
#define PART(component) (1u << (component))
#define PARTS_TEXT (PART(COMPONENT_VAE) - PART(COMPONENT_TE1))
#define PARTS_ALL (PART(COMPONENT_UNET) | PARTS_TEXT | PART(COMPONENT_VAE))
/* What a part is called. */
struct part_names {
	const char *folder, *weights, *tokenizer;       /* in a diffusers folder; tokenizer NULL: it has none */
	const char *key;                                /* in JSON: "te2" */
	const char *title, *label;                      /* "text encoder 2", "text enc. 2" */
	const char *what, *advice;                      /* "second text encoder", and what to do where it is missing */
};
extern const struct part_names part_names[COMPONENTS];
static inline bool is_text_encoder(enum component c) { return PARTS_TEXT & PART(c); }

/* The parts that adapters have modules on, in the order in which kohya makes these: text encoders, then the UNet. */
#define ADAPTED (TEXT_ENCODERS + 1)
static inline enum component adapted_part(int i) { return i < TEXT_ENCODERS ? COMPONENT_TE1 + i : COMPONENT_UNET; }

/* A diffusers folder: unet/config.json and so on.  What is missing or not supported is named with file and key
 * (EXIT_INPUT).  The UNet's is always needed; of the others those that are not in `needed` may be missing, and SDXL's
 * own are taken. */
int model_config_read_parts(const char *folder, unsigned needed, struct model_config *c, struct error *e) MUST_CHECK;
/* all are needed */
int model_config_read(const char *folder, struct model_config *c, struct error *e) MUST_CHECK;
/* usual: the scaling factor where the file does not say it; 0: it must */
int vae_config_read(const char *file, double usual, struct vae_config *c, struct error *e) MUST_CHECK;
void model_config_sdxl(struct model_config *c);         /* SDXL base 1.0 */

/* By the folder's UNet alone; NULL: it has none, or one of no family. */
const struct family *model_config_family(const char *folder);

/* Columns of the widest head of attention in UNet and text encoders. */
int model_widest_head(const struct model_config *c);
/* Sizes that pictures must be multiples of: VAE factor times 2^(UNet levels - 1); 32 for SDXL. */
int model_size_step(const struct model_config *c);
/* 0, or EXIT_USAGE with the step that works: "1000x1000 is no multiple of 32; ...". */
int model_size_check(const struct model_config *c, int width, int height, struct error *e) MUST_CHECK;

#endif
