/*
 * source_internal.h - the inside of struct model_files.
 *
 * Private to source*.c and hub_cache.c.
 */
#ifndef MODEL_SOURCE_INTERNAL_H
#define MODEL_SOURCE_INTERNAL_H

#include "../base/map.h"
#include "source.h"
#include "source_tensors.h"

struct source_file {
	struct safetensors *s;
	char *relative;                 /* to the model's folder; a single file's own name */
	bool *used;                     /* a tensor each */
};

/* Where a known tensor is. */
struct found {
	size_t file;
	const struct safetensor *tensor;
	int part, parts;                /* rows of a fused tensor: part of parts equal ones */
	bool transposed;
	float scale;                    /* of the numbers; 1 where the file has none */
};

enum naming { NAMING_DIFFUSERS, NAMING_SINGLE_FILE };

struct part {
	enum naming naming;
	const char *prefix;             /* before every name in the file */
	size_t first, count;            /* its files */
	char *advice;                   /* for messages: what to do when sizes or names do not fit */
	char *missing;                  /* the message, where the model lacks the part; NULL: it is there */
	struct known_tensors known;
	struct found *found;            /* one a known tensor */
	struct map *index;              /* name to index in known */
};

struct model_files {
	char *path;
	bool single;
	/* DTYPE_F16 or DTYPE_BF16: what F32 weights become in memory; another: nothing */
	enum dtype narrow;
	struct quantising *quantising;  /* NULL: nothing is quantised */
	struct model_config config;
	char *tokenizer[TEXT_ENCODERS];
	struct source_file *file;
	size_t count, capacity;
	struct part part[COMPONENTS];
	unsigned needed;                /* the parts that must be there */
};

/* ---- source_files.c ---- */
int source_add_file(struct model_files *m, const char *path, const char *relative, struct error *e) MUST_CHECK;
/* A component's weights in its folder: one file, its fp16 variant, or shards with an index.  Sets p->first and count.
 * 1: the folder has none, *e says so. */
int source_add_folder(struct model_files *m, struct part *p, const char *folder, const char *relative,
		      const char *stem, struct error *e)
	MUST_CHECK;

/* ---- source_match.c ---- */
/* Finds every known tensor of the component and checks its shape and type.  Nothing is read but headers. */
int source_match(struct model_files *m, enum component c, struct error *e) MUST_CHECK;
/* After all components: what nothing asked for.
 * A tensor of a known pattern means other sizes, an error; others are noted. */
int source_check_rest(const struct model_files *m, struct error *e) MUST_CHECK;

/* ---- source_guess.c ---- */
/* What a file that is not SDXL base seems to be, as the end of "this is ..."; NULL: no idea. */
const char *source_guess(const struct safetensors *s);

/* ---- source_vae.c ---- */
int source_open_vae(struct model_files *m, const char *path, struct error *e) MUST_CHECK;

#endif
