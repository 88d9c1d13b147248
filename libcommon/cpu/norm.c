/*
 * norm.c - group norm, layer norm, sums over a sample's rows.
 *
 * A group is a narrow slice of every row.  So sums are taken for each channel, over runs of rows that the shape alone
 * decides, and added up for each group afterwards: memory is read once, in order.
 */
#include <math.h>
#include <string.h>
#include "internal.h"

/* Rows [row, row+rows) of one sample. */
struct run { int sample, row, rows; };

static int run_rows(int hw, int c)
{
	int rows = 2 * CHUNK / c;

	return rows < 1 ? 1 : rows > hw ? hw : rows;
}

static int runs_of(int hw, int c) { return (hw + run_rows(hw, c) - 1) / run_rows(hw, c); }

static struct run run_of(int i, int hw, int c)
{
	int each = run_rows(hw, c), runs = runs_of(hw, c), row = i % runs * each;

	return (struct run){ i / runs, row, hw - row < each ? hw - row : each };
}

static int padded(int c) { return (c + MAX_LANES - 1) / MAX_LANES * MAX_LANES; }

static double *run_sums(double *part, int i, int c) { return part + (size_t)i * 2 * padded(c); }

/* Sum the runs of a sample into its first run's place. */
static void add_runs(double *part, int sample, int runs, int c)
{
	double *total = run_sums(part, sample * runs, c);
	int i, k;

	for (i = 1; i < runs; i++)
		for (k = 0; k < 2 * padded(c); k++)
			total[k] += run_sums(part, sample * runs + i, c)[k];
}

/* One sample's rows of coefficients, [c] each, padded. */
struct coefficients { float *mean, *scale, *shift, *offset, *slope; };

static size_t coefficients_bytes(int c) { return 5 * floats(padded(c)); }

static struct coefficients coefficients_at(char *base, int sample, int c)
{
	char *at = base + sample * coefficients_bytes(c);
	struct coefficients k;

	k.mean = carve(&at, padded(c));
	k.scale = carve(&at, padded(c));
	k.shift = carve(&at, padded(c));
	k.offset = carve(&at, padded(c));
	k.slope = carve(&at, padded(c));
	return k;
}

static struct affine affine_of(const struct coefficients *k) { return (struct affine){ k->mean, k->scale, k->shift }; }

/* mean and 1/deviation of each group from the sums of its channels */
static void group_stats(float *stats, const double *sum, const double *squares, const struct norm_shape *s)
{
	const int width = s->c / s->groups;
	const double count = (double)s->hw * width;
	int g, i;

	for (g = 0; g < s->groups; g++) {
		double total = 0, total_squares = 0, mean, variance;

		for (i = g * width; i < (g + 1) * width; i++) {
			total += sum[i];
			total_squares += squares[i];
		}
		mean = total / count;
		variance = total_squares / count - mean * mean;
		stats[2 * g] = mean;
		/* Rounding may leave a constant group just below 0; a NaN stays one. */
		stats[2 * g + 1] = 1 / sqrt((variance < 0 ? 0 : variance) + s->eps);
	}
}

static void fill_affine(struct coefficients *k, const float *stats, const float *gain, const float *bias,
			const struct norm_shape *s)
{
	const int width = s->c / s->groups;
	int i;

	for (i = 0; i < s->c; i++) {
		k->mean[i] = stats[i / width * 2];
		k->scale[i] = stats[i / width * 2 + 1] * gain[i];
		k->shift[i] = bias[i];
	}
}

/* The arguments of a group norm's loops, forward and backward. */
struct norm_job {
	const struct norm_shape *s;
	int runs;                       /* of a sample */
	double *part;                   /* sums of the runs; the first of a sample is its total */
	char *coefficients;
	float *y;
	const float *x, *dy;
	int add;
};

