/*
 * entries - every entry of the CUDA backend that is not a product (products.c), attention (attention.c), an adapter's
 * factor (factors.c) or an optimizer's (tables.c) against the CPU's, whose own tests hold it to double precision.
 *
 * Tolerance.  Both compute in float, a handful of operations an element (6e-8 each), with exponentials good to 2 units
 * of the last place; sums are double, short, or made of the sums of a few hundred parts.  2e-6 of the root mean square
 * is ten times what that gives.  Sums over ten thousand floats in another order differ by 1e-6 of what was summed; what
 * is left of a gradient after its mean was taken off may be smaller than that: 1e-5.
 */
#include "harness.h"

#define CLOSE 2e-6
#define SUMS  1e-5

/* for both sides, with their backend and device */
#define ON_BOTH(r) for (int s = 0; s < SIDES; s++)
#define BE (r->be[s])
#define D (r->device[s])

/* on the card */
static bool same_bytes(struct rig *r, const struct both *x, const struct both *y)
{
	const size_t bytes = x->n * sizeof(float);
	void *a = xmalloc(bytes), *b = xmalloc(bytes);
	bool same;

	r->be[CARD]->download(r->device[CARD], a, x->at[CARD], bytes);
	r->be[CARD]->download(r->device[CARD], b, y->at[CARD], bytes);
	same = memcmp(a, b, bytes) == 0;
	free(a);
	free(b);
	return same;
}

static void norms(struct rig *r)
{
	static const struct norm_shape shapes[] = {
		{ 1, 1, 5, 1, 1e-5f, false }, { 2, 5, 6, 3, 1e-6f, true }, { 3, 77, 33, 11, 1e-5f, false },
		{ 1, 300, 320, 32, 1e-5f, true }, { 2, 1024, 96, 32, 1e-5f, true }, { 1, 7000, 24, 4, 1e-6f, false },
		{ 1, 3, 2560, 32, 1e-5f, true }, { 1, 40, 600, 1, 1e-5f, true },
	};
	size_t i;

	for (i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		const struct norm_shape *n = &shapes[i];
		const size_t count = (size_t)n->n * n->hw * n->c;
		const int rows = n->n * n->hw, add = i % 2;
		float *host = drawn(r, count, 1);
		struct both x, dy = take_drawn(r, count, 1), gain = take_drawn(r, n->c, 1),
			bias = take_drawn(r, n->c, 1);
		struct both y = take_output(r, count, false), dx = take_output(r, count, add),
			z = take_output(r, count, false);
		struct both dz = take_output(r, count, add), stats = take_output(r, 2 * n->n * n->groups, false);
		struct both row_stats = take_output(r, 2 * rows, false), again = take_output(r, count, false);
		char name[100];

		for (size_t k = 0; k < count; k++)
			host[k] += 30;          /* far from 0, as an image's mean may be */
		x = take(r, host, count);
		ON_BOTH(r) {
			BE->group_norm(D, f32(y.at[s]), stats.at[s], f32(x.at[s]), gain.at[s], bias.at[s], n);
			BE->group_norm_apply(D, again.at[s], stats.at[s], x.at[s], gain.at[s], bias.at[s], n);
			BE->group_norm_back(D, f32(dx.at[s]), f32(dy.at[s]), f32(x.at[s]), stats.at[s], gain.at[s],
					    bias.at[s], n, add);
			BE->layer_norm(D, f32(z.at[s]), row_stats.at[s], NULL, f32(x.at[s]), f32(NULL), gain.at[s],
				       bias.at[s], rows, n->c, n->eps);
			BE->layer_norm_back(D, f32(dz.at[s]), f32(NULL), f32(dy.at[s]), f32(x.at[s]), row_stats.at[s],
					    gain.at[s], rows, n->c, add);
		}
		snprintf(name, sizeof(name), "group norm %d x %d x %d, %d groups", n->n, n->hw, n->c, n->groups);
		verdict(r, same_bytes(r, &y, &again), "normed again by its statistics", 0, 0);
		ON_BOTH(r) {
			BE->copy(D, again.at[s], x.at[s], count);
			BE->group_norm_back(D, f32(again.at[s]), f32(dy.at[s]), f32(again.at[s]), stats.at[s],
					    gain.at[s], bias.at[s], n, 0);
		}
		if (!add)
			verdict(r, same_bytes(r, &dx, &again), "  backward in place", 0, 0);
		compare(r, &y, SUMS, name);     /* the mean, rounded to float, of values 30 deviations from 0 */
		compare(r, &stats, CLOSE, "  its statistics");
		compare(r, &dx, SUMS, "  backward");
		compare(r, &z, SUMS, "layer norm of the same");
		compare(r, &dz, SUMS, "  backward");
		give(r, x); give(r, dy); give(r, gain); give(r, bias); give(r, y); give(r, dx); give(r, z); give(r, dz);
		give(r, stats); give(r, row_stats); give(r, again);
		free(host);
	}
}

