/* What a training run is told: the rows of its options, and what no single row can check. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "../../base/bytes.h"
#include "../../base/memory.h"
#include "../../io/kind.h"
#include "../../optimize/lr_schedule.h"
#include "../../optimize/optimizer.h"
#include "../../sample/sampler.h"
#include "adapter.h"
#include "choices.h"
#include "settings.h"

/* The rows hold places in a struct train_settings; train_options() adds where it is.  With places of its own the table
 * would lie on the stack, which may have 128 KiB only. */
#define S ((struct train_settings *)0)

/* What saves more than one state, or the state of a run that is stopped and goes on. */
#define SAVES_STATES "save_state (or a signal)|save_state_on_train_end|save_every_minutes|max_duration"

static const struct option rows[] = {
	{ .kind = OPTION_SECTION, .help = "Input and output" },
	{ "model", 'm', OPTION_STRING, &S->model, "MODEL",
	  "diffusers folder, single-file checkpoint or cached hub id", .key = "pretrained_model_name_or_path",
	  .file = FILE_READ, .identity = IDENTITY_SHOWN, .completes = "*.safetensors" },
	{ "model-config", 0, OPTION_STRING, &S->model_config, "DIR", "config files for a single file of other sizes",
	  .advanced = true, .file = FILE_READ, .identity = IDENTITY_SHOWN, .completes = "/" },
	{ "allow-other-encoders", 0, OPTION_FLAG, &S->allow_other_encoders, NULL,
	  "take latents of another VAE or text encoder", .advanced = true, .identity = IDENTITY_SHOWN },
	{ "output-dir", 'o', OPTION_STRING, &S->output_dir, "DIR", "where adapters and states go", .fallback = ".",
	  .file = FILE_WRITTEN_IN, .identity = IDENTITY_ELSEWHERE },
	{ "output-name", 0, OPTION_STRING, &S->output_name, "NAME", "NAME.safetensors, NAME-stepNNNNNNNN.safetensors",
	  .fallback = "last", .identity = IDENTITY_ADAPTER },
	{ "resume", 0, OPTION_STRING, &S->resume, "[STATE|auto]",
	  "go on from a state; auto: the newest sound one, if any", .file = FILE_READ,
	  .identity = IDENTITY_ELSEWHERE, .completes = "auto|*-state.safetensors" },
	{ "max-duration", 0, OPTION_STRING, &S->max_duration, "5h45m", "stop saved (exit 75) after this time",
	  .key = "" },

	{ .kind = OPTION_SECTION, .help = "Adapter" },
	{ "network-dim", 'r', OPTION_INT, &S->rank, "N", "rank", .fallback = "4", .min = 1, .max = 1000000 },
	{ "network-alpha", 0, OPTION_NUMBER, &S->alpha, "X", "scale is alpha / rank; 0: alpha = rank",
	  .fallback = "1", .min = 0, .max = 1e6 },
	{ "conv-dim", 0, OPTION_INT, &S->conv_rank, "N", "rank for 3x3 convolutions; 0: none", .fallback = "0",
	  .max = 1000000 },
	{ "conv-alpha", 0, OPTION_NUMBER, &S->conv_alpha, "X", "its alpha", .fallback = "1", .min = 0, .max = 1e6,
	  .needs = "conv_dim|conv_block_dims|dim_from_weights|conv_alpha = \"0\"" },
	{ "network-train-unet-only", 0, OPTION_FLAG, &S->unet_only, NULL, "leave the text encoders alone" },
	{ "network-train-text-encoder-only", 0, OPTION_FLAG, &S->text_only, NULL, "leave the UNet alone" },
	{ "network-module", 0, OPTION_STRING, &S->network_module, "MODULE", "networks.lora",
	  .fallback = "networks.lora", .advanced = true, .refused = network_modules, .ss_key = "ss_network_module" },
	{ "network-args", 0, OPTION_LIST, &S->network_args, "K=V",
	  "settings of this section, as sd-scripts takes them", .advanced = true, .identity = IDENTITY_SHOWN },
	{ "network-dropout", 0, OPTION_NUMBER, &S->network_dropout, "X",
	  "chance of leaving out a value between the two matrices", .fallback = "0", .min = 0, .max = 0.99,
	  .advanced = true, .ss_key = "ss_network_dropout" },
	{ "rank-dropout", 0, OPTION_NUMBER, &S->rank_dropout, "X", "the same for a rank of a picture",
	  .fallback = "0", .min = 0, .max = 0.99, .advanced = true },
	{ "module-dropout", 0, OPTION_NUMBER, &S->module_dropout, "X", "the same for a whole module", .fallback = "0",
	  .min = 0, .max = 0.99, .advanced = true },
	{ "scale-weight-norms", 0, OPTION_NUMBER, &S->scale_weight_norms, "X",
	  "a module's norm is kept at most this; 0: off", .fallback = "0", .min = 0, .max = 1e6, .advanced = true,
	  .ss_key = "ss_scale_weight_norms" },
	{ "network-weights", 0, OPTION_STRING, &S->network_weights, "FILE", "an adapter to begin with",
	  .file = FILE_READ, .completes = "*.safetensors" },
	{ "dora", 0, OPTION_FLAG, &S->dora, NULL, "DoRA: the lengths of the weights' columns are learnt apart",
	  .advanced = true },
	/* DORA_INPUT and DORA_OUTPUT: dora_axis_name().  The identity says it. */
	{ "dora-axis", 0, OPTION_CHOICE, &S->dora_axis, "AXIS", "or of their rows, which other programs misread",
	  .fallback = "input", .choices = "input|output", .advanced = true, .needs = "dora",
	  .identity = IDENTITY_SHOWN, .sparse = true },
	{ "dim-from-weights", 0, OPTION_FLAG, &S->dim_from_weights, NULL, "its modules, ranks and alphas too",
	  .advanced = true },
	{ "base-weights", 0, OPTION_LIST, &S->base_weights, "FILE",
	  "an adapter that belongs to the base model in this run", .advanced = true, .file = FILE_READ,
	  .identity = IDENTITY_SHOWN, .completes = "*.safetensors" },
	{ "base-weights-multiplier", 0, OPTION_STRING, &S->base_multipliers, "X,...", "their weights; 1",
	  .advanced = true, .identity = IDENTITY_SHOWN },
	{ "block-dims", 0, OPTION_STRING, &S->blocks.dims, "N,...", "ranks of the UNet's blocks",
	  .advanced = true },
	{ "block-alphas", 0, OPTION_STRING, &S->blocks.alphas, "X,...", "their alphas", .advanced = true },
	{ "conv-block-dims", 0, OPTION_STRING, &S->blocks.conv_dims, "N,...", "ranks of their 3x3 convolutions",
	  .advanced = true },
	{ "conv-block-alphas", 0, OPTION_STRING, &S->blocks.conv_alphas, "X,...", "and their alphas",
	  .advanced = true },

	{ .kind = OPTION_SECTION, .help = "Training" },
	{ "max-train-steps", 0, OPTION_INT, &S->max_steps, "N", "optimizer steps", .fallback = "1600", .min = 1,
	  .max = 99999999, .identity = IDENTITY_SHOWN },
	{ "max-train-epochs", 0, OPTION_INT, &S->max_epochs, "N", "epochs instead of steps", .fallback = "0",
	  .max = 1e6, .identity = IDENTITY_SHOWN },
	{ "train-batch-size", 0, OPTION_INT, &S->batch_size, "N", "pictures at once", .fallback = "1", .min = 1,
	  .max = 4096 },
	{ "gradient-accumulation-steps", 0, OPTION_INT, &S->accumulate, "N", "batches an optimizer step",
	  .fallback = "1", .min = 1, .max = 65536, .ss_key = "ss_gradient_accumulation_steps" },
	{ "replicas", 0, OPTION_INT, &S->replicas, "N", "so many times as many, as on N cards", .fallback = "1",
	  .min = 1, .max = 65536, .advanced = true, .sparse = true },
	/* The identity says it: the digest of the data. */
	{ "prior-loss-weight", 0, OPTION_NUMBER, &S->prior_loss_weight, "W",
	  "weight of regularisation pictures, in place of the latents'", .fallback = "1", .max = 1000, .advanced = true,
	  .identity = IDENTITY_SHOWN, .sparse = true },
	CAPTION_OPTION_ROWS(&S->captions),
	{ "max-token-length", 0, OPTION_INT, &S->max_token_length, "N", "tokens of a caption that are read",
	  .fallback = "75", .choices = "75|150|225", .advanced = true },
	{ "clip-skip", 0, OPTION_INT, &S->clip_skip, "N",
	  "read the text encoder N layers before the end, as Stable Diffusion 1.5 may be", .fallback = "0",
	  .max = 1000, .advanced = true, .sparse = true },
	{ "learning-rate", 0, OPTION_NUMBER, &S->learning_rate, "X", "", .fallback = "2e-6", .min = 0, .max = 1e6,
	  .ss_key = "ss_learning_rate" },
	{ "unet-lr", 0, OPTION_STRING, &S->unet_lr, "X", "the UNet's, when it differs; 0: not trained",
	  .advanced = true },
	{ "text-encoder-lr", 0, OPTION_STRING, &S->text_encoder_lr, "X|X,Y",
	  "the text encoders', or each one's; 0: not trained", .advanced = true,
	  .needs = "network_train_unet_only = \"false\"|text_encoder_lr = \"0\" or \"0.0\" or \"0,0\"" },
	{ "down-lr-weight", 0, OPTION_STRING, &S->blocks.down, "X,...",
	  "factors of the input blocks; 0 leaves one out", .advanced = true },
	{ "mid-lr-weight", 0, OPTION_STRING, &S->blocks.mid, "X,X,X", "of the middle blocks", .advanced = true },
	{ "up-lr-weight", 0, OPTION_STRING, &S->blocks.up, "X,...", "of the output blocks", .advanced = true },
	{ "block-lr-zero-threshold", 0, OPTION_NUMBER, &S->blocks.zero_threshold, "X",
	  "factors up to here count as 0", .fallback = "0", .min = 0, .max = 1e6, .advanced = true,
	  .needs = "down_lr_weight|mid_lr_weight|up_lr_weight" },
	{ "loraplus-lr-ratio", 0, OPTION_NUMBER, &S->plus_ratio, "X", "LoRA+: lora_up learns X times as fast; 0: off",
	  .fallback = "0", .min = 0, .max = 1e6, .advanced = true },
	{ "loraplus-unet-lr-ratio", 0, OPTION_NUMBER, &S->plus_unet_ratio, "X", "in the UNet", .fallback = "0",
	  .min = 0, .max = 1e6, .advanced = true },
	{ "loraplus-text-encoder-lr-ratio", 0, OPTION_NUMBER, &S->plus_text_ratio, "X", "in the text encoders",
	  .fallback = "0", .min = 0, .max = 1e6, .advanced = true,
	  .needs = "network_train_unet_only = \"false\"" },
	{ "lr-scheduler", 0, OPTION_CHOICE, &S->lr_scheduler, "NAME", "", .fallback = "constant", .choices = "",
	  .ss_key = "ss_lr_scheduler" },
	{ "lr-warmup-steps", 0, OPTION_STRING, &S->warmup, "N|RATIO", "steps, a ratio below 1, or 10%",
	  .fallback = "0" },
	{ "lr-scheduler-num-cycles", 0, OPTION_NUMBER, &S->lr_cycles, "N", "cosine_with_restarts: restarts",
	  .fallback = "1", .min = 0, .max = 1e6, .advanced = true,
	  .needs = "lr_scheduler = \"cosine_with_restarts\"|"
		   "lr_scheduler = \"cosine_with_min_lr\" or \"warmup_stable_decay\"" },
	{ "lr-scheduler-power", 0, OPTION_NUMBER, &S->lr_power, "X", "polynomial", .fallback = "1", .min = 0,
	  .max = 100, .advanced = true, .needs = "lr_scheduler = \"polynomial\"" },
	{ "lr-scheduler-min-lr-ratio", 0, OPTION_NUMBER, &S->lr_min_ratio, "X", "cosine_with_min_lr", .fallback = "0",
	  .min = 0, .max = 1, .advanced = true,
	  .needs = "lr_scheduler = \"cosine_with_min_lr\" or \"warmup_stable_decay\"" },
	{ "lr-decay-steps", 0, OPTION_STRING, &S->decay, "N|RATIO", "warmup_stable_decay: its last steps",
	  .fallback = "0", .advanced = true, .needs = "lr_scheduler = \"warmup_stable_decay\"" },
	{ "lr-scheduler-timescale", 0, OPTION_INT, &S->lr_timescale, "N",
	  "inverse_sqrt; 0: the warm-up's steps, or 10000", .fallback = "0", .min = 0, .max = 99999999,
	  .advanced = true, .needs = "lr_scheduler = \"inverse_sqrt\"" },
	{ "optimizer-type", 0, OPTION_STRING, &S->optimizer, "NAME",
	  "AdamW, AdamW8bit, Lion, Adafactor, Prodigy, DAdaptAdam, AdamWScheduleFree", .fallback = "AdamW",
	  .identity = IDENTITY_SHOWN },
	{ "optimizer-args", 0, OPTION_LIST, &S->optimizer_args, "K=V",
	  "weight_decay=0.01 and others of the optimizer's", .advanced = true },
	{ "use-8bit-adam", 0, OPTION_FLAG, &S->use_8bit_adam, NULL, "the same as --optimizer-type AdamW8bit",
	  .advanced = true, .identity = IDENTITY_SHOWN },
	{ "use-lion-optimizer", 0, OPTION_FLAG, &S->use_lion, NULL, "the same as --optimizer-type Lion",
	  .advanced = true, .identity = IDENTITY_SHOWN },
	{ "max-grad-norm", 0, OPTION_NUMBER, &S->max_grad_norm, "X", "clip the gradient's norm; 0: off",
	  .fallback = "1", .min = 0, .max = 1e9, .ss_key = "ss_max_grad_norm" },
	{ "debiased-estimation-loss", 0, OPTION_FLAG, &S->debiased, NULL, "weight timesteps by 1/sqrt(SNR)",
	  .ss_key = "ss_debiased_estimation" },
	{ "min-snr-gamma", 0, OPTION_NUMBER, &S->min_snr_gamma, "X", "weight timesteps by min(SNR,X)/SNR; 0: off",
	  .fallback = "0", .min = 0, .max = 1e6, .advanced = true, .ss_key = "ss_min_snr_gamma" },
	{ "v-parameterization", 0, OPTION_FLAG, &S->v_prediction, NULL,
	  "the model predicts v; the model's own scheduler says so too", .advanced = true },
	{ "zero-terminal-snr", 0, OPTION_FLAG, &S->zero_terminal_snr, NULL, "the last timestep is pure noise",
	  .advanced = true },
	{ "scale-v-pred-loss-like-noise-pred", 0, OPTION_FLAG, &S->scale_v_like_noise, NULL,
	  "v prediction: weight timesteps by SNR/(SNR+1)", .advanced = true },
	{ "v-pred-like-loss", 0, OPTION_NUMBER, &S->v_like, "X", "weight timesteps by 1 + X (SNR+1)/SNR; 0: off",
	  .fallback = "0", .min = 0, .max = 1e6, .advanced = true },
	{ "noise-offset", 0, OPTION_NUMBER, &S->noise_offset, "X", "noise of whole channels, X strong; 0: off",
	  .fallback = "0", .min = 0, .max = 100, .advanced = true, .ss_key = "ss_noise_offset" },
	{ "noise-offset-random-strength", 0, OPTION_FLAG, &S->noise_offset_random, NULL,
	  "a strength from 0 to X for each picture", .advanced = true, .needs = "noise_offset",
	  .ss_key = "ss_noise_offset_random_strength" },
	{ "adaptive-noise-scale", 0, OPTION_NUMBER, &S->adaptive_noise_scale, "X",
	  "the offset grows by X times the latent's mean", .fallback = "0", .min = -100, .max = 100, .advanced = true,
	  .ss_key = "ss_adaptive_noise_scale" },
	{ "multires-noise-iterations", 0, OPTION_INT, &S->multires_iterations, "N",
	  "coarser noises added to the noise; 0: off", .fallback = "0", .max = 16, .advanced = true,
	  .ss_key = "ss_multires_noise_iterations" },
	{ "multires-noise-discount", 0, OPTION_NUMBER, &S->multires_discount, "X",
	  "strength of each, from one to the next", .fallback = "0.3", .min = 0, .max = 1, .advanced = true,
	  .needs = "multires_noise_iterations", .ss_key = "ss_multires_noise_discount" },
	{ "ip-noise-gamma", 0, OPTION_NUMBER, &S->ip_noise_gamma, "X",
	  "noise on the input that is no part of the target; 0: off", .fallback = "0", .min = 0, .max = 100,
	  .advanced = true, .ss_key = "ss_ip_noise_gamma" },
	{ "ip-noise-gamma-random-strength", 0, OPTION_FLAG, &S->ip_noise_random, NULL,
	  "a strength from 0 to X for each picture", .advanced = true, .needs = "ip_noise_gamma",
	  .ss_key = "ss_ip_noise_gamma_random_strength" },
	{ "loss-type", 0, OPTION_CHOICE, &S->loss_type, "NAME", "", .fallback = "l2",
	  .choices = LOSS_NAMES, .advanced = true, .ss_key = "ss_loss_type" },
	{ "huber-schedule", 0, OPTION_CHOICE, &S->huber_schedule, "NAME", "how huber-c changes with the timestep",
	  .fallback = "snr", .choices = HUBER_SCHEDULE_NAMES, .advanced = true,
	  .needs = "loss_type = \"huber\" or \"smooth_l1\"" },
	{ "huber-c", 0, OPTION_NUMBER, &S->huber_c, "X", "where huber and smooth_l1 bend", .fallback = "0.1",
	  .min = 1e-6, .max = 1e3, .advanced = true, .needs = "loss_type = \"huber\" or \"smooth_l1\"" },
	{ "huber-scale", 0, OPTION_NUMBER, &S->huber_scale, "X", "factor of huber-c, except with snr",
	  .fallback = "1", .min = 1e-6, .max = 1e6, .advanced = true,
	  .needs = "loss_type = \"huber\" or \"smooth_l1\"" },
	{ "masked-loss", 0, OPTION_FLAG, &S->masked_loss, NULL,
	  "latents should have masks, which are always used; warn if none has", .advanced = true,
	  .identity = IDENTITY_SHOWN },
	{ "min-timestep", 0, OPTION_INT, &S->min_timestep, "N", "timesteps are drawn from here", .fallback = "0",
	  .max = 99999, .advanced = true },
	{ "max-timestep", 0, OPTION_INT, &S->max_timestep, "N", "to below here; not set: all that the model has",
	  .fallback = "1000", .min = 1, .max = 100000, .advanced = true },
	{ "flow-model", 0, OPTION_FLAG, &S->flow_model, NULL, "the model predicts rectified flow, or is to learn it",
	  .advanced = true, .sparse = true },
	{ "train-inpainting", 0, OPTION_FLAG, &S->train_inpainting, NULL, "refuse a model that is not for inpainting",
	  .advanced = true, .identity = IDENTITY_SHOWN, .sparse = true },
	{ "timestep-sampling", 0, OPTION_CHOICE, &S->timestep_sampling, "NAME", "how a flow's places are drawn",
	  .fallback = "sigma", .choices = FLOW_DRAW_NAMES, .advanced = true, .sparse = true },
	{ "discrete-flow-shift", 0, OPTION_NUMBER, &S->flow_shift, "X",
	  "with sigma and shift, and in samples; 0: the model's, or 1", .fallback = "0", .max = 1000,
	  .advanced = true, .sparse = true },
	{ "logit-mean", 0, OPTION_NUMBER, &S->logit_mean, "X", "sigmoid and shift: above 0 draws more noise",
	  .fallback = "0", .min = -10, .max = 10, .advanced = true, .sparse = true },
	{ "logit-std", 0, OPTION_NUMBER, &S->logit_std, "X", "sigmoid and shift: how wide they are drawn",
	  .fallback = "1", .max = 100, .advanced = true, .sparse = true },
	{ "seed", 0, OPTION_STRING, &S->seed, "N", "of everything random", .fallback = "42" },
	{ "gradient-checkpointing", 0, OPTION_SWITCH, &S->checkpointing, "[auto]",
	  "less memory, a third more time; auto: as much as must be", .identity = IDENTITY_ADAPTER,
	  .ss_key = "ss_gradient_checkpointing", .completes = "auto" },
	{ "vram", 0, OPTION_STRING, &S->vram, "12GiB", "memory that the run may take; refused where it needs more",
	  .identity = IDENTITY_ELSEWHERE },
	{ "offload", 0, OPTION_CHOICE, &S->offload, "WHAT",
	  "weights: the frozen model stays in host memory and comes to the card as it is read", .fallback = "no",
	  .choices = "no|weights", .identity = IDENTITY_ELSEWHERE, .sparse = true },
	{ "mixed-precision", 0, OPTION_CHOICE, &S->mixed_precision, "TYPE",
	  "the CPU computes in fp32 whatever this says", .fallback = "no", .choices = "no|fp16|bf16",
	  .advanced = true, .ss_key = "ss_mixed_precision" },
	/* Of both rows the identity says it. */
	{ "base-precision", 0, OPTION_CHOICE, &S->base_precision, "TYPE",
	  "the frozen weights in 8 or 4 bits, to save memory; fp16: as the model's file has them", .fallback = "fp16",
	  .choices = BASE_PRECISION_NAMES, .identity = IDENTITY_SHOWN, .sparse = true },
	{ "fp8-base", 0, OPTION_FLAG, &S->fp8_base, NULL, "the same as --base-precision fp8", .advanced = true,
	  .identity = IDENTITY_SHOWN, .sparse = true, .ss_key = "ss_fp8_base" },

	{ .kind = OPTION_SECTION, .help = "Saving" },
	{ "save-precision", 0, OPTION_CHOICE, &S->save_precision, "TYPE", "", .fallback = "float",
	  .choices = "float|fp32|fp16|bf16", .identity = IDENTITY_SHOWN },
	{ "save-every-n-steps", 0, OPTION_INT, &S->save_every_steps, "N", "0: only the end", .fallback = "0",
	  .max = 99999999, .identity = IDENTITY_ELSEWHERE },
	{ "save-every-n-epochs", 0, OPTION_INT, &S->save_every_epochs, "N", "0: only the end", .fallback = "0",
	  .max = 99999999, .advanced = true, .identity = IDENTITY_ELSEWHERE },
	{ "save-n-epoch-ratio", 0, OPTION_INT, &S->save_epoch_ratio, "N",
	  "adapters over the whole run, in place of every N epochs", .fallback = "0", .max = 1e6, .advanced = true,
	  .identity = IDENTITY_ELSEWHERE },
	{ "save-every-minutes", 0, OPTION_NUMBER, &S->save_every_minutes, "X", "a state so often; 0: none",
	  .fallback = "0", .max = 1e6, .identity = IDENTITY_ELSEWHERE },
	{ "save-last-n", 0, OPTION_INT, &S->keep_adapters, "N", "adapters of single steps that are kept; 0: all",
	  .fallback = "0", .max = 1e6, .needs = "save_every_n_steps|save_every_n_epochs|save_n_epoch_ratio",
	  .identity = IDENTITY_ELSEWHERE },
	{ "save-last-n-steps", 0, OPTION_INT, &S->keep_steps, "N", "keep adapters of the last N steps; 0: all",
	  .fallback = "0", .max = 99999999, .advanced = true,
	  .needs = "save_every_n_steps|save_every_n_epochs|save_n_epoch_ratio", .identity = IDENTITY_ELSEWHERE },
	{ "save-last-n-epochs", 0, OPTION_INT, &S->keep_epochs, "N", "keep so many adapters of epochs; 0: all",
	  .fallback = "0", .max = 99999999, .advanced = true,
	  .needs = "save_every_n_epochs|save_every_n_steps|save_n_epoch_ratio", .identity = IDENTITY_ELSEWHERE },
	{ "save-state", 0, OPTION_FLAG, &S->save_state, NULL, "a state beside each saved adapter, to resume from",
	  .identity = IDENTITY_ELSEWHERE },
	{ "save-state-on-train-end", 0, OPTION_FLAG, &S->save_state_at_end, NULL, "a state beside the last adapter",
	  .advanced = true, .identity = IDENTITY_ELSEWHERE },
	{ "save-last-n-states", 0, OPTION_INT, &S->keep_states, "N", "older states are removed", .fallback = "2",
	  .min = 1, .max = 1e6, .advanced = true, .needs = SAVES_STATES,
	  .identity = IDENTITY_ELSEWHERE },
	{ "save-last-n-steps-state", 0, OPTION_INT, &S->keep_steps_state, "N", "keep states of the last N steps",
	  .fallback = "0", .max = 99999999, .advanced = true, .needs = SAVES_STATES,
	  .identity = IDENTITY_ELSEWHERE },
	{ "save-last-n-epochs-state", 0, OPTION_INT, &S->keep_epochs_state, "N", "keep so many states of epochs",
	  .fallback = "0", .max = 99999999, .advanced = true, .needs = SAVES_STATES,
	  .identity = IDENTITY_ELSEWHERE },
	{ "ema-decay", 0, OPTION_NUMBER, &S->ema_decay, "X", "save the moving average of the adapter (0.999); 0: off",
	  .fallback = "0", .min = 0, .max = 0.999999, .advanced = true },
	{ "stamp", 0, OPTION_FLAG, &S->stamp, NULL,
	  "write dates into the metadata (bytes then differ from run to run)", .advanced = true,
	  .identity = IDENTITY_SHOWN },
	METADATA_OPTION_ROWS(&S->metadata),

	{ .kind = OPTION_SECTION, .help = "Samples on the way" },
	{ "sample-prompts", 0, OPTION_STRING, &S->sample_prompts, "FILE",
	  "what to paint: kohya's .txt, .toml or .json", .file = FILE_READ,
	  .needs = "sample_every_n_steps (or signal USR2)|sample_every_n_epochs|sample_at_first",
	  .identity = IDENTITY_ELSEWHERE, .completes = "*.txt|*.toml|*.json" },
	{ "sample-every-n-steps", 0, OPTION_INT, &S->sample_every_steps, "N", "paint so often; 0: never",
	  .fallback = "0", .max = 99999999, .identity = IDENTITY_ELSEWHERE },
	{ "sample-every-n-epochs", 0, OPTION_INT, &S->sample_every_epochs, "N", "the same in epochs, which wins",
	  .fallback = "0", .max = 99999999, .advanced = true, .identity = IDENTITY_ELSEWHERE },
	{ "sample-at-first", 0, OPTION_FLAG, &S->sample_at_first, NULL, "paint before the first step too",
	  .advanced = true, .identity = IDENTITY_ELSEWHERE },
	{ "sample-sampler", 0, OPTION_STRING, &S->sample_sampler, "NAME", "as in lora-sample", .fallback = "euler",
	  .advanced = true, .needs = "sample_prompts", .identity = IDENTITY_ELSEWHERE },
	{ "vae", 0, OPTION_STRING, &S->vae, "PATH", "another VAE, for these pictures only", .advanced = true,
	  .file = FILE_READ, .identity = IDENTITY_ELSEWHERE, .completes = "*.safetensors" },

	{ .kind = OPTION_SECTION, .help = "Validation" },
	{ "validation-split", 0, OPTION_NUMBER, &S->validation_split, "X", "share of the pictures to hold out",
	  .fallback = "0", .min = 0, .max = 0.9, .advanced = true },
	{ "validation-seed", 0, OPTION_STRING, &S->validation_seed, "N", "which ones (the seed)", .advanced = true,
	  .needs = "validation_split" },
	{ "validate-every-n-steps", 0, OPTION_INT, &S->validate_every_steps, "N", "0: each epoch", .fallback = "0",
	  .max = 99999999, .advanced = true, .identity = IDENTITY_ELSEWHERE },
	{ "validate-every-n-epochs", 0, OPTION_INT, &S->validate_every_epochs, "N", "the same in epochs",
	  .fallback = "0", .max = 99999999, .advanced = true, .identity = IDENTITY_ELSEWHERE },
	{ "max-validation-steps", 0, OPTION_INT, &S->max_validation_steps, "N", "pictures to look at; 0: all",
	  .fallback = "0", .max = 1e6, .advanced = true, .needs = "validation_split",
	  .identity = IDENTITY_ELSEWHERE },

	{ .kind = OPTION_SECTION, .help = "Looking" },
	{ "log", 0, OPTION_STRING, &S->log, "FILE", "append the JSON lines there, not to standard output",
	  .file = FILE_WRITTEN, .identity = IDENTITY_ELSEWHERE },
	{ "logging-dir", 0, OPTION_STRING, &S->logging_dir, "DIR", "TensorBoard events, in DIR/NAME",
	  .file = FILE_WRITTEN_IN, .identity = IDENTITY_ELSEWHERE },
	{ "log-with", 0, OPTION_STRING, &S->log_with, "NAME",
	  "tensorboard, json (lines only) or all; wandb is refused", .advanced = true,
	  .identity = IDENTITY_ELSEWHERE, .completes = "tensorboard|json|all" },
	{ "log-prefix", 0, OPTION_STRING, &S->log_prefix, "TEXT", "before NAME in logging-dir", .advanced = true,
	  .needs = "logging_dir", .identity = IDENTITY_ELSEWHERE },
	{ "html", 0, OPTION_STRING, &S->html, "FILE", "a page with curves and samples, at the end",
	  .file = FILE_WRITTEN, .writes = KIND_HTML, .identity = IDENTITY_ELSEWHERE },
	{ "ranks", 0, OPTION_INT, &S->ranks, "N", "--plan: as a run of N ranks of mpirun", .fallback = "1", .min = 1,
	  .max = 65536, .advanced = true, .needs = "plan", .identity = IDENTITY_ELSEWHERE, .key = "" },
	{ "card", 0, OPTION_CHOICE, &S->card, "NAME", "--plan: and how long a step takes on this card, modelled",
	  .choices = CARD_NAMES, .needs = "plan", .identity = IDENTITY_ELSEWHERE, .key = "" },
	{ "print-lr", 0, OPTION_FLAG, &S->print_lr, NULL, "print the learning rate of every step and stop",
	  .key = "" },
	{ "replay-step", 0, OPTION_INT, &S->replay_step, "N",
	  "repeat step N on its NAME-nonfinite-stepN.tar; nothing is saved", .fallback = "0", .max = 99999999,
	  .key = "", .advanced = true },
	{ "dry-run", 0, OPTION_FLAG, &S->dry_run, NULL, "check everything and stop before the first step",
	  .key = "" },
	{ "device", 0, OPTION_STRING, &S->device, "cpu", "where to compute", .fallback = "cpu", .advanced = true,
	  .identity = IDENTITY_ELSEWHERE, .completes = "cpu|cuda" },
	{ "plan", 0, OPTION_FLAG, &S->plan, NULL, "print what memory the run takes, and stop", .key = "" },
	{ "check", 0, OPTION_FLAG, &S->check, NULL, "check all that can be checked without weights, and stop",
	  .key = "" },
	{ "pictures", 0, OPTION_STRING, &S->pictures, "REPORT",
	  "with --plan, --check or --print-lr: lora-prep --scan's, not latents", .key = "", .advanced = true,
	  .completes = "*.jsonl" },
	{ "json", 0, OPTION_FLAG, &S->json, NULL, "with --plan or --check: a JSON line", .key = "",
	  .advanced = true },

	{ .kind = OPTION_SECTION, .help = "What --plan counts where there are no latents" },
	BUCKET_OPTION_ROWS(&S->buckets, true),
	{ 0 },
};

