/*
 * no_memory.so - preloaded: one allocation of a program fails, or all from one on.
 *
 * They are counted from main() on, and those that free() frees are all there are.
 *   FAIL_AT=N           the Nth fails
 *   FAIL_ON=1           and all that follow
 *   FAIL_LIST=FILE      none fails; at the end FILE gets a line for each: its number and a hash of the stack that it
 *   was called from
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

enum { DEPTH = 24, ROOM = 4 << 20 };

static atomic_long count;
static long fail_at;
static int begun, fail_on;
static const char *list;
static uint64_t *stack_of;
static __thread int inside;             /* backtrace() may allocate */

static void note_stack(long n)
{
	void *frame[DEPTH];
	uint64_t hash = 14695981039346656037u;
	int depth;

	inside = 1;
	depth = backtrace(frame, DEPTH);
	for (int i = 2; i < depth; i++)
		hash = (hash ^ (uintptr_t)frame[i]) * 1099511628211u;
	if (n <= ROOM)
		stack_of[n - 1] = hash;
	inside = 0;
}

static int fails(void)
{
	long n;

	if (!begun || inside)
		return 0;
	n = ++count;
	if (list)
		note_stack(n);
	if (!fail_at || (fail_on ? n < fail_at : n != fail_at))
		return 0;
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t n) { return fails() ? NULL : __libc_malloc(n); }
void *calloc(size_t k, size_t n) { return fails() ? NULL : __libc_calloc(k, n); }
void *realloc(void *p, size_t n) { return fails() ? NULL : __libc_realloc(p, n); }
void *memalign(size_t a, size_t n) { return fails() ? NULL : __libc_memalign(a, n); }
void *aligned_alloc(size_t a, size_t n) { return fails() ? NULL : __libc_memalign(a, n); }

int posix_memalign(void **p, size_t a, size_t n)
{
	if (fails())
		return ENOMEM;
	*p = __libc_memalign(a, n);
	return *p ? 0 : ENOMEM;
}

static long number_in(const char *name)
{
	const char *text = getenv(name);

	return text ? atol(text) : 0;
}

static void write_list(void)
{
	FILE *f;

	begun = 0;
	f = fopen(list, "w");
	for (long i = 0; f && i < count && i < ROOM; i++)
		fprintf(f, "%ld %016llx\n", i + 1, (unsigned long long)stack_of[i]);
	if (f)
		fclose(f);
}

static int (*program)(int, char **, char **);

static int begin(int argc, char **argv, char **environment)
{
	fail_at = number_in("FAIL_AT");
	fail_on = (int)number_in("FAIL_ON");
	list = getenv("FAIL_LIST");
	if (list) {
		stack_of = __libc_calloc(ROOM, sizeof(*stack_of));
		atexit(write_list);
	}
	unsetenv("LD_PRELOAD");
	begun = 1;
	return program(argc, argv, environment);
}

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
		      void (*end)(void), void *stack)
{
	__typeof__(&__libc_start_main) real = (__typeof__(&__libc_start_main))dlsym(RTLD_NEXT, "__libc_start_main");

	program = main;
	return real(begin, argc, argv, init, fini, end, stack);
}
