/* Sums over gradients and optimizer steps: a table of parameters is put into scratch, and a launch works through it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

/* Of the scratch: tables, then what Adafactor keeps between its launches. */
enum { TABLE_BYTES = 4 << 20, KEPT_BYTES = SCRATCH_BYTES - TABLE_BYTES };
/* Elements that are worth a block of threads, and the most blocks of a sum. */
enum { A_BLOCK = 16 * 1024, MOST_BLOCKS = 1024, THREADS = 256 };

/* How a row is cut into runs, a block of threads each. */
struct cut { size_t n, each; };
typedef struct cut cut_fn(const struct trained *t);

static size_t share(size_t n, size_t parts) { return (n + parts - 1) / parts; }

static struct cut for_sums(const struct trained *t)
{
	const size_t wanted = share(t->n, A_BLOCK);

	return (struct cut){ t->n, share(t->n, wanted < MOST_BLOCKS ? wanted : MOST_BLOCKS) };
}

static struct cut for_codes(const struct trained *t)
{
	return (struct cut){ t->n, share(for_sums(t).each, ADAM8_BLOCK) * ADAM8_BLOCK };
}

/* ---- a pass over a table ---- */

struct pass {
	const char *what;
	table_fn *run;
	cut_fn *cut;
	int sums;
	size_t step_size;
	bool one_step;                  /* for all rows */
};

static unsigned blocks_of(const struct pass *p, const struct trained *t)
{
	const struct cut c = p->cut(t);

	return share(c.n, c.each);
}

/* What lies in scratch, one behind the other. */
struct layout { size_t steps, row_of, uploaded, part, bytes; };

static struct layout layout_of(const struct pass *p, int rows, size_t blocks)
{
	struct layout l;

	l.steps = rows * sizeof(struct table_row);
	l.row_of = l.steps + share((p->one_step ? 1 : rows) * p->step_size, 8) * 8;
	l.uploaded = l.row_of + blocks * sizeof(unsigned);
	l.part = share(l.uploaded, 8) * 8;
	l.bytes = l.part + blocks * p->sums * sizeof(double);
	return l;
}

/* As many rows as fit, one at least. */
static int rows_that_fit(const struct pass *p, const struct trained *t, int count, unsigned *blocks)
{
	int rows = 0;

	for (*blocks = 0; rows < count; rows++) {
		const unsigned more = blocks_of(p, &t[rows]);

		if (rows && layout_of(p, rows + 1, (size_t)*blocks + more).bytes > TABLE_BYTES)
			break;
		*blocks += more;
	}
	return rows;
}

static void write_rows(const struct pass *p, const struct trained *t, int rows, struct table_row *row, unsigned *row_of)
{
	unsigned first = 0;

	for (int i = 0; i < rows; i++) {
		const struct cut c = p->cut(&t[i]);

		row[i] = (struct table_row){ t[i], c.n, c.each, first, blocks_of(p, &t[i]) };
		for (unsigned k = 0; k < row[i].blocks; k++)
			row_of[first + k] = i;
		first += row[i].blocks;
	}
}

static void run_rows(struct device *d, const struct pass *p, const struct trained *t, int rows, unsigned blocks,
		     const void *steps, double *sum)
{
	const struct layout l = layout_of(p, rows, blocks);
	char *host = calloc(1, l.uploaded), *there = cuda_scratch(d, l.bytes);
	const struct table table = { (struct table_row *)there, (unsigned *)(there + l.row_of), there + l.steps,
				     p->one_step ? 0 : p->step_size, (double *)(there + l.part), rows, blocks };

	if (!host)
		die(EXIT_MEMORY, "no memory for a table of %d parameters", rows);
	if (l.bytes > TABLE_BYTES)
		die(EXIT_MEMORY, "%s: a table of %d parameters takes %zu bytes, and has room for %d", p->what, rows,
		    l.bytes, TABLE_BYTES);
	write_rows(p, t, rows, (struct table_row *)host, (unsigned *)(host + l.row_of));
	if (p->step_size)
		memcpy(host + l.steps, steps, (p->one_step ? 1 : rows) * p->step_size);
	cuda_upload(d, there, host, l.uploaded);
	free(host);
	cuda_ran(d, p->run(d->stream, &table, sum), p->what);
}

