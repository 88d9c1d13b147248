/*
 * peak.h - GFLOP/s of nothing but fused multiply-adds in registers: what 100 % is, on this machine in this minute.
 *
 * With the vectors of the set that is in use (LORA_CPU), and as many threads as the programs take.
 */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/cpu.h"
#include "../../libcommon/base/progress.h"
#include "../../libcommon/base/thread.h"

/* Sums that do not wait for each other: a multiply-add takes 4 or 5 clocks, and two begin in each. */
enum { PEAK_SUMS = 12, PEAK_TURNS = 4000000, PEAK_RUNS = 5 };

#define PEAK_LOOP(name, vec, mul_add, attributes) \
	attributes static void *name(void *last) \
	{ \
		vec s[PEAK_SUMS], x, y; \
		for (size_t i = 0; i < sizeof(vec) / 4; i++) { \
			x[i] = .5f; \
			y[i] = .25f; \
		} \
		for (int i = 0; i < PEAK_SUMS; i++) \
			s[i] = x + (float)i; \
		for (int turn = 0; turn < PEAK_TURNS; turn++) { \
			_Pragma("GCC unroll 12") \
			for (int i = 0; i < PEAK_SUMS; i++) \
				s[i] = mul_add(s[i], x, y); \
		} \
		for (int i = 1; i < PEAK_SUMS; i++) \
			s[0] += s[i]; \
		memcpy(last, &s[0], sizeof(float)); \
		return NULL; \
	}

#ifdef __x86_64__
#include <immintrin.h>
PEAK_LOOP(peak_avx512, __m512, _mm512_fmadd_ps, __attribute__((target("avx512f"))))
PEAK_LOOP(peak_avx2, __m256, _mm256_fmadd_ps, __attribute__((target("avx2,fma"))))
#endif
typedef float peak_vec __attribute__((vector_size(16)));
#ifdef __aarch64__
#include <arm_neon.h>
#define PEAK_PLAIN(a, b, c) ((peak_vec)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#else
#define PEAK_PLAIN(a, b, c) ((a) * (b) + (c))
#endif
PEAK_LOOP(peak_portable, peak_vec, PEAK_PLAIN, )

static const struct peak_set { const char *name; void *(*loop)(void *); int floats; } peak_sets[] = {
#ifdef __x86_64__
	{ "avx512", peak_avx512, 16 },
	{ "avx2", peak_avx2, 8 },
#endif
	{ "portable", peak_portable, 4 },
};

/* The best of some runs, 0.2 s in all. */
static double peak_gflops(int threads)
{
	const struct peak_set *set = peak_sets;
	pthread_t *thread = calloc(threads, sizeof(*thread));
	float *last = calloc(threads + 1, sizeof(*last));
	double best = 0;

	while (strcmp(set->name, cpu_set()))
		set++;
	for (int run = 0; run < PEAK_RUNS && thread && last; run++) {
		const double began = seconds_now();
		int started = 0;

		while (started < threads - 1 && !thread_start(&thread[started], set->loop, &last[started]))
			started++;
		set->loop(&last[threads]);
		for (int i = 0; i < started; i++)
			pthread_join(thread[i], NULL);
		const double gflops = 2e-9 * (started + 1) * PEAK_TURNS * PEAK_SUMS * set->floats /
			(seconds_now() - began);
		best = gflops > best ? gflops : best;
	}
	free(thread);
	free(last);
	return best;
}

#endif