/* Layer norms of a sum: both have memory of their own, or one lies over a term. */
static void norms_of_sums(struct rig *r)
{
	static const struct { int rows, c; } shapes[] = { { 1, 5 }, { 77, 33 }, { 9, 320 }, { 130, 1283 } };

	for (size_t i = 0; i < 12; i++) {
		const int rows = shapes[i / 3].rows, c = shapes[i / 3].c;
		const size_t n = (size_t)rows * c;
		struct both x = take_drawn(r, n, 1), z = take_drawn(r, n, 3), gain = take_drawn(r, c, 1),
			bias = take_drawn(r, c, 1), stats = take_output(r, 2 * rows, false);
		struct both first = take_output(r, n, false), second = take_output(r, n, false);
		struct both *sum = i % 3 == 1 ? &z : &first, *y = i % 3 == 2 ? &z : &second;
		struct both dy = take_drawn(r, n, 1), dx = take_output(r, n, true), third = take_output(r, n, false);
		struct both *db = i % 3 == 2 ? &dy : &third;

		ON_BOTH(r)
			BE->layer_norm(D, f32(y->at[s]), stats.at[s], sum->at[s], f32(x.at[s]), f32(z.at[s]),
				       gain.at[s], bias.at[s], rows, c, 1e-5f);
		ON_BOTH(r)
			BE->layer_norm_back(D, f32(dx.at[s]), f32(db->at[s]), f32(dy.at[s]), f32(sum->at[s]),
					    stats.at[s], gain.at[s], rows, c, 1);
		compare(r, sum, 0, i % 3 == 1 ? "a sum over its term" : "a sum");
		compare(r, y, SUMS, i % 3 == 2 ? "  its layer norm over its term" : "  its layer norm");
		compare(r, &stats, SUMS, "  that norm's statistics");
		compare(r, &dx, SUMS, "  backward");
		compare(r, db, SUMS, i % 3 == 2 ? "  the same for its term, over dy" : "  the same for its term");
		give(r, x); give(r, z); give(r, gain); give(r, bias); give(r, first); give(r, second);
		give(r, stats); give(r, dy); give(r, dx); give(r, third);
	}
}

static void bands_of_a_norm(struct rig *r)
{
	static const struct norm_shape shapes[] = { { 1, 7000, 24, 4, 1e-6f, false }, { 1, 2000, 320, 32, 1e-5f, true },
						    { 1, 3, 40, 8, 1e-5f, true } };
	static const int cuts[] = { 10000, 700, 33, 1 };

	for (size_t i = 0; i < 12; i++) {
		const struct norm_shape *n = &shapes[i % 3];
		const int cut = cuts[i / 3] == 1 && n->hw > 3 ? 1999 : cuts[i / 3], count = n->hw * n->c;
		float *host = drawn(r, count, 1);
		struct both x, gain = take_drawn(r, n->c, 1), bias = take_drawn(r, n->c, 1),
			y = take_output(r, count, false);
		struct both stats = take_output(r, 2 * n->groups, false), sums = take_output(r, group_sums_floats(n->c),
			false);

		for (int k = 0; k < count; k++)
			host[k] += 30;
		x = take(r, host, count);
		ON_BOTH(r) {
			for (int at = 0; at < n->hw; at += cut)
				BE->group_norm_sums(D, stats.at[s], sums.at[s], x.at[s] + (size_t)at * n->c, at,
						    cut < n->hw - at ? cut : n->hw - at, n);
			BE->group_norm_apply(D, y.at[s], stats.at[s], x.at[s], gain.at[s], bias.at[s], n);
		}
		compare(r, &stats, CLOSE, "group norm's statistics from bands");
		compare(r, &y, SUMS, "group norm with given statistics");
		give(r, x); give(r, gain); give(r, bias); give(r, y); give(r, stats); give(r, sums);
		free(host);
	}
}

