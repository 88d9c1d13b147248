/* Opening the engine that connects the ranks; gathering and spreading, made of its moves. */
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "../base/beside.h"
#include "../base/memory.h"
#include "launcher.h"
#include "ranks.h"

/* of what is gathered; smaller ones would cost more time than they save */
enum { LEAST_PIECE = 1 << 16 };
#define MPI_OBJECT "../lib/lora-tools/liblora-mpi.so"

static int cannot(struct error *e, const struct launcher *l, const char *why)
{
	return fail(e, EXIT_MEMORY, "%s started several ranks, but they cannot be connected: %.400s; 'make mpi' "
				    "builds liblora-mpi.so where MPI's compiler is, pip's lora-tools[mpi] and Debian's "
				    "lora-tools-mpi bring it; or start one lora-train without a launcher",
				    l->name, why);
}

/* The libraries of MPI load parts of themselves, which look for the rest among what everybody sees. */
static const struct mover *load(const struct launcher *l, struct error *e)
{
	const struct mover *m;
	char path[PATH_MAX];
	void *object;

	if (beside_program(path, "LORA_MPI", MPI_OBJECT, e) < 0)
		return NULL;
	object = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
	if (!object) {
		cannot(e, l, dlerror());
		return NULL;
	}
	m = dlsym(object, MOVER_SYMBOL);
	if (m && m->size == sizeof(*m))
		return m;
	fail(e, EXIT_MEMORY, "%s belongs to another version of this program; build both again", path);
	return NULL;
}

int ranks_open(struct ranks *r, struct error *e)
{
	const struct launcher *l = launcher_of_ranks();
	const struct mover *m;
	struct rank_place mine;
	char say[256] = "";

	*r = (struct ranks){ .count = 1, .here = 1 };
	if (!l)
		return 0;
	m = load(l, e);
	if (!m)
		return -1;
	if (!m->open(&mine, say, sizeof(say)))
		return cannot(e, l, say);
	*r = (struct ranks){ .rank = mine.rank, .count = mine.ranks, .here = mine.here, .mover = m };
	if (r->count > 1)
		return 0;
	/* each of them would train on its own, into the same files */
	ranks_close(r);
	return cannot(e, l, "its MPI is not the one that liblora-mpi.so was built for");
}

/* MPI's own end does not wait, and the launcher kills who is still writing when another is gone. */
void ranks_close(struct ranks *r)
{
	char *all = xcalloc(r->count, 1);

	ranks_gather_each(r, all, 1);
	free(all);
	if (r->mover)
		r->mover->close();
	*r = (struct ranks){ .count = 1, .here = 1 };
}

void ranks_abort(struct ranks *r, int status)
{
	if (r->mover)
		r->mover->abort(status);
}

/* Signals wait meanwhile: MPICH takes a system call that one interrupts for a broken connection. */
void ranks_move(const struct ranks *r, const struct rank_piece *out, size_t outs, const struct rank_piece *in,
		size_t ins)
{
	static const int ours[] = { SIGTERM, SIGHUP, SIGINT, SIGUSR1, SIGUSR2 };
	sigset_t wait, before;

	if (!r->mover)
		return;
	sigemptyset(&wait);
	for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
		sigaddset(&wait, ours[i]);
	pthread_sigmask(SIG_BLOCK, &wait, &before);
	r->mover->move(out, outs, in, ins);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Where a link of the ring is in what it carries: the parts of one rank after another, in pieces. */
struct walk { int rank; size_t at; };

static struct rank_piece next_piece(const struct ranks *r, struct walk *w, int other, void *all, const size_t *at,
			       size_t most)
{
	const size_t left = at[w->rank + 1] - w->at;
	const struct rank_piece p = { other, (char *)all + w->at, left < most ? left : most };

	w->at += p.count;
	if (p.count == left) {
		w->rank = (w->rank + r->count - 1) % r->count;
		w->at = at[w->rank];
	}
	return p;
}

/* Around a ring: a rank hands on what it got in an earlier turn, after its own.  Each byte crosses each link once.  All
 * have a turn at the same time, so a rank that has more than the others would hold up every turn but for the pieces. */
void ranks_gather(const struct ranks *r, void *all, const size_t *at)
{
	const int next = (r->rank + 1) % r->count, last = (r->rank + r->count - 1) % r->count;
	const size_t equal = at[r->count] / r->count / 4 + 1, most = equal > LEAST_PIECE ? equal : LEAST_PIECE;
	struct walk out = { r->rank, at[r->rank] }, in = { last, at[last] };

	while (out.rank != next || in.rank != r->rank) {
		const bool sends = out.rank != next, gets = in.rank != r->rank;
		struct rank_piece to, from;

		if (sends)
			to = next_piece(r, &out, next, all, at, most);
		if (gets)
			from = next_piece(r, &in, last, all, at, most);
		ranks_move(r, &to, sends, &from, gets);
	}
}

void ranks_gather_each(const struct ranks *r, void *all, size_t each)
{
	size_t *at = xcalloc(r->count + 1, sizeof(*at));

	for (int i = 0; i <= r->count; i++)
		at[i] = i * each;
	ranks_gather(r, all, at);
	free(at);
}

/* Down a tree: in each turn every rank that has the bytes sends them to one that has not. */
void ranks_spread(const struct ranks *r, void *bytes, size_t count)
{
	for (int have = 1; have < r->count; have *= 2) {
		const struct rank_piece to = { r->rank + have, bytes, count }, from = { r->rank - have, bytes, count };

		if (r->rank < have)
			ranks_move(r, &to, to.rank < r->count, NULL, 0);
		else if (r->rank < 2 * have)
			ranks_move(r, NULL, 0, &from, 1);
	}
}
