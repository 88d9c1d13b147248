/*
 * paint.h - a loaded pipeline, and one picture of it: prompt and noise to pixels.
 *
 * A pipeline owns its networks, or borrows those that training holds and loads what is missing.  Must not know files of
 * pictures, sheets or options.
 */
#ifndef SAMPLE_PAINT_H
#define SAMPLE_PAINT_H

#include "../io/image.h"
#include "../adapter/adapter.h"
#include "../model/text_encoders.h"
#include "../model/tokenizers.h"
#include "../model/unet.h"
#include "../model/vae.h"
#include "../nn/workspace.h"
#include "sampler.h"

struct pipeline {
	struct model_files *files;
	const struct model_config *config;
	const struct backend *be;
	struct device *device;
	struct text_encoders text;
	struct unet *unet;
	struct vae *vae;
	struct tokenizer *tokenizer[TEXT_ENCODERS];
	struct layer_list layers;
	struct noise_schedule schedule;
	struct workspace work;
	bool borrowed, borrowed_text;   /* files, device and UNet; the text encoders */
};

/* pipeline_find() opens the files and checks sizes, which is quick: errors come before gigabytes are read.
 * pipeline_load() then opens the device and loads the networks. */
int pipeline_find(struct pipeline *p, const char *model, const char *model_config, const char *vae,
		  struct error *e) MUST_CHECK;
void pipeline_flow(struct pipeline *p, double shift);            /* model_files_flow() */
int pipeline_load(struct pipeline *p, const char *device, struct error *e) MUST_CHECK;
/* A pipeline of networks that are loaded already; `text` may hold no text encoder.  pipeline_complete() loads what is
 * missing, pipeline_networks() the same without the tokenizers. */
void pipeline_borrow(struct pipeline *p, struct model_files *files, const struct backend *be, struct device *d,
		     struct unet *unet, const struct text_encoders *text);
int pipeline_complete(struct pipeline *p, struct error *e) MUST_CHECK;
int pipeline_networks(struct pipeline *p, struct error *e) MUST_CHECK;
void pipeline_close(struct pipeline *p);

/* Frees networks and activations, but neither tokenizers nor what is borrowed.
 * pipeline_complete() loads them again. */
void pipeline_shed(struct pipeline *p);

/* N(0,1) for an ancestral sampler's step, [c,h,w] */
typedef void step_noise(void *arg, int step, float *noise, size_t n);

/* Bytes of the activations of the largest forward pass in painting, two prompts of one chunk each, on the backend of
 * the networks. */
struct painting;
size_t paint_need(const struct pipeline *p, const struct painting *what);

struct painting {
	const char *text, *negative;    /* negative "": encoded like any text */
	bool zero_negative;             /* an empty negative prompt as zeros, as diffusers does */
	bool plain;                     /* brackets are words, not weights */
	int clip_skip;                  /* which layer's states, counted from the end; 0: as the family was trained */
	int width, height;              /* pixels */
	double cfg;                     /* 1: one forward a step */
	const struct sampler *sampler;
	int steps;
	const float *noise;             /* [c,h,w] N(0,1), the file's layout */
	const struct image *picture;    /* an inpainting model's, of this size; NULL: none */
	const uint8_t *hole;            /* [height,width], HOLE_EDGE and more: paint here */
	double strength;                /* 0: 1, which begins with noise alone */
	/* [c,h,w] N(0,1): for the samples that are drawn of what the VAE says of the picture,
	 * whole and with the hole */
	const float *picture_noise, *hole_noise;
	uint64_t seed;                  /* of the noise in steps, unless draw gives it */
	step_noise *draw; void *draw_arg;
};

typedef void painted_step(void *arg, int step);
/* latent [h,w,c] (malloced) after the last step, scaled as the UNet sees it; picture: decoded.  Either may be NULL. */
int paint(struct pipeline *p, const struct painting *what, float **latent, struct image *picture, painted_step *tell,
	  void *arg, struct error *e) MUST_CHECK;

#endif
