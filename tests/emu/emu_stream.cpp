/* Streams, events, copies: work waits in its stream until somebody synchronises, and then runs in any legal order. */
#include <pthread.h>
#include <stdlib.h>
#include <x86intrin.h>
#include <algorithm>
#include <deque>
#include <vector>
#include "emu_internal.h"

namespace emu {

struct event {
	uint64_t recorded, done;        /* number of the last recording, and of the last that was reached */
	uint64_t at;                    /* ticks */
	bool timing;
	char token[64];                 /* one for each recording, in turn */
	captured_event captured;        /* its last recording, where that was in a capture */
};

struct work {
	std::function<void()> run;
	event *wait; uint64_t wait_for; /* cannot begin before */
	ON_TSAN(char *token;)
};

struct stream {
	std::deque<work> queue;
	char token;
	ON_TSAN(void *tsan;)
};

static auto &streams = *new std::vector<stream *>;
static auto &events = *new std::vector<event *>;
static stream *legacy;

static stream *make_stream()
{
	stream *s = new stream{};

	ON_TSAN(s->tsan = __tsan_create_fiber(0);)
	streams.push_back(s);
	return s;
}

static stream *stream_of(cudaStream_t st)
{
	static const pthread_t owner = pthread_self();

	if (!pthread_equal(owner, pthread_self()))
		fault({ "stream", 0 }, "a second thread of the host uses the device; the stand-in has no locks");
	if (!legacy)
		legacy = make_stream();
	if (!st || st == cudaStreamLegacy)
		return legacy;
	if (std::find(streams.begin(), streams.end(), (stream *)st) == streams.end())
		fault({ "stream", 0 }, "%p is not a live stream", (void *)st);
	return (stream *)st;
}

void check_stream(cudaStream_t st) { stream_of(st); }

static event *event_of(cudaEvent_t e)
{
	if (std::find(events.begin(), events.end(), (event *)e) == events.end())
		fault({ "event", 0 }, "%p is not a live event", (void *)e);
	return (event *)e;
}

/* ---- the order of work ---- */

static bool is_ready(const stream *s)
{
	return !s->queue.empty() && (!s->queue[0].wait || s->queue[0].wait->done >= s->queue[0].wait_for);
}

/* Under TSan each stream is a fiber of its own: nothing orders its work against the host's but what CUDA says. */
static void run_one(stream *s)
{
	work w = std::move(s->queue.front());

	s->queue.pop_front();
	ON_TSAN(void *me = __tsan_get_current_fiber(); __tsan_switch_to_fiber(s->tsan, NO_ORDER);
		__tsan_acquire(w.token);
		if (w.wait) __tsan_acquire(&w.wait->token[w.wait_for % sizeof(w.wait->token)]);)
	if (w.run) {
		device_runs open;

		w.run();
		w.run = nullptr;
	}
	ON_TSAN(__tsan_release(&s->token); __tsan_switch_to_fiber(me, NO_ORDER); delete w.token;)
}

template <class F> static void run_until(F done)
{
	while (!done()) {
		std::vector<stream *> ready;

		for (auto *s : streams)
			if (is_ready(s))
				ready.push_back(s);
		if (ready.empty())
			fault({ "stream", 0 }, "streams wait for each other, or for an event that is never recorded");
		run_one(opt().random ? ready[draw() % ready.size()] : ready[0]);
	}
}

static void add(cudaStream_t st, std::function<void()> run, event *wait, uint64_t wait_for)
{
	stream *s = stream_of(st);
	work w{ std::move(run), wait, wait_for, ON_TSAN(new char) };

	for (auto *other : streams)             /* the legacy stream waits for all others */
		if (s == legacy && other != legacy)
			run_until([other] { return other->queue.empty(); });
	ON_TSAN(__tsan_release(w.token);)
	s->queue.push_back(std::move(w));
	if (opt().random && draw() % 4 == 0 && is_ready(s))
		run_one(s);                     /* sometimes the device is quick */
}

cudaError_t enqueue(cudaStream_t st, std::function<void()> run, std::function<void()> check)
{
	graph *g = capture_of(st);

	if (is_spoiled(st))
		return failed(cudaErrorStreamCaptureInvalidated);
	if (!g && stream_of(st) == legacy && spoils_capture())
		return failed(cudaErrorStreamCaptureImplicit);
	if (g)
		g->nodes.push_back({ std::move(run), std::move(check), branch_of(st) });
	else if (run)
		add(st, std::move(run), NULL, 0);
	return cudaSuccess;
}

void tally(cudaStream_t st, long emu_stats::*of)
{
	graph *g = capture_of(st);

	(g ? g->counts.*of : stats.*of)++;
}

static void drain(stream *s)
{
	run_until([s] { return s->queue.empty(); });
	ON_TSAN(__tsan_acquire(&s->token);)
}

void drain_all()
{
	check_stream(NULL);
	for (auto *s : streams)
		drain(s);
}

/* ---- events and streams of a graph's own ---- */

/* They stay: what is queued of a graph may outlive it. */
event *event_new()
{
	static auto &made = *new std::vector<event *>;

	made.push_back(new event{});
	return made.back();
}

cudaError_t record(event *x, cudaStream_t st)
{
	const uint64_t number = ++x->recorded;

	return enqueue(st, [=] {
		x->done = number;
		x->at = __rdtsc();
		ON_TSAN(__tsan_release(&x->token[number % sizeof(x->token)]);)
	});
}

void wait_for(event *x, cudaStream_t st)
{
	if (x->recorded)
		add(st, nullptr, x, x->recorded);
}

cudaStream_t stream_new() { return (cudaStream_t)make_stream(); }

void stream_end(cudaStream_t st)
{
	stream *s = stream_of(st);

	drain(s);
	streams.erase(std::find(streams.begin(), streams.end(), s));
	ON_TSAN(__tsan_destroy_fiber(s->tsan);)
	delete s;
}

/* ---- copies ---- */

static void check_side(const void *p, size_t bytes, bool device, const char *side)
{
	if (device)
		need_range(p, bytes, "cudaMemcpy", side);
	else if (is_device(p))
		fault({ "cudaMemcpy", 0 }, "%s is a device pointer, the kind says host", side);
}

static void check_copy(const void *dst, const void *src, size_t bytes, cudaMemcpyKind kind)
{
	if (kind == cudaMemcpyDefault)
		fault({ "cudaMemcpy", 0 }, "cudaMemcpyDefault: say which");
	check_side(dst, bytes, kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice, "dst");
	check_side(src, bytes, kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice, "src");
}

static cudaError_t enqueue_copy(cudaStream_t st, void *dst, const void *src, size_t bytes, cudaMemcpyKind kind)
{
	return enqueue(st, [=] {
		check_copy(dst, src, bytes, kind);
		if (!opt().dry)
			memcpy(dst, src, bytes);
		else if (kind == cudaMemcpyDeviceToHost)
			memset(dst, 0, bytes);
	});
}

}

