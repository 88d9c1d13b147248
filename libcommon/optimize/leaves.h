/*
 * leaves.h - the tree in which a step's gradients are added: the same for any number of ranks that compute them.
 *
 * A step's leaves are its batches, numbered by the order of the data.  A node of the tree covers the leaves k*2^l up to
 * (k+1)*2^l, as far as there are any, and is the sum of its two halves.  Float addition does not associate, so a sum in
 * another order has other bytes.  Must not know gradients.
 */
#ifndef OPTIMIZE_LEAVES_H
#define OPTIMIZE_LEAVES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct leaves { uint32_t first, end; };                 /* first <= leaf < end */

/* The leaves that a rank computes, of the step's `count`: none where there are fewer leaves than ranks.  The ranks'
 * leaves follow each other. */
struct leaves leaves_of_rank(uint32_t count, uint32_t ranks, uint32_t rank);
/* Are these two the halves of a node?  Where they are added whenever this holds, left to right, the whole tree comes of
 * it, whichever nodes it began with. */
bool leaves_join(struct leaves a, struct leaves b, uint32_t count);
/* The next node of those that `of` consists of, none of which are halves of a node in it; takes it off. */
struct leaves leaves_next_node(struct leaves *of, uint32_t count);
/* At most so many sums of nodes wait for their other half where `count` leaves are computed one after another. */
size_t leaves_waiting(uint32_t count, uint32_t ranks);

#endif