static void clear_and_place(struct device *d, struct norm_job *j)
{
	const int c = j->s->c;
	size_t bytes, rows = j->s->n * coefficients_bytes(c);

	j->runs = runs_of(j->s->hw, c);
	bytes = (size_t)j->s->n * j->runs * 2 * padded(c) * sizeof(double);
	j->part = caller_scratch(d, bytes + rows);
	j->coefficients = (char *)j->part + bytes;
	memset(j->part, 0, bytes + rows);       /* what pads the rows is read, too */
}

static void run_each(struct device *d, task_fn *f, const struct norm_job *j, double cost)
{
	run_tasks(d, j->s->n * j->runs, cost * j->s->n * j->s->hw * j->s->c, f, j);
}

static size_t run_start(const struct run *r, const struct norm_shape *s)
{
	return ((size_t)r->sample * s->hw + r->row) * s->c;
}

static void sums_task(struct device *d, const void *arg, int task, int thread)
{
	const struct norm_job *j = arg;
	const int c = j->s->c;
	const struct run r = run_of(task, j->s->hw, c);
	double *sum = run_sums(j->part, task, c);

	d->k->channel_sums(sum, sum + padded(c), j->x + run_start(&r, j->s), r.rows, c);
}

static void rows_task(struct device *d, const void *arg, int task, int thread)
{
	const struct norm_job *j = arg;
	const struct run r = run_of(task, j->s->hw, j->s->c);
	const struct coefficients k = coefficients_at(j->coefficients, r.sample, j->s->c);
	const struct affine a = affine_of(&k);
	const size_t at = run_start(&r, j->s);

	d->k->norm_rows(j->y + at, j->x + at, &a, r.rows, j->s->c, j->s->silu);
}

void cpu_group_norm_apply(struct device *d, float *y, const float *stats, const float *x, const float *gain,
			  const float *bias, const struct norm_shape *s)
{
	struct norm_job j = { .s = s, .y = y, .x = x };
	int i;

	clear_and_place(d, &j);
	for (i = 0; i < s->n; i++) {
		struct coefficients k = coefficients_at(j.coefficients, i, s->c);

		fill_affine(&k, stats + (size_t)i * 2 * s->groups, gain, bias, s);
	}
	run_each(d, rows_task, &j, s->silu ? 2 : 1);
}

void cpu_group_norm(struct device *d, struct values yv, float *stats, struct values xv, const float *gain,
		    const float *bias, const struct norm_shape *s)
{
	float *y = floats_at(yv);
	const float *x = floats_at(xv);
	struct norm_job j = { .s = s, .x = x };
	int i;

	clear_and_place(d, &j);
	run_each(d, sums_task, &j, 1);
	for (i = 0; i < s->n; i++) {
		double *sum = run_sums(j.part, i * j.runs, s->c);

		add_runs(j.part, i, j.runs, s->c);
		group_stats(stats + (size_t)i * 2 * s->groups, sum, sum + padded(s->c), s);
	}
	cpu_group_norm_apply(d, y, stats, x, gain, bias, s);
}

/* The pixels of one call, cut into the same runs as the whole picture;
 * the first run may have begun in an earlier call. */
struct band { const float *x; int at, pixels, each, c; double *part; };

static struct run run_in_band(const struct band *b, int i)
{
	const int first = (b->at / b->each + i) * b->each, end = b->at + b->pixels;
	const int from = first > b->at ? first : b->at, to = first + b->each < end ? first + b->each : end;

	return (struct run){ 0, from, to - from };
}

static void band_task(struct device *d, const void *arg, int task, int thread)
{
	const struct band *b = arg;
	const struct run r = run_in_band(b, task);
	double *sum = run_sums(b->part, task, b->c);

	d->k->channel_sums(sum, sum + padded(b->c), b->x + (size_t)(r.row - b->at) * b->c, r.rows, b->c);
}