static void activations(struct rig *r)
{
	static const char *const names[] = { "silu", "gelu", "quick gelu" };
	const size_t n = 33 * 1031;
	struct both x = take_drawn(r, n, 3), dy = take_drawn(r, n, 1);
	int kind;

	for (kind = ACT_SILU; kind <= ACT_QUICK_GELU; kind++) {
		struct both y = take_output(r, n, false), dx = take_output(r, n, false), more = take_output(r, n, true);

		ON_BOTH(r) {
			BE->activation(D, f32(y.at[s]), f32(x.at[s]), n, kind);
			BE->activation_back(D, f32(dx.at[s]), f32(dy.at[s]), f32(x.at[s]), n, kind, 0);
			BE->activation_back(D, f32(more.at[s]), f32(dy.at[s]), f32(x.at[s]), n, kind, 1);
		}
		compare(r, &y, CLOSE, names[kind]);
		compare(r, &dx, CLOSE, "  backward");
		compare(r, &more, CLOSE, "  backward, added");
		give(r, y); give(r, dx); give(r, more);
	}
	give(r, x); give(r, dy);
}

static void geglus(struct rig *r, int rows, int c)
{
	const size_t n = (size_t)rows * c;
	struct both x = take_drawn(r, 2 * n, 2), dy = take_drawn(r, n, 1);
	struct both y = take_output(r, n, false), dx = take_output(r, 2 * n, false), more = take_output(r, 2 * n, true);

	ON_BOTH(r) {
		BE->geglu(D, f32(y.at[s]), f32(x.at[s]), rows, c);
		BE->geglu_back(D, f32(dx.at[s]), f32(dy.at[s]), f32(x.at[s]), rows, c, 0);
		BE->geglu_back(D, f32(more.at[s]), f32(dy.at[s]), f32(x.at[s]), rows, c, 1);
	}
	compare(r, &y, CLOSE, "geglu");
	compare(r, &dx, CLOSE, "  backward");
	compare(r, &more, CLOSE, "  backward, added");
	give(r, x); give(r, dy); give(r, y); give(r, dx); give(r, more);
}

static void combinations(struct rig *r, size_t n)
{
	struct both x = take_drawn(r, n, 1), z = take_drawn(r, n, 1), square = take_output(r, n, false), y[6];
	int i;

	for (i = 0; i < 6; i++)
		y[i] = take_output(r, n, i % 2);
	ON_BOTH(r) {
		BE->multiply(D, f32(square.at[s]), f32(z.at[s]), f32(z.at[s]), 1, n, false);
		BE->axpby(D, f32(y[0].at[s]), 0.3f, f32(x.at[s]), 0, n);
		BE->axpby(D, f32(y[1].at[s]), 0.3f, f32(x.at[s]), -2, n);
		BE->over_root(D, y[2].at[s], 0.3f, x.at[s], square.at[s], 1e-3f, 0, n);
		BE->over_root(D, y[3].at[s], 0.3f, x.at[s], square.at[s], 1e-3f, 0.5f, n);
		BE->add(D, f32(y[4].at[s]), f32(x.at[s]), f32(z.at[s]), n);
		BE->copy(D, y[5].at[s], x.at[s], n);
	}
	for (i = 0; i < 6; i++)
		compare(r, &y[i], i < 4 ? CLOSE : 0, (const char *[]){ "axpby, overwriting", "axpby",
			"over_root, overwriting", "over_root", "add", "copy" }[i]);
	ON_BOTH(r) BE->zero(D, f32(y[0].at[s]), n);
	compare(r, &y[0], 0, "zero");
	give(r, x); give(r, z); give(r, square);
	for (i = 0; i < 6; i++)
		give(r, y[i]);
}

