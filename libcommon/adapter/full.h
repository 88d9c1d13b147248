/*
 * full.h - the whole difference's one part, for the code that makes a module of a vector: biases in lora-merge.
 */
#ifndef ADAPTER_FULL_H
#define ADAPTER_FULL_H

#include "kind.h"

extern const struct adapter_kind kind_full;
enum { FULL_DIFF };

#endif
