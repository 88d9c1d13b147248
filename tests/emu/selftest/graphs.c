/*
 * graphs - how often the backend launches a step as one, which only the stand-in can count; what it says where it
 * cannot; and the stand-in's own rules of what may not be called while a stream is captured.
 */
#include "../../cuda/harness.h"
#include "../emu_test.h"

static void tell(struct rig *r, bool ok, const char *what, long number)
{
	r->tests++;
	r->failed += !ok;
	printf("%sok %d - %s (%ld)\n", ok ? "" : "not ", r->tests, what, number);
}

enum { N = 1000 };

/* Some calls, one of which differs by `a`. */
static void step(const struct backend *be, struct device *d, float *x, uint64_t key, float a)
{
	static const float ones[N] = { 1 };

	do {
		be->step_begin(d, key);
		be->upload(d, x, ones, sizeof(ones));
		be->axpby(d, f32(x), a, f32(x), 0, N);
		be->add(d, f32(x), f32(x), f32(x), N);
	} while (be->step_end(d));
}

static struct emu_stats stats(void)
{
	struct emu_stats s;

	emu_get_stats(&s);
	return s;
}

/* Launches and copies by the host: what is in a graph counts as one. */
static void counts(struct rig *r, const struct backend *be, struct device *d, float *x)
{
	const struct emu_stats before = stats();
	struct emu_stats after;

	for (int i = 0; i < 10; i++)
		step(be, d, x, 1, 2);
	for (int i = 0; i < 10; i++)
		step(be, d, x, 2, 3);
	be->download(d, &(float){ 0 }, x, sizeof(float));
	after = stats();
	tell(r, after.graphs - before.graphs == 18, "of twenty steps of two keys all but two were launched as one",
	     after.graphs - before.graphs);
	tell(r, after.launches - before.launches == 40, "with all their kernels", after.launches - before.launches);
	tell(r, after.copies - before.copies == 20 + 18 + 1, "and a copy of their values before each",
	     after.copies - before.copies);
	step(be, d, x, 1, 5);
	step(be, d, x, 1, 5);
	tell(r, stats().graphs - after.graphs == 1, "one that differs is run again, one by one, and then kept anew",
	     stats().graphs - after.graphs);
}

/* Each step differs from the one before it. */
static void gives_up(struct rig *r, const struct backend *be, struct device *d, float *x)
{
	const long before = stats().graphs;

	for (int i = 0; i < 20; i++)
		step(be, d, x, 1, i);
	for (int i = 0; i < 20; i++)
		step(be, d, x, 1, 1);
	tell(r, stats().graphs == before, "nothing is kept any more after three in a row", stats().graphs - before);
}

/* What a step writes lies elsewhere, once: after samples were painted, of which the arena's memory is needed. */
static void moves(struct rig *r, const struct backend *be, struct device *d, float *x)
{
	const long before = stats().graphs;
	float *other = be->alloc(d, N * sizeof(*other));

	for (int i = 0; i < 8; i++)
		step(be, d, x, i % 4, 2);
	for (int i = 0; i < 8; i++)
		step(be, d, other, i % 4, 2);
	tell(r, stats().graphs - before == 8, "memory lies elsewhere: steps of four keys are kept anew, each of them",
	     stats().graphs - before);
}

static void on_devices(struct rig *r, void (*test)(struct rig *, const struct backend *, struct device *, float *))
{
	const struct backend *be = &cuda_backend;
	const long live = stats().live;
	struct error e;
	struct device *d = be->open(&e);

	if (!d)
		die(EXIT_OTHER, "%s", e.text);
	test(r, be, d, be->alloc(d, N * sizeof(float)));
	be->close(d);
	tell(r, stats().live == live, "  nothing is left behind", stats().live - live);
}