static void dropouts(struct rig *r, int n, int rows, int c)
{
	const struct random place = { 0x123456789abcdefull, RANDOM_NETWORK_DROPOUT, 7, 11 };
	const size_t count = (size_t)n * rows * c;
	struct both x = take_drawn(r, count, 1), z = take_drawn(r, count, 1);

	ON_BOTH(r) {
		BE->dropout(D, x.at[s], &place, 0.3, n, rows, c, false);
		BE->dropout(D, z.at[s], &place, 0.3, n, rows, c, true);
	}
	compare(r, &x, 0, "dropout: the same zeros");
	compare(r, &z, 0, "dropout of columns: the same zeros");
	give(r, x); give(r, z);
}

static void samples(struct rig *r, int n, int h, int w, int c)
{
	const size_t pixels = (size_t)n * h * w;
	struct both x = take_drawn(r, pixels * c, 1), v = take_drawn(r, n * c, 1),
		large = take_drawn(r, 4 * pixels * c, 1);
	struct both y = take_output(r, pixels * c, false), dv = take_output(r, n * c, false),
		dv_more = take_output(r, n * c, true);
	struct both up = take_output(r, 4 * pixels * c, false), down = take_output(r, pixels * c, false),
		more = take_output(r, pixels * c, true);

	ON_BOTH(r) {
		BE->add_per_sample(D, f32(y.at[s]), f32(x.at[s]), f32(v.at[s]), n, h * w, c);
		BE->sum_per_sample(D, f32(dv.at[s]), f32(x.at[s]), n, h * w, c, 0);
		BE->sum_per_sample(D, f32(dv_more.at[s]), f32(x.at[s]), n, h * w, c, 1);
		BE->upsample(D, f32(up.at[s]), f32(x.at[s]), n, h, w, c);
		BE->upsample_back(D, f32(down.at[s]), f32(large.at[s]), n, h, w, c, 0);
		BE->upsample_back(D, f32(more.at[s]), f32(large.at[s]), n, h, w, c, 1);
	}
	compare(r, &y, 0, "add_per_sample");
	compare(r, &dv, SUMS, "sum_per_sample");
	compare(r, &dv_more, SUMS, "sum_per_sample, added");
	compare(r, &up, 0, "upsample");
	compare(r, &down, CLOSE, "  backward");
	compare(r, &more, CLOSE, "  backward, added");
	give(r, x); give(r, v); give(r, large); give(r, y); give(r, dv); give(r, dv_more); give(r, up); give(r, down);
	give(r, more);
}

static void products(struct rig *r, int rows, int c)
{
	const size_t n = (size_t)rows * c;
	struct both x = take_drawn(r, n, 1), z = take_drawn(r, n, 1), y = take_output(r, n, false),
		shared = take_output(r, n, false);

	ON_BOTH(r) {
		BE->multiply(D, f32(y.at[s]), f32(x.at[s]), f32(z.at[s]), rows, c, false);
		BE->multiply(D, f32(shared.at[s]), f32(x.at[s]), f32(z.at[s]), rows, c, true);
		BE->multiply(D, f32(x.at[s]), f32(x.at[s]), f32(z.at[s]), rows, c, true);
	}
	compare(r, &y, 0, "multiply");
	compare(r, &shared, 0, "multiply, shared");
	compare(r, &x, 0, "multiply in place");
	give(r, x); give(r, z); give(r, y); give(r, shared);
}

static void columns(struct rig *r)
{
	struct both x = take_drawn(r, 13 * 50, 1), y = take_output(r, 13 * 41, true),
		more = take_output(r, 13 * 41, true);

	ON_BOTH(r) {
		BE->copy_columns(D, f32(y.at[s] + 3), 41, f32(x.at[s] + 5), 50, 13, 37, 0);
		BE->copy_columns(D, f32(more.at[s] + 3), 41, f32(x.at[s] + 5), 50, 13, 37, 1);
	}
	compare(r, &y, 0, "copy_columns");
	compare(r, &more, 0, "copy_columns, added");
	give(r, x); give(r, y); give(r, more);
}

