/*
 * share.h - what the ranks of a run tell each other: that they make the same run, and in each step losses, gradients,
 * signals.
 *
 * Every rank computes some of a step's leaves (optimize/leaves.h) and all of the rest, so that all have the same
 * weights.  A rank owns a slice of the gradients: it finishes their tree.  With one rank all functions return at once.
 * Must not know networks or files.
 */
#ifndef TRAIN_SHARE_H
#define TRAIN_SHARE_H

#include "../optimize/slices.h"
#include "../ranks/ranks.h"
#include "course.h"
#include "stop.h"

struct share {
	struct ranks ranks;
	struct slice *slice;            /* of the vector of all parameters: each rank's */
	float *sum, *room;              /* host memory: the step's gradients; parts of them that came from others */
	size_t room_floats;
	double *waited;                 /* of each rank, in this step: seconds for the slowest one */
	bool agreed;                    /* that the run fails: every rank knows, and rank 0 says so */
};

/* What a rank brings to the first meeting. */
struct share_facts {
	const char *identity, *settings;        /* NULL where it has not come that far */
	int result;                             /* -1: it failed with *e */
};

/* Room for the exchange; after the optimizer was made. */
int share_init(struct share *s, const struct optimizer *o, struct error *e) MUST_CHECK;
void share_free(struct share *s);
/* All ranks go on, or all fail with the error of the first that failed, or that makes another run than rank 0. */
int share_meeting(struct share *s, const struct share_facts *mine, struct error *e) MUST_CHECK;

/* of a step: `each` bytes a leaf, of which each rank has its own leaves' */
void share_leaves(const struct share *s, void *of_leaf, size_t each, uint32_t count);
/* The sums of all leaves, which `sums` has of this rank's, come into the parameters' gradients. */
void share_gradients(struct share *s, const struct leaf_sums *sums, struct tape *t, uint32_t count);
/* A signal to one rank is one to all. */
void share_signals(const struct share *s);

#endif