/* sums holds the total of the complete runs, then the sums of the incomplete one. */
void cpu_group_norm_sums(struct device *d, float *stats, float *sums, const float *x, int at, int pixels,
			 const struct norm_shape *s)
{
	struct band b = { x, at, pixels, run_rows(s->hw, s->c), s->c, NULL };
	const int count = 2 * padded(s->c), runs = (at + pixels - 1) / b.each - at / b.each + 1, end = at + pixels;
	double *total = (double *)sums, *open = total + count;
	int i, k;

	if (!at)
		memset(total, 0, 2 * count * sizeof(*total));
	b.part = caller_scratch(d, (size_t)runs * count * sizeof(*b.part));
	memset(b.part, 0, (size_t)runs * count * sizeof(*b.part));
	memcpy(b.part, open, count * sizeof(*open));
	run_tasks(d, runs, (double)pixels * s->c, band_task, &b);
	memset(open, 0, count * sizeof(*open));
	for (i = 0; i < runs; i++) {
		const struct run r = run_in_band(&b, i);
		const bool complete = (r.row + r.rows) % b.each == 0 || r.row + r.rows == s->hw;

		for (k = 0; k < count; k++)
			*(complete ? &total[k] : &open[k]) += run_sums(b.part, i, s->c)[k];
	}
	if (end == s->hw)
		group_stats(stats, total, total + padded(s->c), s);
}

/* dx = scale g - offset - (x - mean) slope, with scale = gain rstd;  N values a group:
 * offset = rstd sum(gain g) / N,  slope = rstd^3 sum(gain g (x - mean)) / N */
static void fill_back(struct coefficients *k, const float *stats, const float *gain, const double *sum,
		      const double *dots, const struct norm_shape *s)
{
	const int width = s->c / s->groups;
	const double count = (double)s->hw * width;
	int g, i;

	for (g = 0; g < s->groups; g++) {
		double total = 0, total_dots = 0, rstd = stats[2 * g + 1];

		for (i = g * width; i < (g + 1) * width; i++) {
			total += gain[i] * sum[i];
			total_dots += gain[i] * dots[i];
		}
		for (i = g * width; i < (g + 1) * width; i++) {
			k->offset[i] = rstd * total / count;
			k->slope[i] = rstd * rstd * rstd * total_dots / count;
		}
	}
}

static void back_sums_task(struct device *d, const void *arg, int task, int thread)
{
	const struct norm_job *j = arg;
	const int c = j->s->c;
	const struct run r = run_of(task, j->s->hw, c);
	const struct coefficients k = coefficients_at(j->coefficients, r.sample, c);
	const struct affine a = affine_of(&k);
	const size_t at = run_start(&r, j->s);
	double *sum = run_sums(j->part, task, c);

	d->k->norm_back_sums(sum, sum + padded(c), j->dy + at, j->x + at, &a, r.rows, c, j->s->silu);
}

static void back_rows_task(struct device *d, const void *arg, int task, int thread)
{
	const struct norm_job *j = arg;
	const struct run r = run_of(task, j->s->hw, j->s->c);
	const struct coefficients k = coefficients_at(j->coefficients, r.sample, j->s->c);
	const struct affine a = affine_of(&k);
	const size_t at = run_start(&r, j->s);

	d->k->norm_back_rows(j->y + at, j->dy + at, j->x + at, &a, k.offset, k.slope, r.rows, j->s->c, j->s->silu,
			     j->add);
}

