/*
 * halves - every entry of the CUDA backend that takes struct values, with activations and gradients in half precision,
 * against the CPU's, which gets the same rounded values as floats.
 *
 * Each runs twice for either type: at an address and of sizes that allow whole vectors, and one element further, of odd
 * sizes.  Gradients lie under a power of two.
 *
 * Tolerance.  Sums are float, so what is off is the rounding of the result: 2^-12 of it in F16 and 2^-9 in BF16, at
 * most.  Products multiply in 11 bits too, and are compared as in products.c, attention as well.  Compared is the root
 * mean square, with a factor 4 of room; what is read under a wrong power of two is off by 1 and more.
 */
#include "harness.h"

/* elements before an array, and behind it, where nobody else watches its end */
#ifdef __SANITIZE_ADDRESS__
enum { SHIFT = 7, BEFORE = 32, BEHIND = 0 };
#else
enum { SHIFT = 7, BEFORE = 32, BEHIND = 32 };
#endif

/* One element's type and place. */
struct lie { enum dtype type; int off; };

enum role { INPUT, OUTPUT, ADDED };

/* The same values on both sides: floats, and what lies at `at`, with guards on both sides of it. */
struct half { struct values of[SIDES]; void *block; size_t n; int off; };

static double tolerance(enum dtype t) { return t == DTYPE_BF16 ? 4 * ldexp(1, -9) : 4 * ldexp(1, -12); }
static size_t size_of(enum dtype t) { return t == DTYPE_F32 ? 4 : 2; }

/* NaN where it is to be overwritten; else drawn, and rounded under 2^shift */
static float *host_values(struct rig *r, enum dtype type, int shift, size_t n, float spread, enum role role)
{
	float *x = drawn(r, n, spread);
	size_t i;

	for (i = 0; i < n; i++)
		x[i] = role == OUTPUT ? NAN : ldexpf(x[i], shift);
	if (type != DTYPE_F32)
		round_floats(x, type, n);
	return x;
}

static struct half half_of(struct rig *r, struct lie l, int shift, size_t n, float spread, enum role role)
{
	struct half h = { .n = n, .off = l.off };
	const size_t size = size_of(l.type), bytes = (n + l.off + BEFORE + BEHIND) * size;
	float *x = host_values(r, l.type, shift, n, spread, role);
	unsigned char *host = xmalloc(bytes);
	size_t i;

	memset(host, 0x5a, bytes);
	from_float(host + (BEFORE + l.off) * size, l.type, x, n);
	h.block = r->be[CARD]->alloc(r->device[CARD], bytes);
	if (!h.block)
		die(EXIT_MEMORY, "no memory for the test");
	r->be[CARD]->upload(r->device[CARD], h.block, host, bytes);
	h.of[CARD] = (struct values){ (char *)h.block + (BEFORE + l.off) * size, l.type, shift };
	for (i = 0; i < n; i++)
		x[i] = ldexpf(x[i], -shift);
	h.of[CPU] = f32(r->be[CPU]->alloc(r->device[CPU], n * sizeof(*x)));
	r->be[CPU]->upload(r->device[CPU], h.of[CPU].at, x, n * sizeof(*x));
	free(host);
	free(x);
	return h;
}

static void half_give(struct rig *r, struct half *h)
{
	r->be[CPU]->release(r->device[CPU], h->of[CPU].at);
	r->be[CARD]->release(r->device[CARD], h->block);
}

static bool is_guard(const unsigned char *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (at[i] != 0x5a)
			return false;
	return true;
}

/* and gives it back */
static void half_compare(struct rig *r, struct half *h, double limit, const char *name)
{
	const struct values v = h->of[CARD];
	const size_t size = size_of(v.type), before = (BEFORE + h->off) * size, bytes = h->n * size,
		     behind = BEHIND * size;
	unsigned char *host = xmalloc(before + bytes + behind);
	float *want = xmalloc(h->n * sizeof(*want)), *got = xmalloc(h->n * sizeof(*got));
	double error = 0, value = 0;
	bool guarded;

	r->be[CARD]->download(r->device[CARD], host, h->block, before + bytes + behind);
	r->be[CPU]->download(r->device[CPU], want, h->of[CPU].at, h->n * sizeof(*want));
	to_float(got, host + before, v.type, h->n);
	for (size_t i = 0; i < h->n; i++) {
		error += pow(ldexp(got[i], -v.shift) - want[i], 2);
		value += pow(want[i], 2);
	}
	guarded = is_guard(host, before) && is_guard(host + before + bytes, behind);
	error = error == 0 ? 0 : sqrt(error / value);
	verdict(r, error <= limit && guarded, name, error, limit);
	free(host);
	free(want);
	free(got);
	half_give(r, h);
}

