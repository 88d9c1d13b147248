/*
 * launcher.h - which launcher started this program, by the variables that it sets.
 *
 * Must not know what the programs do that are started together.
 */
#ifndef RANKS_LAUNCHER_H
#define RANKS_LAUNCHER_H

#include <stddef.h>

/* Variables that a launcher sets; NULL: there is none.  index counts from `first` (else from 0) in steps of `step`
 * (else of 1). */
struct launcher {
	const char *name, *index, *count, *first, *step;
	const char *mpi;                /* set where the programs are ranks of MPI */
};

extern const struct launcher launchers[];       /* ends with a name NULL */

/* The launcher that started several programs as ranks of MPI; NULL: this one runs alone. */
const struct launcher *launcher_of_ranks(void);

#endif
