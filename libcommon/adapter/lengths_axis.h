/*
 * lengths_axis.h - of a DoRA's lengths in a file: are they of a layer's inputs or of its outputs?
 *
 * Owns the rule by name, shape and metadata, for everybody who reads files.  Must not know devices.
 */
#ifndef ADAPTER_LENGTHS_AXIS_H
#define ADAPTER_LENGTHS_AXIS_H

#include "../io/safetensors.h"

enum lengths_axis {
	LENGTHS_MISFIT,                 /* neither */
	LENGTHS_INPUT, LENGTHS_OUTPUT,
	LENGTHS_EITHER,                 /* a row of numbers on a square layer, and nothing says which */
};

enum lengths_axis lengths_axis_of(const struct safetensors *s, const struct safetensor *t, int64_t out, int64_t in);

#endif
