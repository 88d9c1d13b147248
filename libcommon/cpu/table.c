/* A loop over all parameters of a table, cut into chunks: a small parameter is one, and threads share them all. */
#include <string.h>
#include "internal.h"

/* A task is a chunk of a row. */
struct place { int row, chunk; };

struct loop { const struct table *table; const struct place *place; double *part; };

static struct trained from(const struct trained *row, size_t at)
{
	struct trained u = *row;

	if (u.p)
		u.p += at;
	if (u.grad)
		u.grad += at;
	for (int i = 0; i < TRAINED_STATES; i++)
		u.state[i] = u.state[i] ? (float *)u.state[i] + at : NULL;
	u.n = chunk_length(row->n, at);
	return u;
}

/* A rule may have none.  NULL + 0 is undefined, here as above. */
static const void *step_of(const struct table *t, int row)
{
	return t->steps ? (const char *)t->steps + row * t->step_size : NULL;
}

static void table_task(struct device *d, const void *arg, int task, int thread)
{
	const struct loop *l = arg;
	const struct place *place = &l->place[task];
	const struct trained *row = &l->table->t[place->row];
	const size_t at = (size_t)place->chunk * CHUNK;
	float *room = thread_scratch(d, thread, 3 * CHUNK * sizeof(*room));
	const struct chunk c = { d->k, from(row, at), row, at, step_of(l->table, place->row), l->table->common,
				 { room, room + CHUNK, room + 2 * CHUNK } };

	l->table->rule(&c, l->part + (size_t)task * l->table->sums);
}

static void add_up(double *sum, const double *part, int tasks, const struct place *place, int sums)
{
	for (int i = 0; i < tasks; i++)
		for (int k = 0; k < sums; k++) {
			double *to = &sum[place[i].row * sums + k];

			*to = part[i * sums + k] + (place[i].chunk ? *to : 0);
		}
}

void run_table(struct device *d, const struct table *t, double *sum)
{
	struct loop loop = { t };
	struct place *place;
	double work = 0;
	char *scratch;
	int tasks = 0;

	for (int i = 0; i < t->count; i++)
		tasks += chunks_of(t->t[i].n);
	if (!tasks)
		return;
	scratch = caller_scratch(d, tasks * (t->sums * sizeof(double) + sizeof(*place)));
	loop.part = (double *)scratch;
	loop.place = place = (struct place *)(loop.part + (size_t)tasks * t->sums);
	for (int i = 0; i < t->count; i++) {
		work += t->work * t->t[i].n;
		for (int k = 0; k < chunks_of(t->t[i].n); k++)
			*place++ = (struct place){ i, k };
	}
	run_tasks(d, tasks, work, table_task, &loop);
	add_up(sum, loop.part, tasks, loop.place, t->sums);
}

void remember(const struct chunk *c)
{
	memcpy(c->room[0], c->of.p, c->of.n * sizeof(float));
}

double squares_moved(const struct chunk *c)
{
	c->k->axpby(c->room[0], 1, c->of.p, -1, c->of.n);
	return c->k->sum_squares(c->room[0], c->of.n);
}
