/* Captures of a stream, and graphs: work that is kept, checked and queued again with each launch. */
#include <algorithm>
#include <memory>
#include "emu_internal.h"

namespace emu {

/* One stream at a time: the backend has one. */
static cudaStream_t captured;
static graph *capture;
static bool spoiled;

static auto &graphs = *new std::vector<graph *>;
static auto &execs = *new std::vector<std::shared_ptr<const graph> *>;

bool spoils_capture()
{
	spoiled |= capture != NULL;
	return capture != NULL;
}

graph *capture_of(cudaStream_t st) { return st == captured ? capture : NULL; }
bool is_spoiled(cudaStream_t st) { return capture_of(st) && spoiled; }

template <class T> static T *live(std::vector<T *> &all, void *p, const char *what)
{
	if (std::find(all.begin(), all.end(), (T *)p) == all.end())
		fault({ "graph", 0 }, "%p is not a live %s", p, what);
	return (T *)p;
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
	captured = st;
	capture = new graph{};
	spoiled = false;
	return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t st, cudaGraph_t *g)
{
	graph *made = capture_of(st);

	*g = NULL;
	if (!made)
		return failed(cudaErrorIllegalState);
	capture = NULL;
	if (spoiled) {
		delete made;
		return failed(cudaErrorStreamCaptureInvalidated);
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
	for (auto &n : g->nodes) {
		if (n.check)
			n.check();
		if (n.run)
			enqueue(st, [g, &n] { n.run(); });
	}
	return cudaSuccess;
}

}
