/*
 * mover.so - stands between the ranks and liblora-mpi.so (LORA_MPI names this one): it writes down what is moved, and
 * ends or stops a rank where it is told.
 *
 *   MOVER_UNDER=FILE    the real one
 *   MOVER_LIST=FOLDER   FOLDER/RANK gets a line for each move: bytes out, bytes in
 *   MOVER_KILL=RANK,N   SIGKILL to that rank before its Nth move, from 1
 *   MOVER_STOP=RANK,N   SIGSTOP to that rank after its Nth move
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include "../../libcommon/ranks/mover.h"

extern const struct mover lora_mover;

static const struct mover *under;
static FILE *list;
static int moves, kill_at, stop_at;            /* this rank's; 0: never */

/* The N of RANK,N in that variable if RANK is this one. */
static int place(const char *variable, int mine)
{
	const char *text = getenv(variable);
	int rank, n;

	if (!text)
		return 0;
	if (sscanf(text, "%d,%d", &rank, &n) != 2)
		abort();
	return rank == mine ? n : 0;
}

static bool open_under(struct rank_place *mine, char *say, size_t most)
{
	const char *folder = getenv("MOVER_LIST");
	void *object = dlopen(getenv("MOVER_UNDER"), RTLD_NOW | RTLD_GLOBAL);

	under = object ? dlsym(object, MOVER_SYMBOL) : NULL;
	if (!under) {
		snprintf(say, most, "%s", dlerror());
		return false;
	}
	if (!under->open(mine, say, most))
		return false;
	kill_at = place("MOVER_KILL", mine->rank);
	stop_at = place("MOVER_STOP", mine->rank);
	if (folder) {
		char path[4096];
		snprintf(path, sizeof(path), "%s/%d", folder, mine->rank);
		list = fopen(path, "w");
	}
	return true;
}

static size_t bytes(const struct rank_piece *p, size_t count)
{
	size_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += p[i].count;
	return sum;
}

static void move(const struct rank_piece *out, size_t outs, const struct rank_piece *in, size_t ins)
{
	if (++moves == kill_at)
		raise(SIGKILL);
	if (list)
		fprintf(list, "%zu %zu\n", bytes(out, outs), bytes(in, ins));
	under->move(out, outs, in, ins);
	if (moves == stop_at)
		raise(SIGSTOP);
}

static void close_under(void)
{
	if (list)
		fclose(list);
	under->close();
}

static void abort_under(int status)
{
	under->abort(status);
}

const struct mover lora_mover = { sizeof(lora_mover), open_under, move, close_under, abort_under };
