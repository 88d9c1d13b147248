/*
 * mover.h - what an engine that connects the ranks must do: move bytes.
 *
 * MPI (mpi.c) moves host memory, from a shared object of its own: no program needs MPI to start.  Devices may move what
 * lies in theirs (backend.h's pass).  Arithmetic and its order are the caller's, so that another engine gives the same
 * bytes.
 */
#ifndef RANKS_MOVER_H
#define RANKS_MOVER_H

#include <stdbool.h>
#include <stddef.h>

/* rank < ranks; so many of them are on this machine */
struct rank_place { int rank, ranks, here; };
struct rank_piece { int rank; void *bytes; size_t count; };          /* to or from that rank */

struct mover {
	size_t size;                    /* of this struct: tells another version of the object */
	/* Connects with the others, who all come here.  false: say tells why not. */
	bool (*open)(struct rank_place *mine, char *say, size_t most);
	/* Sends and receives all of these at once, in host memory, and returns when all are done.  Between two ranks
	 * pieces arrive in the order in which they are named.  A rank that is lost ends the job. */
	void (*move)(const struct rank_piece *out, size_t outs, const struct rank_piece *in, size_t ins);
	void (*close)(void);            /* all ranks are done */
	void (*abort)(int status);      /* ends the job, with all its ranks */
};

#define MOVER_SYMBOL "lora_mover"

#endif
