/*
 * work.h - what a step costs a card: launches, products, copies, bytes and FLOP by class of operation; and how long
 * that takes on a card of given peak rates, modelled.
 *
 * Owns the model: each call takes the longer of its arithmetic and its memory traffic, and a while to begin; copies
 * beside the computing take no time of it, unless they are the longer of the two.  Must not know which operation
 * does what (counting.c), nor which cards there are (train/plan/cards.h).
 */
#ifndef NN_WORK_H
#define NN_WORK_H

#include <stdbool.h>

enum work_class { WORK_PRODUCTS, WORK_CONVOLUTIONS, WORK_ATTENTION, WORK_NORMS, WORK_ELEMENTWISE, WORK_ADAPTER,
		  WORK_OPTIMIZER, WORK_LOSS, WORK_COPIES, WORK_CLASSES };

/* Peak rates: of products of half precision and of tf32, both with sums in float, in FLOP a second; of the card's
 * memory and of the link to the host's, one way, in bytes a second. */
struct card_rates { double half, tf32, memory, link; };

struct work_sum {
	long kernels, products, copies;
	double bytes;           /* of the card's memory: each operand read or written once a call */
	double flop;            /* multiplications and additions of products, attention's among them */
	double seconds;         /* modelled; 0 where no card is given */
	double beside;          /* of copies that run while the card computes: no part of these */
};

struct work { struct work_sum of[WORK_CLASSES]; };

/* Its seconds are those of all: the longer of both. */
struct work_sum work_total(const struct work *w);
/* The time that the FLOP alone would take, at the rate of half precision. */
double work_floor(const struct work *w, const struct card_rates *r);

/* One call.  again: FLOP that it spends beside those that are needed, as scores that backward computes again.
 * link: bytes from or to the host; beside: while the card computes. */
struct work_call {
	enum work_class class;
	long kernels, products, copies;
	double bytes, flop, again, link;
	bool tf32, beside;
};
void work_add(struct work *w, const struct card_rates *r, const struct work_call *c);   /* r NULL: no card */

#endif
