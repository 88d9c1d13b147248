/* Device memory, and pinned memory of the host. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <algorithm>
#include <vector>
#include "emu_internal.h"

namespace emu {

/* An allocation ends at a closed page.  Addresses are never given out twice, so that use after free faults.  Slack up
 * to the next 256 bytes is filled with CANARY; under ASan it is closed as well. */
enum { PAGE = 4096, ALIGN = 256, CANARY = 0xc5 };
/* Larger ones than the backend's scratch stay untouched: a full card can be played on a small host. */
static const size_t SPACE = (size_t)512 << 30, POISON_MOST = (size_t)72 << 20;
/* What the driver takes from the card: whole pages of 2 MiB, small ones share them. */
static const size_t LARGE = (size_t)1 << 20, LARGE_PAGE = (size_t)2 << 20, SMALL_PAGE = 512;

struct allocation {
	char *at;
	size_t bytes;
	char *map; size_t mapped;       /* with slack, without the closed page */
	bool live;
	long number;
};

struct range { char *at; size_t bytes; bool again; };        /* again: map_again_and_again()'s */

static char *space, *space_end, *space_next;
static auto &allocations = *new std::vector<allocation>;        /* by address: they are handed out upwards */
static auto &pinned = *new std::vector<range>;
static int running;

static size_t charge_of(size_t bytes)
{
	const size_t page = bytes < LARGE ? SMALL_PAGE : LARGE_PAGE;

	return (bytes + page - 1) / page * page;
}

/* Not memset(): TSan would take it for an access of the host's. */
static void fill(void *p, int byte, size_t bytes)
{
	asm volatile("rep stosb" : "+D"(p), "+c"(bytes) : "a"(byte) : "memory");
}

void poison(void *p, size_t bytes)
{
	fill(p, 0xff, bytes);
	ON_MSAN(__msan_poison(p, bytes);)
}

static allocation *find(const void *p)  /* the last one that begins at or before p */
{
	auto after = std::upper_bound(allocations.begin(), allocations.end(), (char *)p,
				      [](char *v, const allocation &a) { return v < a.at; });

	return after == allocations.begin() ? NULL : &*--after;
}

bool inside_allocation(const void *p, size_t bytes)
{
	const allocation *a = find(p);

	return a && a->live && (char *)p + bytes <= a->at + a->bytes;
}

bool is_device(const void *p)
{
	return (char *)p >= space && (char *)p < space_end;
}

bool is_pinned(const void *p, size_t bytes)
{
	for (auto &r : pinned)
		if ((char *)p >= r.at && (char *)p + bytes <= r.at + r.bytes)
			return true;
	return false;
}

void need_range(const void *p, size_t bytes, const char *what, const char *argument)
{
	if (bytes && !inside_allocation(p, bytes))
		fault({ what, 0 }, "%s: %s = %p: %zu bytes do not lie inside one live device allocation", what,
		      argument, p, bytes);
}

void check_argument(const void *p, const char *kernel, int number, site s)
{
	if (p && !inside_allocation(p, 1))
		fault(s, "kernel %s, argument %d: %p is not inside a live device allocation%s", kernel, number, p,
		      is_device(p) ? " (freed?)" : " (a host pointer?)");
}

/* ---- closed while the host runs ---- */

