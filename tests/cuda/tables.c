/*
 * tables - the optimizers' operations over tables of parameters against the CPU's, whose own tests hold them to double
 * precision, and to each parameter alone.
 *
 * Tolerance.  As entries.c: both compute in float, a handful of operations an element; sums are in double on both
 * sides.  What a parameter moved by is a difference of two close floats: a rounding of p (6e-8 of up to 4) is 2.4e-5 of
 * a way of a hundredth, and twice that of its square.
 */
#include "harness.h"

#define CLOSE 2e-6
#define WAYS  5e-5

/* for both sides, with their backend and device */
#define ON_BOTH(r) for (int s = 0; s < SIDES; s++)
#define BE (r->be[s])
#define D (r->device[s])

/* One element; about a block of codes; about a run; runs that are no whole blocks of codes; many runs. */
static const size_t sizes[] = { 1, 255, 256, 257, 3, 16384, 16385, 20000, 40, 100003 };
enum { ROWS = sizeof(sizes) / sizeof(*sizes), LAST_QUICK = 40007 };

static size_t size_of(int row) { return row == ROWS - 1 && quick() ? LAST_QUICK : sizes[row]; }

struct world {
	struct both p[ROWS], grad[ROWS], state[ROWS][TRAINED_STATES], sums;
	struct trained t[SIDES][ROWS];
};

/* States that are no second moment may be below 0; the second is not. */
static struct world make_world(struct rig *r)
{
	struct world w;

	for (int i = 0; i < ROWS; i++) {
		const size_t n = size_of(i);
		struct both root = take_drawn(r, n, 1);

		w.p[i] = take_drawn(r, n, 1);
		w.grad[i] = take_drawn(r, n, 1);
		for (int k = 0; k < TRAINED_STATES; k++)
			w.state[i][k] = take_drawn(r, n, 0.1f);
		ON_BOTH(r) {
			BE->multiply(D, f32(w.state[i][1].at[s]), f32(root.at[s]), f32(root.at[s]), 1, n, false);
			w.t[s][i] = (struct trained){ .p = w.p[i].at[s], .grad = w.grad[i].at[s], .n = n };
			for (int k = 0; k < TRAINED_STATES; k++)
				w.t[s][i].state[k] = w.state[i][k].at[s];
		}
		give(r, root);
	}
	w.sums = take_output(r, 2 * 2 * ROWS, false);   /* doubles, two a row */
	return w;
}

static double *sums_of(const struct world *w, int s) { return (double *)w->sums.at[s]; }

/* Each row's weights and states, and its sums: within `limit` of themselves. */
static void compare_world(struct rig *r, const struct world *w, const char *name, int states, int sums, double limit)
{
	double got[SIDES][2 * ROWS];

	for (int i = 0; i < ROWS; i++) {
		char text[80];

		snprintf(text, sizeof(text), "%s, %zu elements", name, size_of(i));
		compare(r, &w->p[i], CLOSE, text);
		for (int k = 0; k < states; k++)
			compare(r, &w->state[i][k], CLOSE, "  its state");
	}
	ON_BOTH(r) BE->download(D, got[s], w->sums.at[s], sums * ROWS * sizeof(double));
	for (int i = 0; i < sums * ROWS; i++) {
		const double off = fabs(got[CARD][i] - got[CPU][i]), scale = fabs(got[CPU][i - i % sums + sums - 1]);

		verdict(r, off <= limit * scale, "  its sum", off, limit * scale);
	}
}

static void give_world(struct rig *r, struct world *w)
{
	for (int i = 0; i < ROWS; i++) {
		give(r, w->p[i]); give(r, w->grad[i]);
		for (int k = 0; k < TRAINED_STATES; k++)
			give(r, w->state[i][k]);
	}
	give(r, w->sums);
}

static void sums_and_mixes(struct rig *r)
{
	struct world w = make_world(r);

	ON_BOTH(r) BE->sum_squares(D, sums_of(&w, s), w.t[s], ROWS);
	compare_world(r, &w, "sum of squares", 0, 1, 1e-12);    /* both in double */
	ON_BOTH(r) BE->axpby_all(D, 0.3f, -2, w.t[s], ROWS);
	compare_world(r, &w, "axpby of a table", 0, 1, 1e-12);
	ON_BOTH(r) BE->axpby_all(D, 0.3f, 0, w.t[s], ROWS);
	compare_world(r, &w, "  overwriting", 0, 1, 1e-12);
	ON_BOTH(r) BE->axpby_all(D, 0.3f, 1, w.t[s], 0);
	compare_world(r, &w, "  of no parameter", 0, 1, 1e-12);
	give_world(r, &w);
}

