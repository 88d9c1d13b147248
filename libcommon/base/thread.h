/*
 * thread.h - the number of threads, and starting one with a stack of 1 MiB.
 *
 * By default a thread's stack has the size that `ulimit -s` says.  That is too small for a picture decoder under a low
 * limit, 8 MiB a thread under the usual one, and as much address space as there is under none.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>

/* The number of threads for `wanted` (an option, OMP_NUM_THREADS).  0 means one for each processor of this process; the
 * most is eight a processor.  More make nothing faster, and each costs a stack and its memory.  The result is the same
 * with any number. */
int threads_meant(int wanted);

/* The number of threads of this program: --threads, else OMP_NUM_THREADS, else its processors. */
void threads_use(int count);                    /* 0: --threads was not given */
int threads_default(void);
/* Warns of an OMP_NUM_THREADS that is no such number, if it counts; threads_default() is called often and says
 * nothing. */
void threads_tell(void);

/* Returns 0, or an error number as pthread_create() does.  Fewer threads give the same result. */
int thread_start(pthread_t *thread, void *(*f)(void *), void *argument);

#endif
