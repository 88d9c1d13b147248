/* How many threads, and starting one with a stack of 1 MiB. */
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include "error.h"
#include "thread.h"

static int given;       /* by --threads; 0: it was not */

void threads_use(int count)
{
	given = count;
}

/* NULL: it is not set */
static const char *variable(void)
{
	const char *text = getenv("OMP_NUM_THREADS");

	return text && *text ? text : NULL;
}

/* The variable may be a list, of levels that are nested: the first is ours.  0: it is not set, or no such number. */
static int from_environment(void)
{
	const char *text = variable();
	char *end;
	long count;

	if (!text)
		return 0;
	count = strtol(text, &end, 10);
	end += strspn(end, " \t");
	if (count >= 1 && (!*end || *end == ','))
		return count < INT_MAX ? (int)count : INT_MAX;
	return 0;
}

void threads_tell(void)
{
	if (!given && variable() && !from_environment())
		warning("OMP_NUM_THREADS is '%.40s', no whole number from 1; every processor computes", variable());
}

int threads_default(void)
{
	return threads_meant(given ? given : from_environment());
}

int threads_meant(int wanted)
{
	cpu_set_t mine;
	int processors = sched_getaffinity(0, sizeof(mine), &mine) == 0 ? CPU_COUNT(&mine) : 1;

	if (wanted < 1)
		return processors;
	return wanted < 8 * processors ? wanted : 8 * processors;
}

int thread_start(pthread_t *thread, void *(*f)(void *), void *argument)
{
	enum { STACK = 1 << 20 };
	pthread_attr_t attributes;
	int failed = pthread_attr_init(&attributes);

	if (failed)
		return failed;
	failed = pthread_attr_setstacksize(&attributes, STACK);
	if (!failed)
		failed = pthread_create(thread, &attributes, f, argument);
	pthread_attr_destroy(&attributes);
	return failed;
}
