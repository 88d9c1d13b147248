/*
 * bench_attention - the time of k_attention and k_attention_back on SDXL's shapes at 1024x1024, CLIP's and the VAE's.
 *
 * TFLOP/s count what must be done, 2 products forward and 5 back; the kernels do 7 back, 4 where dk and dv are wanted
 * and 3 for dq.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/philox.h"
#include "../../cuda/kernels.h"

enum { ROUNDS = 20, WARM_UP = 2 };
enum { Q, K, V, DOUT, O, LSE, DQ, DK, DV, SCRATCH, BUFFERS };

struct bench {
	struct attention_shape s;
	float *x[BUFFERS];
	int wanted;             /* bits of dq, dk, dv; 0: forward */
};

static void must(cudaError_t status)
{
	if (status != cudaSuccess)
		die(EXIT_OTHER, "bench_attention: %s", cudaGetErrorString(status));
}

static float *taken(size_t n, int item)
{
	float *host = xmalloc(n * sizeof(*host)), *p;

	random_normal(&(struct random){ 5, RANDOM_TEST, 0, item }, host, n);
	must(cudaMalloc((void **)&p, n * sizeof(*p)));
	must(cudaMemcpy(p, host, n * sizeof(*p), cudaMemcpyHostToDevice));
	free(host);
	return p;
}

static void launch(const struct bench *b)
{
	float *const *x = b->x;

	if (b->wanted)
		must(k_attention_back(NULL, f32(b->wanted & 1 ? x[DQ] : NULL), f32(b->wanted & 2 ? x[DK] : NULL),
				      f32(b->wanted & 4 ? x[DV] : NULL), f32(x[DOUT]), f32(x[O]), x[LSE], f32(x[Q]),
				      f32(x[K]), f32(x[V]), &b->s, (int[]){ 0, 0, 0 }, x[SCRATCH]));
	else
		must(k_attention(NULL, f32(x[O]), x[LSE], f32(x[Q]), f32(x[K]), f32(x[V]), &b->s));
}

static int by_value(const void *a, const void *b)
{
	const float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

/* median of ROUNDS, in ms */
static float time_of(const struct bench *b)
{
	cudaEvent_t from, to;
	float ms[ROUNDS];
	int i;

	must(cudaEventCreate(&from));
	must(cudaEventCreate(&to));
	for (i = 0; i < WARM_UP; i++)
		launch(b);
	for (i = 0; i < ROUNDS; i++) {
		must(cudaEventRecord(from, NULL));
		launch(b);
		must(cudaEventRecord(to, NULL));
		must(cudaEventSynchronize(to));
		must(cudaEventElapsedTime(&ms[i], from, to));
	}
	must(cudaEventDestroy(from));
	must(cudaEventDestroy(to));
	qsort(ms, ROUNDS, sizeof(*ms), by_value);
	return ms[ROUNDS / 2];
}

static void report_time(struct bench *b, const char *what, int wanted, double products)
{
	const struct attention_shape *s = &b->s;
	float ms;

	b->wanted = wanted;
	ms = time_of(b);
	printf("%2d x %2d heads of %3d, %5d x %5d%s  %-8s %9.3f ms  %6.1f TFLOP/s\n", s->n, s->heads, s->d, s->lq,
	       s->lk, s->causal ? ", causal" : "", what, ms,
	       products * 2 * s->n * s->heads * s->d * s->lq * s->lk / ms / 1e9);
}

static void bench_shape(int n, int heads, int d, int lq, int lk, bool causal, bool back)
{
	const int c = heads * d;
	struct bench b = { .s = { n, heads, d, lq, lk, c, c, c, c, causal, 1 / sqrtf(d) } };
	const size_t q = (size_t)n * lq * c, k = (size_t)n * lk * c, lse = (size_t)n * heads * lq;
	const size_t size[BUFFERS] = { q, k, k, q, q, lse, q, k, k, attention_back_scratch(&b.s) };
	int i;

	for (i = 0; i < BUFFERS; i++)
		b.x[i] = taken(size[i], i);
	report_time(&b, "forward", 0, 2);
	if (back) {
		report_time(&b, "back", 7, 5);
		report_time(&b, "dq", 1, 3);
		report_time(&b, "dk, dv", 6, 4);
	}
	for (i = 0; i < BUFFERS; i++)
		must(cudaFree(b.x[i]));
}

int main(void)
{
	int n;

	for (n = 1; n <= 4; n *= 2) {
		bench_shape(n, 10, 64, 4096, 4096, false, true);
		bench_shape(n, 20, 64, 1024, 1024, false, true);
		bench_shape(n, 10, 64, 4096, 77, false, true);
		bench_shape(n, 20, 64, 1024, 77, false, true);
	}
	bench_shape(1, 12, 64, 77, 77, true, true);
	bench_shape(1, 20, 64, 77, 77, true, true);
	bench_shape(1, 1, 512, 16384, 16384, false, false);
	return 0;
}
