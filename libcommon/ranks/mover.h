/*
 * mover.h - what an engine that connects the ranks must do: move bytes.
 *
 * There is one engine, MPI (mpi.c), in a shared object of its own: no program needs MPI to start.  Arithmetic and its
 * order are the caller's, so that another engine gives the same bytes.
 */
#ifndef RANKS_MOVER_H
#define RANKS_MOVER_H

#include <stdbool.h>
#include <stddef.h>

/* rank < ranks; so many of them are on this machine */
struct place { int rank, ranks, here; };
struct piece { int rank; void *bytes; size_t count; };          /* host memory, to or from that rank */

struct mover {
	size_t size;                    /* of this struct: tells another version of the object */
	/* Connects with the others, who all come here.  false: say tells why not. */
	bool (*open)(struct place *mine, char *say, size_t most);
	/* Sends and receives all of these at once, and returns when all are done.  Between two ranks pieces arrive in
	 * the order in which they are named.  A rank that is lost ends the job. */
	void (*move)(const struct piece *out, size_t outs, const struct piece *in, size_t ins);
	void (*close)(void);            /* all ranks are done */
	void (*abort)(int status);      /* ends the job, with all its ranks */
};

#define MOVER_SYMBOL "lora_mover"

#endif