static struct adamw_step adam_of(int row)
{
	return (struct adamw_step){ 1e-2f * (row + 1), 0.9, 0.999, 1e-8f, 0.1f, 0.271f, 0.003f, 0.7f };
}

static void adams(struct rig *r)
{
	struct world w = make_world(r), l = make_world(r);
	struct adamw_step step[ROWS];

	for (int i = 0; i < ROWS; i++)
		step[i] = adam_of(i);
	ON_BOTH(r) {
		BE->adamw(D, sums_of(&w, s), w.t[s], step, ROWS);
		BE->lion(D, sums_of(&l, s), l.t[s], step, ROWS);
	}
	compare_world(r, &w, "AdamW", 2, 1, WAYS);
	compare_world(r, &l, "Lion", 1, 1, WAYS);
	give_world(r, &w);
	give_world(r, &l);
}

static struct both take_maps(struct rig *r)
{
	float map[2 * 256 + GUARD] = { 0 };

	for (int i = 0; i < 256; i++) {
		map[i] = (i - 127) / 128.0f;
		map[256 + i] = i / 255.0f;
	}
	for (int i = 0; i < GUARD; i++)
		memcpy(&map[512 + i], &(uint32_t){ GUARD_BITS }, sizeof(float));
	return take(r, map, 512);
}

/* Three steps from nothing, every third parameter's moments in floats: codes that differ by one where both neighbours
 * are as near show up as a little more error in p. */
static void adam8(struct rig *r)
{
	struct world w = make_world(r);
	struct both maps = take_maps(r);
	struct adamw_step step[ROWS];

	for (int i = 0; i < ROWS; i++)
		ON_BOTH(r) {
			for (int k = 0; k < TRAINED_STATES; k++)
				BE->zero(D, f32(w.state[i][k].at[s]), size_of(i));
			if (i % 3 == 2)
				w.t[s][i].state[2] = w.t[s][i].state[3] = NULL;
		}
	for (int k = 0; k < 3; k++) {
		for (int i = 0; i < ROWS; i++) {
			step[i] = adam_of(i);
			step[i].correction1 = 1 - powf(0.9f, k + 1);
			step[i].correction2 = 1 - powf(0.999f, k + 1);
		}
		ON_BOTH(r) BE->adamw8bit(D, sums_of(&w, s), w.t[s], step, maps.at[s], ROWS);
	}
	for (int i = 0; i < ROWS; i++) {
		char text[80];

		snprintf(text, sizeof(text), "AdamW8bit, three steps, %zu elements", size_of(i));
		compare(r, &w.p[i], WAYS, text);
		compare(r, &w.state[i][2], CLOSE, "  largest first moments");
		compare(r, &w.state[i][3], CLOSE, "  largest second moments");
	}
	give(r, maps);
	give_world(r, &w);
}

/* ---- each rounding is the kernel's own: the same bytes from every compiler ---- */

/* What was on the card. */
static float *taken_down(struct rig *r, struct both b)
{
	float *host = xmalloc(b.n * sizeof(*host));

	r->be[CARD]->download(r->device[CARD], host, b.at[CARD], b.n * sizeof(*host));
	return host;
}

enum { P, GRAD, FIRST, SECOND, ABSMAX1, ABSMAX2, MAPS, ARRAYS };

typedef float written_fn(const struct adamw_step *s, float *const *x, size_t i);

static float adamw_as_written(const struct adamw_step *s, float *const *x, size_t i)
{
	const float keep = 1 - (double)s->lr * s->decay, step = (double)s->lr / s->correction1, share1 = 1 - s->beta1,
		    share2 = 1 - s->beta2, root2 = sqrt(s->correction2);
	const float g = s->grad_scale * x[GRAD][i], m = fmaf(share1, g - x[FIRST][i], x[FIRST][i]),
		    v = fmaf(s->beta2, x[SECOND][i], share2 * g * g);

	return keep * x[P][i] - step * m / (sqrtf(v) / root2 + s->eps);
}

static float lion_as_written(const struct adamw_step *s, float *const *x, size_t i)
{
	const float keep = 1 - (double)s->lr * s->decay, share1 = 1 - s->beta1;
	const float way = fmaf(s->beta1, x[FIRST][i], share1 * (s->grad_scale * x[GRAD][i]));

	return fmaf(keep, x[P][i], -s->lr * ((way > 0) - (way < 0)));
}