const struct option *train_options(struct train_settings *s)
{
	const size_t count = sizeof(rows) / sizeof(*rows);
	struct option *table = xmalloc(sizeof(rows));

	for (size_t i = 0; i < count; i++) {
		table[i] = rows[i];
		table[i].value = (char *)s + (size_t)rows[i].value;
		if (rows[i].kind == OPTION_CHOICE && !*rows[i].choices)         /* lr-scheduler */
			table[i].choices = lr_schedule_names();
		if ((size_t)rows[i].value == offsetof(struct train_settings, optimizer))
			table[i].completes = optimizer_choices();
		if ((size_t)rows[i].value == offsetof(struct train_settings, sample_sampler))
			table[i].completes = sampler_choices();
	}
	return table;
}

char *settings_text(const struct tool *tool, enum option_identity most)
{
	struct tool shown = *tool;
	struct buffer text = { 0 };
	struct option *table;
	size_t i, n = 0, kept = 0;

	while (tool->table[n].name || tool->table[n].help)
		n++;
	shown.table = table = xcalloc(n + 1, sizeof(*table));
	for (i = 0; i < n; i++)
		if (tool->table[i].identity <= most && !(tool->table[i].sparse && option_is_default(&tool->table[i])))
			table[kept++] = tool->table[i];
	options_print(&shown, &text, false);
	free(table);
	return buffer_steal(&text);
}

