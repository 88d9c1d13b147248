/*
 * thread.h - how many threads, and starting one with a stack of our own size.
 *
 * By default a stack is what `ulimit -s` says: too little for a picture's decoder under a small limit, 8 MiB a thread under the usual one, and
 * whatever address space there is under none.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>

/* How many are meant by `wanted` (an option, OMP_NUM_THREADS): 0 is as many as this process has processors, and eight a processor are the
 * most.  More make nothing faster, and each costs a stack and its memory; the result is the same with any number. */
int threads_meant(int wanted);

/* Of this program: --threads, else OMP_NUM_THREADS, else its processors. */
void threads_use(int count);
int threads_default(void);

/* 0, or an error number as pthread_create(): fewer threads give the same result. */
int thread_start(pthread_t *thread, void *(*f)(void *), void *argument);

#endif