/* The graph cannot be made: the step is right all the same. */
static void no_graph(struct rig *r, const struct backend *be, struct device *d, float *x)
{
	const long before = stats().graphs;
	float y = 0;

	step(be, d, x, 1, 2);
	emu_fail(0);
	step(be, d, x, 1, 2);
	emu_fail(-1);
	be->download(d, &y, x, sizeof(y));
	tell(r, y == 4, "where a graph cannot be made, the step's calls are made one by one", (long)y);
	for (int i = 0; i < 5; i++)
		step(be, d, x, 1, 2);
	tell(r, stats().graphs == before && cudaGetLastError() == cudaSuccess, "and so are all from then on",
	     stats().graphs - before);
}

static void switched_off(struct rig *r)
{
	const long before = stats().graphs;
	struct error e;
	struct device *d;
	float *x;

	setenv("LORA_CUDA_GRAPHS", "0", 1);
	d = cuda_backend.open(&e);
	unsetenv("LORA_CUDA_GRAPHS");
	if (!d)
		die(EXIT_OTHER, "%s", e.text);
	x = cuda_backend.alloc(d, N * sizeof(*x));
	for (int i = 0; i < 5; i++)
		step(&cuda_backend, d, x, 1, 2);
	tell(r, stats().graphs == before, "LORA_CUDA_GRAPHS=0: one by one", stats().graphs - before);
	cuda_backend.close(d);
}

/* Weights that visit the card: a copy for each that is not there.  Three of them go round in a ring of two. */
static void visits(struct rig *r, const struct backend *be, struct device *d, float *x)
{
	enum { WIDE = 24, READ = 5 };
	static const float host[WIDE * WIDE] = { 1 };
	static const int read[READ] = { 0, 1, 2, 2, 1 };
	struct weight w[3];
	struct emu_stats before, after;
	float *y = be->alloc(d, N * sizeof(*y));

	for (int i = 0; i < 3; i++) {
		w[i] = (struct weight){ .dtype = DTYPE_F32, .out = WIDE, .in = WIDE, .kh = 1, .kw = 1,
					.on_host = true };
		if (be->prepare(d, &w[i], host))
			die(EXIT_MEMORY, "no memory for the test");
	}
	be->zero(d, f32(x), N);
	before = stats();
	for (int i = 0; i < 10; i++) {
		be->linear(d, f32(y), f32(x), &w[2], NULL, 1, NULL);
		do {
			be->step_begin(d, 1);
			for (int k = 0; k < READ; k++)
				be->linear(d, f32(y), f32(x), &w[read[k]], NULL, 1, NULL);
		} while (be->step_end(d));
	}
	be->download(d, &(float){ 0 }, y, sizeof(float));
	after = stats();
	tell(r, after.graphs - before.graphs == 9, "of ten steps all but one were launched as one",
	     after.graphs - before.graphs);
	tell(r, after.copies - before.copies == 10 * (3 + 1) + 1, "each weight was copied once a step, one outside",
	     after.copies - before.copies);
	for (int i = 0; i < 3; i++)
		be->unprepare(d, &w[i]);
}

/* ---- the stand-in's rules ---- */

static struct { cudaStream_t stream; cudaEvent_t event; void *device, *pinned; float pageable[4]; } at;

static cudaError_t synchronises(void) { return cudaStreamSynchronize(at.stream); }
static cudaError_t waits_for_all(void) { return cudaDeviceSynchronize(); }
static cudaError_t waits_for_an_event(void) { return cudaEventSynchronize(at.event); }
static cudaError_t takes_memory(void) { void *p; return cudaMalloc(&p, 100); }
static cudaError_t takes_pinned_memory(void) { void *p; return cudaHostAlloc(&p, 100, cudaHostAllocDefault); }
static cudaError_t gives_memory(void) { return cudaFree(at.device); }
static cudaError_t copies_at_once(void)
{
	return cudaMemcpy(at.device, at.pinned, 16, cudaMemcpyHostToDevice);
}
static cudaError_t copies_pageable(void)
{
	return cudaMemcpyAsync(at.device, at.pageable, 16, cudaMemcpyHostToDevice, at.stream);
}
static cudaError_t reads_to_pageable(void)
{
	return cudaMemcpyAsync(at.pageable, at.device, 16, cudaMemcpyDeviceToHost, at.stream);
}
static cudaError_t takes_the_legacy_stream(void) { return cudaMemsetAsync(at.device, 0, 16, NULL); }