/* for both sides, with their backend, device, and what lies there */
#define ON_BOTH(r) for (int s = 0; s < SIDES; s++)
#define BE (r->be[s])
#define D (r->device[s])
#define AT(h) ((h).of[s])

#define IN(n)      half_of(r, l, 0, n, 1, INPUT)
#define OUT(n)     half_of(r, l, 0, n, 1, OUTPUT)
#define GRAD(n)    half_of(r, l, SHIFT, n, 1, INPUT)
#define DX(n, add) half_of(r, l, SHIFT, n, 1, (add) ? ADDED : OUTPUT)
#define FLOATS(n)  half_of(r, (struct lie){ DTYPE_F32, l.off }, 0, n, 1, INPUT)
#define SUMS(n)    half_of(r, (struct lie){ DTYPE_F32, l.off }, 0, n, 1, OUTPUT)

static void norms(struct rig *r, struct lie l)
{
	const struct norm_shape n = l.off ? (struct norm_shape){ 2, 37, 33, 3, 1e-5f, true } :
		(struct norm_shape){ 1, 64, 64, 8, 1e-5f, false };
	const size_t count = (size_t)n.n * n.hw * n.c;
	const int rows = n.n * n.hw;
	const double limit = tolerance(l.type);
	struct both gain = take_drawn(r, n.c, 1), bias = take_drawn(r, n.c, 1),
		    stats = take_output(r, 2 * n.n * n.groups, false), row_stats = take_output(r, 2 * rows, false);
	struct half x = FLOATS(count), y = OUT(count), dy = GRAD(count), z = OUT(count), dz = DX(count, true),
		    h = IN(count),
		    dx = half_of(r, (struct lie){ DTYPE_F32, l.off }, 0, count, 1, ADDED);

	ON_BOTH(r) {
		BE->group_norm(D, AT(y), stats.at[s], AT(x), gain.at[s], bias.at[s], &n);
		BE->group_norm_back(D, AT(dx), AT(dy), AT(x), stats.at[s], gain.at[s], bias.at[s], &n, 1);
		BE->layer_norm(D, AT(z), row_stats.at[s], NULL, AT(h), f32(NULL), gain.at[s], bias.at[s], rows, n.c,
			       n.eps);
		BE->layer_norm_back(D, AT(dz), f32(NULL), AT(dy), AT(h), row_stats.at[s], gain.at[s], rows, n.c, 1);
	}
	half_compare(r, &y, limit, "  group norm of floats");
	half_compare(r, &dx, limit, "  group norm, backward, to floats");
	half_compare(r, &z, limit, "  layer norm");
	half_compare(r, &dz, limit, "  layer norm, backward");
	half_give(r, &x);
	half_give(r, &h);
	half_give(r, &dy);
	give(r, gain);
	give(r, bias);
	give(r, stats);
	give(r, row_stats);
}

/* Of the card's two, whose bytes must be the same; the first is given back. */
static void half_same(struct rig *r, struct half *a, const struct half *b, const char *name)
{
	const size_t bytes = a->n * size_of(a->of[CARD].type);
	void *host[2] = { xmalloc(bytes), xmalloc(bytes) };
	bool same;

	r->be[CARD]->download(r->device[CARD], host[0], a->of[CARD].at, bytes);
	r->be[CARD]->download(r->device[CARD], host[1], b->of[CARD].at, bytes);
	same = !memcmp(host[0], host[1], bytes);
	verdict(r, same, name, !same, 0);
	free(host[0]);
	free(host[1]);
	half_give(r, a);
}

