/*
 * parcels.h - the exchange of a step's sums between ranks whose devices are joined: from the memory of one device to
 * that of another, and added up there.
 *
 * A part of each rank's slice after another is exchanged, so that what arrives needs little of a device's memory.  Must
 * not know how devices move bytes.
 */
#ifndef TRAIN_PARCELS_H
#define TRAIN_PARCELS_H

#include "nodes.h"

/* Floats of a parameter, `from` there on, and their place in a parcel. */
struct segment { size_t parameter, from, floats, at; };
struct parcel { struct segment *segment; size_t count, capacity; };
struct cursor { size_t parameter, from; };      /* in the vector of all parameters */

/* So many floats, or fewer, of the parameters that a rank owns, from where the cursor is; moves it on.  Segments begin
 * at multiples of PARCEL_ALIGN, as `most` is one: devices read several floats at once.  count 0: this was all. */
enum { PARCEL_ALIGN = 64 };
void parcel_cut(struct parcel *p, const struct optimizer *o, int rank, struct cursor *c, size_t most);

/* The gradients of the parameters that this rank owns become the sums of all nodes. */
void parcels_exchange(const struct leaf_sums *sums, const struct nodes *n, struct tape *t);

#endif
