/* Shared memory of the block that runs, and copies into it that are under way. */
#include <sys/mman.h>
#include <vector>
#include "emu_internal.h"

namespace emu {

/* 48 KB without asking, 99 KB where a launcher asked: what compute capability 8.6 has.
 * Each array has a red zone behind it. */
enum { USUAL = 48 << 10, MOST = 99 << 10, AREA = 256 << 10, RED = 64, ARRAYS = 64 };

static struct {
	char *base;                     /* of the set that runs */
	int set;
	size_t end, limit, wanted;
	char *dynamic;
	struct { const void *key; char *at; } arrays[ARRAYS];
	int count;
} shared;

static char *take(size_t bytes)
{
	char *at = shared.base + shared.end;

	ON_ASAN(ASAN_UNPOISON_MEMORY_REGION(at, bytes);)
	poison(at, bytes);
	shared.end += (bytes + 15) / 16 * 16 + RED;
	return at;
}

void shared_reset(int set, size_t dynamic)
{
	static char *memory = (char *)mmap(NULL, 2 * AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		fault({ "shared memory", 0 }, "no memory for it");
	shared.base = memory + (size_t)set * AREA;
	shared.set = set;
	ON_ASAN(ASAN_POISON_MEMORY_REGION(shared.base, AREA);)
	shared.end = RED;
	shared.count = 0;
	shared.wanted = dynamic;
	shared.limit = dynamic > USUAL ? MOST : USUAL;
	shared.dynamic = take(dynamic);
}

/* Every thread comes by; the first one makes the array. */
void *shared_static(const void *key, size_t bytes, size_t align, site s)
{
	for (int i = 0; i < shared.count; i++)
		if (shared.arrays[i].key == key)
			return shared.arrays[i].at;
	shared.wanted += bytes;
	if (shared.wanted > shared.limit)
		fault(s, "shared memory: %zu bytes wanted, %zu allowed", shared.wanted, shared.limit);
	if (shared.count == ARRAYS || align > 16)
		fault(s, "shared memory: more than %d arrays, or aligned to more than 16 bytes", (int)ARRAYS);
	shared.arrays[shared.count] = { key, take(bytes) };
	return shared.arrays[shared.count++].at;
}

void *shared_dynamic() { return shared.dynamic; }
char *shared_base() { return shared.base; }

bool in_shared(const void *p, size_t bytes)
{
	return (const char *)p >= shared.base && (const char *)p + bytes <= shared.base + shared.end;
}

/* ---- cp.async ---- */

struct copy { void *dst; const void *src; unsigned bytes, valid; site s; unsigned group; bool done; };

static struct { std::vector<copy> copies; unsigned group; } flight[2][MOST_THREADS];

/* The bytes may move at any time until the wait.  Race detectors hear of it now; the move itself comes at the wait, so
 * that a missing wait leaves NaN, or, by chance, at once, as that alone shows a buffer that is still being read. */
void cp_async(void *dst, const void *src, unsigned bytes, unsigned valid, site s)
{
	auto &mine = flight[shared.set][cur.flat];
	const bool at_once = opt().random && draw() % 2;

	if (((uintptr_t)dst | (uintptr_t)src) % bytes)
		fault(s, "cp.async: an address is not a multiple of %u", bytes);
	if (!in_shared(dst, bytes))
		fault(s, "cp.async: the destination is not shared memory");
	if (!inside_allocation(src, valid ? valid : 1))
		fault(s, "cp.async: the source is not inside a live device allocation");
	tell_write(dst, bytes);
	tell_read(src, valid);
	if (at_once)
		copy_words(dst, src, bytes, valid);
	mine.copies.push_back({ dst, src, bytes, valid, s, mine.group, at_once });
}

void cp_async_commit() { flight[shared.set][cur.flat].group++; }

void cp_async_wait(unsigned groups_left)
{
	auto &mine = flight[shared.set][cur.flat];
	size_t i = 0;

	for (; i < mine.copies.size() && mine.copies[i].group + groups_left < mine.group; i++)
		if (!mine.copies[i].done)
			copy_words(mine.copies[i].dst, mine.copies[i].src, mine.copies[i].bytes, mine.copies[i].valid);
	mine.copies.erase(mine.copies.begin(), mine.copies.begin() + i);
}

void cp_async_end()
{
	auto &mine = flight[shared.set][cur.flat];

	if (!mine.copies.empty())
		fault(mine.copies[0].s, "cp.async: nobody waited for it before the thread ended");
	mine.group = 0;
}

}