static void run_pass(struct device *d, const struct pass *p, const struct trained *t, int count, const void *steps,
		     double *sum)
{
	unsigned blocks;

	for (int i = 0, rows; i < count; i += rows) {
		rows = rows_that_fit(p, t + i, count - i, &blocks);
		run_rows(d, p, t + i, rows, blocks, p->one_step ? steps : (const char *)steps + i * p->step_size,
			 sum + (size_t)i * p->sums);
	}
}

/* ---- the backend's rows ---- */

void cuda_sum_squares(struct device *d, double *sum, const struct trained *t, int count)
{
	run_pass(d, &(struct pass){ "sum of squares", k_sum_squares, for_sums, 1 }, t, count, NULL, sum);
}

void cuda_axpby_all(struct device *d, float a, float b, const struct trained *t, int count)
{
	const struct mix s = { a, b };

	run_pass(d, &(struct pass){ "axpby of a table", k_axpby_all, for_sums, 0, sizeof(s), true }, t, count, &s,
		 NULL);
}

/* What a kernel reads of a struct adamw_step, rounded once. */
static struct adam_factors adam_factors(const struct adamw_step *s)
{
	return (struct adam_factors){
		.keep = 1 - (double)s->lr * s->decay, .step = (double)s->lr / s->correction1, .beta1 = s->beta1,
		.share1 = 1 - s->beta1, .beta2 = s->beta2, .share2 = 1 - s->beta2, .eps = s->eps,
		.root2 = sqrt(s->correction2), .grad_scale = s->grad_scale, .last = 1,
	};
}

static struct adam_factors lion_factors(const struct adamw_step *s)
{
	struct adam_factors f = adam_factors(s);

	f.step = s->lr;
	return f;
}

/* of codes; of floats: bitsandbytes decays after the update, PyTorch before it */
static struct adam_factors adam8_factors(const struct adamw_step *s, const struct trained *t, const float *maps)
{
	const double root2 = sqrtf(s->correction2);     /* rounded, which it is not in cpu/ */
	struct adam_factors f = adam_factors(s);

	f.maps = maps;
	if (t->state[2]) {
		f.step = s->lr * root2 / s->correction1;
		f.eps = root2 * s->eps;
	} else {
		f.last = f.keep;
		f.keep = 1;
	}
	return f;
}

static struct adam_factors *factors_for(int count)
{
	struct adam_factors *f = calloc(count + 1, sizeof(*f));

	if (!f)
		die(EXIT_MEMORY, "no memory for the steps of %d parameters", count);
	return f;
}

static const struct pass adamw_pass = { "AdamW", k_adamw, for_sums, 1, sizeof(struct adam_factors) },
	lion_pass = { "Lion", k_lion, for_sums, 1, sizeof(struct adam_factors) },
	adamw8bit_pass = { "AdamW8bit", k_adamw8bit, for_codes, 1, sizeof(struct adam_factors) };

typedef struct adam_factors factors_fn(const struct adamw_step *s);

static void run_steps(struct device *d, const struct pass *p, factors_fn *factors, double *moved,
		      const struct trained *t, const struct adamw_step *s, int count)
{
	struct adam_factors *f = factors_for(count);

	for (int i = 0; i < count; i++)
		f[i] = factors(&s[i]);
	run_pass(d, p, t, count, f, moved);
	free(f);
}

void cuda_adamw(struct device *d, double *moved, const struct trained *t, const struct adamw_step *s, int count)
{
	run_steps(d, &adamw_pass, adam_factors, moved, t, s, count);
}

void cuda_lion(struct device *d, double *moved, const struct trained *t, const struct adamw_step *s, int count)
{
	run_steps(d, &lion_pass, lion_factors, moved, t, s, count);
}

void cuda_adamw8bit(struct device *d, double *moved, const struct trained *t, const struct adamw_step *s,
		    const float *maps, int count)
{
	struct adam_factors *f = factors_for(count);

	for (int i = 0; i < count; i++)
		f[i] = adam8_factors(&s[i], &t[i], maps);
	run_pass(d, &adamw8bit_pass, t, count, f, moved);
	free(f);
}

void cuda_estimate(struct device *d, double *sum, const struct trained *t, const struct estimate_step *s, int count)
{
	run_pass(d, &(struct pass){ "estimate of a step size", k_estimate, for_sums, 2, sizeof(*s), true }, t, count, s,
		 sum);
}

void cuda_estimate_move(struct device *d, double *moved, float a, float eps, float b, const struct trained *t,
			int count)
{
	const struct root_factors s = { a, eps, b };

	run_pass(d, &(struct pass){ "step of an estimated size", k_estimate_move, for_sums, 1, sizeof(s), true }, t,
		 count, &s, moved);
}

