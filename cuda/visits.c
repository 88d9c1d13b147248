/* Weights that visit the card: a ring of device memory, a stream, and an event for each piece. */
#include <stdlib.h>
#include "../libcommon/base/ring.h"
#include "internal.h"

struct visits {
	cudaStream_t copies;
	char *room;                             /* device memory [ring.bytes] */
	struct ring ring;
	cudaEvent_t read[RING_PIECES];          /* what reads the piece has ended */
	cudaEvent_t before, arrived;            /* what was called before the first copy; the newest copy */
	bool began;                             /* something was copied since the ring was empty */
	int last;                               /* the piece that the newest visit gave; below 0: none */
};

/* ---- the ring ---- */

static struct visits *visits_new(void)
{
	struct visits *v = calloc(1, sizeof(*v));
	bool ok = v && cudaStreamCreateWithFlags(&v->copies, cudaStreamNonBlocking) == cudaSuccess &&
		  cudaEventCreateWithFlags(&v->before, cudaEventDisableTiming) == cudaSuccess &&
		  cudaEventCreateWithFlags(&v->arrived, cudaEventDisableTiming) == cudaSuccess;

	for (int i = 0; ok && i < RING_PIECES; i++)
		ok = cudaEventCreateWithFlags(&v->read[i], cudaEventDisableTiming) == cudaSuccess;
	if (ok) {
		v->last = -1;
		return v;
	}
	cudaGetLastError();
	visits_free(v);
	return NULL;
}

void visits_free(struct visits *v)
{
	if (!v)
		return;
	for (int i = 0; i < RING_PIECES; i++)
		if (v->read[i])
			cudaEventDestroy(v->read[i]);
	if (v->before)
		cudaEventDestroy(v->before);
	if (v->arrived)
		cudaEventDestroy(v->arrived);
	if (v->copies)
		cudaStreamDestroy(v->copies);
	cudaFree(v->room);
	free(v);
}

/* Memory of the driver's own, not the pool's: there the smaller rings before this one would stay. */
static int larger_ring(struct device *d, size_t bytes)
{
	struct visits *v = d->visits;
	void *room = NULL;

	steps_forget(d);
	visits_end(d);
	cuda_must(cudaStreamSynchronize(d->stream), "the work so far");         /* it may still be read */
	cudaFree(v->room);
	v->room = NULL;
	v->ring.bytes = 0;
	if (cudaMalloc(&room, bytes) != cudaSuccess) {
		cudaGetLastError();
		return -1;
	}
	v->room = room;
	v->ring.bytes = bytes;
	return 0;
}

int visits_room(struct device *d, size_t bytes)
{
	if (!d->visits)
		d->visits = visits_new();
	if (!d->visits)
		return -1;
	return ring_for(bytes) <= d->visits->ring.bytes ? 0 : larger_ring(d, ring_for(bytes));
}

/* ---- visits ---- */

/* Whoever reads what the last visit gave has been called by now. */
static void end_last(struct device *d)
{
	struct visits *v = d->visits;

	if (v->last >= 0)
		cuda_must(cudaEventRecord(v->read[v->last], d->stream), "the end of a visit");
	v->last = -1;
}

/* The first copy waits for all that was called before: that may read the ring. */
static void begin(struct device *d)
{
	struct visits *v = d->visits;

	if (!v->began) {
		cuda_must(cudaEventRecord(v->before, d->stream), "the begin of visits");
		cuda_must(cudaStreamWaitEvent(v->copies, v->before, 0), "the begin of visits");
	}
	v->began = true;
}

static void await_copies(struct device *d)
{
	cuda_must(cudaEventRecord(d->visits->arrived, d->visits->copies), "a weight from host memory");
	cuda_must(cudaStreamWaitEvent(d->stream, d->visits->arrived, 0), "a weight from host memory");
}

static int bring(struct device *d, const struct visitor *of, int count, size_t bytes)
{
	struct visits *v = d->visits;
	const size_t at = ring_place(&v->ring, bytes);
	size_t to = at;

	begin(d);
	while (ring_is_taken(&v->ring, at, bytes))
		cuda_must(cudaStreamWaitEvent(v->copies, v->read[ring_drop(&v->ring)], 0), "a visit's place");
	for (int i = 0; i < count; to += of[i++].bytes)
		cuda_must(cudaMemcpyAsync(v->room + to, of[i].pinned, of[i].bytes, cudaMemcpyHostToDevice, v->copies),
			  "a weight from host memory");
	await_copies(d);
	return ring_put(&v->ring, of[0].pinned, at, bytes);
}

size_t visits_most(const struct device *d)
{
	return d->visits ? d->visits->ring.bytes : 0;
}

const void *visit(struct device *d, const struct visitor *of, int count)
{
	struct visits *v = d->visits;
	size_t bytes = 0;
	int i;

	for (i = 0; i < count; i++)
		bytes += of[i].bytes;
	end_last(d);
	i = ring_find(&v->ring, of[0].pinned, bytes);
	v->last = i < 0 ? bring(d, of, count, bytes) : i;
	return v->room + v->ring.piece[v->last].at;
}

void *visits_end(struct device *d)
{
	struct visits *v = d->visits;

	if (!v)
		return NULL;
	if (v->began)
		await_copies(d);
	v->began = false;
	v->last = -1;
	ring_clear(&v->ring);
	return v->room;
}

void visits_forget(struct device *d, const void *pinned)
{
	ring_forget(&d->visits->ring, pinned);
}
