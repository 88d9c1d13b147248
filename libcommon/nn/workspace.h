/*
 * workspace.h - inference in exactly the memory it needs: a forward pass is measured on a dry tape, then run.
 *
 * Owns the tape and its memory.  Must not know networks.
 */
#ifndef NN_WORKSPACE_H
#define NN_WORKSPACE_H

#include "tape.h"

struct workspace {
	const struct backend *be;
	struct device *device;
	struct tape *tape;              /* not recording; holds the last result until the next run */
	size_t bytes;
};

typedef struct tensor *forward_fn(struct tape *t, void *arg);

/* Calls fn twice, on a dry tape and on a real one; it must do the same both times.  The memory grows to the largest run
 * so far.  The result lives in w->tape.  NULL: *e (EXIT_MEMORY). */
struct tensor *workspace_run(struct workspace *w, forward_fn *fn, void *arg, struct error *e) MUST_CHECK;
size_t workspace_need(forward_fn *fn, void *arg);       /* bytes that such a run needs */
void workspace_free(struct workspace *w);

#endif
