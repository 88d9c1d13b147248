/*
 * mover.so - stands between the ranks and liblora-mpi.so (LORA_MPI names this one): it writes down what is moved, and
 * ends a rank where it is told.
 *
 *   MOVER_UNDER=FILE    the real one
 *   MOVER_LIST=FOLDER   FOLDER/RANK gets a line for each move: bytes out, bytes in
 *   MOVER_KILL=RANK,N   SIGKILL to that rank before its Nth move, from 1
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include "../../libcommon/ranks/mover.h"

extern const struct mover lora_mover;

static const struct mover *under;
static FILE *list;
static int rank, kill_rank = -1, kill_at, moves;

static bool open_under(struct rank_place *mine, char *say, size_t most)
{
	const char *folder = getenv("MOVER_LIST"), *kills = getenv("MOVER_KILL");
	void *object = dlopen(getenv("MOVER_UNDER"), RTLD_NOW | RTLD_GLOBAL);

	under = object ? dlsym(object, MOVER_SYMBOL) : NULL;
	if (!under) {
		snprintf(say, most, "%s", dlerror());
		return false;
	}
	if (!under->open(mine, say, most))
		return false;
	rank = mine->rank;
	if (kills && sscanf(kills, "%d,%d", &kill_rank, &kill_at) != 2)
		abort();
	if (folder) {
		char path[4096];
		snprintf(path, sizeof(path), "%s/%d", folder, rank);
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
	if (++moves == kill_at && rank == kill_rank)
		raise(SIGKILL);
	if (list)
		fprintf(list, "%zu %zu\n", bytes(out, outs), bytes(in, ins));
	under->move(out, outs, in, ins);
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
