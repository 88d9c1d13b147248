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

int main(void)
{
	struct rig r = { 0 };

	on_devices(&r, counts);
	on_devices(&r, gives_up);
	on_devices(&r, no_graph);
	switched_off(&r);
	rules(&r);
	printf("1..%d\n", r.tests);
	return r.failed ? EXIT_OTHER : EXIT_DONE;
}
