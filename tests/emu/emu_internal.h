/*
 * emu_internal.h - what the parts of the stand-in share.  Not for kernels.
 */
#ifndef EMU_INTERNAL_H
#define EMU_INTERNAL_H

#include <vector>
#include "emu_core.h"
#include "emu_test.h"
#include "emu_sanitizers.h"

namespace emu {

/* ---- emu.cpp: options, chance, errors ---- */
struct options {
	bool random, protect, dry;
	int mma;                        /* 0: float sums; 1: groups of products, cut off */
	size_t total;
	long fail_at;                   /* number of the thing that cannot be made; -1: none */
	size_t blas;                    /* bytes that cuBLAS takes for each kind of product when it first runs */
};
options &opt();
uint32_t draw();                        /* of EMU_SEED; only where opt().random */
extern emu_stats stats;
void write_stats();             /* a line of EMU_STATS=FILE, where that is said */
extern const char *kernel_name;         /* NULL outside of kernels */
cudaError_t failed(cudaError_t status); /* keeps it for cudaGetLastError() */
bool may_make();                        /* counts it; false: this one is to fail */

/* ---- emu_fiber.cpp ---- */
enum { MOST_THREADS = 1024 };
/* Every thread of one block, to its end.  `set` 0 or 1: blocks that run in different sets have no order for race
 * detectors. */
void run_block(int threads, int set, const std::function<void()> &thread);
void fibers_launched();                 /* for race detectors: before the first and after the last block of a kernel */
void fibers_done();

/* ---- emu_shared.cpp ---- */
void shared_reset(int set, size_t dynamic);     /* NaN everywhere, for the next block */
char *shared_base();
void cp_async_end();                    /* a thread ends: complains about copies that nobody waited for */

/* ---- emu_copy.cpp: sanitized, unlike the rest under TSan ---- */
void copy_words(void *dst, const void *src, unsigned bytes, unsigned valid);

/* ---- emu_memory.cpp ---- */
void poison(void *p, size_t bytes);     /* what a device leaves in fresh memory, made NaN in every float type */
bool inside_allocation(const void *p, size_t bytes);
bool is_device(const void *p);          /* an address that was once given out */
bool is_pinned(const void *p, size_t bytes);
void need_range(const void *p, size_t bytes, const char *what, const char *argument);
/* Device memory is open while one lives. */
struct device_runs { device_runs(); ~device_runs(); };

/* ---- emu_stream.cpp ---- */
/* work NULL: nothing runs.  check: whether what it touches is there, each time that a graph with it is launched */
cudaError_t enqueue(cudaStream_t st, std::function<void()> work, std::function<void()> check = nullptr);
void tally(cudaStream_t st, long emu_stats::*of);       /* one more; of a graph, where the stream is captured */
void check_stream(cudaStream_t st);
void drain_all();

struct event;
event *event_new();                     /* not one of the program's */
cudaError_t record(event *x, cudaStream_t st);
void wait_for(event *x, cudaStream_t st);       /* for its last recording so far */
cudaStream_t stream_new();
void stream_end(cudaStream_t st);

/* ---- emu_graph.cpp ---- */
/* Branch 0 is the stream that was captured, each other one a stream that waited for an event of the capture.  A node
 * runs, or records an event, or waits for one: events of the graph's own. */
struct graph {
	struct node { std::function<void()> run, check; int branch; event *records, *waits; };
	std::vector<node> nodes;
	int branches;
	emu_stats counts;
};
/* What is not allowed while a stream is captured: ends the capture's use.  False: nothing is captured. */
bool spoils_capture();
/* Where work goes that is called while the stream is captured; NULL: it is not. */
graph *capture_of(cudaStream_t st);
int branch_of(cudaStream_t st);
bool is_spoiled(cudaStream_t st);
/* An event of the program's, recorded or waited for while something is captured.  `last`: what it was recorded as, in
 * which capture. */
struct captured_event { long capture; event *as; int branch; long work; };
captured_event capture_record(cudaStream_t st);
cudaError_t capture_wait(cudaStream_t st, const captured_event &last);

}

#endif