/* A sum of floats and halves and its layer norm, in two calls, in one, and in one over the halves. */
static void norm_of_a_sum(struct rig *r, struct lie l)
{
	const int rows = 30 + l.off, c = l.off ? 35 : 64;
	const size_t n = (size_t)rows * c;
	struct both gain = take_drawn(r, c, 1), bias = take_drawn(r, c, 1), stats = take_output(r, 2 * rows, false);
	struct half stream = FLOATS(n), branch = IN(n), sum = SUMS(n), y = OUT(n), sum_of_two = SUMS(n),
		    y_of_two = OUT(n);

	ON_BOTH(r) {
		BE->add(D, AT(sum_of_two), AT(stream), AT(branch), n);
		BE->layer_norm(D, AT(y_of_two), stats.at[s], NULL, AT(sum_of_two), f32(NULL), gain.at[s], bias.at[s],
			       rows, c, 1e-5f);
		BE->layer_norm(D, AT(y), stats.at[s], floats_at(AT(sum)), AT(stream), AT(branch), gain.at[s],
			       bias.at[s], rows, c, 1e-5f);
		BE->layer_norm(D, AT(branch), stats.at[s], floats_at(AT(sum)), AT(stream), AT(branch), gain.at[s],
			       bias.at[s], rows, c, 1e-5f);
	}
	half_same(r, &sum_of_two, &sum, "  a sum, and the same with its norm");
	half_same(r, &y_of_two, &y, "  its layer norm, and the same with the sum");
	half_compare(r, &sum, tolerance(l.type), "  sum");
	half_same(r, &y, &branch, "  its layer norm, and the same over its term");
	half_compare(r, &branch, tolerance(l.type), "  layer norm of a sum");
	half_give(r, &stream);
	give(r, gain);
	give(r, bias);
	give(r, stats);
}

/* Backward: the stream's gradient, and the same in halves for the branch; in two calls, in one, and in one over dy. */
static void norm_of_a_sum_back(struct rig *r, struct lie l)
{
	const int rows = 30 + l.off, c = l.off ? 35 : 64;
	const size_t n = (size_t)rows * c;
	struct both gain = take_drawn(r, c, 1), stats = take_drawn(r, 2 * rows, 1);
	struct half x = FLOATS(n), dy = GRAD(n), dx = SUMS(n), dx_of_two = SUMS(n), db = DX(n, false),
		    db_of_two = DX(n, false), grown = FLOATS(n);

	ON_BOTH(r) {
		BE->axpby(D, AT(dx), 1, AT(grown), 0, n);
		BE->axpby(D, AT(dx_of_two), 1, AT(grown), 0, n);
		BE->layer_norm_back(D, AT(dx_of_two), f32(NULL), AT(dy), AT(x), stats.at[s], gain.at[s], rows, c, 1);
		BE->axpby(D, AT(db_of_two), 1, AT(dx_of_two), 0, n);
		BE->layer_norm_back(D, AT(dx), AT(db), AT(dy), AT(x), stats.at[s], gain.at[s], rows, c, 1);
		BE->axpby(D, AT(dx), 1, AT(grown), 0, n);
		BE->layer_norm_back(D, AT(dx), AT(dy), AT(dy), AT(x), stats.at[s], gain.at[s], rows, c, 1);
	}
	half_same(r, &dx_of_two, &dx, "  layer norm, backward, and the same with its term's gradient");
	half_same(r, &db_of_two, &db, "  its term's gradient, and the same with the norm's backward");
	half_same(r, &db, &dy, "  its term's gradient, and the same over dy");
	half_compare(r, &dx, tolerance(l.type), "  layer norm of a sum, backward");
	half_compare(r, &dy, tolerance(l.type), "  its term's gradient");
	half_give(r, &x);
	half_give(r, &grown);
	give(r, gain);
	give(r, stats);
}

static void activations(struct rig *r, struct lie l)
{
	const int rows = 30 + l.off, c = l.off ? 35 : 64;
	const size_t n = (size_t)rows * c;
	const double limit = tolerance(l.type);

	for (int kind = ACT_SILU; kind <= ACT_QUICK_GELU; kind++) {
		struct half x = IN(n), y = OUT(n), dy = GRAD(n), dx = DX(n, kind == ACT_GELU);

		ON_BOTH(r) {
			BE->activation(D, AT(y), AT(x), n, kind);
			BE->activation_back(D, AT(dx), AT(dy), AT(x), n, kind, kind == ACT_GELU);
		}
		half_compare(r, &y, limit, "  activation");
		half_compare(r, &dx, limit, "  activation, backward");
		half_give(r, &x);
		half_give(r, &dy);
	}
	struct half x = IN(2 * n), y = OUT(n), dy = GRAD(n), dx = DX(2 * n, true);

	ON_BOTH(r) {
		BE->geglu(D, AT(y), AT(x), rows, c);
		BE->geglu_back(D, AT(dx), AT(dy), AT(x), rows, c, 1);
	}
	half_compare(r, &y, limit, "  geglu");
	half_compare(r, &dx, limit, "  geglu, backward");
	half_give(r, &x);
	half_give(r, &dy);
}

