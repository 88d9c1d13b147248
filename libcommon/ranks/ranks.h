/*
 * ranks.h - the ranks of a job: programs that a launcher (mpirun, srun) started together, and how bytes go from one to
 * another.
 *
 * Without a launcher there is one rank, nothing is loaded, and the other functions return at once.  A rank must call
 * the same functions in the same order as the others.  Must not know what the bytes are.
 */
#ifndef RANKS_RANKS_H
#define RANKS_RANKS_H

#include "../base/error.h"
#include "mover.h"

struct ranks {
	int rank, count, here;          /* rank < count; so many of them are on this machine */
	const struct mover *mover;      /* NULL: one rank */
	bool joined;                    /* their devices move what lies in their memory themselves: backend.h's pass */
};

/* EXIT_MEMORY: a launcher started several, but they cannot be connected. */
int ranks_open(struct ranks *r, struct error *e) MUST_CHECK;
/* The end of the program: waits until all ranks have come here. */
void ranks_close(struct ranks *r);
/* This rank failed, and the others do not know: the job ends with that status.  With one rank it does nothing. */
void ranks_abort(struct ranks *r, int status);

void ranks_move(const struct ranks *r, const struct rank_piece *out, size_t outs, const struct rank_piece *in,
		size_t ins);
/* Each rank r has the bytes all[at[r]] up to all[at[r + 1]], and gets those of the others. */
void ranks_gather(const struct ranks *r, void *all, const size_t *at);
/* The same, of so many bytes a rank. */
void ranks_gather_each(const struct ranks *r, void *all, size_t each);
void ranks_spread(const struct ranks *r, void *bytes, size_t count);    /* those of rank 0 to all */

#endif
