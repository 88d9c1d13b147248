/*
 * tar_names.h - names and limits that writer and reader of sample streams must agree on.
 */
#ifndef IO_TAR_NAMES_H
#define IO_TAR_NAMES_H

#define TAR_END "__lora__/end"          /* no dot in it: WebDataset's readers skip such a member */
#define TAR_FORMAT "lora-%s-1"          /* "image" or "latent" goes in */
#define TAR_KEY_DIGITS 8
#define TAR_MOST_SAMPLES 100000000u     /* what so many digits can count */

#endif
