/*
 * latents.h - one sample of a latent tar: mean and std of the picture's latent, text outputs of its captions, and what is known of it.
 *
 * Owns the payloads' tensor names and the json fields that training reads.  Must not know networks.
 *
 *     latent.safetensors   mean, std [c,h,w] F32; mean.flip, std.flip of the mirrored picture
 *     text.safetensors     context [variants,length,width] F32, pooled [variants,width] F32; absent after --no-text
 */
#ifndef DATA_LATENTS_H
#define DATA_LATENTS_H

#include "../io/tar.h"

struct latent_sample {
	char key[16];
	char id[65];                    /* content address: SHA-256 of everything that decided the payload */
	int c, h, w;                    /* of the latent */
	float *mean, *std;              /* [h,w,c]: NHWC in memory, NCHW in the file */
	float *flip_mean, *flip_std;    /* NULL without --flip */
	int variants, length, context_width, pooled_width;      /* variants 0: no text */
	float *context, *pooled;        /* [variants,length,context_width], [variants,pooled_width] */
	char **caption; int captions;   /* what was encoded, one a variant */
	char *written;                  /* the caption that they are variants of; NULL: caption[0] is as written */
	int empty;                      /* the variant without words, which no draw but that of dropout takes; -1: none */
	json_t *caption_options;        /* of a dataset config, for training; NULL: none */
	long batch_size;                /* the same; 0: not said */
	char *path, *sha256;            /* of the source picture */
	long repeats;
	double weight;                  /* 1, or the prior loss weight of a regularisation picture */
	bool regularization;
	int original[2], crop[2], bucket[2];    /* [w,h], [left,top], [w,h] in pixels */
	int crop_flip[2];               /* of the mirrored picture */
	char *vae, *text1, *text2;      /* hashes of the weights that made it; NULL: not said */
};

void latent_sample_free(struct latent_sample *s);

const char *latent_sample_caption(const struct latent_sample *s);      /* as written */

/* From a tar sample; label is the stream's name in messages.  Non-finite values are refused (EXIT_INPUT). */
int latent_sample_read(const char *label, const struct tar_sample *tar, struct latent_sample *s, struct error *e) MUST_CHECK;

/* Payload members of a sample (1 or 2 of them), and the fields of its json after tar_sample_begin(). */
int latent_sample_members(const struct latent_sample *s, struct tar_member member[2]);
/* Fields of the image tar's json that training needs, copied from source, plus what encoding adds. */
void latent_sample_fields(const struct latent_sample *s, const json_t *source, struct json_out *fields);

/* Every sample of the given streams ("-": standard input), in order.  All must have the same text widths. */
struct latent_set {
	struct latent_sample *sample;
	size_t count;
	char digest[65];                /* SHA-256 over ids, repeats and weights: tells a resumed run whether the data is the same */
};
int latent_set_read(const char *const *paths, size_t count, struct latent_set *set, struct error *e) MUST_CHECK;
/* Only the first sample's payload is read, the others have their sizes and json alone: a look that takes no time. */
int latent_set_skim(const char *const *paths, size_t count, struct latent_set *set, struct error *e) MUST_CHECK;
void latent_set_free(struct latent_set *set);

#endif
