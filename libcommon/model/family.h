/*
 * family.h - model families, a row each: how one is recognised, how its text encoders are read, what its denoiser
 * reads, and its names.
 *
 * A row says what the family's config files leave out or cannot say; sizes are struct model_config's.  Adapters' key
 * names are adapter/keys.c's: the row names the dialect.  Must not know networks.
 */
#ifndef MODEL_FAMILY_H
#define MODEL_FAMILY_H

#include "../io/safetensors.h"
#include "conditioning.h"
#include "config.h"

/* How a text encoder is read. */
struct text_reading {
	/* the state that is read, counted from the end: 1 after the last layer, 2 before it */
	int skip;
	bool norm;                      /* through the final layer norm */
	bool pooled;                    /* the pooled vector too, through a projection that the file then has */
	bool pads_with_zero;            /* its tokenizer, where its files do not say with what */
};

/* kohya's blocks of the UNet, which have a rank and a learning rate each: in all, how many down_lr_weight,
 * mid_lr_weight and up_lr_weight list, which stand one behind the other, and where the first of them is. */
struct block_map { int total, first, down, mid, up; const char *are; };

struct family {
	const char *name;               /* one word: "sdxl" */
	const char *title;              /* in messages: "SDXL" */
	/* ---- how it is recognised ---- */
	bool (*is)(const struct model_config *c);       /* of the UNet's and the scheduler's numbers alone */
	unsigned parts;                 /* that a model of it has: PART(COMPONENT_...) */
	/* The same of a single file: a tensor of the UNet that no other family has with so many dimensions,
	 * without ".weight" */
	struct { const char *name; int dims, in; } sign;        /* in: its second side; 0: any */
	/* the sizes of the released one, for a file without config files */
	const struct model_config *usual;
	const char *released, *one;                     /* in messages: "SDXL base", "an SDXL" */
	const char *lacks[TEXT_ENCODERS];               /* what a folder without that text encoder's config is */
	double vae_scaling;             /* where a VAE's config does not say its scaling factor; 0: it must */
	bool inpaints;                  /* the UNet reads a hole and the picture with it beside the noisy latent */
	/* ---- inputs of the denoiser ---- */
	int texts;                      /* text encoders, COMPONENT_TE1 and on */
	struct text_reading text[TEXT_ENCODERS];
	bool clip_skip;                 /* sd-scripts reads another state where clip_skip asks for it */
	unsigned conditions;            /* what the denoiser reads: 1 << CONDITION_... */
	int side;                       /* pixels of the square pictures that it was made for */
	/* ---- names in files ---- */
	const char *prefix[COMPONENTS];                 /* of a part's tensors in a single file */
	const char *hub;                                /* the released one's id, to be fetched in half precision */
	/* "family" of a sample in a latent tar; NULL: nothing, which is what SDXL's have */
	const char *encoded_as;
	const char *dialect;            /* adapter/keys.c: how adapters are written */
	struct block_map blocks;
	const char *base_model_version, *v2;            /* ss_base_model_version, ss_v2 */
	const char *architecture, *implementation;      /* modelspec */
};

extern const struct family family_sdxl, family_sdxl_flow, family_sdxl_inpaint, family_sd15;       /* sdxl.c, sd15.c */

/* The first row that `is` of this config; NULL: none. */
const struct family *family_of(const struct model_config *c);
/* The last whose sign is in the file, else the first of all: what it lacks of that one then tells. */
const struct family *family_of_file(const struct safetensors *s);
/* The row of a repository's id on the hub; NULL: none is known by it. */
const struct family *family_of_hub(const char *id);
/* Row i; NULL: there are no more. */
const struct family *family_at(size_t i);
/* The titles of all, for messages: "SDXL, Stable Diffusion 1.5"; malloced. */
char *family_titles(void);
/* The first whose latents say this word, which may be NULL; NULL: none. */
const struct family *family_encoded_as(const char *word);
/* Shapes, no memory, of what its denoiser reads of a text of so many tokens; and all that it reads. */
struct conditioning family_text(const struct model_config *c, int tokens);
struct conditioning family_conditioning(const struct model_config *c, int tokens);

#endif
