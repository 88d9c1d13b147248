/*
 * nccl.so - stands in for NVIDIA's libnccl.so.2, over sockets, between programs that use the stand-in for a card
 * (tests/emu).  It is stricter than NCCL: what would hang there, or move something else, is an error here.
 *
 * What is sent runs in the stream, as NCCL's kernels do.  Every piece tells the receiver which of the group it is, how
 * many bytes it has and of which type; pieces lie in one allocation of the device; nothing is left at the end.
 *
 *   FAKE_NCCL=WORD         no-init: ranks cannot be joined; deaf: nothing arrives, and nobody says so
 *   FAKE_NCCL=WORD,RANK,N  lost: rank RANK goes away in its Nth group, from 1; swapped: it names two
 *                          pieces of different size the other way round
 *   FAKE_NCCL_LOG=FOLDER   FOLDER/RANK gets a line for each group: bytes out, bytes in, pieces out, pieces in
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SHOWN __attribute__((visibility("default")))
enum { SUCCESS, SYSTEM_ERROR = 2, INTERNAL_ERROR, INVALID_ARGUMENT, INVALID_USAGE, REMOTE_ERROR };
enum { MOST = 16, SECONDS = 20, TYPES = 12 };

struct id { char bytes[128]; };
/* What goes before a piece. */
struct label { uint64_t group, index, bytes; int64_t type; };
struct move { int peer, sends; char *at; struct label label; size_t done; };
struct group { struct move *move; size_t count; uint64_t number; };

typedef int launch_fn(void *stream, void (*run)(void *), void *given);
typedef int holds_fn(const void *at, size_t bytes);

static struct { int rank, ranks, fd[MOST], error; launch_fn *launch; holds_fn *holds; FILE *log; } comm;
static struct { int depth; struct group *of; void *stream; int wrong; uint64_t number; } open_group;

/* ---- what a test wants ---- */

static int says(const char *word, uint64_t group)
{
	const char *all = getenv("FAKE_NCCL");
	const size_t n = strlen(word);
	unsigned long rank, number;

	if (!all || strncmp(all, word, n))
		return 0;
	if (!all[n])
		return 1;
	return sscanf(all + n, ",%lu,%lu", &rank, &number) == 2 && rank == (unsigned long)comm.rank &&
	       number == group;
}

static int wrong(int result, const char *what, unsigned long a, unsigned long b)
{
	fprintf(stderr, "nccl.so: rank %d, group %lu: %s (%lu, %lu)\n", comm.rank,
		(unsigned long)open_group.number, what, a, b);
	return result;
}

/* ---- joining ---- */

int ncclGetVersion(int *version);
SHOWN int ncclGetVersion(int *version) { *version = 22809; return SUCCESS; }

const char *ncclGetErrorString(int result);
SHOWN const char *ncclGetErrorString(int result)
{
	static const char *const texts[] = { "no error", "unhandled cuda error", "unhandled system error",
					     "internal error", "invalid argument", "invalid usage", "remote error" };

	return result >= 0 && result <= REMOTE_ERROR ? texts[result] : "unknown result code";
}

int ncclGetUniqueId(struct id *id);
SHOWN int ncclGetUniqueId(struct id *id)
{
	memset(id, 0, sizeof(*id));
	snprintf(id->bytes, sizeof(id->bytes), "nccl-%ld", (long)getpid());
	return SUCCESS;
}

static struct sockaddr_un address(const struct id *id, int rank)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%.80s-%d", id->bytes, rank);
	return a;
}

static int meet_lower(const struct id *id, int peer)
{
	const struct sockaddr_un to = address(id, peer);
	const int32_t rank = comm.rank;
	int tries;

	comm.fd[peer] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	for (tries = 0; connect(comm.fd[peer], (const struct sockaddr *)&to, sizeof(to)); tries++) {
		if (tries == SECONDS * 100)
			return -1;
		usleep(10000);
	}
	return write(comm.fd[peer], &rank, sizeof(rank)) == sizeof(rank) ? 0 : -1;
}

static int meet_higher(int listener)
{
	struct pollfd p = { listener, POLLIN, 0 };
	int32_t rank;
	int fd;

	if (poll(&p, 1, SECONDS * 1000) != 1)
		return -1;
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0 || recv(fd, &rank, sizeof(rank), MSG_WAITALL) != sizeof(rank) || rank <= comm.rank ||
	    rank >= comm.ranks || comm.fd[rank] >= 0)
		return -1;
	comm.fd[rank] = fd;
	return 0;
}

static int meet_all(const struct id *id)
{
	const struct sockaddr_un me = address(id, comm.rank);
	const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r, result = bind(listener, (const struct sockaddr *)&me, sizeof(me)) || listen(listener, MOST) ? -1 : 0;

	for (r = 0; r < comm.rank && !result; r++)
		result = meet_lower(id, r);
	for (r = comm.rank + 1; r < comm.ranks && !result; r++)
		result = meet_higher(listener);
	close(listener);
	for (r = 0; r < comm.ranks && !result; r++)
		if (r != comm.rank)
			fcntl(comm.fd[r], F_SETFL, O_NONBLOCK);
	return result;
}

