/*
 * safetensors_header.h - from the header's JSON to a list of tensors; shared by the two files that read safetensors.
 *
 * It has a parser of its own because a general one hides what must be refused: duplicate names, numbers that wrapped.
 */
#ifndef IO_SAFETENSORS_HEADER_H
#define IO_SAFETENSORS_HEADER_H

#include "safetensors.h"

/* Fills tensor, metadata and names of *s from header[0..n).  Tensors are in header order, each sound by itself; names
 * may still repeat and data may overlap.  -1: *e. */
int safetensors_read_header(struct safetensors *s, const unsigned char *header, size_t n, struct error *e) MUST_CHECK;

#endif