void cuda_schedulefree(struct device *d, double *moved, const struct trained *t, const struct schedulefree_step *s,
		       int count)
{
	run_pass(d, &(struct pass){ "schedule-free AdamW", k_schedulefree, for_sums, 1, sizeof(*s) }, t, count, s,
		 moved);
}

/* ---- Adafactor ---- */

static size_t means_of(const struct trained *t)
{
	return (size_t)t->shape.outer * t->shape.inner;
}

static size_t rows_of(const struct trained *t) { return means_of(t) * t->shape.rows; }
static size_t cols_of(const struct trained *t) { return means_of(t) * t->shape.cols; }

static struct cut for_rows(const struct trained *t) { return (struct cut){ rows_of(t), ADAFACTOR_ROWS }; }
static struct cut for_cols(const struct trained *t) { return (struct cut){ cols_of(t), THREADS }; }
static struct cut for_means(const struct trained *t) { return (struct cut){ means_of(t), THREADS }; }
static struct cut for_factors(const struct trained *t) { return (struct cut){ rows_of(t), THREADS }; }
static struct cut for_one(const struct trained *t) { return (struct cut){ 1, 1 }; }

static const struct pass adafactor_passes[] = {
	{ "Adafactor's rows", k_adafactor_rows, for_rows, 0, sizeof(struct adafactor_factors) },
	{ "Adafactor's columns", k_adafactor_cols, for_cols, 0, sizeof(struct adafactor_factors) },
	{ "Adafactor's means", k_adafactor_means, for_means, 0, sizeof(struct adafactor_factors) },
	{ "Adafactor's factors", k_adafactor_factors, for_factors, 0, sizeof(struct adafactor_factors) },
	{ "Adafactor's sums", k_adafactor_squares, for_sums, 2, sizeof(struct adafactor_factors) },
	{ "Adafactor's way", k_adafactor_way, for_one, 0, sizeof(struct adafactor_factors) },
	{ "Adafactor", k_adafactor_move, for_sums, 1, sizeof(struct adafactor_factors) },
};

/* What a parameter keeps between launches: two sums, its means, its way, factors. */
static size_t kept_bytes(const struct trained *t)
{
	return (2 + means_of(t)) * sizeof(double) + sizeof(struct adafactor_way) +
	       (rows_of(t) + cols_of(t)) * sizeof(float);
}

/* The doubles first. */
static void lay_out(struct device *d, struct adafactor_factors *f, const struct trained *t,
		    const struct adafactor_step *s, int rows)
{
	double *squares = (double *)((char *)d->scratch + TABLE_BYTES), *mean = squares + 2 * rows;
	struct adafactor_way *way;
	float *factor;

	for (int i = 0; i < rows; i++) {
		f[i] = (struct adafactor_factors){ s[i], .mean = mean, .squares = squares + 2 * i };
		mean += means_of(&t[i]);
	}
	way = (struct adafactor_way *)mean;
	factor = (float *)(way + rows);
	for (int i = 0; i < rows; i++) {
		f[i].way = way + i;
		f[i].row_factor = factor;
		f[i].col_factor = factor + rows_of(&t[i]);
		factor = f[i].col_factor + cols_of(&t[i]);
	}
}

void cuda_adafactor(struct device *d, double *moved, const struct trained *t, const struct adafactor_step *s, int count)
{
	struct adafactor_factors *f = calloc(count + 1, sizeof(*f));

	if (!f)
		die(EXIT_MEMORY, "no memory for the steps of %d parameters", count);
	for (int i = 0; i < count; i++)
		if (t[i].n > UINT32_MAX)
			die(EXIT_MEMORY, "Adafactor: a parameter of %zu elements is too large for a card", t[i].n);
	for (int i = 0, rows; i < count; i += rows) {
		size_t kept = 0;

		for (rows = 0; i + rows < count && (!rows || kept + kept_bytes(&t[i + rows]) <= KEPT_BYTES); rows++)
			kept += kept_bytes(&t[i + rows]);
		cuda_scratch(d, TABLE_BYTES + kept);
		lay_out(d, f, t + i, s + i, rows);
		for (size_t k = 0; k < sizeof(adafactor_passes) / sizeof(*adafactor_passes); k++)
			run_pass(d, &adafactor_passes[k], t + i, rows, f,
				 adafactor_passes[k].sums == 2 ? f->squares : moved + i);
	}
	free(f);
}
