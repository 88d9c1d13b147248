/*
 * run_internal.h - shared by the files of a sampling run: run.c, run_jobs.c, run_idle.c, run_rows.c,
 * run_files.c.
 */
#ifndef SAMPLE_RUN_INTERNAL_H
#define SAMPLE_RUN_INTERNAL_H

#include "../base/progress.h"
#include "../io/json.h"
#include "../io/safetensors.h"
#include "paint.h"
#include "parameters.h"
#include "prompts.h"
#include "run.h"
#include "torch_noise.h"

/* One picture to paint: a prompt with every default filled in. */
struct job {
	const struct prompt *prompt;
	const char *negative;
	const struct sampler *sampler;
	long width, height, steps;
	double cfg;
	uint64_t seed;
};

struct run {
	const struct sample_settings *s;
	struct pipeline pipeline;
	struct adapter **adapter; size_t adapters;
	struct parameters_lora *lora; size_t loras;     /* the same, as pictures name them */
	char model_hash[11];            /* "": a folder */
	struct prompt_list prompts;
	char *negative;                 /* of prompts without one */
	struct job *job; size_t jobs, capacity;
	int rows;                       /* each paints every job with other adapters */
	struct image *picture;          /* [rows][jobs] */
	float **latent;                 /* [rows][jobs], [h,w,c] */
	struct safetensors *noise;
	struct image image;             /* of an inpainting model, with its mask; empty: none */
	uint8_t *mask;                  /* [height,width] */
	struct progress *progress;
	uint64_t steps_done;
	size_t painted;                 /* pictures of earlier lines of a stream */
	bool torch;                     /* --rng torch */
	struct json_out line;
};

/* run_jobs.c: what to paint, from prompts and options; then, once the model's sizes are known, whether it can */
int sample_jobs_make(struct run *r, struct error *e) MUST_CHECK;
/* The jobs of one line of it, in place of those before; none for an empty line or a comment.  line is changed. */
int sample_jobs_of_line(struct run *r, int number, char *line, struct error *e) MUST_CHECK;
int sample_jobs_check(const struct run *r, struct error *e) MUST_CHECK;
/* Sizes that are 0 become the family's. */
void sample_jobs_size(struct run *r);
int sample_noise_open(struct run *r, struct error *e) MUST_CHECK;
/* All that is drawn for a picture before its first step, [c,h,w] each, malloced; torch goes on to draw the steps'. */
struct noises { float *first, *picture, *hole; };
int sample_noise(const struct run *r, size_t index, struct torch_noise *torch, struct noises *out,
		 struct error *e) MUST_CHECK;
void sample_noise_free(struct noises *x);
/* --image and --mask; they belong together (EXIT_USAGE) */
int sample_image_open(struct run *r, struct error *e) MUST_CHECK;

/* run_files.c: names and hashes for the pictures' texts; where pictures, sheet and latents go */
/* --prompts -: a line is painted before the next is read */
bool sample_is_stream(const struct sample_settings *s);
bool sample_is_folder(const char *output);
int sample_facts(struct run *r, struct error *e) MUST_CHECK;
int sample_places_check(const struct sample_settings *s, struct error *e) MUST_CHECK;
int sample_save_picture(struct run *r, int row, size_t index, struct error *e) MUST_CHECK;
int sample_save_latents(struct run *r, struct error *e) MUST_CHECK;

/* run_idle.c: warns of each setting that changes nothing, once jobs and model are known */
void sample_idle_tell(const struct run *r);

/* run_rows.c: which adapters a row is painted with, what its files are called, and the sheet */
struct row { size_t first, count; };    /* of the adapters */
int sample_rows(const struct sample_settings *s);
struct row sample_row(const struct run *r, int row);
char *sample_row_ending(const struct run *r, int row);  /* of its files' names, malloced: "-base", "-robot", "" */
int sample_sheet_check(const struct run *r, struct error *e) MUST_CHECK;        /* before painting */
int sample_save_sheet(struct run *r, struct error *e) MUST_CHECK;

#endif
