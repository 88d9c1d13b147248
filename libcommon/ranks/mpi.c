/* liblora-mpi.so: moves bytes between ranks with MPI. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include "mover.h"

/* MPI counts in int. */
enum { PART = 1 << 30, TAG = 14 };

extern const struct mover lora_mover;

/* Those that can share memory with this one. */
static int count_here(void)
{
	MPI_Comm here;
	int count;

	MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &here);
	MPI_Comm_size(here, &count);
	MPI_Comm_free(&here);
	return count;
}

static bool connect_all(struct rank_place *mine, char *say, size_t most)
{
	int threads;

	if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &threads) != MPI_SUCCESS) {
		snprintf(say, most, "MPI_Init failed");
		return false;
	}
	MPI_Comm_rank(MPI_COMM_WORLD, &mine->rank);
	MPI_Comm_size(MPI_COMM_WORLD, &mine->ranks);
	mine->here = count_here();
	return true;
}

static size_t parts(const struct rank_piece *p, size_t count)
{
	size_t i, n = 0;

	for (i = 0; i < count; i++)
		n += (p[i].count + PART - 1) / PART;
	return n;
}

typedef void start_fn(char *at, int bytes, int rank, MPI_Request *request);

static void send_part(char *at, int bytes, int rank, MPI_Request *request)
{
	MPI_Isend(at, bytes, MPI_BYTE, rank, TAG, MPI_COMM_WORLD, request);
}

static void receive_part(char *at, int bytes, int rank, MPI_Request *request)
{
	MPI_Irecv(at, bytes, MPI_BYTE, rank, TAG, MPI_COMM_WORLD, request);
}

static MPI_Request *start(start_fn *fn, const struct rank_piece *p, size_t count, MPI_Request *request)
{
	size_t i, at;

	for (i = 0; i < count; i++)
		for (at = 0; at < p[i].count; at += PART)
			fn((char *)p[i].bytes + at, p[i].count - at < PART ? p[i].count - at : PART, p[i].rank,
			   request++);
	return request;
}

/* Receives are posted first, so that bytes arrive where they belong. */
static void move(const struct rank_piece *out, size_t outs, const struct rank_piece *in, size_t ins)
{
	const size_t n = parts(out, outs) + parts(in, ins);
	MPI_Request *request = malloc((n + 1) * sizeof(*request));

	if (!request) {
		fprintf(stderr, "no memory for %zu messages\n", n);
		MPI_Abort(MPI_COMM_WORLD, 5);
	}
	start(send_part, out, outs, start(receive_part, in, ins, request));
	MPI_Waitall(n, request, MPI_STATUSES_IGNORE);
	free(request);
}

static void disconnect(void)
{
	MPI_Finalize();
}

static void end_job(int status)
{
	MPI_Abort(MPI_COMM_WORLD, status);
}

const struct mover lora_mover = { sizeof(lora_mover), connect_all, move, disconnect, end_job };