char *settings_text_of_defaults(const struct tool *tool)
{
	struct train_settings s = { 0 };
	struct tool own = *tool;
	char *text;

	own.table = train_options(&s);
	options_defaults(&own);
	text = settings_text(&own, IDENTITY_ELSEWHERE);
	free((void *)own.table);
	return text;
}

/* use_8bit_adam and use_lion_optimizer are kohya's old spellings. */
static int find_optimizer(struct train_settings *s, struct error *e)
{
	const char *old = s->use_8bit_adam ? "AdamW8bit" : "Lion", *name;

	if (s->use_8bit_adam && s->use_lion)
		return fail(e, EXIT_USAGE, "use_8bit_adam and use_lion_optimizer together; "
					   "choose one with optimizer_type");
	if ((s->use_8bit_adam || s->use_lion) && strcasecmp(s->optimizer, "AdamW") && strcasecmp(s->optimizer, old))
		return fail(e, EXIT_USAGE, "optimizer_type '%s' against %s; leave one out", s->optimizer,
			    s->use_8bit_adam ? "use_8bit_adam" : "use_lion_optimizer");
	if (s->use_8bit_adam || s->use_lion)
		s->optimizer = old;
	name = optimizer_find(*s->optimizer ? s->optimizer : "AdamW");
	if (!name)
		return fail(e, EXIT_USAGE, "optimizer_type '%s' is not known; choose %s", s->optimizer,
			    optimizer_names().text);
	s->optimizer = name;
	return 0;
}

