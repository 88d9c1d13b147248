/*
 * cpu_reference.h - what the tests of cpu/ share: guarded buffers, a comparison, and a run under every set of inner
 * loops and several numbers of threads.
 */
#ifndef CPU_REFERENCE_H
#define CPU_REFERENCE_H

#include <math.h>
#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/thread.h"
#include "../../libcommon/cpu/internal.h"
#include "../../libcommon/io/dtype.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>     /* after ours: its macro fail() hides base/error.h's function */

enum { GUARD = 16 };            /* floats of a known pattern before and after what may be written */
#define GUARD_BITS 0x7b5a3c1du

static inline float *guarded(size_t n)
{
	uint32_t *p = aligned_alloc(64, (n + 3 * GUARD) / GUARD * GUARD * sizeof(float));
	size_t i;

	assert_non_null(p);
	for (i = 0; i < n + 2 * GUARD; i++)
		p[i] = i < GUARD || i >= n + GUARD ? GUARD_BITS : 0x7fc00000;
	ASAN_POISON_MEMORY_REGION(p, GUARD * sizeof(*p));       /* what is only read beyond an end shows here */
	ASAN_POISON_MEMORY_REGION(p + GUARD + n, GUARD * sizeof(*p));
	return (float *)p + GUARD;
}

static inline void guarded_free(float *p) { free(p - GUARD); }

static inline void assert_guards(const float *p, size_t n)
{
	const uint32_t *bits = (const uint32_t *)p;
	int i;

	ASAN_UNPOISON_MEMORY_REGION(bits - GUARD, (n + 2 * GUARD) * sizeof(*bits));
	for (i = 0; i < GUARD; i++) {
		assert_int_equal(bits[-1 - i], GUARD_BITS);
		assert_int_equal(bits[n + i], GUARD_BITS);
	}
}

/* n values of about -1..1, the same for the same seed, in a guarded buffer */
static inline float *randoms(uint32_t seed, size_t n)
{
	float *p = guarded(n);
	uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
	size_t i;

	for (i = 0; i < n; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		p[i] = (float)((double)(state >> 40) / (1 << 23) - 1);
	}
	return p;
}

/* One output of a function under test: what it held before (NULL: NaN), what it must hold after. */
struct output {
	size_t n;
	const float *before;
	double *expect;
	double tolerance;               /* of the greatest expected magnitude */
	float *data;                    /* set by every_way() */
};

static inline void assert_close(const float *got, const double *expect, size_t n, double tolerance)
{
	double greatest = 0;
	size_t i;

	for (i = 0; i < n; i++)
		greatest = fabs(expect[i]) > greatest ? fabs(expect[i]) : greatest;
	for (i = 0; i < n; i++) {
		if (isnan(expect[i]) && isnan(got[i]))
			continue;
		if (!(fabs(got[i] - expect[i]) <= tolerance * greatest))
			fail_msg("element %zu of %zu is %.9g, not %.9g (greatest %g, off by %.2e of it)", i, n, got[i],
				 expect[i], greatest, fabs(got[i] - expect[i]) / greatest);
	}
}

static inline void refill(struct output *o)
{
	size_t i;

	for (i = 0; i < o->n; i++)
		o->data[i] = o->before ? o->before[i] : NAN;
}

/* Run with every instruction set that this machine has, with 1, 2, 3 and 7 threads: right, inside its bounds, and the
 * same bytes whatever the set and the number of threads. */
static inline void every_way(struct output *out, int count, void (*run)(struct device *d, struct output *out,
									const void *arg), const void *arg)
{
	static const int threads[] = { 1, 2, 3, 7 };
	float *first[4] = { NULL };
	struct error e;
	int t, i;

	for (int set = 0; cpu_set_at(set); set++)
		for (t = 0; t < 4; t++) {
			struct device *d;

			threads_use(threads[t]);
			d = cpu_backend.open(&e);
			assert_non_null(d);
			d->k = cpu_set_at(set);
			for (i = 0; i < count; i++) {
				out[i].data = guarded(out[i].n);
				refill(&out[i]);
			}
			run(d, out, arg);
			for (i = 0; i < count; i++) {
				assert_guards(out[i].data, out[i].n);
				if (!first[i]) {
					assert_close(out[i].data, out[i].expect, out[i].n, out[i].tolerance);
					first[i] = out[i].data;
				} else {
					if (memcmp(out[i].data, first[i], out[i].n * sizeof(float)))
						print_error("%s with %d threads: other bytes\n", d->k->name,
							    threads[t]);
					assert_memory_equal(out[i].data, first[i], out[i].n * sizeof(float));
					guarded_free(out[i].data);
				}
			}
			cpu_backend.close(d);
		}
	for (i = 0; i < count; i++)
		guarded_free(first[i]);
	threads_use(0);
}

static inline double *doubles(size_t n) { return xcalloc(n, sizeof(double)); }

#endif
