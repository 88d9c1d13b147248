/*
 * share.h - what the ranks of a run tell each other: that they make the same run, and in each step losses, gradients,
 * signals.
 *
 * Every rank computes some of a step's leaves (optimize/leaves.h) and owns a slice of the parameters
 * (optimize/slices.h): it finishes the tree of their gradients and updates them.  The weights are gathered, so that all
 * ranks have all of them.  Rank 0 alone reads and writes files.  With one rank all functions return at once.
 * Must not know networks or files.
 */
#ifndef TRAIN_SHARE_H
#define TRAIN_SHARE_H

#include "../ranks/ranks.h"
#include "course.h"
#include "stop.h"

struct share {
	struct ranks ranks;
	size_t *slice;                  /* rank r owns slice[r] up to slice[r + 1] of the vector of all parameters */
	float *room;                    /* host memory: sums of this rank's slice that came from others */
	size_t room_floats;
	double *waited;                 /* of each rank, in this step: seconds for the slowest one */
	bool agreed;                    /* that the run fails: every rank knows, and rank 0 says so */
	char engine[32];                /* what moves sums and weights between ranks: "MPI"; "": there is one rank */
	char not_joined[200];           /* why it is not the devices, where these could; or "" */
};

/* What a rank brings to the first meeting. */
struct share_facts {
	const char *identity, *settings;        /* NULL where it has not come that far */
	int result;                             /* -1: it failed with *e */
};

/* Joins the devices of the ranks, where each rank has one of its own and all are on one machine.  All ranks come here,
 * also one that could not open its device: NULL. */
void share_join_devices(struct share *s, const struct backend *be, struct device *d);
void share_init(struct share *s, const struct optimizer *o);    /* after the optimizer was made */
void share_free(struct share *s);
/* All ranks go on, or all fail with the error of the first that failed, or that makes another run than rank 0. */
int share_meeting(struct share *s, const struct share_facts *mine, struct error *e) MUST_CHECK;

/* of a step: `each` bytes a leaf, of which each rank has its own leaves' */
void share_leaves(const struct share *s, void *of_leaf, size_t each, uint32_t count);
/* The sums of all leaves, which `sums` has of this rank's, come into the gradients of the parameters that this rank
 * owns; of the others it is known that they have one. */
void share_gradients(struct share *s, const struct leaf_sums *sums, struct tape *t, uint32_t count);
/* A signal to one rank is one to all. */
void share_signals(const struct share *s);

/* Rank 0 has done what it alone does, with this result (0, -1, EXIT_SAVED).  The others come here at once, and give and
 * take meanwhile what it asks for (call.h).  Returns, on all ranks, whether the run ends here: rank 0 says that, for a
 * signal may have come since share_signals(). */
int share_led(const struct share *s, struct course *c, int result);

#endif
