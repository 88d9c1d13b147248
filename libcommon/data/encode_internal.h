/*
 * encode_internal.h - struct encoder and the steps of lora-encode: pictures in groups, captions once each, content
 * addresses, reuse of older streams.
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
#include "shard.h"

#define ENCODE_FORMAT "lora-latent-1"

enum { PICTURES = 2 };                  /* of a sample: the picture, its mirror image */

/* A sample that was read and is not written yet. */
struct waiting {
	struct tar_sample in;
	struct latent_sample s;
	struct image picture[PICTURES]; /* rgb NULL: no such picture, or its latent exists already */
	char *label;                    /* key and path, for messages */
	bool some_new;                  /* not all of it came from an older stream */
};

/* The texts that the stream has so far: from a text's address to its row. */
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
	struct waiting *queue;          /* in order; the first is written first */
	size_t queued, room;
	struct shard shard;
	char *folder, *target;          /* of parts, and this one in it; NULL: the output is a file */
	bool made_folder;               /* by this run */
	uint32_t next, written;
	uint64_t seed;
	int chunks;                     /* of a caption */
	int skip;                       /* as in struct chunk_batch */
	bool warned_of_warmup;
	size_t captions_cut;            /* number of samples whose caption has more tokens than are read */
	struct publish *out;
	struct tar_writer *writer;
	struct progress *progress;
};

/* ---- encode_id.c ---- */
void encode_latent_id(const struct encoder *n, const struct tar_sample *in, char id[65]);
/* The address includes ids and, with weighted captions, weights [chunks][length] of all tokenizers: after a change of a
 * tokenizer's files only the captions that it changes are encoded anew. */
void encode_text_id(const struct encoder *n, const char *caption, const struct chunk_batch *b, char id[65]);
void encode_sample_id(struct latent_sample *s);         /* from the two kinds above */

/* ---- encode_picture.c ---- */
int encode_open_pictures(struct encoder *n, struct waiting *w, struct error *e) MUST_CHECK;
/* Encodes the pictures of the first sample of the queue, together with others of the same size, as --batch allows. */
int encode_group(struct encoder *n, struct error *e) MUST_CHECK;
/* Makes the mask of a sample whose latent exists. */
int encode_mask(const struct encoder *n, struct waiting *w, struct error *e) MUST_CHECK;

/* ---- encode_moments.c ---- */
struct pixels { float *at; int n, w, h; };              /* [n,h,w,3] in -1..1, malloced */
struct moments { float *at; int h, w, c; };             /* the VAE's, [n,h,w,2c], malloced */
int encode_moments(struct encoder *n, const struct pixels *p, struct moments *m, struct error *e) MUST_CHECK;
/* *mean and *std [h,w,c] of picture i, malloced, rounded.  EXIT_INPUT: not finite.  label: the sample, for messages. */
int encode_latent(const struct encoder *n, const char *label, const struct moments *m, int i, float **mean, float **std,
		  struct error *e) MUST_CHECK;

/* ---- encode_holes.c ---- */
/* For an inpainting model, makes holes in a picture and the latents of the picture with each. */
int encode_holes(struct encoder *n, struct waiting *w, int which, struct error *e) MUST_CHECK;

/* ---- encode_text.c ---- */
int encode_address_texts(struct encoder *n, struct waiting *w, struct error *e) MUST_CHECK;    /* sets s.text_id */
int encode_texts(struct encoder *n, struct waiting *w, struct error *e) MUST_CHECK;            /* sets row and text */
void encode_free_texts(struct encoder *n);

/* ---- encode_old.c ---- */
int encode_open_old(struct encoder *n, struct error *e) MUST_CHECK;
/* Takes it from an older stream.  1: done; 0: it is not there, or damaged; -1: reading failed (*e). */
int encode_take_latent(struct encoder *n, struct waiting *w, struct error *e) MUST_CHECK;
/* The same for a text, into one row of *to. */
int encode_take_text(struct encoder *n, const char *text_id, struct conditioning *to, int row,
		     struct error *e) MUST_CHECK;
void encode_drop_left(struct encoder *n);               /* removes what interrupted runs left, once the output exists */
void encode_close_old(struct encoder *n);

/* ---- encode_shard.c ---- */
/* Where the output is a folder of parts, s->output becomes the file of this one. */
int encode_begin_shard(struct encoder *n, struct encode_settings *s, struct error *e) MUST_CHECK;
int encode_end_shard(const struct encoder *n, struct error *e) MUST_CHECK;     /* once the file has appeared */

/* ---- encode_round.c ---- */
/* Rounds to --precision in place.  A value that does not fit is EXIT_INPUT. */
int encode_round(const struct encoder *n, const char *label, float *x, size_t count, struct error *e) MUST_CHECK;

#endif
