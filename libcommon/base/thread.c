/* Threads with a stack of 1 MiB. */
#include <omp.h>
#include <sched.h>
#include "thread.h"

/* The OpenMP library has read the variable, and keeps the number. */
void threads_use(int count)
{
	omp_set_num_threads(count);
}

int threads_default(void)
{
	return threads_meant(omp_get_max_threads());
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
