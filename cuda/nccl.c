/* Moves bytes between the cards of several ranks by NCCL. */
#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../libcommon/base/library.h"
#include "nccl.h"

/* ---- the part of NCCL's interface that is used here, as its header (2.31) has it; ncclSend() came with 2.7 ---- */

enum { SUCCESS, IN_PROGRESS = 7, BYTES = 1 };           /* ncclResult_t; ncclUint8 */
typedef struct comm *comm;
struct meeting { char bytes[NCCL_MEETING]; };

struct functions {
	int (*version)(int *version);
	const char *(*say)(int result);
	int (*meeting)(struct meeting *m);
	int (*join)(comm *c, int ranks, struct meeting m, int rank);
	int (*result)(comm c, int *result);
	int (*abort)(comm c);
	int (*destroy)(comm c);
	int (*group_start)(void);
	int (*group_end)(void);
	int (*send)(const void *at, size_t count, int type, int rank, comm c, cudaStream_t st);
	int (*receive)(void *at, size_t count, int type, int rank, comm c, cudaStream_t st);
};

struct nccl {
	struct functions f;
	comm comm;                      /* NULL: not joined */
};

#define AT(member) offsetof(struct functions, member)
static const struct library_function needed[] = {
	{ "ncclGetVersion", AT(version) }, { "ncclGetErrorString", AT(say) }, { "ncclGetUniqueId", AT(meeting) },
	{ "ncclCommInitRank", AT(join) }, { "ncclCommGetAsyncError", AT(result) }, { "ncclCommAbort", AT(abort) },
	{ "ncclCommDestroy", AT(destroy) }, { "ncclGroupStart", AT(group_start) }, { "ncclGroupEnd", AT(group_end) },
	{ "ncclSend", AT(send) }, { "ncclRecv", AT(receive) },
};

/* Opened here first: where pip lays NVIDIA's libraries this object knows, and the program does not. */
struct nccl *nccl_open(const char *file)
{
	struct nccl *n = calloc(1, sizeof(*n));

	if (n && dlopen(file, RTLD_NOW | RTLD_LOCAL) &&
	    library_open(file, needed, sizeof(needed) / sizeof(*needed), &n->f))
		return n;
	free(n);
	return NULL;
}

void nccl_close(struct nccl *n)
{
	if (n && n->comm)
		n->f.destroy(n->comm);
	free(n);
}

/* 22809 is 2.28.9, and 2708 was 2.7.8 */
void nccl_version(const struct nccl *n, char *text, size_t most)
{
	int v = 0;

	if (n->f.version(&v) != SUCCESS || v < 1000)
		snprintf(text, most, "NCCL");
	else if (v < 10000)
		snprintf(text, most, "NCCL %d.%d.%d", v / 1000, v / 100 % 10, v % 100);
	else
		snprintf(text, most, "NCCL %d.%d.%d", v / 10000, v / 100 % 100, v % 100);
}

static const char *said(const struct nccl *n, int result)
{
	return result == SUCCESS ? NULL : n->f.say(result);
}

const char *nccl_meeting(const struct nccl *n, char *meeting)
{
	struct meeting m;
	const char *wrong = said(n, n->f.meeting(&m));

	if (!wrong)
		memcpy(meeting, m.bytes, sizeof(m.bytes));
	return wrong;
}

const char *nccl_join(struct nccl *n, const char *meeting, const struct rank_place *mine)
{
	struct meeting m;
	const char *wrong;

	memcpy(m.bytes, meeting, sizeof(m.bytes));
	wrong = said(n, n->f.join(&n->comm, mine->ranks, m, mine->rank));
	if (wrong)
		n->comm = NULL;
	return wrong;
}

/* ---- moving ---- */

/* Nothing is sent of a piece without bytes: both sides know that it has none. */
static int name_all(const struct nccl *n, cudaStream_t st, const struct rank_piece *out, size_t outs,
		    const struct rank_piece *in, size_t ins)
{
	int result = SUCCESS;
	size_t i;

	for (i = 0; i < outs && result == SUCCESS; i++)
		if (out[i].count)
			result = n->f.send(out[i].bytes, out[i].count, BYTES, out[i].rank, n->comm, st);
	for (i = 0; i < ins && result == SUCCESS; i++)
		if (in[i].count)
			result = n->f.receive(in[i].bytes, in[i].count, BYTES, in[i].rank, n->comm, st);
	return result;
}

/* A stream that waits for a lost rank never ends, and says nothing: NCCL is asked meanwhile. */
static const char *wait_for_all(struct nccl *n, cudaStream_t st)
{
	cudaError_t status;

	do {
		int later = SUCCESS, result;

		status = cudaStreamQuery(st);
		result = n->f.result(n->comm, &later);
		result = result == SUCCESS ? later : result;
		if (result != SUCCESS && result != IN_PROGRESS) {
			n->f.abort(n->comm);
			n->comm = NULL;
			return said(n, result);
		}
		if (status == cudaErrorNotReady)
			sched_yield();
	} while (status == cudaErrorNotReady);
	return status == cudaSuccess ? NULL : cudaGetErrorString(status);
}

const char *nccl_pass(struct nccl *n, cudaStream_t st, const struct rank_piece *out, size_t outs,
		      const struct rank_piece *in, size_t ins)
{
	int result = n->f.group_start(), ended;

	if (result != SUCCESS)
		return said(n, result);
	result = name_all(n, st, out, outs, in, ins);
	ended = n->f.group_end();
	if (result != SUCCESS || ended != SUCCESS)
		return said(n, result != SUCCESS ? result : ended);
	return wait_for_all(n, st);
}