/* "network_args" and their like: one value for a key. */
static int check_once(const char *of, const struct text_list *items, struct error *e)
{
	for (size_t i = 0; i < items->count; i++)
		for (size_t k = 0; k < i; k++) {
			const size_t n = strcspn(items->item[i], "=") + 1;

			if (!strncmp(items->item[i], items->item[k], n))
				return fail(e, EXIT_USAGE, "%s: '%s' and '%s' are given; leave one out", of,
					    items->item[k], items->item[i]);
		}
	return 0;
}

static int read_optimizer(struct train_settings *s, struct optimizer_settings *o, struct error *e)
{
	size_t i;
	int bad = find_optimizer(s, e);

	if (!bad)
		optimizer_defaults(s->optimizer, o);
	for (i = 0; i < s->optimizer_args.count && !bad; i++)
		bad = optimizer_argument(o, s->optimizer_args.item[i], e);
	if (!bad && s->ema_decay && optimizer_averages(o))
		bad = fail(e, EXIT_USAGE, "ema_decay with optimizer_type %s: it keeps an average itself; "
					  "leave ema_decay out", s->optimizer);
	return bad;
}

/* fp8_base is kohya's word. */
static int find_base_precision(struct train_settings *s, struct error *e)
{
	const bool fp8 = !strcmp(s->base_precision, "fp8");

	if (s->fp8_base && !fp8 && option_is_set("base-precision"))
		return fail(e, EXIT_USAGE, "base_precision = \"%s\" against fp8_base; leave one out",
			    s->base_precision);
	if (s->fp8_base)
		s->base_precision = "fp8";
	s->fp8_base = !strcmp(s->base_precision, "fp8");
	return 0;
}

