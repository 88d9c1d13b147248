/* The threads of a block as fibers: who runs next, barriers, operations of a warp. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include <algorithm>
#include <vector>
#include "emu_internal.h"

#if !defined(__x86_64__)
#error "a switch of stacks for this processor is missing"
#endif

/* swapcontext() makes a system call, 351 ns; this takes 10. */
extern "C" void emu_switch(void **save, void *load);
asm(".text\n.globl emu_switch\n.hidden emu_switch\n.type emu_switch,@function\nemu_switch:\n"
    "	pushq %rbp\n	pushq %rbx\n	pushq %r12\n	pushq %r13\n	pushq %r14\n	pushq %r15\n"
    "	movq %rsp,(%rdi)\n	movq %rsi,%rsp\n"
    "	popq %r15\n	popq %r14\n	popq %r13\n	popq %r12\n	popq %rbx\n	popq %rbp\n	ret\n"
    ".size emu_switch,.-emu_switch\n");

namespace emu {

enum { MOST_WARPS = 32, PAGE = 4096, STACK = (EMU_ASAN || EMU_MSAN ? 256 : 128) << 10 };

struct fiber {
	void *sp;
	char *stack;
	thread_id id;
	void *fake_stack;               /* ASan's */
	ON_TSAN(void *tsan;)
};

/* Lanes that wait for each other in one operation of their warp. */
struct group {
	const char *kind;
	site s;
	unsigned mask, here;
	void *record[32];
};

static std::vector<fiber> pool[2];
static fiber host, *now = &host;

/* The block that runs. */
static struct {
	fiber *fibers;
	int set, threads, warps, alive;
	const std::function<void()> *thread;
	unsigned ready[MOST_WARPS], ready_warps;        /* runnable lanes of each warp; warps that have some */
	unsigned warp;                                  /* that ran last */
	int at_barrier;
	site barrier;
	unsigned barrier_lanes[MOST_WARPS];
	group groups[MOST_WARPS][32];
	int group_count[MOST_WARPS];
} block;

/* For race detectors.  Tokens come in pairs and are used in turn: what is released for the next round must not be
 * acquired in this one.  Two sets of fibers take turns too, with barriers and warps of their own, so that a block has
 * no order against the one before it. */
static struct { char launch, done, set[2][2], barrier[2][2], warp[2][MOST_WARPS][4]; } token;
static int round_of[2], barrier_number, warp_number[MOST_WARPS];

void fibers_launched()
{
	(void)token;
	round_of[0] = round_of[1] = 0;
	ON_TSAN(__tsan_release(&token.launch);)
}

void fibers_done() { ON_TSAN(__tsan_acquire(&token.done);) }

/* ---- switching ---- */

static void arrived()                   /* first thing after every switch */
{
	ON_ASAN(__sanitizer_finish_switch_fiber(now->fake_stack, 0, 0);)
}

static void switch_to(fiber *to)
{
	fiber *from = now;

	now = to;
	cur = to->id;
	stats.switches++;
	ON_TSAN(__tsan_switch_to_fiber(to->tsan, NO_ORDER);)
	ON_ASAN(__sanitizer_start_switch_fiber(&from->fake_stack, to->stack, STACK);)
	emu_switch(&from->sp, to->sp);
	arrived();
}

static void wake(unsigned warp, unsigned lanes)
{
	block.ready[warp] |= lanes;
	if (block.ready[warp])
		block.ready_warps |= 1u << warp;
}

[[noreturn]] static void report_deadlock()
{
	fprintf(stderr, "EMU FAULT: deadlock in kernel %s, block (%u,%u,%u): %d threads left\n", kernel_name,
		block_idx.x, block_idx.y, block_idx.z, block.alive);
	if (block.at_barrier)
		fprintf(stderr, "  %d threads wait in __syncthreads at %s:%d\n", block.at_barrier, block.barrier.file,
			block.barrier.line);
	for (int w = 0; w < block.warps; w++)
		for (group *g = block.groups[w]; g < block.groups[w] + block.group_count[w]; g++)
			fprintf(stderr, "  warp %d: lanes %08x wait in %s for lanes %08x at %s:%d\n", w, g->here,
				g->kind, g->mask & ~g->here, g->s.file, g->s.line);
	fflush(NULL);
	_exit(42);
}

static unsigned choose(unsigned of, unsigned usual)
{
	unsigned i;

	if (!opt().random)
		return of >> usual & 1 ? usual : __builtin_ctz(of);
	for (i = draw() % 32; !(of >> i & 1); i = (i + 1) % 32)
		;
	return i;
}

/* The running fiber has stopped: another goes on. */
static void run_another()
{
	unsigned lane;

	if (!block.ready_warps) {
		if (block.alive)
			report_deadlock();
		switch_to(&host);
		return;
	}
	block.warp = choose(block.ready_warps, block.warp);
	lane = choose(block.ready[block.warp], 0);
	block.ready[block.warp] &= ~(1u << lane);
	if (!block.ready[block.warp])
		block.ready_warps &= ~(1u << block.warp);
	if (now != &block.fibers[block.warp * 32 + lane])
		switch_to(&block.fibers[block.warp * 32 + lane]);
}

/* ---- fibers ---- */

static void fiber_main()
{
	arrived();
	for (;;) {
		const int set = block.set, round = round_of[set];

		(void)round;
		ON_TSAN(__tsan_acquire(&token.launch); __tsan_acquire(&token.set[set][~round & 1]);)
		(*block.thread)();
		cp_async_end();
		ON_TSAN(__tsan_release(&token.done); __tsan_release(&token.set[set][round & 1]);)
		block.alive--;
		if (block.at_barrier && block.alive == block.at_barrier)
			fault(block.barrier, "__syncthreads() while a thread of the block has ended");
		run_another();          /* comes back when the next block of this set begins */
	}
}

/* Stacks begin at different offsets, or all of them would compete for the same lines of the cache. */
static fiber make_fiber(int number)
{
	char *map = (char *)mmap(NULL, STACK + PAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	const uintptr_t top = ((uintptr_t)map + PAGE + STACK - 64 - number % 61 * 832) & ~(uintptr_t)63;
	void **sp = (void **)top;
	fiber f = {};

	if (map == MAP_FAILED)
		fault({ "fiber", number }, "no memory for a stack");
	mprotect(map, PAGE, PROT_NONE);
	*--sp = NULL;                   /* where fiber_main() would return to */
	*--sp = (void *)fiber_main;
	sp -= 6;                        /* registers that emu_switch() takes */
	memset(sp, 0, 6 * sizeof(*sp));
	f.sp = sp;
	f.stack = map + PAGE;
	ON_TSAN(f.tsan = __tsan_create_fiber(0);)
	return f;
}

void run_block(int threads, int set, const std::function<void()> &thread)
{
	while ((int)pool[set].size() < threads)
		pool[set].push_back(make_fiber(pool[set].size()));
	ON_TSAN(host.tsan = __tsan_get_current_fiber();)
	block.fibers = pool[set].data();
	block.set = set;
	block.threads = block.alive = threads;
	block.warps = (threads + 31) / 32;
	block.thread = &thread;
	block.warp = 0;
	for (int t = 0; t < threads; t++) {
		const unsigned n = t;

		block.fibers[t].id = { make_uint3(n % block_dim.x, n / block_dim.x % block_dim.y,
						  n / block_dim.x / block_dim.y), n % 32, n / 32,
				       n };
		wake(n / 32, 1u << n % 32);
	}
	run_another();                  /* comes back when the last thread has ended */
	round_of[set]++;
	cur = {};
}

/* ---- __syncthreads ---- */

static bool same_text(const char *a, const char *b)
{
	return a == b || !strcmp(a, b);
}

static bool same_site(site a, site b)
{
	return a.line == b.line && same_text(a.file, b.file);
}

void barrier(site s)
{
	const int number = barrier_number & 1;

	(void)number;
	if (!kernel_name)
		fault(s, "__syncthreads() outside of a kernel");
	if (block.at_barrier && !same_site(block.barrier, s))
		fault(s, "divergent __syncthreads(): other threads of the block wait at %s:%d", block.barrier.file,
		      block.barrier.line);
	if (block.alive != block.threads)
		fault(s, "__syncthreads() while a thread of the block has ended");
	block.barrier = s;
	block.barrier_lanes[cur.warp] |= 1u << cur.lane;
	stats.barriers++;
	ON_TSAN(__tsan_release(&token.barrier[block.set][number]);)
	if (++block.at_barrier == block.alive) {
		for (int w = 0; w < block.warps; w++) {
			wake(w, block.barrier_lanes[w]);
			block.barrier_lanes[w] = 0;
		}
		block.at_barrier = 0;
		barrier_number++;
	}
	run_another();
	ON_TSAN(__tsan_acquire(&token.barrier[block.set][number]);)
}

/* ---- operations of a warp ---- */

static group *join(unsigned warp, const char *kind, site s, unsigned mask)
{
	group *g = block.groups[warp], *end = g + block.group_count[warp];

	while (g < end && !(g->mask & mask))
		g++;
	if (g == end) {
		block.group_count[warp]++;
		*g = { kind, s, mask, 0, {} };
	} else if (g->mask != mask || !same_text(g->kind, kind) || !same_site(g->s, s)) {
		fault(s, "divergent warp: this lane is in %s of lanes %08x, others wait in %s of lanes %08x at %s:%d",
		      kind, mask, g->kind, g->mask, g->s.file, g->s.line);
	}
	return g;
}

static void complete(unsigned warp, group *g, warp_operation op)
{
	const unsigned mask = g->mask;
	group *last = &block.groups[warp][--block.group_count[warp]];

	if (op)
		op(g->record, mask);
	if (g != last)
		*g = *last;
	if (opt().random) {
		wake(warp, mask);
		run_another();
	} else {
		wake(warp, mask & ~(1u << cur.lane));
	}
}

void collective(const char *kind, site s, unsigned mask, void *record, warp_operation op)
{
	const unsigned warp = cur.warp;
	const int there = std::min(32, block.threads - (int)warp * 32), number = warp_number[warp] & 3;
	const bool orders = !op;                /* only __syncwarp orders memory: the others exchange registers */
	group *g;

	(void)number;
	if (there < 32 && mask == ~0u)
		fault(s, "%s: full mask in a warp of %d threads", kind, there);
	if (!(mask >> cur.lane & 1))
		fault(s, "%s: lane %u is not in its own mask %08x", kind, cur.lane, mask);
	stats.collectives++;
	g = join(warp, kind, s, mask);
	g->record[cur.lane] = record;
	g->here |= 1u << cur.lane;
	ON_TSAN(if (orders) __tsan_release(&token.warp[block.set][warp][number]);)
	if (g->here == mask) {
		warp_number[warp] += orders;
		complete(warp, g, op);
	} else {
		run_another();
	}
	ON_TSAN(if (orders) __tsan_acquire(&token.warp[block.set][warp][number]);)
}

}