/* What is added up is float; gradients come from there and go there. */
static void sums(struct rig *r, struct lie l)
{
	const int rows = 30 + l.off, c = l.off ? 35 : 64;
	const size_t n = (size_t)rows * c;
	const double limit = tolerance(l.type);
	struct half stream = FLOATS(n), branch = IN(n), y = SUMS(n), dbranch = DX(n, false), more = DX(n, true),
		    back = SUMS(n), row = IN(c), z = OUT(n), w = OUT(n), sum = half_of(r, l, SHIFT, c, 1, ADDED),
		    nothing = half_of(r, l, 0, n, 1, INPUT);

	ON_BOTH(r) {
		BE->add(D, AT(y), AT(stream), AT(branch), n);
		BE->axpby(D, AT(dbranch), 1, AT(stream), 0, n);
		BE->axpby(D, AT(more), 1, AT(stream), 1, n);
		BE->axpby(D, AT(back), -0.5f, AT(more), 0, n);
		BE->multiply(D, AT(z), AT(branch), AT(row), rows, c, true);
		BE->add_per_sample(D, AT(w), AT(branch), AT(row), 1, rows, c);
		BE->sum_per_sample(D, AT(sum), AT(more), 1, rows, c, 1);
		BE->zero(D, AT(nothing), n);
	}
	half_compare(r, &y, limit, "  a float and a half added");
	half_compare(r, &dbranch, limit, "  a gradient from floats");
	half_compare(r, &back, limit, "  a gradient to floats");
	half_compare(r, &z, limit, "  rows times a row");
	half_compare(r, &w, limit, "  a row added to rows");
	half_compare(r, &sum, limit, "  sums of a gradient's columns");
	half_compare(r, &more, limit, "  a gradient added to");
	half_compare(r, &nothing, limit, "  zeros");
	half_give(r, &stream);
	half_give(r, &branch);
	half_give(r, &row);
}

static void moves(struct rig *r, struct lie l)
{
	const int n = 2, h = 3, w = 4, c = l.off ? 5 : 8, rows = n * h * w;
	const int32_t index[] = { 4, 0, 4, 7 };
	const size_t count = (size_t)rows * c;
	const double limit = tolerance(l.type);
	struct half x = IN(count), wide = half_of(r, l, 0, 2 * count, 1, ADDED), up = OUT(4 * count),
		    dy = GRAD(4 * count), dx = DX(count, true), taken = SUMS(4 * c), back = DX(count, true);

	ON_BOTH(r) {
		BE->copy_columns(D, AT(wide), 2 * c, AT(x), c, rows, c, 1);
		BE->upsample(D, AT(up), AT(x), n, h, w, c);
		BE->upsample_back(D, AT(dx), AT(dy), n, h, w, c, 1);
		BE->gather_rows(D, AT(taken), AT(x), index, 4, c);
		BE->gather_rows_back(D, AT(back), AT(dy), index, 4, c);
	}
	half_compare(r, &wide, limit, "  columns");
	half_compare(r, &up, limit, "  upsample");
	half_compare(r, &dx, limit, "  upsample, backward");
	half_compare(r, &taken, limit, "  rows taken");
	half_compare(r, &back, limit, "  rows taken, backward");
	half_give(r, &x);
	half_give(r, &dy);
}

