/*
 * norm.c - group norm, layer norm, sums over a sample's rows.
 *
 * A group is a narrow slice of every row, so statistics are taken a channel, over runs of rows that the shape alone decides,
 * and added up a group afterwards: memory is read in order, once.
 */
#include <math.h>
#include <omp.h>
#include <string.h>
#include "internal.h"

/* Rows [row, row+rows) of one sample. */
struct run { int sample, row, rows; };

static int run_rows(int hw, int c)
{
	int rows = 4 * CHUNK / c;

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

static void fill_affine(struct coefficients *k, const float *stats, const float *gain, const float *bias, const struct norm_shape *s)
{
	const int width = s->c / s->groups;
	int i;

	for (i = 0; i < s->c; i++) {
		k->mean[i] = stats[i / width * 2];
		k->scale[i] = stats[i / width * 2 + 1] * gain[i];
		k->shift[i] = bias[i];
	}
}

void cpu_group_norm(struct device *d, float *y, float *stats, const float *x, const float *gain, const float *bias,
		    const struct norm_shape *s)
{
	const int c = s->c, runs = runs_of(s->hw, c);
	const size_t part_bytes = (size_t)s->n * runs * 2 * padded(c) * sizeof(double);
	double *part = caller_scratch(d, part_bytes + s->n * coefficients_bytes(c));
	char *rest = (char *)part + part_bytes;
	int i;

	memset(part, 0, part_bytes);
#pragma omp parallel num_threads(d->threads) if ((double)s->n * s->hw * c > WORTH_THREADS / 4)
	{
#pragma omp for
		for (i = 0; i < s->n * runs; i++) {
			struct run r = run_of(i, s->hw, c);
			double *sum = run_sums(part, i, c);

			d->k->channel_sums(sum, sum + padded(c), x + ((size_t)r.sample * s->hw + r.row) * c, r.rows, c);
		}
#pragma omp for
		for (i = 0; i < s->n; i++) {
			struct coefficients k = coefficients_at(rest, i, c);
			double *sum = run_sums(part, i * runs, c);

			add_runs(part, i, runs, c);
			group_stats(stats + (size_t)i * 2 * s->groups, sum, sum + padded(c), s);
			fill_affine(&k, stats + (size_t)i * 2 * s->groups, gain, bias, s);
		}
#pragma omp for
		for (i = 0; i < s->n * runs; i++) {
			struct run r = run_of(i, s->hw, c);
			struct coefficients k = coefficients_at(rest, r.sample, c);
			struct affine a = affine_of(&k);
			size_t at = ((size_t)r.sample * s->hw + r.row) * c;

			d->k->norm_rows(y + at, x + at, &a, r.rows, c, s->silu);
		}
	}
}

/* dx = scale g - offset - (x - mean) slope, with scale = gain rstd;  N values a group:
 * offset = rstd sum(gain g) / N,  slope = rstd^3 sum(gain g (x - mean)) / N */
static void fill_back(struct coefficients *k, const float *stats, const float *gain, const double *sum, const double *dots,
		      const struct norm_shape *s)
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

/* inverts y = silu?(gain (x - mean) rstd + bias) */
void cpu_group_norm_back(struct device *d, float *dx, const float *dy, const float *x, const float *stats, const float *gain,
			 const float *bias, const struct norm_shape *s, int add)
{
	const int c = s->c, runs = runs_of(s->hw, c);
	const size_t part_bytes = (size_t)s->n * runs * 2 * padded(c) * sizeof(double);
	double *part = caller_scratch(d, part_bytes + s->n * coefficients_bytes(c));
	char *rest = (char *)part + part_bytes;
	int i;

	memset(part, 0, part_bytes);
	for (i = 0; i < s->n; i++) {
		struct coefficients k = coefficients_at(rest, i, c);

		fill_affine(&k, stats + (size_t)i * 2 * s->groups, gain, bias, s);
	}
#pragma omp parallel num_threads(d->threads) if ((double)s->n * s->hw * c > WORTH_THREADS / 4)
	{
#pragma omp for
		for (i = 0; i < s->n * runs; i++) {
			struct run r = run_of(i, s->hw, c);
			struct coefficients k = coefficients_at(rest, r.sample, c);
			struct affine a = affine_of(&k);
			size_t at = ((size_t)r.sample * s->hw + r.row) * c;
			double *sum = run_sums(part, i, c);

			d->k->norm_back_sums(sum, sum + padded(c), dy + at, x + at, &a, r.rows, c, s->silu);
		}
#pragma omp for
		for (i = 0; i < s->n; i++) {
			struct coefficients k = coefficients_at(rest, i, c);
			double *sum = run_sums(part, i * runs, c);

			add_runs(part, i, runs, c);
			fill_back(&k, stats + (size_t)i * 2 * s->groups, gain, sum, sum + padded(c), s);
		}
#pragma omp for
		for (i = 0; i < s->n * runs; i++) {
			struct run r = run_of(i, s->hw, c);
			struct coefficients k = coefficients_at(rest, r.sample, c);
			struct affine a = affine_of(&k);
			size_t at = ((size_t)r.sample * s->hw + r.row) * c;

			d->k->norm_back_rows(dx + at, dy + at, x + at, &a, k.offset, k.slope, r.rows, c, s->silu, add);
		}
	}
}

void cpu_layer_norm(struct device *d, float *y, float *stats, const float *x, const float *gain, const float *bias, int rows, int c,
		    float eps)
{
	int r;

#pragma omp parallel for num_threads(d->threads) if ((double)rows * c > WORTH_THREADS / 2)
	for (r = 0; r < rows; r++)
		d->k->layer_norm_row(y + (size_t)r * c, stats + 2 * (size_t)r, x + (size_t)r * c, gain, bias, c, eps);
}

void cpu_layer_norm_back(struct device *d, float *dx, const float *dy, const float *x, const float *stats, const float *gain,
			 int rows, int c, int add)
{
	int r;

#pragma omp parallel for num_threads(d->threads) if ((double)rows * c > WORTH_THREADS / 2)
	for (r = 0; r < rows; r++) {
		size_t at = (size_t)r * c;

		d->k->layer_norm_back_row(dx + at, dy + at, x + at, stats + 2 * (size_t)r, gain, c, add);
	}
}

/* Also sums the squares, which nobody reads: a gradient of [n,c] is a small part of a step. */
void cpu_sum_per_sample(struct device *d, float *dv, const float *dy, int n, int hw, int c, int add)
{
	const int runs = runs_of(hw, c);
	const size_t part_bytes = (size_t)n * runs * 2 * padded(c) * sizeof(double);
	double *part = caller_scratch(d, part_bytes);
	int i, k;

	memset(part, 0, part_bytes);
#pragma omp parallel for num_threads(d->threads) if ((double)n * hw * c > WORTH_THREADS / 2)
	for (i = 0; i < n * runs; i++) {
		struct run r = run_of(i, hw, c);
		double *sum = run_sums(part, i, c);

		d->k->channel_sums(sum, sum + padded(c), dy + ((size_t)r.sample * hw + r.row) * c, r.rows, c);
	}
	for (i = 0; i < n; i++) {
		add_runs(part, i, runs, c);
		for (k = 0; k < c; k++)
			dv[(size_t)i * c + k] = run_sums(part, i * runs, c)[k] + (add ? dv[(size_t)i * c + k] : 0);
	}
}
