/*
 * lora.h - LoRA's parts, forward and backward, for the code that builds on them: dora.c and adapter_norms.c.
 */
#ifndef ADAPTER_LORA_H
#define ADAPTER_LORA_H

#include "kind.h"

extern const struct adapter_kind kind_lora;
enum { LORA_DOWN, LORA_UP, LORA_MID };

/* y += scale z up^T, where z = x down^T after dropout.  up_t [rank,out]: stands for up where it is not NULL. */
void lora_add(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b, const struct adapted *a,
	      float scale, const float *up_t);
/* Backward of it, from dy: gradients of the parts, dx += .  see: who reads z too, before it is freed; NULL: nobody */
struct lora_see { void (*it)(struct tape *t, const float *z, void *arg); void *arg; };
void lora_add_back(struct tape *t, const struct tensor *y, struct values dy, const struct tensor *x, struct values dx,
		   const struct branch *b, const struct part_grads *g, const struct adapted *a, float scale,
		   const struct lora_see *see);

#endif