static int check_logs(const struct train_settings *s, struct error *e)
{
	const char *with = s->log_with;

	if (with && !strcasecmp(with, "wandb"))
		return fail(e, EXIT_USAGE, "log_with 'wandb' is refused: no program here uses the network; "
					   "use tensorboard, which wandb can import");
	if (with && strcasecmp(with, "tensorboard") && strcasecmp(with, "json") && strcasecmp(with, "all"))
		return fail(e, EXIT_USAGE, "log_with '%s' is not known; choose tensorboard, json or all", with);
	if (with && strcasecmp(with, "json") && !s->logging_dir)
		return fail(e, EXIT_USAGE, "log_with '%s' needs a folder; name one with --logging-dir", with);
	if (s->log_prefix && strchr(s->log_prefix, '/'))
		return fail(e, EXIT_USAGE, "log_prefix '%s' holds a slash; use --logging-dir for the folder",
			    s->log_prefix);
	return 0;
}

static int check_looking(const struct train_settings *s, struct error *e)
{
	if (!s->sample_prompts && (s->sample_every_steps || s->sample_every_epochs || s->sample_at_first))
		note("samples are asked for, but not of what: none are painted; name a file with sample_prompts");
	if (!s->validation_split && (s->validate_every_steps || s->validate_every_epochs))
		return fail(e, EXIT_USAGE, "%s: validation is asked for, but nothing is held out; "
					   "use --validation-split",
			    s->validate_every_steps ? "validate_every_n_steps" : "validate_every_n_epochs");
	return 0;
}

