/*
 * latents.h - a sample of a latent tar: mean and std of a picture's latent, outputs of the text encoders for its
 * captions, and facts about the picture.
 *
 * Owns the payloads' tensor names and the json fields that training reads.  Must not know networks.
 *
 *     latent.safetensors   mean, std [c,h,w]; mean.flip, std.flip of the mirrored picture; F32, F16 or BF16;
 *                          mask [h,w] F32; of an inpainting model hole [holes,h,w] F32, hole.mean, hole.std
 *                          [holes,c,h,w] and the same with .flip
 *     text.safetensors     context [rows,length,width], pooled [rows,width] and further tensors of the family; a row
 *                          for each text that no earlier sample has; absent after --no-text
 */
#ifndef DATA_LATENTS_H
#define DATA_LATENTS_H

#include "../io/dtype.h"
#include "../io/tar.h"
#include "../model/family.h"

struct latent_sample {
	char key[16];
	char id[65];                    /* content address: SHA-256 of everything that decided the payload */
	char latent_id[65];             /* the same of the pictures alone; "": unknown */
	char (*text_id)[65];            /* and of each text; NULL: unknown */
	enum dtype dtype;               /* in the file: F16 or BF16, otherwise F32 */
	int c, h, w;                    /* of the latent */
	float *mean, *std;              /* [h,w,c]: NHWC in memory, NCHW in the file */
	float *flip_mean, *flip_std;    /* NULL without --flip */
	bool masked;                    /* parts of the picture have a smaller weight in the loss: */
	/* [h,w], 0 to 1; NULL: all of it counts; the mirrored one is made in reading, never written */
	float *mask, *flip_mask;
	const struct family *family;    /* of the text; others may read the same */
	/* For an inpainting model: holes in the picture, 0 or 1,
	 * and mean and std of the latent of the picture with each, NHWC */
	int holes;
	float *hole, *hole_mean, *hole_std;             /* [holes,h,w], [holes,h,w,c]; NULL: none */
	float *flip_hole, *flip_hole_mean, *flip_hole_std;      /* the first is made in reading, never written */
	int variants;                   /* 0: no text */
	/* Text outputs.  row NULL: one row for each variant.  Otherwise the sample is as in the file: text holds the
	 * rows that no earlier sample has, and row[v] is the number of variant v among all texts of this part of the
	 * stream (io/tar.h). */
	struct conditioning text;
	int *row;
	/* [variants], after latent_texts_fill(): views of a row each, in the memory of this sample or an earlier one */
	struct conditioning *variant;
	char **caption; int captions;   /* what was encoded, one a variant */
	bool weighted;                  /* their brackets were read as weights */
	int clip_skip;                  /* the state of the text encoders that was read; 0: the family's own */
	char *written;                  /* the caption that they are variants of; NULL: caption[0] is as written */
	/* the variant without words, which no draw but that of dropout takes; -1: none */
	int empty;
	json_t *made_with;              /* caption_options_making() the variants; NULL: none, or unknown */
	json_t *caption_options;        /* of a dataset config, for training; NULL: none */
	long batch_size;                /* the same; 0: not given */
	char *path, *sha256;            /* of the source picture */
	long repeats;
	double weight;                  /* 1, or the prior loss weight of a regularisation picture */
	bool regularization;
	int of_folder[2];               /* its folder's own repeats and number of pictures; 0: unknown */
	int original[2], crop[2], bucket[2];    /* [w,h], [left,top], [w,h] in pixels */
	int crop_flip[2];               /* of the mirrored picture */
	char *vae, *encoder[TEXT_ENCODERS];     /* hashes of the weights that made it; NULL: unknown */
};

void latent_sample_free(struct latent_sample *s);

const char *latent_sample_caption(const struct latent_sample *s);      /* as written */

/* Reads a tar sample, as it is in the file; label is the stream's name in messages.
 * Non-finite values are EXIT_INPUT. */
int latent_sample_read(const char *label, const struct tar_sample *tar, struct latent_sample *s,
		       struct error *e) MUST_CHECK;

/* The texts that a stream has had so far, which later samples of the same part point at; a row each, without memory
 * where it was not seen. */
struct latent_texts { struct conditioning *text; size_t count, capacity; int part; };
/* A sample read from part `part` gets all its variants: views of rows that it or an earlier sample holds; row is NULL
 * afterwards.  Samples that were here before must live as long.  A row that is nowhere: *e (EXIT_INPUT). */
int latent_texts_fill(struct latent_texts *t, const char *label, int part, struct latent_sample *s,
		      struct error *e) MUST_CHECK;
/* Of a sample whose payload was passed over: sets text.rows, the number of rows that no earlier sample has. */
void latent_texts_skim(struct latent_texts *t, int part, struct latent_sample *s);
/* The same check alone, for a reader that keeps no sample. */
int latent_texts_check(struct latent_texts *t, const char *label, int part, const struct latent_sample *s,
		       struct error *e) MUST_CHECK;
void latent_texts_free(struct latent_texts *t);

/* Makes the payload members of a sample, and returns their number, 1 or 2. */
int latent_sample_members(const struct latent_sample *s, struct tar_member member[2]);
/* Adds the fields of its json after tar_sample_begin(): those of the image tar that training needs, copied from source,
 * and those of encoding. */
void latent_sample_fields(const struct latent_sample *s, const json_t *source, struct json_out *fields);

/* Every sample of the given streams ("-": standard input; a list of parts, shard.h: all of them), in the order of their
 * keys, and of the streams for equal keys: so shards that were encoded apart make the whole set again.  All must have
 * the same text widths. */
struct latent_set {
	struct latent_sample *sample;
	size_t count;
	bool masked;                    /* any of them is */
	/* SHA-256 over ids, repeats and weights: tells a resumed run whether the data is the same */
	char digest[65];
};
int latent_set_read(const char *const *paths, size_t count, struct latent_set *set, struct error *e) MUST_CHECK;
/* A quick version: reads the payload of the first sample only; the others have their sizes and json alone. */
int latent_set_skim(const char *const *paths, size_t count, struct latent_set *set, struct error *e) MUST_CHECK;
/* Regularisation pictures count so much in place of what the tars say; the digest follows. */
void latent_set_weigh(struct latent_set *set, double weight);
void latent_set_free(struct latent_set *set);

#endif
