/*
 * made_for.h - which model an adapter's file is for, told by names and shapes, where no model of it is at hand.
 *
 * Owns the signs of the architectures that adapters are made for, of those that are not read here too.  Must not know
 * layers.
 */
#ifndef ADAPTER_MADE_FOR_H
#define ADAPTER_MADE_FOR_H

#include "../io/safetensors.h"

/* "Flux", "Stable Diffusion 1.5"; a family's title where it is one of ours.  By names and shapes, else by the metadata;
 * NULL: nothing tells. */
const char *adapter_made_for(const struct safetensors *f);
/* For a model of no family that there is a row of; where nothing tells which: none of its names is such a model's. */
bool adapter_is_foreign(const struct safetensors *f);

#endif
