/*
 * * source.h - the weights of a model on disk: a diffusers folder (one file or shards), or a single-file checkpoint.
 *
 * Callers ask by diffusers' names ("down_blocks.1.attentions.0.proj_in.weight").  Owns the single file's names, its
 * fused q/k/v, its transposed text projection and its [C,C,1,1] attention, and the scales of ComfyUI's F8 checkpoints.
 * Must not know networks.
 */
#ifndef MODEL_SOURCE_H
#define MODEL_SOURCE_H

#include <stdbool.h>
#include "../io/safetensors.h"
#include "../nn/ops.h"
#include "config.h"
#include "quantise.h"

/* A model on disk. */
struct model_files;
/* path: a diffusers folder, a single file, or a hub id in the local Hugging Face cache (docs: never the network; a miss
 * prints the command that fetches it, EXIT_INPUT).  config_folder: --model-config, may be NULL.  vae_path: another VAE
 * (folder or file), may be NULL.  Reads configs and headers only; fails fast on a wrong architecture, naming it. */
struct model_files *model_files_open(const char *path, const char *config_folder, const char *vae_path,
				     struct error *e) MUST_CHECK;
/* The same where only some of the parts are needed.  Any other part may be missing as a whole; asking for one of its
 * tensors is then an error that names it. */
struct model_files *model_files_open_parts(const char *path, const char *config_folder, const char *vae_path,
					   unsigned needed, struct error *e) MUST_CHECK;
bool model_files_has(const struct model_files *m, enum component c);
void model_files_close(struct model_files *m);                          /* accepts NULL */
const struct model_config *model_files_config(const struct model_files *m);
/* Sets the VAE's factor, pixels of the picture for a pixel of the latent, where no VAE's config gives it. */
void model_files_latents(struct model_files *m, int factor);
const char *model_files_tokenizer(const struct model_files *m, int which /* 1, 2 */);   /* folder; NULL: none */
bool model_files_single(const struct model_files *m);
const char *model_files_path(const struct model_files *m);              /* as resolved */
/* F32 matrices that are loaded from now on are rounded to `to` (F16 or BF16; F32: kept).
 * Others keep the file's type in any case. */
void model_files_narrow(struct model_files *m, enum dtype to);
/* What is loaded from now on is quantised as q says, which stays the caller's and writes down what was. */
void model_files_quantise(struct model_files *m, struct quantising *q);
/* The model predicts a flow, whatever its files say; shift as in flow.h, 0: what they say, else 1. */
void model_files_flow(struct model_files *m, double shift);
/* For content addresses and metadata: SHA-256 over names,
 * shapes and data of the component's tensors (streams the file). */
void model_files_hash(const struct model_files *m, enum component c, char hex[65]);
/* A mark that tells models apart without reading them whole: SHA-256 over names, shapes and the first 4 KB of each
 * tensor of UNet and text encoders. */
void model_files_mark(const struct model_files *m, char hex[65]);

/* One tensor as diffusers would have it. */
struct source_tensor {
	const unsigned char *bytes;     /* maybe unaligned; rows of a fused tensor are already selected */
	enum dtype dtype;
	int dims; int64_t shape[4];     /* [out,in] or [out,in,kh,kw] or [n] */
	bool transposed;                /* bytes are [in,out]: the loader transposes them */
	float scale;                    /* the weights are so many times the numbers in bytes; mostly 1 */
	const struct safetensors *file;
};
/* 0, or -1 when the component has no such tensor (*e names it and the file; EXIT_INPUT). */
int source_find(const struct model_files *m, enum component c, const char *name, struct source_tensor *t,
		struct error *e) MUST_CHECK;
bool source_has(const struct model_files *m, enum component c, const char *name);
/* The same as floats in diffusers' order, malloced: count of them, or it is an error. */
float *source_floats(const struct model_files *m, enum component c, const char *name, size_t count,
		     struct error *e) MUST_CHECK;

/*
 * ---- the files behind a model ----
 *
 * For lora-merge, which writes them back with their own names, order, types and shapes.  It goes through the files, and
 * in each through all tensors of struct safetensors (in file order, with those that no component uses).  It changes the
 * tensors that source_place() gives, and copies the rest byte for byte.  Several names may share a tensor (q, k and v
 * are different rows of one).
 */
size_t source_files(const struct model_files *m);
const struct safetensors *source_file(const struct model_files *m, size_t i);
/* Relative to model_files_path() ("unet/diffusion_pytorch_model.safetensors"); a single file: its own name.  Files of
 * another VAE come last and have their path as opened. */
const char *source_file_path(const struct model_files *m, size_t i);
/* All names of a component, in byte order. */
size_t source_names(const struct model_files *m, enum component c);
const char *source_name(const struct model_files *m, enum component c, size_t i);

struct source_place {
	size_t file;                            /* source_file(m, file) */
	const struct safetensor *tensor;        /* there */
	/* the range of its first dimension that the name stands for, mostly all of it */
	int64_t row, rows;
	/* the tensor is [in,out] where diffusers has [out,in]: rows counts in */
	bool transposed;
	float scale;                            /* as above */
};
/* false: no such name */
bool source_place(const struct model_files *m, enum component c, const char *name, struct source_place *place);

/* Which frozen weights stay in host memory and visit the device: none; those of the UNet's keys and values that are
 * made of the text (13 % of SDXL's, read by 77 rows a picture); all matrices and filters. */
enum on_host { ON_HOST_NONE, ON_HOST_TEXT, ON_HOST_WEIGHTS };

/* ---- loading layers onto a device; name without ".weight"; sizes are checked against the config's ---- */
struct loader {
	const struct model_files *files;
	enum component component;
	const struct backend *be;
	struct device *device;
	bool on_host;                   /* of the layers that are loaded now (struct weight), but for tables */
	bool inner;                     /* they are of those that may be quantised */
	struct weight_stack *stack;     /* NULL: each has memory of its own */
};
/* Weights of one size that are loaded one after another into one block of memory, which the caller releases: a device
 * may multiply by them at once (backend.h: struct stacked).  One that is of another size, is quantised or stays in host
 * memory has memory of its own. */
struct weight_stack { int count, placed; size_t each; void *block; };
int load_linear(const struct loader *l, const char *name, int out, int in, bool bias, struct linear *layer,
		struct error *e) MUST_CHECK;
int load_conv(const struct loader *l, const char *name, int out, int in, int kernel, int stride, struct conv *layer,
	      struct error *e) MUST_CHECK;
/* A 1x1 convolution as a linear layer ([out,in,1,1] or [out,in] in the file). */
int load_conv1x1(const struct loader *l, const char *name, int out, int in, struct linear *layer,
		 struct error *e) MUST_CHECK;
int load_norm(const struct loader *l, const char *name, int c, int groups, float eps, struct norm *layer,
	      struct error *e) MUST_CHECK;
int load_table(const struct loader *l, const char *name, int rows, int cols, struct weight *table,
	       struct error *e) MUST_CHECK;
int load_floats(const struct loader *l, const char *name, size_t count, float **device, struct error *e) MUST_CHECK;
void free_linear(const struct backend *be, struct device *d, struct linear *layer);
void free_conv(const struct backend *be, struct device *d, struct conv *layer);
void free_norm(const struct backend *be, struct device *d, struct norm *layer);
void free_table(const struct backend *be, struct device *d, struct weight *table);

#endif