/* backward of y = silu?(gain (x - mean) rstd + bias) */
void cpu_group_norm_back(struct device *d, struct values dxv, struct values dyv, struct values xv, const float *stats,
			 const float *gain, const float *bias, const struct norm_shape *s, int add)
{
	float *dx = floats_at(dxv);
	const float *dy = floats_at(dyv);
	const float *x = floats_at(xv);
	struct norm_job j = { .s = s, .y = dx, .x = x, .dy = dy, .add = add };
	int i;

	clear_and_place(d, &j);
	for (i = 0; i < s->n; i++) {
		struct coefficients k = coefficients_at(j.coefficients, i, s->c);

		fill_affine(&k, stats + (size_t)i * 2 * s->groups, gain, bias, s);
	}
	run_each(d, back_sums_task, &j, s->silu ? 4 : 2);
	for (i = 0; i < s->n; i++) {
		struct coefficients k = coefficients_at(j.coefficients, i, s->c);
		double *sum = run_sums(j.part, i * j.runs, s->c);

		add_runs(j.part, i, j.runs, s->c);
		fill_back(&k, stats + (size_t)i * 2 * s->groups, gain, sum, sum + padded(s->c), s);
	}
	run_each(d, back_rows_task, &j, s->silu ? 4 : 2);
}

struct layer_norm {
	int rows, c, add;
	float eps, *y, *stats, *sum, *also;
	const float *x, *z, *dy, *gain, *bias, *old_stats;
};

static void layer_norm_task(struct device *d, const void *arg, int task, int thread)
{
	const struct layer_norm *l = arg;
	const struct rows part = rows_of_task(task, l->rows, l->c);
	size_t r, c = l->c;

	for (r = part.first; r < (size_t)part.last; r++) {
		const float *x = l->x + r * c;

		if (l->sum) {
			d->k->add(l->sum + r * c, x, l->z + r * c, c);
			x = l->sum + r * c;
		}
		d->k->layer_norm_row(l->y + r * c, l->stats + 2 * r, x, l->gain, l->bias, c, l->eps);
	}
}

void cpu_layer_norm(struct device *d, struct values y, float *stats, float *sum, struct values x,
		    struct values z, const float *gain, const float *bias, int rows, int c, float eps)
{
	const struct layer_norm l = { .rows = rows, .c = c, .eps = eps, .y = floats_at(y), .stats = stats,
				      .sum = sum, .x = floats_at(x), .z = floats_at(z), .gain = gain,
				      .bias = bias };

	run_tasks(d, row_tasks(rows, c), 2.0 * rows * c, layer_norm_task, &l);
}

static void layer_norm_back_task(struct device *d, const void *arg, int task, int thread)
{
	const struct layer_norm *l = arg;
	const struct rows part = rows_of_task(task, l->rows, l->c);
	size_t r, c = l->c;

	for (r = part.first; r < (size_t)part.last; r++) {
		float *dx = l->y + r * c;

		d->k->layer_norm_back_row(dx, l->dy + r * c, l->x + r * c, l->old_stats + 2 * r, l->gain, c, l->add);
		if (l->also)
			memcpy(l->also + r * c, dx, c * sizeof(*dx));
	}
}

void cpu_layer_norm_back(struct device *d, struct values dx, struct values also, struct values dy, struct values x,
			 const float *stats, const float *gain, int rows, int c, int add)
{
	const struct layer_norm l = { .rows = rows, .c = c, .add = add, .y = floats_at(dx), .also = floats_at(also),
				      .x = floats_at(x), .dy = floats_at(dy), .gain = gain, .old_stats = stats };

	run_tasks(d, row_tasks(rows, c), 2.0 * rows * c, layer_norm_back_task, &l);
}

/* Sums the squares too, which nobody reads: this is a small part of a step, and needs no loop of its own. */
void cpu_sum_per_sample(struct device *d, struct values dvv, struct values dyv, int n, int hw, int c, int add)
{
	float *dv = floats_at(dvv);
	const float *dy = floats_at(dyv);
	const struct norm_shape s = { .n = n, .hw = hw, .c = c };
	struct norm_job j = { .s = &s, .x = dy };
	int i, k;

	clear_and_place(d, &j);
	run_each(d, sums_task, &j, 1);
	for (i = 0; i < n; i++) {
		add_runs(j.part, i, j.runs, c);
		for (k = 0; k < c; k++)
			dv[(size_t)i * c + k] = run_sums(j.part, i * j.runs, c)[k] + (add ? dv[(size_t)i * c + k] : 0);
	}
}
