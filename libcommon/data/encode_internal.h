/*
 * encode_internal.h - the inside of lora-encode's work: opening, pictures in groups, captions once each, content addresses.
 *
 * Private to encode*.c.
 */
#ifndef DATA_ENCODE_INTERNAL_H
#define DATA_ENCODE_INTERNAL_H

#include "../base/map.h"
#include "../base/progress.h"
#include "../io/image.h"
#include "../model/long_text.h"
#include "../model/tokenizers.h"
#include "../model/vae.h"
#include "../nn/workspace.h"
#include "encode.h"
#include "latents.h"

#define ENCODE_FORMAT "lora-latent-1"

enum { PICTURES = 2 };                  /* of a sample: as it is, mirrored */

/* A sample between its arrival and its writing. */
struct waiting {
	struct tar_sample in;
	struct latent_sample s;
	struct image picture[PICTURES]; /* rgb NULL: none, or its latent is there */
	char *label;                    /* key and path, for messages */
	bool some_new;                  /* not all of it was taken over from --reuse */
};

/* Rows of the stream's texts, each under its address. */
struct text_rows {
	struct map *index;
	char **key;
	size_t count, capacity;
};

struct old_stream;

struct encoder {
	const struct encode_settings *s;
	enum dtype precision;
	struct model_files *files;
	const struct model_config *config;
	const struct backend *be;
	struct device *device;
	struct vae *vae;                /* with the text encoders: loaded when something must be encoded */
	struct text_encoders text;
	struct tokenizer *tokenizer[TEXT_ENCODERS];
	struct workspace work;
	char vae_hash[65], text_hash[TEXT_ENCODERS][65];
	struct text_rows rows;
	struct old_stream *old;         /* NULL: none */
	uint32_t samples_taken, pictures_taken, captions_taken;         /* from it: whole samples, and their parts */
	struct waiting *queue;          /* samples leave in order, and the rest moves up */
	size_t queued, room;
	uint32_t shard, shards, next, written;
	uint64_t seed;
	int chunks;                     /* of a caption */
	int skip;                       /* as in struct chunk_batch */
	bool warned_of_warmup;
	size_t captions_cut;            /* samples whose caption has more tokens than are read */
	struct publish *out;
	struct tar_writer *writer;
	struct progress *progress;
};

/* ---- encode_id.c ---- */
void encode_latent_id(const struct encoder *n, const struct tar_sample *in, char id[65]);
/* ids and, with weighted captions, weights [chunks][length] of all tokenizers are part of it, so a change of a tokenizer's files costs the
 * captions that it changes. */
void encode_text_id(const struct encoder *n, const char *caption, const struct chunk_batch *b, char id[65]);
void encode_sample_id(struct latent_sample *s);         /* from the two kinds above */

/* ---- encode_picture.c ---- */
int encode_open_pictures(struct encoder *n, struct waiting *w, struct error *e) MUST_CHECK;
/* Encodes the first waiting sample's pictures, and beside them as many of equal size from the queue as --batch allows. */
int encode_group(struct encoder *n, struct error *e) MUST_CHECK;
/* encode_holes.c: of a picture that is there, for an inpainting model: holes and the latents of the picture with each. */
int encode_holes(struct encoder *n, struct waiting *w, int which, struct error *e) MUST_CHECK;
/* The encoder's moments of pixels [h,w,3] in -1..1, given up: mean and std, malloced, rounded; the sizes go to *w's sample. */
int encode_moments(struct encoder *n, struct waiting *w, float *pixels, int width, int height, float **mean, float **std,
		   struct error *e) MUST_CHECK;
/* Beside a latent that is there. */
int encode_mask(const struct encoder *n, struct waiting *w, struct error *e) MUST_CHECK;

/* ---- encode_text.c ---- */
int encode_address_texts(struct encoder *n, struct waiting *w, struct error *e) MUST_CHECK;    /* sets s.text_id */
int encode_texts(struct encoder *n, struct waiting *w, struct error *e) MUST_CHECK;            /* sets row and text */
void encode_free_texts(struct encoder *n);

/* ---- encode_old.c ---- */
int encode_open_old(struct encoder *n, struct error *e) MUST_CHECK;
/* 1: taken; 0: it is not there, or damaged; -1: *e, nobody can say which. */
int encode_take_latent(struct encoder *n, struct waiting *w, struct error *e) MUST_CHECK;
/* the same, into one row */
int encode_take_text(struct encoder *n, const char *text_id, struct conditioning *to, int row, struct error *e) MUST_CHECK;
void encode_drop_left(struct encoder *n);               /* once the output is there: what interrupted runs left of it */
void encode_close_old(struct encoder *n);

/* ---- encode_round.c ---- */
/* Rounds to --precision in place.  What does not fit is named (EXIT_INPUT). */
int encode_round(const struct encoder *n, const char *label, float *x, size_t count, struct error *e) MUST_CHECK;

#endif