int train_settings_finish(struct train_settings *s, struct optimizer_settings *o, struct error *e)
{
	if (!s->model)
		return fail(e, EXIT_USAGE, "no model; name one with -m "
					   "(a diffusers folder or a single-file checkpoint)");
	if (s->unet_only && s->text_only)
		return fail(e, EXIT_USAGE, "network-train-unet-only and network-train-text-encoder-only "
					   "together leave nothing to train");
	if (strchr(s->output_name, '/'))
		return fail(e, EXIT_USAGE, "output_name '%s' holds a slash; use --output-dir for the folder",
			    s->output_name);
	if (s->pictures && !s->plan && !s->check && !s->print_lr)
		return fail(e, EXIT_USAGE, "--pictures is for --plan, --check and --print-lr; training wants latents");
	if (leaves_a_step(s) > MOST_LEAVES)
		return fail(e, EXIT_USAGE, "gradient_accumulation_steps = %ld and replicas = %ld: a step of more "
					   "than %d batches; lower one", s->accumulate, s->replicas, MOST_LEAVES);
	if (check_logs(s, e) < 0 || check_looking(s, e) < 0)
		return -1;
	if (s->card && !strcmp(s->device, "cpu"))
		return fail(e, EXIT_USAGE, "--card %s is for a plan of a card: say --device cuda", s->card);
	if (train_offloads(s) && !strcmp(s->device, "cpu"))
		return fail(e, EXIT_USAGE, "offload = \"weights\": with --device cpu the model is in host memory as it "
					   "is; leave it out, or say --device cuda");
	if (s->vram && bytes_parse(s->vram, &s->vram_bytes, e) < 0)
		return fail_at(e, "vram");
	if (check_once("network_args", &s->network_args, e) < 0 ||
	    check_once("optimizer_args", &s->optimizer_args, e) < 0)
		return -1;
	s->checkpoints = s->checkpointing;
	if (!option_is_set("gradient-checkpointing") && !strcmp(s->device, "cpu"))
		s->checkpoints = SWITCH_AUTO;
	if (!s->alpha)
		s->alpha = s->rank;
	if (find_base_precision(s, e) < 0 || adapter_settings_finish(s, e) < 0 || read_optimizer(s, o, e) < 0 ||
	    metadata_settings_finish(&s->metadata, e) < 0)
		return -1;
	if (!s->conv_alpha)
		s->conv_alpha = s->conv_rank;
	return 0;
}

int train_schedule_steps(const char *key, const char *text, long total, long *steps, struct error *e)
{
	char *end;
	double x = strtod(text ? text : "0", &end);
	const bool percent = *end == '%' && !end[1];

	if ((*end && !percent) || !(x >= 0) || (percent ? x > 100 : x > 1 && x != floor(x)))
		return fail(e, EXIT_USAGE, "%s: '%s' is no number of steps, ratio or percentage", key, text);
	if (percent)
		x /= 100;
	if (!total && (percent || x < 1))
		x = x > 0;
	else if (percent || x < 1)
		x = floor(x * total);
	*steps = x < 1e9 ? x : 1e9;
	if (total && *steps > total)
		return fail(e, EXIT_USAGE, "%s: %ld are more than the run's %ld; lower it, or train longer", key,
			    *steps, total);
	return 0;
}