int ncclCommInitRank(void **c, int ranks, struct id id, int rank);
SHOWN int ncclCommInitRank(void **c, int ranks, struct id id, int rank)
{
	void *card = dlopen(getenv("LORA_CUDA"), RTLD_NOW | RTLD_NOLOAD);
	const char *folder = getenv("FAKE_NCCL_LOG");
	char path[4096];
	int r;

	if (says("no-init", 0))
		return SYSTEM_ERROR;
	if (ranks > MOST || rank < 0 || rank >= ranks || !card)
		return INVALID_ARGUMENT;
	comm.launch = (launch_fn *)dlsym(card, "cudaLaunchHostFunc");
	comm.holds = (holds_fn *)dlsym(card, "emu_holds");
	comm.rank = rank;
	comm.ranks = ranks;
	for (r = 0; r < ranks; r++)
		comm.fd[r] = -1;
	if (folder) {
		snprintf(path, sizeof(path), "%s/%d", folder, rank);
		comm.log = fopen(path, "w");
	}
	*c = &comm;
	return !comm.launch || !comm.holds || meet_all(&id) ? SYSTEM_ERROR : SUCCESS;
}

static void part(void)
{
	for (int r = 0; r < comm.ranks; r++)
		if (r != comm.rank && comm.fd[r] >= 0)
			shutdown(comm.fd[r], SHUT_RDWR);
}

int ncclCommGetAsyncError(void *c, int *result);
SHOWN int ncclCommGetAsyncError(void *c, int *result)
{
	*result = comm.error;
	return c == &comm ? SUCCESS : INVALID_ARGUMENT;
}

int ncclCommAbort(void *c);
SHOWN int ncclCommAbort(void *c) { part(); return c == &comm ? SUCCESS : INVALID_ARGUMENT; }

int ncclCommDestroy(void *c);
SHOWN int ncclCommDestroy(void *c)
{
	char left;

	for (int r = 0; r < comm.ranks; r++)
		if (r != comm.rank && recv(comm.fd[r], &left, 1, MSG_PEEK | MSG_DONTWAIT) > 0) {
			wrong(0, "something was sent that nobody received", r, 0);
			_exit(42);
		}
	if (comm.log)
		fclose(comm.log);
	return c == &comm ? SUCCESS : INVALID_ARGUMENT;
}

/* ---- groups ---- */

int ncclGroupStart(void);
SHOWN int ncclGroupStart(void)
{
	if (!open_group.depth++) {
		open_group.of = calloc(1, sizeof(*open_group.of));
		open_group.stream = NULL;
		open_group.wrong = 0;
	}
	return SUCCESS;
}

static int add(int sends, char *at, size_t count, int type, int peer, void *c, void *stream)
{
	static const int sizes[TYPES] = { 1, 1, 4, 4, 8, 8, 2, 4, 8, 2, 1, 1 };
	struct group *g = open_group.of;
	size_t index = 0, i;

	if (!open_group.depth)
		return wrong(INVALID_USAGE, "a piece outside of a group may wait for one that never comes", peer, 0);
	if (c != &comm || peer < 0 || peer >= comm.ranks || peer == comm.rank || type < 0 || type >= TYPES || !count)
		return open_group.wrong = wrong(INVALID_ARGUMENT, "peer, type or count", peer, count);
	if (open_group.stream && open_group.stream != stream)
		return open_group.wrong = wrong(INVALID_USAGE, "two streams in a group", 0, 0);
	if (!comm.holds(at, count * sizes[type]))
		return open_group.wrong = wrong(INVALID_ARGUMENT, "a piece is not in the card's memory", peer, count);
	open_group.stream = stream;
	for (i = 0; i < g->count; i++)
		index += g->move[i].peer == peer && g->move[i].sends == sends;
	g->move = realloc(g->move, (g->count + 1) * sizeof(*g->move));
	g->move[g->count++] = (struct move){ peer, sends, at, { 0, index, count * sizes[type], type }, 0 };
	return SUCCESS;
}

int ncclSend(const void *at, size_t count, int type, int peer, void *c, void *stream);
SHOWN int ncclSend(const void *at, size_t count, int type, int peer, void *c, void *stream)
{
	return add(1, (char *)(uintptr_t)at, count, type, peer, c, stream);
}

int ncclRecv(void *at, size_t count, int type, int peer, void *c, void *stream);
SHOWN int ncclRecv(void *at, size_t count, int type, int peer, void *c, void *stream)
{
	return add(0, at, count, type, peer, c, stream);
}

