/*
 * call.h - what rank 0 asks of the others while they wait for it: it alone reads and writes files, and some of what
 * these hold is theirs.
 *
 * Who asks calls call_all(), and then moves bytes; share_led() (share.h) is where the others hear it.
 */
#ifndef TRAIN_CALL_H
#define TRAIN_CALL_H

#include "../ranks/ranks.h"

enum call {
	CALL_GO_ON, CALL_STOP,          /* rank 0 is done, and the run goes on, or ends here and is saved */
	CALL_GIVE_STATE, CALL_TAKE_STATE,       /* state.h */
	CALL_GIVE_AVERAGE,              /* optimizer_give_average() */
};

/* Rank 0's call; the others get it. */
static inline enum call call_all(const struct ranks *r, enum call call)
{
	ranks_spread(r, &call, sizeof(call));
	return call;
}

#endif
