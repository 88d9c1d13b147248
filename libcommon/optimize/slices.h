/*
 * slices.h - the part of the vector of all parameters that a rank owns: it adds up their gradients for all, updates
 * them, and has the optimizer's state of them.
 *
 * Parameters are never cut.  So Adafactor's rows and columns, blocks of eight bits, and sums over a parameter are one
 * rank's, in the order that one rank alone has.  A rank may have more than its equal part by one parameter, or nothing.
 * Must not know parameters.
 */
#ifndef OPTIMIZE_SLICES_H
#define OPTIMIZE_SLICES_H

#include <stddef.h>

/* The rank in whose equal part of a vector of `floats` lies the middle of a parameter, its `count` floats from `at`. */
int slice_owner(size_t at, size_t count, size_t floats, int ranks);

#endif