/* queries split among blocks where `few` */
static void attention(struct rig *r, struct lie l, int d, bool few)
{
	const int heads = 2, lq = few ? 600 : 40 + l.off, lk = few ? 17 : 40 + l.off, c = heads * d;
	const int add[3] = { 0, 1, few };
	struct attention_shape a = { .n = 1, .heads = heads, .d = d, .lq = lq, .lk = lk, .ldq = c, .ldk = c, .ldv = c,
				     .ldo = c, .scale = 1 / sqrtf(d) };
	const double limit = 4 * tolerance(l.type);
	const size_t n = (size_t)lq * c, m = (size_t)lk * c;
	struct half q = IN(n), k = IN(m), v = IN(m), o = OUT(n), dout = GRAD(n), dq = DX(n, false), dk = DX(m, true),
		    dv = DX(m, few);
	struct both lse = take_output(r, heads * lq, false);

	ON_BOTH(r) {
		BE->attention(D, AT(o), lse.at[s], AT(q), AT(k), AT(v), &a);
		BE->attention_back(D, AT(dq), AT(dk), AT(dv), AT(dout), AT(o), lse.at[s], AT(q), AT(k), AT(v), &a, add);
	}
	half_compare(r, &o, limit, "  attention");
	half_compare(r, &dq, limit, "  attention, dq");
	half_compare(r, &dk, limit, "  attention, dk");
	half_compare(r, &dv, limit, "  attention, dv");
	half_give(r, &q);
	half_give(r, &k);
	half_give(r, &v);
	half_give(r, &dout);
	give(r, lse);
}

/* ---- products ---- */

struct weights { struct weight of[SIDES]; };

static struct weights take_weights(struct rig *r, enum dtype type, int out, int in, int kernel)
{
	const size_t n = (size_t)out * in * kernel * kernel;
	float *x = drawn(r, n, 1 / sqrtf(in * kernel * kernel));
	char *host = xmalloc(n * 4);
	struct weights w;

	from_float(host, type, x, n);
	ON_BOTH(r) {
		w.of[s] = (struct weight){ .dtype = type, .out = out, .in = in, .kh = kernel, .kw = kernel };
		if (BE->prepare(D, &w.of[s], host))
			die(EXIT_MEMORY, "no memory for the test");
	}
	free(x);
	free(host);
	return w;
}

static void give_weights(struct rig *r, struct weights *w)
{
	ON_BOTH(r)
		BE->unprepare(D, &w->of[s]);
}

/* A layer of activations with an adapter of this rank beside it; 0: none, and half of what is read and made is float */
static void linear(struct rig *r, struct lie l, enum dtype weight, int rank)
{
	const int rows = 33 + l.off, in = l.off ? 28 : 64, out = l.off ? 43 : 48;
	const int wide = rank ? rank : 1;
	const double limit = 2 * tolerance(l.type);
	const struct lie plain = { DTYPE_F32, l.off }, a = rank ? l : plain;
	struct weights w = take_weights(r, weight, out, in, 1);
	struct half x = half_of(r, a, 0, (size_t)rows * in, 1, INPUT), y = OUT((size_t)rows * out),
		    dy = GRAD((size_t)rows * out), dx = half_of(r, a, rank ? SHIFT : 0, (size_t)rows * in, 1, ADDED),
		    other = half_of(r, plain, 0, (size_t)rows * out, 1, INPUT), odd = DX((size_t)rows * in, false);
	struct both bias = take_drawn(r, out, 1), z = take_output(r, (size_t)rows * wide, false),
		    dz = take_output(r, (size_t)rows * wide, false),
		    up = take_drawn(r, (size_t)out * wide, 1),
		    down = take_drawn(r, (size_t)in * wide, 1 / sqrtf(in)),
		    dup = take_output(r, (size_t)out * wide, true),
		    ddown = take_output(r, (size_t)in * wide, true);

	ON_BOTH(r) {
		const struct narrow more = { z.at[s], up.at[s], rank, 0.5f, down.at[s], 1 },
				    more_dx = { dz.at[s], down.at[s], rank, 1, up.at[s], 0.5f };

		BE->linear(D, AT(y), AT(x), &w.of[s], bias.at[s], rows, rank ? &more : NULL);
		BE->linear_dx(D, AT(dx), AT(dy), &w.of[s], rows, 1, rank ? &more_dx : NULL);
		BE->linear_dx(D, AT(odd), AT(other), &w.of[s], rows, 0, NULL);
		if (rank)
			BE->narrow_grads(D, &(struct stacked_grads){ { { dup.at[s], ddown.at[s], 1, 1, AT(dy), AT(x),
					 z.at[s], dz.at[s], rows, out, in, rank, out, 0.5f } }, 1 });
	}
	half_compare(r, &y, limit, rank ? "  linear, with an adapter" : "  linear of floats");
	half_compare(r, &dx, limit, rank ? "  linear_dx, with an adapter" : "  linear_dx to floats");
	half_compare(r, &odd, limit, "  linear_dx of floats");
	if (rank) {
		compare(r, &dup, limit, "  gradient of up");
		compare(r, &ddown, limit, "  gradient of down");
	}
	half_give(r, &x);
	half_give(r, &dy);
	half_give(r, &other);
	give(r, bias);
	give(r, z);
	give(r, dz);
	give(r, up);
	give(r, down);
	give(r, dup);
	give(r, ddown);
	give_weights(r, &w);
}