static void look_ups(struct rig *r)
{
	static const int32_t ids[] = { 3, 0, 96, 3, 50 };
	static const enum dtype types[] = { DTYPE_F32, DTYPE_F16, DTYPE_BF16 };
	enum { ROWS = 97, C = 33, TAKEN = sizeof(ids) / sizeof(*ids) };
	struct both x = take_drawn(r, ROWS * C, 1), y = take_output(r, TAKEN * C, false),
		dy = take_drawn(r, TAKEN * C, 1);
	struct both dx = take_output(r, ROWS * C, true);
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(*types); i++) {
		struct both e = take_output(r, TAKEN * C, false);
		float *f = drawn(r, ROWS * C, 1);
		char *host = xmalloc(ROWS * C * sizeof(float));

		if (types[i] == DTYPE_F32)
			memcpy(host, f, ROWS * C * sizeof(float));
		else
			from_float(host, types[i], f, ROWS * C);
		ON_BOTH(r) {
			struct weight w = { .dtype = types[i], .out = ROWS, .in = C, .kh = 1, .kw = 1 };

			if (BE->prepare(D, &w, host) < 0)
				die(EXIT_MEMORY, "no memory for the test");
			BE->embedding(D, e.at[s], &w, ids, TAKEN);
			BE->unprepare(D, &w);
		}
		compare(r, &e, 0, "embedding");
		give(r, e);
		free(f);
		free(host);
	}
	ON_BOTH(r) {
		BE->gather_rows(D, f32(y.at[s]), f32(x.at[s]), ids, TAKEN, C);
		BE->gather_rows_back(D, f32(dx.at[s]), f32(dy.at[s]), ids, TAKEN, C);
	}
	compare(r, &y, 0, "gather_rows");
	compare(r, &dx, 0, "  backward, with an index twice");
	give(r, x); give(r, y); give(r, dy); give(r, dx);
}

static void losses(struct rig *r)
{
	static const char *const names[] = { "L2", "L1", "huber", "smooth L1" };
	enum { N = 3, PIXELS = 331, CHANNELS = 4, EACH = PIXELS * CHANNELS };
	struct both x = take_drawn(r, N * EACH, 1), target = take_drawn(r, N * EACH, 1), weight = take_drawn(r, N, 1),
		dloss = take_drawn(r, N, 1);
	struct both raw = take_drawn(r, N * PIXELS, 1), mask = take_output(r, N * PIXELS, false),
		root = take_drawn(r, N, 1), c = take_output(r, N, false);
	int kind, masked;

	ON_BOTH(r) {
		BE->multiply(D, f32(mask.at[s]), f32(raw.at[s]), f32(raw.at[s]), 1, N * PIXELS, false);
		BE->multiply(D, f32(c.at[s]), f32(root.at[s]), f32(root.at[s]), 1, N, false);
	}
	for (kind = 0; kind < 4; kind++)
		for (masked = 0; masked < 2; masked++) {
			struct both loss = take_output(r, N, false), dx = take_output(r, N * EACH, masked);

			ON_BOTH(r) {
				struct loss_terms t = { kind, N, PIXELS, CHANNELS, weight.at[s],
							kind >= LOSS_HUBER ? c.at[s] : NULL,
							masked ? mask.at[s] : NULL };

				BE->loss(D, loss.at[s], x.at[s], target.at[s], &t);
				BE->loss_back(D, dx.at[s], dloss.at[s], x.at[s], target.at[s], &t, masked);
			}
			compare(r, &loss, CLOSE, names[kind]);
			compare(r, &dx, CLOSE, masked ? "  backward, masked and added" : "  backward");
			give(r, loss); give(r, dx);
		}
	give(r, x); give(r, target); give(r, weight); give(r, dloss); give(r, raw); give(r, mask); give(r, root);
	give(r, c);
}

int main(void)
{
	struct error e;
	struct rig r;

	if (rig_open(&r, &e) < 0)
		return report(&e);
	norms(&r);
	norms_of_sums(&r);
	bands_of_a_norm(&r);
	activations(&r);
	geglus(&r, 5, 33);
	geglus(&r, 64, 320);
	combinations(&r, 1);
	combinations(&r, 100003);
	dropouts(&r, 2, 7, 33);
	dropouts(&r, 1, 300, 16);
	samples(&r, 2, 5, 3, 7);
	samples(&r, 1, 32, 32, 64);
	products(&r, 1, 1);
	products(&r, 70, 321);
	columns(&r);
	look_ups(&r);
	losses(&r);
	return rig_close(&r);
}
