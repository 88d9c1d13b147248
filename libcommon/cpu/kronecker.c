/* kronecker.c - the Kronecker product of two small matrices, and its backward: sums in double, each by one thread. */
#include "internal.h"

struct kronecker {
	const struct kronecker_shape *s;
	const float *a, *b, *dy;
	float *y, *da, *db;
	float scale;
	int add;
};

/* Rows of y that belong to row P of a and row M of b. */
static float *row_of(float *y, const struct kronecker_shape *s, int big, int small)
{
	return y + ((size_t)big * s->m + small) * s->taps * s->q * s->n;
}

static void forward_task(struct device *d, const void *arg, int task, int thread)
{
	const struct kronecker *k = arg;
	const struct kronecker_shape *s = k->s;
	const int big = task / s->m, small = task % s->m;
	float *y = row_of(k->y, s, big, small);

	for (int t = 0; t < s->taps; t++) {
		const float *b = k->b + ((size_t)small * s->taps + t) * s->n;

		for (int j = 0; j < s->q; j++) {
			const float factor = k->scale * k->a[(size_t)big * s->q + j];

			for (int i = 0; i < s->n; i++)
				*y++ = factor * b[i];
		}
	}
}

static double work_of(const struct kronecker_shape *s)
{
	return (double)s->p * s->m * s->taps * s->q * s->n;
}

void cpu_kronecker(struct device *d, float *y, float scale, const float *a, const float *b,
		   const struct kronecker_shape *s)
{
	run_tasks(d, s->p * s->m, work_of(s) / 2, forward_task, &(struct kronecker){ s, a, b, .y = y, .scale = scale });
}

/* da[P,Q] = scale * sum over M, taps, N of dy b */
static void back_big_task(struct device *d, const void *arg, int task, int thread)
{
	const struct kronecker *k = arg;
	const struct kronecker_shape *s = k->s;
	const int big = task / s->q, column = task % s->q;
	const float *b = k->b;
	double sum = 0;

	for (int small = 0; small < s->m; small++) {
		const float *dy = row_of((float *)k->dy, s, big, small) + (size_t)column * s->n;

		for (int t = 0; t < s->taps; t++, dy += (size_t)s->q * s->n, b += s->n)
			for (int i = 0; i < s->n; i++)
				sum += (double)dy[i] * b[i];
	}
	k->da[task] = (float)(k->scale * sum) + (k->add ? k->da[task] : 0);
}

enum { STRETCH = 64 };

/* db[M,tap,first..] = scale * sum over P, Q of dy a */
static void back_small_stretch(const struct kronecker *k, int small, int tap, int first, int count)
{
	const struct kronecker_shape *s = k->s;
	float *db = k->db + ((size_t)small * s->taps + tap) * s->n + first;
	double sum[STRETCH] = { 0 };

	for (int big = 0; big < s->p; big++) {
		const float *dy = row_of((float *)k->dy, s, big, small) + (size_t)tap * s->q * s->n + first;

		for (int j = 0; j < s->q; j++, dy += s->n)
			for (int i = 0; i < count; i++)
				sum[i] += (double)dy[i] * k->a[(size_t)big * s->q + j];
	}
	for (int i = 0; i < count; i++)
		db[i] = (float)(k->scale * sum[i]) + (k->add ? db[i] : 0);
}

static void back_small_task(struct device *d, const void *arg, int task, int thread)
{
	const struct kronecker *k = arg;
	const struct kronecker_shape *s = k->s;

	for (int first = 0; first < s->n; first += STRETCH)
		back_small_stretch(k, task / s->taps, task % s->taps, first,
				   s->n - first < STRETCH ? s->n - first : STRETCH);
}

void cpu_kronecker_back(struct device *d, float *da, float *db, float scale, const float *dy, const float *a,
			const float *b, const struct kronecker_shape *s, const int add[2])
{
	struct kronecker k = { s, a, b, dy, .da = da, .db = db, .scale = scale };

	k.add = add[0];
	if (da)
		run_tasks(d, s->p * s->q, work_of(s), back_big_task, &k);
	k.add = add[1];
	if (db)
		run_tasks(d, s->m * s->taps, work_of(s), back_small_task, &k);
}
