/*
 * prepare.h - lora-prep: turns folders of pictures into one stream of pictures of bucket size with their captions.
 *
 * Owns the samples of the image tar, and the report.  Must not know command lines.
 *
 * A sample of the image tar has the payload `png` (or `jpg`); with --flip also `flip.png`; a transparent picture with
 * --alpha-mask also `mask.png` (grey, of the same size, 0 where the loss is ignored).  Its json holds
 *
 *     path (path_b64 too when it is not UTF-8), sha256 of the source file, captions [text], repeats, weight,
 *     regularization, original [w,h] upright, resized [w,h], bucket [w,h], crop [left,top] for the conditioning, flip,
 *     crop_flip [left,top] of the mirrored picture (with flip only); from a dataset config also caption_options {...}
 *     and batch_size, where it says so
 */
#ifndef DATA_PREPARE_H
#define DATA_PREPARE_H

#include <stdint.h>
#include "bucket.h"
#include "caption.h"

struct prepare_options {
	const char *const *folders, *const *reg_folders;
	size_t folder_count, reg_folder_count;
	/* kohya's [[datasets]], instead of folders; the fields below are their defaults */
	const char *dataset_config;
	bool match_regularization;      /* kohya's rule for their repeats */
	double prior_loss_weight;
	struct bucket_rules buckets;
	bool bucket_said;               /* buckets.enabled is not the default */
	/* kohya's formula in the field `crop`; pixels are cropped in the centre anyway */
	bool kohya_crop;
	struct caption_rules captions;
	bool flip;
	/* one of resample_choices(); NULL: area when shrinking, Lanczos when enlarging */
	const char *interpolation;
	bool alpha_mask;                /* transparency becomes a payload of its own */
	const char *mask_dir;           /* the folder of mask pictures; NULL: none */
	uint8_t background[3];
	bool jpeg;                      /* payload; else PNG */
	int quality;
	const char *output;             /* path or "-" */
	const char *folder;             /* instead of the tar: pictures and .txt files below this folder; may be NULL */
	const char *report;             /* JSON lines; NULL: none */
	/* reads headers alone and writes only the report, to standard output if it has no other place */
	bool scan;
	bool strict;                    /* a bad picture ends the run with EXIT_INPUT */
	long megapixels;                /* larger pictures are refused from their headers; 0: 100 */
	int threads;                    /* 0: all cores */
};

/* The square that the model's family was made for; only its config is read. */
int resolution_of_model(const char *model, long resolution[2], struct error *e) MUST_CHECK;
int background_parse(const char *text, uint8_t rgb[3], struct error *e) MUST_CHECK;     /* "255,255,255" */

/* EXIT_INPUT too when no picture was usable. */
int prepare(const struct prepare_options *o, struct error *e) MUST_CHECK;

#endif
