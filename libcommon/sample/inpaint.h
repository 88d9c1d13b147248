/*
 * inpaint.h - the further input channels of an inpainting model: hole, and latent of the picture with the hole.
 *
 * Must not know prompts or samplers.
 */
#ifndef SAMPLE_INPAINT_H
#define SAMPLE_INPAINT_H

#include "../base/error.h"

struct pipeline;
struct painting;

struct inpaint {
	/* [2,h,w,1+c]: hole and latent of the picture with it, for both prompts; NULL: another model */
	float *beside;
	float *latent;                  /* [h,w,c] of the whole picture, scaled; NULL unless some of it is to stay */
};

/* EXIT_USAGE: an inpainting model without a picture, or another model with one. */
int inpaint_check(const struct pipeline *p, const struct painting *w, struct error *e) MUST_CHECK;
int inpaint_make(struct pipeline *p, const struct painting *w, struct inpaint *out, struct error *e) MUST_CHECK;
void inpaint_free(struct inpaint *x);

#endif