/* A layer and its GEGLU: what lies in y is rounded before that.  Then one that reads a GEGLU, backward. */
static void gates(struct rig *r, struct lie l, int rank)
{
	const int rows = 33 + l.off, in = l.off ? 28 : 64, out = 128;
	const double limit = 4 * tolerance(l.type);
	struct half x = IN((size_t)rows * in), y = OUT((size_t)rows * out), g = OUT((size_t)rows * out / 2);
	struct half h = IN((size_t)rows * out), dh = DX((size_t)rows * out, false), dy = GRAD((size_t)rows * in),
		    room = DX((size_t)rows * out / 2, false);
	struct weights w = take_weights(r, l.type, out, in, 1), next = take_weights(r, l.type, in, out / 2, 1);
	struct both bias = take_drawn(r, out, 1), z = take_output(r, (size_t)rows * rank, false),
		    dz = take_output(r, (size_t)rows * rank, false), down_next = take_drawn(r, out / 2 * rank, 1),
		    up = take_drawn(r, (size_t)out * rank, 1), down = take_drawn(r, (size_t)in * rank, 1 / sqrtf(in));

	ON_BOTH(r) {
		const struct narrow more = { z.at[s], up.at[s], rank, 0.5f, down.at[s], 1 };
		const struct narrow more_dx = { dz.at[s], down_next.at[s], rank, 1, down.at[s], 0.5f };

		BE->linear_geglu(D, AT(g), AT(y), AT(x), &w.of[s], bias.at[s], rows, &more);
		BE->linear_dx_geglu(D, AT(dh), AT(room), AT(dy), AT(h), &next.of[s], rows, &more_dx);
	}
	half_compare(r, &dh, limit, "  geglu and linear, backward");
	half_give(r, &h);
	half_give(r, &dy);
	half_give(r, &room);
	give(r, dz);
	give(r, down_next);
	give_weights(r, &next);
	half_compare(r, &y, limit, "  linear before its geglu");
	half_compare(r, &g, limit, "  linear and its geglu");
	half_give(r, &x);
	give(r, bias);
	give(r, z);
	give(r, up);
	give(r, down);
	give_weights(r, &w);
}