/* ---- moving: what a group's kernel does ---- */

/* The first piece to or from a peer that has not gone yet. */
static struct move *next_of(const struct group *g, int peer, int sends)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->move[i].peer == peer && g->move[i].sends == sends &&
		    g->move[i].done < sizeof(struct label) + g->move[i].label.bytes)
			return &g->move[i];
	return NULL;
}

/* Bytes of a label or a piece, as many as the socket takes or has.  0: it has to wait; -1: the peer is gone. */
static ssize_t transfer(struct move *m, char *at, size_t bytes)
{
	const int fd = comm.fd[m->peer];
	const ssize_t n = m->sends ? send(fd, at, bytes, MSG_NOSIGNAL) : recv(fd, at, bytes, 0);

	if (n > 0)
		m->done += (size_t)n;
	return n > 0 ? n : n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static int check_label(const struct label *is, const struct label *want)
{
	if (is->group != want->group || is->index != want->index)
		return wrong(INVALID_USAGE, "another piece came than was expected", is->index, want->index);
	if (is->bytes != want->bytes || is->type != want->type)
		return wrong(INVALID_USAGE, "a piece came with other bytes than were expected", is->bytes,
			     want->bytes);
	return SUCCESS;
}

/* Goes on with a piece as far as it goes; a result of NCCL's. */
static int go_on(struct move *m, struct label *came)
{
	const size_t label = sizeof(m->label);
	ssize_t n = 1;

	while (n > 0 && m->done < label + m->label.bytes) {
		if (m->done < label) {
			n = transfer(m, (char *)(m->sends ? &m->label : came) + m->done, label - m->done);
			if (m->done == label && !m->sends) {
				const int result = check_label(came, &m->label);
				if (result != SUCCESS)
					return result;
			}
		} else {
			n = transfer(m, m->at + (m->done - label), m->label.bytes - (m->done - label));
		}
	}
	return n < 0 ? REMOTE_ERROR : SUCCESS;
}

static int turn(const struct group *g, struct label *came, int *left)
{
	struct pollfd p[MOST];
	int n = 0, r, result = SUCCESS;

	for (r = 0; r < comm.ranks; r++) {
		const int events = (next_of(g, r, 1) ? POLLOUT : 0) | (next_of(g, r, 0) ? POLLIN : 0);
		if (r != comm.rank && events)
			p[n++] = (struct pollfd){ comm.fd[r], (short)events, 0 };
	}
	*left = n;
	if (n && poll(p, n, SECONDS * 1000) == 0)
		return wrong(INTERNAL_ERROR, "waited in vain: NCCL would hang", g->count, 0);
	for (r = 0; r < comm.ranks && n && result == SUCCESS; r++) {
		struct move *out = next_of(g, r, 1), *in = next_of(g, r, 0);
		if (out)
			result = go_on(out, NULL);
		if (in && result == SUCCESS)
			result = go_on(in, &came[r]);
	}
	return result;
}

static void run(void *given)
{
	struct group *g = given;
	struct label came[MOST];
	int left = 1;

	if (says("deaf", 0))
		g->count = 0;
	while (left && comm.error == SUCCESS)
		comm.error = turn(g, came, &left);
	if (comm.error != SUCCESS)
		part();
	free(g->move);
	free(g);
}

static void swap(struct group *g)
{
	struct move *a = g->move, *b = a;
	const struct move first = *a;

	while (b < a + g->count && (a->peer != b->peer || a->sends != b->sends ||
				    a->label.bytes == b->label.bytes))
		b++;
	if (b == a + g->count)
		return;
	a->at = b->at;
	a->label.bytes = b->label.bytes;
	b->at = first.at;
	b->label.bytes = first.label.bytes;
}

static void tell(const struct group *g)
{
	unsigned long bytes[2] = { 0, 0 }, pieces[2] = { 0, 0 };

	for (size_t i = 0; i < g->count; i++) {
		bytes[g->move[i].sends] += g->move[i].label.bytes;
		pieces[g->move[i].sends]++;
	}
	if (comm.log)
		fprintf(comm.log, "%lu %lu %lu %lu\n", bytes[1], bytes[0], pieces[1], pieces[0]);
}

int ncclGroupEnd(void);
SHOWN int ncclGroupEnd(void)
{
	struct group *g = open_group.of;

	if (!open_group.depth)
		return wrong(INVALID_USAGE, "a group ends that did not begin", 0, 0);
	if (--open_group.depth)
		return SUCCESS;
	if (open_group.wrong)
		return open_group.wrong;
	g->number = ++open_group.number;
	for (size_t i = 0; i < g->count; i++)
		g->move[i].label.group = g->number;
	tell(g);
	if (says("lost", g->number))
		part();
	if (says("swapped", g->number))
		swap(g);
	comm.launch(open_group.stream, run, g);
	return SUCCESS;
}
