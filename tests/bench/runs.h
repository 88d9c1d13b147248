/* runs.h - times so many runs of a function, and prints each and their median.  For the programs of tests/bench. */
#ifndef BENCH_RUNS_H
#define BENCH_RUNS_H

#include <stdio.h>
#include <stdlib.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/philox.h"
#include "../../libcommon/base/progress.h"
#include "../../libcommon/nn/workspace.h"
#include "median.h"

static inline float *noise(uint32_t item, size_t n)
{
	float *x = xmalloc(n * sizeof(*x));

	random_normal(&(struct random){ 1, RANDOM_TEST, 0, item }, x, n);
	return x;
}

/* The first run pays for touching memory.  Returns an exit status. */
static inline int print_runs(struct workspace *w, forward_fn *forward, void *arg, int runs)
{
	double *seconds = xcalloc(runs, sizeof(*seconds));
	struct error e;

	for (int i = 0; i < runs; i++) {
		const double began = seconds_now();
		if (!workspace_run(w, forward, arg, &e))
			return report(&e);
		seconds[i] = seconds_now() - began;
		printf("run %d: %.4f s\n", i + 1, seconds[i]);
	}
	qsort(seconds, runs, sizeof(*seconds), by_value);
	printf("median %.4f s\n", seconds[runs / 2]);
	free(seconds);
	return 0;
}

#endif
