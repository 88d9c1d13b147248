/*
 * prepare.h - lora-prep's work: folders of pictures become one stream of pictures of bucket size with their captions.
 *
 * Owns the image tar's samples and the report.  Must not know command lines.
 *
 * A sample of the image tar: payload `png` (or `jpg`), with --flip also `flip.png`, for a transparent one with --alpha-mask
 * `mask.png` (grey, as large, 0 where training shall not look), and in its json
 *
 *     path (path_b64 too when it is not UTF-8), sha256 of the source file, captions [text], repeats, weight,
 *     regularization, original [w,h] upright, resized [w,h], bucket [w,h], crop [left,top] for the conditioning, flip,
 *     crop_flip [left,top] of the mirrored picture (with flip only); from a dataset config also caption_options {...} and
 *     batch_size, where it says so
 */
#ifndef DATA_PREPARE_H
#define DATA_PREPARE_H

#include <stdint.h>
#include "bucket.h"
#include "caption.h"

struct prepare_options {
	const char *const *folders, *const *reg_folders;
	size_t folder_count, reg_folder_count;
	const char *dataset_config;     /* kohya's [[datasets]], instead of folders; what they leave open is said below */
	bool match_regularization;      /* kohya's rule for their repeats */
	double prior_loss_weight;
	struct bucket_rules buckets;
	bool bucket_said;               /* buckets.enabled is not the default */
	bool kohya_crop;                /* in the field `crop`; the pixels are cut in the middle either way */
	struct caption_rules captions;
	bool flip;
	const char *interpolation;      /* one of RESAMPLE_NAMES; NULL: area when shrinking, Lanczos when enlarging */
	bool alpha_mask;                /* transparency becomes a payload of its own */
	const char *mask_dir;           /* where pictures of masks lie; NULL: nowhere */
	uint8_t background[3];
	bool jpeg;                      /* payload; else PNG */
	int quality;
	const char *output;             /* path or "-" */
	const char *folder;             /* instead: pictures and .txt files below this folder; NULL: the tar */
	const char *report;             /* JSON lines; NULL: none */
	bool scan;                      /* headers alone: the report is all that is written, to standard output if it has no other place */
	bool strict;                    /* a bad picture is EXIT_INPUT */
	long megapixels;                /* larger pictures are refused from their headers; 0: 100 */
	int threads;                    /* 0: all cores */
};

int background_parse(const char *text, uint8_t rgb[3], struct error *e) MUST_CHECK;     /* "255,255,255" */

/* EXIT_INPUT too when no picture was usable. */
int prepare(const struct prepare_options *o, struct error *e) MUST_CHECK;

#endif
