/*
 * workspace.h - inference in exactly the memory it needs: a forward pass is measured on a dry tape, then run.
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

/* fn is called twice: dry, then for real; it must do the same both times.  The arena grows to the largest run so far.
 * NULL: *e (EXIT_MEMORY).  The result lives in w->tape. */
struct tensor *workspace_run(struct workspace *w, forward_fn *fn, void *arg, struct error *e) MUST_CHECK;
size_t workspace_need(forward_fn *fn, void *arg);       /* bytes that such a run would want */
void workspace_free(struct workspace *w);

#endif
