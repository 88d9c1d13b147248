/*
 * slices.h - the part of the vector of all parameters that a rank owns: whose gradients it adds up for all.
 *
 * Must not know parameters: a slice begins and ends amid one.
 */
#ifndef OPTIMIZE_SLICES_H
#define OPTIMIZE_SLICES_H

#include <stddef.h>

enum { SLICE_UNIT = 256 };      /* floats: every slice but the last is a multiple */

struct slice { size_t first, end; };

struct slice slice_of_rank(size_t floats, int ranks, int rank);

#endif
