/* The loss that is a mean of squares: loops cut into chunks. */
#include "internal.h"

/* Partial sums, one a chunk, added up in order: the same for any number of threads. */
static double add_up(const double *part, size_t n)
{
	double sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += part[i];
	return sum;
}

struct squares { const float *x, *z; size_t n; double *part; };

static void squares_task(struct device *d, const void *arg, int task, int thread)
{
	const struct squares *s = arg;
	const size_t at = (size_t)task * CHUNK, n = chunk_length(s->n, at);

	s->part[task] = d->k->sum_squared_difference(s->x + at, s->z + at, n);
}

/* sum of (x - z)^2 */
static double squares(struct device *d, const float *x, const float *z, size_t n)
{
	const struct squares s = { x, z, n, caller_scratch(d, chunks_of(n) * sizeof(double)) };

	run_tasks(d, chunks_of(n), n, squares_task, &s);
	return add_up(s.part, chunks_of(n));
}

void squares_loss(struct device *d, float *loss, const float *x, const float *target, const struct loss_terms *s)
{
	const size_t each = (size_t)s->pixels * s->channels;

	for (int i = 0; i < s->n; i++)
		loss[i] = s->weight[i] * (squares(d, x + i * each, target + i * each, each) / each);
}

struct slope { float *dx, factor; const float *x, *target; size_t n; int add; };

static void slope_task(struct device *d, const void *arg, int task, int thread)
{
	const struct slope *s = arg;
	const size_t at = (size_t)task * CHUNK;

	d->k->scaled_difference(s->dx + at, s->factor, s->x + at, s->target + at, chunk_length(s->n, at), s->add);
}

/* backward of loss = weight mean (x - target)^2:  dx = dloss weight 2 (x - target) / each */
void squares_loss_back(struct device *d, float *dx, const float *dloss, const float *x, const float *target,
		       const struct loss_terms *s, int add)
{
	const size_t each = (size_t)s->pixels * s->channels;

	for (int i = 0; i < s->n; i++) {
		const size_t at = i * each;
		const struct slope slope = { dx + at, (double)dloss[i] * s->weight[i] * 2 / each, x + at, target + at,
					     each, add };

		run_tasks(d, chunks_of(each), each, slope_task, &slope);
	}
}