static void rules(struct rig *r)
{
	static const struct { const char *name; cudaError_t (*call)(void); cudaError_t status; } rows[] = {
		{ "a wait for the stream", synchronises, cudaErrorStreamCaptureUnsupported },
		{ "a wait for the device", waits_for_all, cudaErrorStreamCaptureUnsupported },
		{ "a wait for an event", waits_for_an_event, cudaErrorStreamCaptureUnsupported },
		{ "cudaMalloc", takes_memory, cudaErrorStreamCaptureUnsupported },
		{ "cudaHostAlloc", takes_pinned_memory, cudaErrorStreamCaptureUnsupported },
		{ "cudaFree", gives_memory, cudaErrorStreamCaptureUnsupported },
		{ "cudaMemcpy", copies_at_once, cudaErrorStreamCaptureUnsupported },
		{ "a copy from pageable memory", copies_pageable, cudaErrorStreamCaptureUnsupported },
		{ "a copy to pageable memory", reads_to_pageable, cudaErrorStreamCaptureUnsupported },
		{ "the legacy stream", takes_the_legacy_stream, cudaErrorStreamCaptureImplicit },
	};
	cudaGraph_t graph;
	cudaGraphExec_t exec = NULL;
	bool ok;

	ok = !cudaStreamCreateWithFlags(&at.stream, cudaStreamNonBlocking) && !cudaEventCreate(&at.event) &&
	     !cudaMalloc(&at.device, 16) && !cudaHostAlloc(&at.pinned, 16, cudaHostAllocDefault);
	memset(at.pinned, 1, 16);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ok &= !cudaStreamBeginCapture(at.stream, cudaStreamCaptureModeThreadLocal);
		tell(r, ok && rows[i].call() == rows[i].status &&
		     cudaMemsetAsync(at.device, 0, 16, at.stream) == cudaErrorStreamCaptureInvalidated &&
		     cudaStreamEndCapture(at.stream, &graph) == cudaErrorStreamCaptureInvalidated && !graph &&
		     cudaGetLastError() == cudaErrorStreamCaptureInvalidated, rows[i].name, i);
	}
	/* A copy from pinned memory reads it with each launch. */
	ok &= !cudaStreamBeginCapture(at.stream, cudaStreamCaptureModeThreadLocal) &&
	      !cudaMemcpyAsync(at.device, at.pinned, 16, cudaMemcpyHostToDevice, at.stream) &&
	      !cudaStreamEndCapture(at.stream, &graph) && !cudaGraphInstantiateWithFlags(&exec, graph, 0) &&
	      !cudaGraphDestroy(graph) && !cudaGraphLaunch(exec, at.stream) && !cudaStreamSynchronize(at.stream);
	memset(at.pinned, 2, 16);
	ok = ok && !cudaGraphLaunch(exec, at.stream) && !cudaGraphExecDestroy(exec) &&
	     !cudaStreamSynchronize(at.stream) && !cudaMemcpy(at.pageable, at.device, 16, cudaMemcpyDeviceToHost);
	tell(r, ok && *(unsigned char *)at.pageable == 2, "a graph runs with what is in memory then", ok);
	cudaFree(at.device);
	cudaFreeHost(at.pinned);
	cudaEventDestroy(at.event);
	cudaStreamDestroy(at.stream);
}

/* A copy to device memory beside the captured stream, which waits for it or does not; read back. */
struct beside { bool joins, recorded_before; };