using namespace emu;

extern "C" {

/* Pageable memory of the host is read at the call, as the driver stages it, and written before the call returns; pinned
 * memory is touched when the stream gets there. */
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t st)
{
	const bool pageable = (kind == cudaMemcpyHostToDevice && !is_pinned(src, bytes)) ||
			      (kind == cudaMemcpyDeviceToHost && !is_pinned(dst, bytes));
	cudaError_t status;

	check_copy(dst, src, bytes, kind);
	if (pageable && spoils_capture())
		return failed(cudaErrorStreamCaptureUnsupported);
	tally(st, &emu_stats::copies);
	if (kind == cudaMemcpyHostToDevice && !is_pinned(src, bytes)) {
		std::vector<char> *staged = new std::vector<char>(opt().dry ? 0 : bytes);

		memcpy(staged->data(), src, staged->size());
		enqueue(st, [=] {
			check_copy(dst, staged->data(), bytes, kind);
			memcpy(dst, staged->data(), staged->size());
			delete staged;
		});
		return cudaSuccess;
	}
	status = enqueue_copy(st, dst, src, bytes, kind);
	if (pageable)
		drain(stream_of(st));
	return status;
}

cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind)
{
	if (spoils_capture())
		return failed(cudaErrorStreamCaptureUnsupported);
	enqueue_copy(NULL, dst, src, bytes, kind);
	drain(stream_of(NULL));
	return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t st)
{
	need_range(p, bytes, "cudaMemset", "ptr");
	tally(st, &emu_stats::copies);
	return enqueue(st, [=] {
		need_range(p, bytes, "cudaMemset", "ptr");
		if (!opt().dry)
			memset(p, value, bytes);
	});
}

