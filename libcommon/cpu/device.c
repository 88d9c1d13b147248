#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "../base/cpu.h"
#include "internal.h"

static const struct kernels *best_kernels(void)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && cpu_has_f16c())
		return &cpu_kernels_avx2;
#endif
	return &cpu_kernels_portable;
}

struct device *cpu_open(struct error *e)
{
	struct device *d = calloc(1, sizeof(*d));
	int threads = omp_get_max_threads();

	if (d)
		d->scratch = calloc(threads + 1, sizeof(*d->scratch));
	if (!d || !d->scratch) {
		free(d);
		fail(e, EXIT_MEMORY, "no memory for %d threads; set OMP_NUM_THREADS to fewer", threads);
		return NULL;
	}
	d->threads = threads;
	d->k = best_kernels();
	return d;
}

void cpu_close(struct device *d)
{
	int i;

	if (!d)
		return;
	for (i = 0; i <= d->threads; i++)
		free(d->scratch[i].data);
	free(d->scratch);
	free(d);
}

void *cpu_alloc(struct device *d, size_t bytes)
{
	/* Big pages: a fresh page costs a microsecond, and small ones do not fit the address cache. */
	const size_t big = 2 << 20, boundary = bytes >= 2 * big ? big : 64;
	void *p;

	if (bytes > SIZE_MAX - big)
		return NULL;
	bytes = (bytes ? bytes + boundary - 1 : boundary) / boundary * boundary;
	p = aligned_alloc(boundary, bytes);
	if (p && boundary == big)
		madvise(p, bytes, MADV_HUGEPAGE);
	return p;
}

void cpu_release(struct device *d, void *p)
{
	free(p);
}

void *thread_scratch(struct device *d, int thread, size_t bytes)
{
	struct scratch *s = &d->scratch[thread];

	if (bytes > s->size) {
		free(s->data);
		s->data = cpu_alloc(d, bytes);
		s->size = bytes;
		if (!s->data)
			die(EXIT_MEMORY, "no memory for %zu bytes of scratch; use smaller pictures or batches", bytes);
	}
	return s->data;
}

void *caller_scratch(struct device *d, size_t bytes)
{
	return thread_scratch(d, d->threads, bytes);
}

float *carve(char **at, size_t count)
{
	float *p = (float *)*at;

	*at += floats(count);
	return p;
}

void cpu_upload(struct device *d, void *dst, const void *host, size_t bytes)
{
	memcpy(dst, host, bytes);
}

void cpu_download(struct device *d, void *host, const void *src, size_t bytes)
{
	memcpy(host, src, bytes);
}

void cpu_copy(struct device *d, float *y, const float *x, size_t n)
{
	size_t i;

#pragma omp parallel for num_threads(d->threads) if (n > WORTH_THREADS)
	for (i = 0; i < n; i += CHUNK)
		memcpy(y + i, x + i, chunk_length(n, i) * sizeof(*y));
}

void cpu_zero(struct device *d, float *y, size_t n)
{
	size_t i;

#pragma omp parallel for num_threads(d->threads) if (n > WORTH_THREADS)
	for (i = 0; i < n; i += CHUNK)
		memset(y + i, 0, chunk_length(n, i) * sizeof(*y));
}

/* [in][taps] -> [taps][in], one filter */
static void permute_filter(char *dst, const char *src, int in, int taps, size_t size)
{
	int c, t;

	for (t = 0; t < taps; t++)
		for (c = 0; c < in; c++, dst += size)
			memcpy(dst, src + ((size_t)c * taps + t) * size, size == 2 ? 2 : 4);
}

int cpu_prepare(struct device *d, struct weight *w, const void *host)
{
	size_t size = w->dtype == DTYPE_F32 ? 4 : 2, filter = (size_t)w->in * w->kh * w->kw * size;
	int o;

	if (w->dtype != DTYPE_F32 && w->dtype != DTYPE_F16 && w->dtype != DTYPE_BF16)
		die(EXIT_OTHER, "a weight of a type that the cpu does not compute with; this is a bug in lora-tools");
	w->packed = NULL;
	w->data = cpu_alloc(d, filter * w->out);
	if (!w->data)
		return -1;
#pragma omp parallel for num_threads(d->threads) if (filter * w->out > WORTH_THREADS)
	for (o = 0; o < w->out; o++) {
		char *dst = (char *)w->data + o * filter;
		const char *src = (const char *)host + o * filter;

		if (w->kh * w->kw == 1)
			memcpy(dst, src, filter);
		else
			permute_filter(dst, src, w->in, w->kh * w->kw, size);
	}
	return 0;
}

void cpu_unprepare(struct device *d, struct weight *w)
{
	free(w->data);
	w->data = w->packed = NULL;
}
