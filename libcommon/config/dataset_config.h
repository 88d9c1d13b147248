/*
 * dataset_config.h - kohya's data set configuration, [general], [[datasets]] and [[datasets.subsets]]: folders with
 * settings of their own.
 *
 * Owns which key belongs in which table, and the order in which a setting is looked up: subset, dataset, general, then
 * the caller's defaults.  Must not know pictures or what a setting does.
 */
#ifndef CONFIG_DATASET_CONFIG_H
#define CONFIG_DATASET_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include "../base/error.h"

struct dataset_subset {
	const char *image_dir;          /* as written; never NULL after reading */
	bool is_reg, flip_aug, alpha_mask, enable_wildcard;
	long num_repeats;
	const char *class_tokens, *caption_extension, *caption_prefix, *caption_suffix, *resize_interpolation,
		*conditioning_data_dir;                                                         /* NULL: not given */
	/* of its dataset */
	int dataset;                    /* its number, from 0 */
	long resolution[2], batch_size; /* batch_size 0: not given */
	bool enable_bucket, bucket_no_upscale;
	bool bucket_said;               /* enable_bucket is given in one of the tables */
	long min_bucket_reso, max_bucket_reso, bucket_reso_steps;
	/* caption settings that training needs, as a JSON object; NULL: none was given */
	char *caption_options;
	char *where;                    /* "FILE:LINE" of image_dir, for messages */
};

struct dataset_config {
	struct dataset_subset *subset;
	size_t count;
};

/* The texts in *out live until exit, like those of options.  EXIT_USAGE names file, line and key. */
int dataset_config_read(const char *path, const struct dataset_subset *defaults, struct dataset_config *out,
			struct error *e) MUST_CHECK;
void dataset_config_free(struct dataset_config *c);

#endif
