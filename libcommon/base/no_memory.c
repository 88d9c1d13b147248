/*
 * no_memory.c - what happens to a program, libraries included, when there is no memory: it ends with EXIT_MEMORY.
 *
 * Libraries take "no memory" for damage or for absence, go on without a piece, or crash (libpng).  So malloc() and its
 * like are replaced, in the way that glibc's manual describes: the program's own definitions come first and call the
 * next.  A LARGE size is often one that a file claims.  For these NULL is returned, and the callers check it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include "error.h"
#include "memory.h"

#ifdef __has_feature
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
		   __has_feature(memory_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#if !SANITIZED                          /* a sanitizer has its own */

#define LARGE ((size_t)16 << 20)

typedef void *malloc_fn(size_t), *calloc_fn(size_t, size_t), *realloc_fn(void *, size_t);
typedef int posix_memalign_fn(void **, size_t, size_t);

/*
 * The next definition; each of these functions looks it up once, or twice in two threads.  Before glibc 2.34 dlsym()
 * itself calls calloc(), and does without where that gives NULL: there is no next one yet.  volatile: the compiler is
 * told that dlsym() calls nothing here.
 */
static void *next_of(void **known, const char *name)
{
	static __thread volatile int looking;
	void *next = __atomic_load_n(known, __ATOMIC_RELAXED);

	if (!next && !looking) {
		looking = 1;
		next = dlsym(RTLD_NEXT, name);
		looking = 0;
		__atomic_store_n(known, next, __ATOMIC_RELAXED);
	}
	return next;
}

static void *given(void *p, size_t bytes)
{
	if (!p && bytes && bytes <= LARGE)
		die(EXIT_MEMORY, "no memory for %zu bytes; free some, or choose smaller settings", bytes);
	return p;
}

void *malloc(size_t bytes)
{
	static void *next;

	return given(((malloc_fn *)next_of(&next, "malloc"))(bytes), bytes);
}

void *calloc(size_t count, size_t bytes)
{
	static void *next;
	calloc_fn *clear = next_of(&next, "calloc");
	size_t all;

	if (__builtin_mul_overflow(count, bytes, &all))
		all = SIZE_MAX;
	return clear ? given(clear(count, bytes), all) : NULL;
}

void *realloc(void *p, size_t bytes)
{
	static void *next;

	return given(((realloc_fn *)next_of(&next, "realloc"))(p, bytes), bytes);
}

void *aligned_alloc(size_t boundary, size_t bytes)
{
	static void *next;

	return given(((calloc_fn *)next_of(&next, "aligned_alloc"))(boundary, bytes), bytes);
}

/* The codecs'. */
void *memalign(size_t boundary, size_t bytes)
{
	static void *next;

	return given(((calloc_fn *)next_of(&next, "memalign"))(boundary, bytes), bytes);
}

int posix_memalign(void **p, size_t boundary, size_t bytes)
{
	static void *next;
	int failed = ((posix_memalign_fn *)next_of(&next, "posix_memalign"))(p, boundary, bytes);

	if (failed == ENOMEM)
		given(NULL, bytes);
	return failed;
}

#endif