static void set_access(bool open)
{
	for (auto &a : allocations)
		if (a.live)
			mprotect(a.map, a.mapped, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

device_runs::device_runs()
{
	if (!running++ && opt().protect)
		set_access(true);
}

device_runs::~device_runs()
{
	if (!--running && opt().protect)
		set_access(false);
}

static void explain(int, siginfo_t *info, void *)
{
	char *at = (char *)info->si_addr;
	const allocation *a = is_device(at) ? find(at) : NULL;

	if (a)
		fault({ "(memory)", 0 }, "%s cannot touch %p, %zd bytes into device allocation #%ld of %zu bytes (%s)",
		      kernel_name ? "device code" : "host code", at, at - a->at, a->number, a->bytes,
		      !a->live ? "freed" : at >= a->at + a->bytes ? "past its end" : "closed to the host");
	fault({ "(memory)", 0 }, "%s cannot touch %p", kernel_name ? "device code" : "host code", at);
}

static void open_space()
{
	struct sigaction action = {};

	space = space_next = (char *)mmap(NULL, SPACE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (space == MAP_FAILED)
		fault({ "device memory", 0 }, "no address space for it");
	space_end = space + SPACE;
	action.sa_sigaction = explain;
	action.sa_flags = SA_SIGINFO | SA_ONSTACK;
	if (!EMU_ASAN) {                /* ASan explains by itself */
		sigaction(SIGSEGV, &action, NULL);
		sigaction(SIGBUS, &action, NULL);
	}
}

/* ---- slack ---- */

static void prepare(const allocation &a)
{
	mprotect(a.map, a.mapped, PROT_READ | PROT_WRITE);
	if (!EMU_ASAN) {
		fill(a.map, CANARY, a.at - a.map);
		fill(a.at + a.bytes, CANARY, a.map + a.mapped - (a.at + a.bytes));
	}
	ON_ASAN(ASAN_POISON_MEMORY_REGION(a.map, a.mapped); ASAN_UNPOISON_MEMORY_REGION(a.at, a.bytes);)
	if (a.bytes <= POISON_MOST)
		poison(a.at, a.bytes);
	if (opt().protect && !running)
		mprotect(a.map, a.mapped, PROT_NONE);
}

static void check_slack(const allocation &a)
{
	const range slack[] = { { a.map, (size_t)(a.at - a.map), false },
				{ a.at + a.bytes, (size_t)(a.map + a.mapped - (a.at + a.bytes)), false } };
	device_runs open;

	for (auto &r : slack)
		for (size_t i = 0; i < r.bytes; i++)
			if ((unsigned char)r.at[i] != CANARY)
				fault({ "(canary)", 0 }, "device allocation #%ld of %zu bytes "
							 "was overwritten at offset %zd", a.number, a.bytes,
				      r.at + i - a.at);
}

static void forget(allocation &a)
{
	if (!EMU_ASAN)
		check_slack(a);
	ON_ASAN(ASAN_UNPOISON_MEMORY_REGION(a.map, a.mapped);)
	madvise(a.map, a.mapped, MADV_DONTNEED);
	mprotect(a.map, a.mapped, PROT_NONE);
}

/* ---- pinned memory ---- */

/* In dry mode the same 2 MiB over and over: a model that stays in host memory need not fit into this one. */
static void *map_again_and_again(size_t bytes)
{
	static const int fd = memfd_create("pinned", 0);
	const size_t mapped = (bytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
	char *at = (char *)mmap(NULL, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED || ftruncate(fd, LARGE_PAGE))
		return NULL;
	for (size_t i = 0; i < mapped; i += LARGE_PAGE)
		if (mmap(at + i, LARGE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
			return NULL;
	return at;
}

static void *take_pinned(size_t bytes)
{
	void *p = NULL;

	if (opt().dry)
		return map_again_and_again(bytes);
	if (posix_memalign(&p, PAGE, bytes))
		return NULL;
	poison(p, bytes);
	return p;
}

static void give_pinned(const range &r)
{
	if (r.again)
		munmap(r.at, (r.bytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE);
	else
		free(r.at);
}

}

using namespace emu;

extern "C" {

int emu_holds(const void *at, size_t bytes) { return inside_allocation(at, bytes); }

cudaError_t cudaMalloc(void **p, size_t bytes)
{
	const size_t rounded = (bytes + ALIGN - 1) / ALIGN * ALIGN, mapped = (rounded + PAGE - 1) / PAGE * PAGE;
	const size_t charge = charge_of(bytes);
	const long number = stats.made;
	allocation a;

	check_stream(NULL);
	if (!p)
		return failed(cudaErrorInvalidValue);
	if (spoils_capture())
		return failed(cudaErrorStreamCaptureUnsupported);
	*p = NULL;
	if (!bytes)
		return cudaSuccess;
	if (!may_make() || stats.used + charge > opt().total)
		return failed(cudaErrorMemoryAllocation);
	if (!space)
		open_space();
	if (mapped + PAGE > (size_t)(space_end - space_next))
		fault({ "cudaMalloc", 0 }, "the stand-in has no addresses left");
	a = { space_next + mapped - rounded, bytes, space_next, mapped, true, number };
	space_next += mapped + PAGE;
	if (!opt().dry)
		prepare(a);
	allocations.push_back(a);
	stats.used += charge;
	stats.peak = std::max(stats.peak, stats.used);
	stats.live++;
	*p = a.at;
	return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
	allocation *a;

	if (!p)
		return cudaSuccess;
	if (spoils_capture())
		return failed(cudaErrorStreamCaptureUnsupported);
	drain_all();
	a = find(p);
	if (!a || a->at != p || !a->live)
		fault({ "cudaFree", 0 }, "%p is not the start of a live device allocation", p);
	if (!opt().dry)
		forget(*a);
	a->live = false;
	stats.used -= charge_of(a->bytes);
	stats.live--;
	return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned)
{
	check_stream(NULL);
	*p = NULL;
	if (spoils_capture())
		return failed(cudaErrorStreamCaptureUnsupported);
	*p = may_make() ? take_pinned(bytes ? bytes : 1) : NULL;
	if (!*p)
		return failed(cudaErrorMemoryAllocation);
	pinned.push_back({ (char *)*p, bytes, opt().dry });
	stats.live++;
	return cudaSuccess;
}

cudaError_t cudaMallocHost(void **p, size_t bytes) { return cudaHostAlloc(p, bytes, cudaHostAllocDefault); }

cudaError_t cudaFreeHost(void *p)
{
	auto it = std::find_if(pinned.begin(), pinned.end(), [p](const range &r) { return r.at == p; });

	if (!p)
		return cudaSuccess;
	if (spoils_capture())
		return failed(cudaErrorStreamCaptureUnsupported);
	drain_all();
	if (it == pinned.end())
		fault({ "cudaFreeHost", 0 }, "%p is not the start of pinned memory", p);
	give_pinned(*it);
	pinned.erase(it);
	stats.live--;
	return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
	*total = opt().total;
	*free = opt().total - stats.used;
	return cudaSuccess;
}

}
