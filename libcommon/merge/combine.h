/*
 * combine.h - the sum of several adapters' updates of one layer, as a module of an adapter.
 *
 * dW = sum of weight * dW_i.  Private to merge/.  Must not know files that are written.
 */
#ifndef MERGE_COMBINE_H
#define MERGE_COMBINE_H

#include "inputs.h"
#include "methods.h"
#include "output.h"

struct combining {
	const struct inputs *in;
	enum dtype type;                /* of new factors in the file */
	/* 0: exactly, whatever rank that takes; of a method, the greatest of the modules' */
	long rank;
	/* NULL: all of every update is added */
	const struct merge_method *method;
	double density;
	uint64_t seed;
};

enum combined_how {
	COMBINED_COPY,                  /* it is the term's module, byte for byte */
	COMBINED_CHANGED,               /* the same, but for its weight */
	COMBINED_LORA, COMBINED_FULL,
};

struct combined {
	enum combined_how how;
	const struct layer *layer;      /* with its shape, where any term knows it */
	const struct term *term;        /* of a copy */
	struct output_change change;
	struct output_lora lora;        /* as the file will have it */
	float *weight, *bias;           /* COMBINED_FULL; the layer's bias, of a LoRA too */
	double update, lost;            /* norms of dW and of what was not written of it; NAN: nobody knows */
};

/* n terms of one layer.  EXIT_INPUT: they have no exact sum.  c is to be freed whatever the result. */
int combine(struct combined *c, const struct combining *how, const struct term *term, size_t n,
	    struct error *e) MUST_CHECK;
void combined_free(struct combined *c);

/* combine_whole.c */
/* c becomes the LoRA of that rank, at most, that is nearest to dw [out,in*kh*kw]. */
void combined_nearest(struct combined *c, const struct layer *layer, const float *dw, size_t rank, enum dtype type);
/* The weights of a layer that all of them change, as the nearest LoRA of how->rank. */
int combine_whole(struct combined *c, const struct combining *how, const struct term *term, size_t n,
		  struct error *e) MUST_CHECK;

/* combine_method.c: the same by how->method; of the greatest of their ranks where how->rank is 0. */
int combine_by_method(struct combined *c, const struct combining *how, const struct term *term, size_t n,
		      struct error *e) MUST_CHECK;

#endif
