/*
 * parameters.h - the text in a PNG that tells how it was made, in the format that AUTOMATIC1111's program writes and
 * reads.
 *
 * Must not know how pictures are made.
 */
#ifndef SAMPLE_PARAMETERS_H
#define SAMPLE_PARAMETERS_H

#include <stddef.h>
#include <stdint.h>
#include "../base/error.h"

struct parameters_lora {
	char *name;                     /* malloced; the name of the file without folder and extension */
	double weight;
	char hash[13];                  /* the first 12 digits of sshs_model_hash; "": not known */
};

struct parameters {
	const char *prompt, *negative;
	long width, height, steps;
	const char *sampler, *rng;
	double cfg;
	uint64_t seed;
	long clip_skip;                 /* 0: the model's own, which goes without saying */
	const char *model;              /* path */
	const char *model_hash;         /* 10 digits; "": none */
	const struct parameters_lora *lora;
	size_t loras;
};

char *parameters_text(const struct parameters *p);              /* malloced */

/* The first 10 digits of a file's SHA-256, by which A1111 finds a checkpoint. */
int parameters_hash_model(const char *path, char hash[11], struct error *e) MUST_CHECK;
/* Fills in name and hash of an adapter's file. */
int parameters_read_lora(struct parameters_lora *l, const char *path, double weight, struct error *e) MUST_CHECK;

#endif