cudaError_t cudaMemset(void *p, int value, size_t bytes) { return cudaMemsetAsync(p, value, bytes, NULL); }

/* ---- streams ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *st, unsigned)
{
	check_stream(NULL);
	if (!may_make())
		return failed(cudaErrorMemoryAllocation);
	*st = (cudaStream_t)make_stream();
	stats.live++;
	return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t st)
{
	stream *s = stream_of(st);

	if (s == legacy)
		return failed(cudaErrorInvalidResourceHandle);
	stream_end(st);
	stats.live--;
	return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t st)
{
	if (spoils_capture())
		return failed(cudaErrorStreamCaptureUnsupported);
	drain(stream_of(st));
	return cudaSuccess;
}

/* A look gives the device time: work that waits for another process may end meanwhile. */
cudaError_t cudaStreamQuery(cudaStream_t st)
{
	if (spoils_capture())
		return failed(cudaErrorStreamCaptureUnsupported);
	drain(stream_of(st));
	return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t st, cudaHostFn_t run, void *given)
{
	return enqueue(st, [=] { run(given); });
}

cudaError_t cudaDeviceSynchronize(void)
{
	if (spoils_capture())
		return failed(cudaErrorStreamCaptureUnsupported);
	drain_all();
	return cudaSuccess;
}

/* ---- events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags)
{
	check_stream(NULL);
	if (!may_make())
		return failed(cudaErrorMemoryAllocation);
	events.push_back(new event{});
	events.back()->timing = !(flags & cudaEventDisableTiming);
	*e = (cudaEvent_t)events.back();
	stats.live++;
	return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *e) { return cudaEventCreateWithFlags(e, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
	event *x = event_of(e);

	drain_all();
	events.erase(std::find(events.begin(), events.end(), x));
	delete x;
	stats.live--;
	return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t st)
{
	event *x = event_of(e);

	check_stream(st);
	if (is_spoiled(st))
		return failed(cudaErrorStreamCaptureInvalidated);
	x->captured = {};
	if (!capture_of(st))
		return record(x, st);
	x->captured = capture_record(st);
	return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t st, cudaEvent_t e, unsigned)
{
	event *x = event_of(e);

	check_stream(st);
	if (is_spoiled(st))
		return failed(cudaErrorStreamCaptureInvalidated);
	if (x->captured.capture || capture_of(st))
		return capture_wait(st, x->captured);
	wait_for(x, st);
	return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
	event *x = event_of(e);
	const uint64_t number = x->recorded;

	if (spoils_capture())
		return failed(cudaErrorStreamCaptureUnsupported);
	if (x->captured.capture)
		return failed(cudaErrorCapturedEvent);
	run_until([=] { return x->done >= number; });
	ON_TSAN(__tsan_acquire(&x->token[number % sizeof(x->token)]);)
	return cudaSuccess;
}

/* Of the stand-in's own time, as if a tick were 0.4 ns. */
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
	if (!event_of(from)->timing || !event_of(to)->timing)
		return failed(cudaErrorInvalidResourceHandle);
	*ms = (event_of(to)->at - event_of(from)->at) * 4e-7f;
	return cudaSuccess;
}

}
