/* The CPU as a device: opening, memory, uploads, frozen weights. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "../base/memory_room.h"
#include "../base/thread.h"
#include "internal.h"

struct device *cpu_open(struct error *e)
{
	struct device *d = calloc(1, sizeof(*d));
	int threads = threads_default();

	if (d)
		d->scratch = calloc(threads + 1, sizeof(*d->scratch));
	if (d && d->scratch && threads > 1)
		d->pool = pool_new(threads);
	if (!d || !d->scratch || (threads > 1 && !d->pool)) {
		if (d)
			free(d->scratch);
		free(d);
		fail(e, EXIT_MEMORY, "no memory for %d threads; give --threads fewer", threads);
		return NULL;
	}
	d->threads = threads;
	d->k = cpu_set_at(0);
	return d;
}

void cpu_close(struct device *d)
{
	int i;

	if (!d)
		return;
	pool_free(d->pool);
	for (i = 0; i <= d->threads; i++)
		free(d->scratch[i].data);
	free(d->scratch);
	free(d);
}

void *cpu_alloc(struct device *d, size_t bytes)
{
	/* Huge pages: a fresh page costs a microsecond, and the TLB does not hold enough small ones.  What is left at
	 * the end has small ones: rounded up, SDXL's weights would take 330 MiB more. */
	const size_t big = 2 << 20, small = 4096, boundary = bytes >= 2 * big ? big : 64, whole = bytes / big * big;
	void *p;

	if (bytes > SIZE_MAX - 2 * big || posix_memalign(&p, boundary, bytes ? bytes : 1))
		return NULL;
	if (boundary == big) {
		madvise(p, whole, MADV_HUGEPAGE);
		madvise((char *)p + whole, (bytes - whole + small - 1) / small * small, MADV_NOHUGEPAGE);
	}
	return p;
}

void cpu_release(struct device *d, void *p)
{
	free(p);
}

enum dtype cpu_inner(struct device *d, enum dtype weights, int head)
{
	return DTYPE_F32;
}

size_t cpu_room(struct device *d)
{
	return memory_room(1);
}

/* What connects the ranks moves host memory as it is. */
bool cpu_invite(struct device *d, struct invitation *mine, bool first, char *why, size_t most)
{
	*why = '\0';
	return false;
}

bool cpu_join(struct device *d, const struct invitation *of_first, const struct rank_place *mine, char *why,
	      size_t most)
{
	*why = '\0';
	return false;
}

void cpu_pass(struct device *d, const struct rank_piece *out, size_t outs, const struct rank_piece *in, size_t ins)
{
}

bool cpu_look(struct device *d, struct device_use *now)
{
	return false;
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

/* Calls are carried out as they come. */
void cpu_step_begin(struct device *d, uint64_t key) { }
bool cpu_step_end(struct device *d)                 { return false; }

void cpu_upload(struct device *d, void *dst, const void *host, size_t bytes)
{
	memcpy(dst, host, bytes);
}

void cpu_download(struct device *d, void *host, const void *src, size_t bytes)
{
	memcpy(host, src, bytes);
}

struct span { float *y; const float *x; size_t n; };

static void copy_task(struct device *d, const void *arg, int task, int thread)
{
	const struct span *s = arg;
	const size_t at = (size_t)task * CHUNK, bytes = chunk_length(s->n, at) * sizeof(*s->y);

	if (s->x)
		memcpy(s->y + at, s->x + at, bytes);
	else
		memset(s->y + at, 0, bytes);
}

void cpu_copy(struct device *d, float *y, const float *x, size_t n)
{
	run_tasks(d, chunks_of(n), n / 4.0, copy_task, &(struct span){ y, x, n });
}

void cpu_zero(struct device *d, struct values yv, size_t n)
{
	float *y = floats_at(yv);

	run_tasks(d, chunks_of(n), n / 4.0, copy_task, &(struct span){ y, NULL, n });
}