/* Layers beside each other, of which the second has no adapter: each reads columns of dy, and makes columns of y. */
enum { BESIDE = 3 };
static void linears(struct rig *r, struct lie l, int rank)
{
	static const int out[BESIDE] = { 48, 19, 32 };
	const int rows = 33 + l.off, in = l.off ? 28 : 64, all = out[0] + out[1] + out[2];
	const double limit = 2 * tolerance(l.type);
	struct half x = IN((size_t)rows * in), y = OUT((size_t)rows * all), dy = GRAD((size_t)rows * all),
		    dx = DX((size_t)rows * in, true);
	struct weights w[BESIDE];
	struct both z[BESIDE], dz[BESIDE], up[BESIDE], down[BESIDE], dup[BESIDE], ddown[BESIDE];

	for (int i = 0; i < BESIDE; i++) {
		w[i] = take_weights(r, l.type, out[i], in, 1);
		z[i] = take_output(r, (size_t)rows * rank, false);
		dz[i] = take_output(r, (size_t)rows * rank, false);
		up[i] = take_drawn(r, (size_t)out[i] * rank, 1);
		down[i] = take_drawn(r, (size_t)in * rank, 1 / sqrtf(in));
		dup[i] = take_output(r, (size_t)out[i] * rank, true);
		ddown[i] = take_output(r, (size_t)in * rank, true);
	}
	ON_BOTH(r) {
		struct narrow more[BESIDE], more_dx[BESIDE];
		struct stacked forth = { .count = BESIDE }, back = { .count = BESIDE };
		struct stacked_grads g = { .count = 0 };

		for (int i = 0, column = 0; i < BESIDE; column += out[i++]) {
			more[i] = (struct narrow){ z[i].at[s], up[i].at[s], rank, 0.5f, down[i].at[s], 1 };
			more_dx[i] = (struct narrow){ dz[i].at[s], down[i].at[s], rank, 1, up[i].at[s], 0.5f };
			forth.of[i] = (struct stacked_layer){ &w[i].of[s], NULL, i != 1 ? &more[i] : NULL };
			back.of[i] = (struct stacked_layer){ &w[i].of[s], NULL, i != 1 ? &more_dx[i] : NULL };
			if (i != 1)
				g.of[g.count++] = (struct narrow_grads){ dup[i].at[s], ddown[i].at[s], 1, 1,
					values_from(AT(dy), column), AT(x), z[i].at[s], dz[i].at[s], rows, out[i], in,
					rank, all, 0.5f };
		}
		BE->linears(D, AT(y), AT(x), &forth, rows);
		BE->linears_dx(D, AT(dx), AT(dy), &back, rows, 1);
		BE->narrow_grads(D, &g);
	}
	half_compare(r, &y, limit, "  layers beside each other");
	half_compare(r, &dx, limit, "  layers beside each other, dx");
	half_give(r, &x);
	half_give(r, &dy);
	for (int i = 0; i < BESIDE; i++) {
		if (i != 1) {
			compare(r, &dup[i], limit, "  gradient of one's up");
			compare(r, &ddown[i], limit, "  gradient of one's down");
		}
		give(r, z[i]);
		give(r, dz[i]);
		give(r, up[i]);
		give(r, down[i]);
		give(r, dup[i]);
		give(r, ddown[i]);
		give_weights(r, &w[i]);
	}
}

/* Products of an adapter's own floats with activations: what scratch holds at once is less than that where `many`. */
static void factors(struct rig *r, struct lie l, bool many)
{
	const int rows = many ? 4200 : 33 + l.off, in = many ? 4096 : 29, out = 3;
	const double limit = 2 * tolerance(l.type);
	struct half x = IN((size_t)rows * in), y = half_of(r, l, 0, (size_t)rows * out, 1, ADDED),
		    dy = GRAD((size_t)rows * out), dw = SUMS((size_t)out * in);
	struct both w = take_drawn(r, (size_t)out * in, 1 / sqrtf(in));

	ON_BOTH(r) {
		BE->gemm(D, 0, 1, rows, out, in, 0.5f, AT(x), in, f32(w.at[s]), in, 1, AT(y), out);
		BE->gemm(D, 1, 0, out, in, rows, 0.25f, AT(dy), out, AT(x), in, 0, AT(dw), in);
	}
	half_compare(r, &y, limit, "  halves times floats");
	half_compare(r, &dw, limit, "  halves turned, times halves");
	half_give(r, &x);
	half_give(r, &dy);
	give(r, w);
}