static float codes_as_written(const struct adamw_step *s, float *const *x, size_t i)
{
	const double root2 = sqrtf(s->correction2);
	const float keep = 1 - (double)s->lr * s->decay, step = s->lr * root2 / s->correction1, eps = root2 * s->eps,
		    share1 = 1 - s->beta1, share2 = 1 - s->beta2, g = s->grad_scale * x[GRAD][i];
	const uint8_t *code1 = (const uint8_t *)x[FIRST], *code2 = (const uint8_t *)x[SECOND];
	const size_t block = i / ADAM8_BLOCK;
	const float m = fmaf(s->beta1, x[MAPS][code1[i]] * x[ABSMAX1][block], share1 * g),
		    v = fmaf(s->beta2, x[MAPS][256 + code2[i]] * x[ABSMAX2][block], share2 * g * g);

	return keep * fmaf(-step, m / (sqrtf(v) + eps), x[P][i]);
}

/* A row's weights, from what all arrays held before the step. */
static void same_bits(struct rig *r, const struct world *w, int row, float *const *before, written_fn *written,
		      const char *name)
{
	const struct adamw_step s = adam_of(row);
	float *after = taken_down(r, w->p[row]);
	size_t off = 0;

	for (size_t i = 0; i < size_of(row); i++) {
		const float wanted = written(&s, before, i);

		off += memcmp(&wanted, &after[i], sizeof(wanted)) != 0;
	}
	verdict(r, off == 0, name, off, 0);
	free(after);
}

static void rounds_as_written(struct rig *r, written_fn *written, const char *name)
{
	enum { ROW = 6 };
	struct world w = make_world(r);
	struct both maps = take_maps(r);
	const struct backend *be = r->be[CARD];
	struct device *d = r->device[CARD];
	const struct adamw_step s = adam_of(ROW);
	float *at = w.state[ROW][3].at[CARD], *before[ARRAYS];

	be->multiply(d, f32(at), f32(at), f32(at), 1, size_of(ROW), false);    /* largest second moments */
	for (int i = 0; i < ARRAYS; i++)
		before[i] = taken_down(r, i == MAPS ? maps : i == P ? w.p[ROW] : i == GRAD ? w.grad[ROW] :
						 w.state[ROW][i - FIRST]);
	if (written == codes_as_written)
		be->adamw8bit(d, sums_of(&w, CARD), &w.t[CARD][ROW], &s, maps.at[CARD], 1);
	else if (written == lion_as_written)
		be->lion(d, sums_of(&w, CARD), &w.t[CARD][ROW], &s, 1);
	else
		be->adamw(d, sums_of(&w, CARD), &w.t[CARD][ROW], &s, 1);
	same_bits(r, &w, ROW, before, written, name);
	for (int i = 0; i < ARRAYS; i++)
		free(before[i]);
	give(r, maps);
	give_world(r, &w);
}

/* start: Prodigy, not D-Adaptation.  A product's sum may be near 0: its error is held against the magnitudes'. */
static void estimates(struct rig *r, bool start, float decay)
{
	struct world w = make_world(r);
	const struct estimate_step step = { 0.7f, decay, 1e-4f, { 0.1f, 0.9f }, { 0.001f, 0.999f }, { 0.2f, 0.9f } };

	for (int i = 0; i < ROWS && !start; i++)
		ON_BOTH(r) w.t[s][i].state[3] = NULL;
	ON_BOTH(r) BE->estimate(D, sums_of(&w, s), w.t[s], &step, ROWS);
	compare_world(r, &w, start ? "Prodigy" : "D-Adaptation", 3, 2, WAYS);
	ON_BOTH(r) BE->estimate_move(D, sums_of(&w, s), -0.01f, 1e-4f, 0.99f, w.t[s], ROWS);
	compare_world(r, &w, "  its step", 3, 1, WAYS);
	give_world(r, &w);
}

static void schedulefree(struct rig *r)
{
	struct world w = make_world(r);
	struct schedulefree_step step[ROWS];

	for (int i = 0; i < ROWS; i++)
		step[i] = (struct schedulefree_step){ 0.7f, 0.3f, 1e-4f, i % 2 ? 0.1f : 0, -0.01f * (i + 1), -0.1f,
						      { 0.001f, 0.999f }, { 0.2f, 0.8f } };
	for (int i = 0; i < ROWS; i++)
		ON_BOTH(r) {
			w.t[s][i].state[0] = w.state[i][1].at[s];       /* v */
			w.t[s][i].state[1] = w.state[i][0].at[s];
		}
	ON_BOTH(r) BE->schedulefree(D, sums_of(&w, s), w.t[s], step, ROWS);
	compare_world(r, &w, "schedule-free AdamW", 2, 1, WAYS);
	give_world(r, &w);
}

