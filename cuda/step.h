/*
 * step.h - a step that is launched as one: its calls, kept as a CUDA graph, for as long as they stay the same.
 *
 * A step's calls are noted when it first runs (PLAIN), and captured into a graph when it runs again (CAPTURES).  From
 * then on its calls are only compared with the noted ones (FOLLOWS), and the graph is launched at the end.  What may
 * differ from step to step lies in device memory, in a block that is written before the launch: what upload() brings,
 * indices, random numbers' seeds.  Everything else that a call is given is in the number that is noted of it (rows.cu).
 * A call that differs breaks the step: nothing of it was carried out, and it is run again, one launch a call.  So a
 * graph can never hold a value of another step.
 *
 * Owns graphs, their blocks, and when it is not worth going on.  Must not know what a call computes.
 */
#ifndef CUDA_STEP_H
#define CUDA_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device;
struct steps;

struct steps *steps_new(void);                  /* NULL: no memory on the host */
void steps_free(struct steps *s);               /* graphs alone: blocks are the pool's.  Accepts NULL */
/* Memory of the backend's own, of which a graph may know the address, is another now: no graph is used again. */
void steps_forget(struct device *d);

bool step_runs(const struct device *d);         /* between step_begin() and step_end(), where calls are noted */
/* Notes a call, or compares it.  False: it is not to be carried out. */
bool step_call(struct device *d, int row, uint64_t number);
/* A call that no graph can hold: the host waits for it, or takes memory. */
void step_cannot(struct device *d, int row);
/* Where in device memory a value lies that another step may bring anew.  NULL: nowhere; hand it over yourself. */
const void *step_value(struct device *d, const void *host, size_t bytes);

#endif