static cudaError_t captured_beside(cudaStream_t other, cudaEvent_t fork, cudaEvent_t join, const struct beside *how,
				   cudaGraph_t *graph)
{
	cudaError_t status;

	if (how->recorded_before)
		cudaEventRecord(fork, at.stream);
	cudaStreamBeginCapture(at.stream, cudaStreamCaptureModeThreadLocal);
	if (!how->recorded_before)
		cudaEventRecord(fork, at.stream);
	cudaStreamWaitEvent(other, fork, 0);
	status = how->recorded_before ? cudaStreamWaitEvent(at.stream, fork, 0) : cudaSuccess;
	cudaMemcpyAsync(at.device, at.pinned, 16, cudaMemcpyHostToDevice, other);
	cudaEventRecord(join, other);
	if (how->joins)
		cudaStreamWaitEvent(at.stream, join, 0);
	cudaMemcpyAsync((char *)at.device + 16, at.device, 16, cudaMemcpyDeviceToDevice, at.stream);
	return cudaStreamEndCapture(at.stream, graph) ? cudaGetLastError() : status;
}

/* Twice, with other bytes each time. */
static bool runs_right(cudaGraph_t graph)
{
	cudaGraphExec_t exec = NULL;
	bool ok = !cudaGraphInstantiateWithFlags(&exec, graph, 0) && !cudaGraphDestroy(graph);

	for (int i = 1; ok && i <= 2; i++) {
		memset(at.pinned, i, 16);
		ok = !cudaMemsetAsync(at.device, 9, 32, at.stream) && !cudaGraphLaunch(exec, at.stream) &&
		     !cudaStreamSynchronize(at.stream) &&
		     !cudaMemcpy(at.pageable, (char *)at.device + 16, 16, cudaMemcpyDeviceToHost) &&
		     *(char *)at.pageable == i;
	}
	return !cudaGraphExecDestroy(exec) && ok;
}

static void streams_beside(struct rig *r)
{
	cudaStream_t other = NULL;
	cudaEvent_t fork = NULL, join = NULL;
	cudaGraph_t graph = NULL;

	cudaStreamCreateWithFlags(&at.stream, cudaStreamNonBlocking);
	cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
	cudaEventCreateWithFlags(&fork, cudaEventDisableTiming);
	cudaEventCreateWithFlags(&join, cudaEventDisableTiming);
	cudaMalloc(&at.device, 32);
	cudaHostAlloc(&at.pinned, 16, cudaHostAllocDefault);
	tell(r, captured_beside(other, fork, join, &(struct beside){ true, false }, &graph) == cudaSuccess && graph &&
	     runs_right(graph), "a stream beside the captured one is part of the graph", 0);
	tell(r, cudaStreamWaitEvent(other, join, 0) == cudaErrorCapturedEvent && cudaGetLastError(),
	     "its events are not to be waited for afterwards", 0);
	tell(r, captured_beside(other, fork, join, &(struct beside){ false, false }, &graph) ==
	     cudaErrorStreamCaptureUnjoined && !graph, "it must be awaited", 0);
	tell(r, captured_beside(other, fork, join, &(struct beside){ true, true }, &graph) ==
	     cudaErrorStreamCaptureInvalidated && !graph, "an event of before cannot be waited for", 0);
	cudaStreamSynchronize(at.stream);
	cudaStreamSynchronize(other);
	cudaFree(at.device);
	cudaFreeHost(at.pinned);
	cudaEventDestroy(fork);
	cudaEventDestroy(join);
	cudaStreamDestroy(other);
	cudaStreamDestroy(at.stream);
	cudaGetLastError();
}

int main(void)
{
	struct rig r = { 0 };

	on_devices(&r, counts);
	on_devices(&r, gives_up);
	on_devices(&r, moves);
	on_devices(&r, no_graph);
	on_devices(&r, visits);
	switched_off(&r);
	rules(&r);
	streams_beside(&r);
	printf("1..%d\n", r.tests);
	return r.failed ? EXIT_OTHER : EXIT_DONE;
}
