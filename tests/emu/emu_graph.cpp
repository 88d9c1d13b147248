/* Captures of a stream, and graphs: work that is kept, checked and queued again with each launch. */
#include <algorithm>
#include <memory>
#include "emu_internal.h"

namespace emu {

/* A capture at a time: that of one stream, and of those that waited for its events. */
static struct branch { cudaStream_t stream; long joined; } branches[4];      /* joined: of its work, what is awaited */
static graph *capture;
static long captures;                   /* the number of this one */
static bool spoiled;

static auto &graphs = *new std::vector<graph *>;
static auto &execs = *new std::vector<std::shared_ptr<const graph> *>;

bool spoils_capture()
{
	spoiled |= capture != NULL;
	return capture != NULL;
}

int branch_of(cudaStream_t st)
{
	for (int i = 0; capture && i < capture->branches; i++)
		if (branches[i].stream == st)
			return i;
	return -1;
}

graph *capture_of(cudaStream_t st) { return branch_of(st) < 0 ? NULL : capture; }
bool is_spoiled(cudaStream_t st) { return capture_of(st) && spoiled; }

/* ---- events in a capture ---- */

static long work_of(int branch)
{
	return std::count_if(capture->nodes.begin(), capture->nodes.end(),
			     [=](const graph::node &n) { return n.branch == branch && !n.records; });
}

captured_event capture_record(cudaStream_t st)
{
	const int b = branch_of(st);

	event *as = event_new();

	capture->nodes.push_back({ nullptr, nullptr, b, as, NULL });
	return { captures, as, b, work_of(b) };
}

static int add_branch(cudaStream_t st)
{
	if (capture->branches == sizeof(branches) / sizeof(*branches))
		fault({ "graph", 0 }, "more streams in a capture than the stand-in plays");
	branches[capture->branches] = { st, 0 };
	return capture->branches++;
}

/* A stream that waits for an event of the capture is captured from then on.  All that a stream did must be awaited by
 * the first one in the end. */
cudaError_t capture_wait(cudaStream_t st, const captured_event &last)
{
	int b = branch_of(st);

	if (!capture || last.capture != captures) {
		if (spoils_capture())
			return failed(cudaErrorStreamCaptureIsolation);
		return failed(cudaErrorCapturedEvent);
	}
	if (b < 0)
		b = add_branch(st);
	capture->nodes.push_back({ nullptr, nullptr, b, NULL, last.as });
	if (!b)
		branches[last.branch].joined = last.work;
	return cudaSuccess;
}

static bool all_joined()
{
	for (int i = 1; i < capture->branches; i++)
		if (branches[i].joined != work_of(i))
			return false;
	return true;
}

template <class T> static T *live(std::vector<T *> &all, void *p, const char *what)
{
	if (std::find(all.begin(), all.end(), (T *)p) == all.end())
		fault({ "graph", 0 }, "%p is not a live %s", p, what);
	return (T *)p;
}

/* They stay: a launch may be queued behind another. */
static cudaStream_t branch_stream(size_t i)
{
	static auto &made = *new std::vector<cudaStream_t>;

	while (made.size() < i)
		made.push_back(stream_new());
	return made[i - 1];
}

/* Each branch but the first runs on a stream of the stand-in's: in any order that its events leave. */
static void queue_nodes(const std::shared_ptr<const graph> &g, cudaStream_t st)
{
	std::vector<cudaStream_t> on = { st };

	while ((int)on.size() < g->branches)
		on.push_back(branch_stream(on.size()));
	for (auto &n : g->nodes) {
		if (n.check)
			n.check();
		if (n.records)
			record(n.records, on[n.branch]);
		else if (n.waits)
			wait_for(n.waits, on[n.branch]);
		else if (n.run)
			enqueue(on[n.branch], [g, &n] { n.run(); });
	}
}

template <class T> static void destroy(std::vector<T *> &all, T *x)
{
	all.erase(std::find(all.begin(), all.end(), x));
	delete x;
	stats.live--;
}

}

using namespace emu;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t st, enum cudaStreamCaptureMode)
{
	check_stream(st);
	if (!st || st == cudaStreamLegacy)
		return failed(cudaErrorStreamCaptureUnsupported);
	if (capture)
		return failed(cudaErrorIllegalState);
	capture = new graph{};
	captures++;
	spoiled = false;
	add_branch(st);
	return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t st, cudaGraph_t *g)
{
	graph *made = branch_of(st) ? NULL : capture;
	bool joined;

	*g = NULL;
	if (!made)
		return failed(cudaErrorIllegalState);
	joined = all_joined();
	capture = NULL;
	if (spoiled || !joined) {
		delete made;
		return failed(spoiled ? cudaErrorStreamCaptureInvalidated : cudaErrorStreamCaptureUnjoined);
	}
	graphs.push_back(made);
	stats.live++;
	*g = (cudaGraph_t)made;
	return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
	destroy(graphs, live(graphs, g, "graph"));
	return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t g, unsigned long long)
{
	const graph *from = live(graphs, g, "graph");

	*exec = NULL;
	if (spoils_capture())
		return failed(cudaErrorStreamCaptureUnsupported);
	if (!may_make())
		return failed(cudaErrorMemoryAllocation);
	execs.push_back(new std::shared_ptr<const graph>(new graph(*from)));
	stats.live++;
	*exec = (cudaGraphExec_t)execs.back();
	return cudaSuccess;
}

/* What is queued of it goes on. */
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
	destroy(execs, live(execs, exec, "executable graph"));
	return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t st)
{
	const std::shared_ptr<const graph> g = *live(execs, exec, "executable graph");

	check_stream(st);
	if (spoils_capture())           /* a graph in a graph is not played */
		return failed(cudaErrorStreamCaptureUnsupported);
	stats.graphs++;
	stats.launches += g->counts.launches;
	stats.products += g->counts.products;
	stats.copies += g->counts.copies;
	write_stats();
	queue_nodes(g, st);
	return cudaSuccess;
}

}
