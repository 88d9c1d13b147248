/*
 * harness.h - the same memory on the CPU backend and on the CUDA backend, and a comparison of what both made of it.
 *
 * Outputs that are to be overwritten start as NaN on both sides; every array has guards behind it, which compare()
 * looks at.
 */
#ifndef CUDA_HARNESS_H
#define CUDA_HARNESS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/philox.h"
#include "../../libcommon/base/thread.h"
#include "../../libcommon/io/dtype.h"
#include "../../cuda/internal.h"

enum side { CPU, CARD, SIDES };
/* floats behind an array, where nobody else watches its end */
#ifdef __SANITIZE_ADDRESS__
#pragma GCC diagnostic ignored "-Wtype-limits"  /* loops over none of them */
enum { GUARD = 0 };
#else
enum { GUARD = 16 };
#endif
#define GUARD_BITS 0x7b5a3c1du

struct rig {
	const struct backend *be[SIDES];
	struct device *device[SIDES];
	uint32_t draws;
	int tests, failed;
};

/* The same floats on both sides. */
struct both { float *at[SIDES]; size_t n; };

/* Under a sanitizer all takes ten times as long: fewer of the same. */
static inline bool quick(void) { return getenv("QUICK") != NULL; }

static inline int rig_open(struct rig *r, struct error *e)
{
	*r = (struct rig){ .be = { &cpu_backend, &cuda_backend } };
	threads_use(1);         /* the stand-in's fibers are all that race detectors are to see */
	r->device[CPU] = cpu_backend.open(e);
	r->device[CARD] = r->device[CPU] ? cuda_backend.open(e) : NULL;
	return r->device[CARD] ? 0 : -1;
}

static inline int rig_close(struct rig *r)
{
	printf("1..%d\n", r->tests);
	cuda_backend.close(r->device[CARD]);
	cpu_backend.close(r->device[CPU]);
	return r->failed ? EXIT_OTHER : EXIT_DONE;
}

/* normal, times spread; with room for the guards */
static inline float *drawn(struct rig *r, size_t n, float spread)
{
	float *x = xmalloc((n + GUARD) * sizeof(*x));
	size_t i;

	random_normal(&(struct random){ 11, RANDOM_TEST, r->draws++, 0 }, x, n);
	for (i = 0; i < n; i++)
		x[i] *= spread;
	for (i = 0; i < GUARD; i++)
		memcpy(&x[n + i], &(uint32_t){ GUARD_BITS }, sizeof(*x));
	return x;
}

/* host holds n floats and guards */
static inline struct both take(struct rig *r, const float *host, size_t n)
{
	struct both b = { .n = n };
	int s;

	for (s = 0; s < SIDES; s++) {
		b.at[s] = r->be[s]->alloc(r->device[s], (n + GUARD) * sizeof(float));
		if (!b.at[s])
			die(EXIT_MEMORY, "no memory for the test");
		r->be[s]->upload(r->device[s], b.at[s], host, (n + GUARD) * sizeof(float));
	}
	return b;
}

static inline struct both take_drawn(struct rig *r, size_t n, float spread)
{
	float *host = drawn(r, n, spread);
	struct both b = take(r, host, n);

	free(host);
	return b;
}

/* add: something to add to; else NaN */
static inline struct both take_output(struct rig *r, size_t n, bool add)
{
	float *host = drawn(r, n, 1);
	struct both b;
	size_t i;

	for (i = 0; i < n && !add; i++)
		host[i] = NAN;
	b = take(r, host, n);
	free(host);
	return b;
}

static inline void give(struct rig *r, struct both b)
{
	int s;

	for (s = 0; s < SIDES; s++)
		r->be[s]->release(r->device[s], b.at[s]);
}

static inline void verdict(struct rig *r, bool ok, const char *name, double error, double limit)
{
	r->tests++;
	r->failed += !ok;
	printf("%sok %d - %s (%.1e, %.1e)\n", ok ? "" : "not ", r->tests, name, error, limit);
	if (!ok)
		fflush(stdout);         /* who waits for it need not wait for the rest */
}

/* Root mean square of the difference over that of the CPU's; a NaN stays, unless both have it in the same place. */
static inline void compare(struct rig *r, const struct both *b, double limit, const char *name)
{
	float *host[SIDES];
	double error = 0, value = 0;
	bool guarded = true;
	size_t i;
	int s;

	for (s = 0; s < SIDES; s++) {
		host[s] = xmalloc((b->n + GUARD) * sizeof(float));
		r->be[s]->download(r->device[s], host[s], b->at[s], (b->n + GUARD) * sizeof(float));
		for (i = 0; i < GUARD; i++)
			guarded &= !memcmp(&host[s][b->n + i], &(uint32_t){ GUARD_BITS }, sizeof(float));
	}
	for (i = 0; i < b->n; i++) {
		if (isnan(host[CPU][i]) && isnan(host[CARD][i]))
			continue;
		error += pow((double)host[CARD][i] - host[CPU][i], 2);
		value += pow(host[CPU][i], 2);
	}
	error = error == 0 ? 0 : sqrt(error / value);
	verdict(r, error <= limit && guarded, name, error, limit);
	for (s = 0; s < SIDES; s++)
		free(host[s]);
}

#endif