/* Linear layers wide and high, a 3x3 convolution, one number. */
static void adafactors(struct rig *r)
{
	static const struct factored_shape shapes[] = { { 1, 16, 320, 1 }, { 1, 700, 4, 1 }, { 8, 3, 3, 33 },
							{ 1, 1, 1, 1 }, { 40, 1, 1, 16 } };
	enum { SHAPES = sizeof(shapes) / sizeof(*shapes) };
	struct both p[SHAPES], grad[SHAPES], row[SHAPES], col[SHAPES], moment[SHAPES],
		moved = take_output(r, 2 * SHAPES, false);
	struct trained t[SIDES][SHAPES];
	struct adafactor_step step[SHAPES];

	for (int i = 0; i < SHAPES; i++) {
		const struct factored_shape *f = &shapes[i];
		const size_t n = (size_t)f->outer * f->rows * f->cols * f->inner,
			     rows = (size_t)f->outer * f->rows * f->inner, cols = (size_t)f->outer * f->cols * f->inner;
		struct both a = take_drawn(r, rows, 1), b = take_drawn(r, cols, 1);

		p[i] = take_drawn(r, n, 1);
		grad[i] = take_drawn(r, n, 1);
		moment[i] = take_drawn(r, n, 0.1f);
		row[i] = take_output(r, rows, false);
		col[i] = take_output(r, cols, false);
		step[i] = (struct adafactor_step){ 0.3, 0.01 * (i + 1), 1e-3, i % 2 == 0, i == 2 ? 0.5 : 1, 0.9, 0.1,
						   1e-30f, 0.7f };
		ON_BOTH(r) {
			BE->multiply(D, f32(row[i].at[s]), f32(a.at[s]), f32(a.at[s]), 1, rows, false);
			BE->multiply(D, f32(col[i].at[s]), f32(b.at[s]), f32(b.at[s]), 1, cols, false);
			t[s][i] = (struct trained){ p[i].at[s], grad[i].at[s],
						    { row[i].at[s], col[i].at[s], i % 2 ? moment[i].at[s] : NULL }, n,
						    *f };
		}
		give(r, a); give(r, b);
	}
	ON_BOTH(r) BE->adafactor(D, (double *)moved.at[s], t[s], step, SHAPES);
	for (int i = 0; i < SHAPES; i++) {
		compare(r, &p[i], CLOSE, "Adafactor");
		compare(r, &row[i], CLOSE, "  its rows");
		compare(r, &col[i], CLOSE, "  its columns");
		compare(r, &moment[i], CLOSE, "  its moment");
		give(r, p[i]); give(r, grad[i]); give(r, row[i]); give(r, col[i]); give(r, moment[i]);
	}
	give(r, moved);
}

/* A sanitizer looks at each thread of each block, for minutes. */
#ifdef __has_feature
#define SANITIZED __has_feature(memory_sanitizer)
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* More rows than one table holds in the card's scratch. */
static void a_long_table(struct rig *r)
{
	enum { MANY = 50000 };
	struct both x = take_drawn(r, MANY, 1), y = take_drawn(r, MANY, 1);
	struct trained *t = xcalloc(MANY, sizeof(*t));

	ON_BOTH(r) {
		for (int i = 0; i < MANY; i++)
			t[i] = (struct trained){ .p = y.at[s] + i, .grad = x.at[s] + i, .n = 1 };
		BE->axpby_all(D, 0.3f, 0.5f, t, MANY);
	}
	compare(r, &y, CLOSE, "a table of 50000 parameters");
	free(t);
	give(r, x); give(r, y);
}

int main(void)
{
	struct error e;
	struct rig r;

	if (rig_open(&r, &e) < 0)
		return report(&e);
	sums_and_mixes(&r);
	adams(&r);
	adam8(&r);
	rounds_as_written(&r, adamw_as_written, "AdamW, each rounding as written");
	rounds_as_written(&r, lion_as_written, "Lion, each rounding as written");
	rounds_as_written(&r, codes_as_written, "AdamW8bit, each rounding as written");
	estimates(&r, true, 0);
	estimates(&r, true, 0.1f);
	estimates(&r, false, 0.1f);
	schedulefree(&r);
	adafactors(&r);
	if (!SANITIZED)
		a_long_table(&r);
	return rig_close(&r);
}