static void convolution(struct rig *r, struct lie l, enum dtype weight, int stride)
{
	const int in = l.off ? 7 : 16, out = l.off ? 9 : 24;
	const struct conv_shape c = { 2, 9, 8, (9 - 1) / stride + 1, (8 - 1) / stride + 1, stride, 1 };
	const size_t inputs = (size_t)c.n * c.h * c.w * in, outputs = (size_t)c.n * c.oh * c.ow * out;
	const double limit = 2 * tolerance(l.type);
	struct weights w = take_weights(r, weight, out, in, 3);
	struct half x = IN(inputs), y = OUT(outputs), dy = GRAD(outputs), dx = DX(inputs, true), z = SUMS(outputs),
		    other = FLOATS(outputs), odd = DX(inputs, false), back = SUMS(inputs);
	struct both bias = take_drawn(r, out, 1), dw = take_output(r, (size_t)9 * in * out, false);

	ON_BOTH(r) {
		BE->conv2d(D, AT(y), AT(x), &w.of[s], bias.at[s], &c);
		BE->conv2d(D, AT(z), AT(x), &w.of[s], NULL, &c);
		BE->conv2d_dx(D, AT(dx), AT(dy), &w.of[s], &c, 1);
		BE->conv2d_dx(D, AT(odd), AT(other), &w.of[s], &c, 0);
		BE->conv2d_dx(D, AT(back), AT(dy), &w.of[s], &c, 0);
		BE->conv2d_dw(D, dw.at[s], AT(x), AT(dy), out, in, 3, 3, &c, 0);
	}
	half_compare(r, &y, limit, "  convolution");
	half_compare(r, &z, limit, "  convolution to floats");
	half_compare(r, &dx, limit, "  convolution, backward");
	half_compare(r, &odd, limit, "  convolution, backward, of floats");
	half_compare(r, &back, limit, "  convolution, backward, to floats");
	compare(r, &dw, limit, "  gradient of filters");
	half_give(r, &x);
	half_give(r, &dy);
	half_give(r, &other);
	give(r, bias);
	give(r, dw);
	give_weights(r, &w);
}

static void rotations(struct rig *r, struct lie l)
{
	const struct rotations s_of = { .blocks = 4, .size = l.off ? 5 : 8, .limit = -1 };
	const int rows = 21, n = s_of.blocks * s_of.size, add[2] = { 1, 0 };
	const double limit = tolerance(l.type);
	struct half x = IN((size_t)rows * n), y = OUT((size_t)rows * n), dy = GRAD((size_t)rows * n),
		    dx = DX((size_t)rows * n, true);
	struct both b = take_drawn(r, (size_t)s_of.blocks * s_of.size * s_of.size, 0.1f),
		    turn = take_output(r, (size_t)s_of.blocks * s_of.size * s_of.size, false),
		    db = take_output(r, (size_t)s_of.blocks * s_of.size * s_of.size, false),
		    room = take_output(r, rotation_room(&s_of), false);

	ON_BOTH(r) {
		BE->rotate(D, AT(y), turn.at[s], room.at[s], AT(x), b.at[s], rows, &s_of);
		BE->rotate_back(D, AT(dx), db.at[s], room.at[s], AT(dy), AT(x), b.at[s], turn.at[s], rows, &s_of, add);
	}
	half_compare(r, &y, limit, "  small rotations");
	half_compare(r, &dx, limit, "  small rotations, backward");
	compare(r, &db, limit, "  gradient of their numbers");
	half_give(r, &x);
	half_give(r, &dy);
	give(r, b);
	give(r, turn);
	give(r, db);
	give(r, room);
}

static void all(struct rig *r, struct lie l)
{
	printf("# %s, %s\n", dtype_name(l.type), l.off ? "one element further, odd sizes" : "whole vectors");
	norms(r, l);
	norm_of_a_sum(r, l);
	norm_of_a_sum_back(r, l);
	activations(r, l);
	sums(r, l);
	moves(r, l);
	attention(r, l, l.off ? 21 : 32, false);
	attention(r, l, l.off ? 50 : 64, true);
	if (!quick()) {
		attention(r, l, l.off ? 101 : 128, false);
		attention(r, l, l.off ? 150 : 160, false);
	}
	linear(r, l, l.type, 0);
	linear(r, l, l.type, 5);
	linear(r, l, l.type, 40);
	linear(r, l, DTYPE_F32, 5);
	if (!quick())
		linear(r, l, l.type, 130);
	gates(r, l, 5);
	gates(r, l, 40);
	linears(r, l, 5);
	linears(r, l, 40);
	linears(r, l, 130);
	factors(r, l, false);
	convolution(r, l, l.type, 1);
	convolution(r, l, l.type, 2);
	convolution(r, l, DTYPE_F32, 1);
	rotations(r, l);
}

int main(void)
{
	static const enum dtype types[] = { DTYPE_F16, DTYPE_BF16 };
	struct rig r;
	struct error e;

	if (rig_open(&r, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return EXIT_MEMORY;
	}
	for (size_t i = 0; i < 2; i++)
		for (int off = 0; off < 2; off++)
			all(&r, (struct lie){ types[i], off });
	if (!quick())
		factors(&r, (struct lie){ DTYPE_F16, 0 }, true);
	return rig_close(&r);
}
