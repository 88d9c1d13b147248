/* median.h - numbers to compute with, and the median time of a call.  For the programs of tests/bench. */
#ifndef BENCH_MEDIAN_H
#define BENCH_MEDIAN_H

#include <stdlib.h>
#include "../../libcommon/backend.h"
#include "../../libcommon/base/progress.h"

/* n floats between -1 and 1, on big pages as a run has them; the caller's to free() */
static inline float *filled(size_t n)
{
	float *p = cpu_backend.alloc(NULL, n * sizeof(*p));

	if (!p)
		die(EXIT_MEMORY, "no memory");
	for (size_t i = 0; i < n; i++)
		p[i] = (float)(i * 2654435761u % 1024) / 512 - 1;
	return p;
}

static inline int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The median of the times that fit into so many seconds, after one that is not counted; 0: it does not run. */
static inline double median(double seconds, int (*f)(const void *), const void *arg)
{
	enum { MOST = 4096 };
	double took[MOST], start;
	int n = 0;

	if (f(arg))
		return 0;
	start = seconds_now();
	while (n < 3 || (n < MOST && seconds_now() - start < seconds)) {
		const double t = seconds_now();

		f(arg);
		took[n++] = seconds_now() - t;
	}
	qsort(took, n, sizeof(*took), by_value);
	return took[n / 2];
}

#endif
