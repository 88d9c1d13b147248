/*
 * attention.c - softmax(scale q k^T) v, a block of queries against a block of keys at a time.
 *
 * Forward: a task is some queries of one head.  It goes through the blocks of keys in order and keeps, for each row,
 * the greatest score so far and the sum of exponents (online softmax).  A block of keys is packed once for all of them.
 * Backward: a task is a block of keys of one head, which goes through the queries in order; where it adds to dq, it
 * waits for the block of keys before it.  So every sum has one order, and a head can have several threads.
 */
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include "../base/elementary.h"
#include "internal.h"

enum { QUERIES = 96, KEYS = 256 };

static int vectors(int n) { return (n + MAX_LANES - 1) / MAX_LANES * MAX_LANES; }

/* Rows [i, i+m) by keys [j, j+n) of one head. */
struct patch { int i, m, j, n; };

/* -infinity in what lies right of the last key, up to a whole number of vectors, and above the diagonal. */
static void mask(float *scores, const struct patch *p, bool causal)
{
	int r, c;

	for (r = 0; r < p->m; r++) {
		int seen = causal ? smaller(p->n, p->i + r + 1 - p->j) : p->n;

		for (c = seen < 0 ? 0 : seen; c < vectors(p->n); c++)
			scores[r * KEYS + c] = -INFINITY;
	}
}

/* How many keys the last of queries [i, i+m) sees. */
static int keys_seen(const struct attention_shape *s, int i, int m)
{
	return s->causal ? smaller(s->lk, i + m) : s->lk;
}

/* scores[m, KEYS] = scale x[m,d] packed[d,n] */
static void score(const struct kernels *k, float *scores, const float *x, size_t ld, const float *packed,
		  const struct patch *p, int d, float scale)
{
	const struct block b = { .m = p->m, .n = p->n, .k = d, .a = x, .row = ld, .col = 1, .panels = packed,
				 .c = scores, .ldc = KEYS, .alpha = scale };

	k->block(&b);
}

/* c[m,d] = a[m,n] packed[n,d] + beta c */
static void weigh(const struct kernels *k, float *c, size_t ldc, const float *a, const float *packed,
		  const struct patch *p, int d, float beta)
{
	const struct block b = { .m = p->m, .n = d, .k = p->n, .a = a, .row = KEYS, .col = 1, .panels = packed, .c = c,
				 .ldc = ldc, .alpha = 1, .beta = beta };

	k->block(&b);
}

/* c[n,d] = a[m,n]^T packed[m,d] + beta c */
static void weigh_transposed(const struct kernels *k, float *c, size_t ldc, const float *a, const float *packed,
			     const struct patch *p, int d, float beta)
{
	const struct block b = { .m = p->n, .n = d, .k = p->m, .a = a, .row = 1, .col = KEYS, .panels = packed, .c = c,
				 .ldc = ldc, .alpha = 1, .beta = beta };

	k->block(&b);
}

/* One head's rows. */
struct head {
	const float *q, *k, *v, *o, *dout, *lse;
	float *to, *to_lse;             /* forward */
	float *dq, *dk, *dv;            /* backward */
};

/* All heads' rows, as the backend's caller gave them. */
struct task {
	const struct attention_shape *s;
	struct head all;
	const int *add;
};

static float *offset(float *p, size_t by) { return p ? p + by : NULL; }
static const float *const_offset(const float *p, size_t by) { return p ? p + by : NULL; }

static struct head head_of(const struct task *a, int t)
{
	const struct attention_shape *s = a->s;
	const size_t n = t / s->heads, column = (size_t)(t % s->heads) * s->d;
	const size_t q = n * s->lq * s->ldq + column, k = n * s->lk * s->ldk + column, v = n * s->lk * s->ldv + column;
	const size_t o = n * s->lq * s->ldo + column, lse = (size_t)t * s->lq;

	return (struct head){
		.q = a->all.q + q, .k = a->all.k + k, .v = a->all.v + v,
		.o = const_offset(a->all.o, o), .dout = const_offset(a->all.dout, o),
		.lse = const_offset(a->all.lse, lse),
		.to = offset(a->all.to, o), .to_lse = offset(a->all.to_lse, lse),
		.dq = offset(a->all.dq, q), .dk = offset(a->all.dk, k), .dv = offset(a->all.dv, v),
	};
}

static int parts(int n, int size) { return (n + size - 1) / size; }
static int strips_of(const struct attention_shape *s) { return parts(s->lq, QUERIES); }
static struct patch strip_of(const struct attention_shape *s, int i)
{
	return (struct patch){ .i = i * QUERIES, .m = smaller(QUERIES, s->lq - i * QUERIES) };
}

/* Rows of a head are no neighbours in memory; the processor does not guess that they are read next. */
static void fetch_row(const float *x, int d)
{
	for (int i = 0; x && i < d; i += 64 / sizeof(*x))
		__builtin_prefetch(x + i, 0, 2);
}

/* A task of forward: strips of one head. */
struct turn { const struct task *a; int strips, per_head; };

struct forward {
	float *k, *v;                   /* a block of keys and values, packed */
	float *scores;                  /* [QUERIES, KEYS] */
	float *sum;                     /* of exponents, of the task's rows */
};

static struct forward forward_scratch(struct device *dev, int thread, int d, int rows)
{
	const size_t keys = panel_floats(dev->k, KEYS, d), values = panel_floats(dev->k, d, KEYS);
	char *at = thread_scratch(dev, thread, floats(keys) + floats(values) + floats(QUERIES * KEYS) + floats(rows));

	return (struct forward){ carve(&at, keys), carve(&at, values), carve(&at, QUERIES * KEYS), carve(&at, rows) };
}

/* Adds one block of keys to the online softmax, and fetches the next rows of q and o.  h->to is divided after the last
 * block; until then, the greatest score is where lse will be. */
static void take_keys(const struct kernels *k, const struct forward *f, float *sum, const struct head *h,
		      const struct patch *p, const struct attention_shape *s)
{
	float *to = h->to + (size_t)p->i * s->ldo, *max = h->to_lse + p->i;
	int r;

	score(k, f->scores, h->q + (size_t)p->i * s->ldq, s->ldq, f->k, p, s->d, s->scale);
	mask(f->scores, p, s->causal);
	for (r = 0; r < p->m; r++) {
		const size_t next = p->i + r + QUERIES;
		float factor;

		if (next < (size_t)s->lq) {
			fetch_row(h->q + next * s->ldq, s->d);
			fetch_row(h->to + next * s->ldo, s->d);
		}
		if (!p->j) {
			max[r] = -INFINITY;
			sum[r] = 0;
		}
		factor = k->softmax_row(f->scores + r * KEYS, vectors(p->n), &max[r], &sum[r]);
		if (p->j && factor != 1)
			k->scale(to + (size_t)r * s->ldo, factor, s->d);
	}
	weigh(k, to, s->ldo, f->scores, f->v, p, s->d, p->j > 0);
}

static void divide(const struct kernels *k, const float *sum, const struct head *h, const struct patch *p,
		   const struct attention_shape *s)
{
	for (size_t r = 0; r < (size_t)p->m; r++) {
		k->scale(h->to + (p->i + r) * s->ldo, 1 / sum[r], s->d);
		h->to_lse[p->i + r] += (float)plain_log(sum[r]);
	}
}

static void attend_task(struct device *dev, const void *arg, int t, int thread)
{
	const struct turn *turn = arg;
	const struct attention_shape *s = turn->a->s;
	const struct head h = head_of(turn->a, t / turn->per_head);
	const int first = t % turn->per_head * turn->strips, end = smaller(first + turn->strips, strips_of(s));
	const int seen = keys_seen(s, (end - 1) * QUERIES, QUERIES);
	const struct forward f = forward_scratch(dev, thread, s->d, turn->strips * QUERIES);

	for (int j = 0; j < seen; j += KEYS) {
		const int n = smaller(KEYS, s->lk - j);

		pack_transposed(dev->k, f.k, h.k + (size_t)j * s->ldk, s->ldk, n, s->d);
		pack_matrix(dev->k, f.v, h.v + (size_t)j * s->ldv, s->ldv, s->d, n);
		for (int i = first; i < end; i++) {
			struct patch p = strip_of(s, i);
			const int last = keys_seen(s, p.i, p.m);
			float *sum = f.sum + p.i - first * QUERIES;

			p.j = j;
			p.n = n;
			if (j < last)
				take_keys(dev->k, &f, sum, &h, &p, s);
			if (j < last && j + KEYS >= last)
				divide(dev->k, sum, &h, &p, s);
		}
	}
}

/* Long tasks, that little is packed twice; short ones where heads cannot be shared out evenly. */
static struct turn turn_of(const struct device *dev, const struct task *a)
{
	const int heads = a->s->n * a->s->heads, strips = strips_of(a->s);
	const long all = (long)heads * strips, each = all / (dev->threads * (heads % dev->threads ? 16 : 4));
	const int per_head = parts(strips, each < 1 ? 1 : smaller(each, strips));

	return (struct turn){ a, parts(strips, per_head), parts(strips, parts(strips, per_head)) };
}

void cpu_attention(struct device *dev, struct values ov, float *lse, struct values qv, struct values kv,
		   struct values vv, const struct attention_shape *s)
{
	float *o = floats_at(ov);
	const float *q = floats_at(qv);
	const float *k = floats_at(kv);
	const float *v = floats_at(vv);
	const struct task a = { s, { .q = q, .k = k, .v = v, .to = o, .to_lse = lse }, NULL };
	const struct turn turn = turn_of(dev, &a);

	run_tasks(dev, s->n * s->heads * turn.per_head, (double)s->n * s->heads * s->lq * s->lk * s->d, attend_task,
		  &turn);
}

struct backward {
	float *k, *v, *k_rows;          /* a block of keys: packed for q k^T, dout v^T, ds k */
	float *q_rows, *dout_rows;      /* a block of queries: packed for ds^T q, p^T dout */
	float *p, *ds;                  /* [QUERIES, KEYS] */
};

static struct backward backward_scratch(struct device *dev, int thread, const struct attention_shape *s)
{
	const size_t keys = panel_floats(dev->k, KEYS, s->d), rows = panel_floats(dev->k, s->d, KEYS),
		     queries = panel_floats(dev->k, s->d, QUERIES), scores = QUERIES * KEYS;
	char *at = thread_scratch(dev, thread, 2 * floats(keys) + floats(rows) + 2 * floats(queries) +
				  2 * floats(scores));

	return (struct backward){ carve(&at, keys), carve(&at, keys), carve(&at, rows), carve(&at, queries),
				  carve(&at, queries), carve(&at, scores), carve(&at, scores) };
}

/* What the tasks of a backward share. */
struct descent {
	const struct task *a;
	float *delta;                   /* [n, heads, lq]: dout . o, from the first block of keys */
	_Atomic int *turn;              /* [n, heads, strips]: blocks of keys that are done with these queries */
};

/* p and ds of one patch, and meanwhile the next rows of q, dout and dq */
static void weights_back(const struct kernels *k, const struct head *h, const struct backward *b, const float *delta,
			 const struct patch *p, const struct attention_shape *s)
{
	score(k, b->p, h->q + (size_t)p->i * s->ldq, s->ldq, b->k, p, s->d, s->scale);
	mask(b->p, p, s->causal);
	score(k, b->ds, h->dout + (size_t)p->i * s->ldo, s->ldo, b->v, p, s->d, 1);
	for (int r = 0; r < p->m; r++) {
		const size_t next = p->i + r + QUERIES;

		if (next < (size_t)s->lq) {
			fetch_row(h->q + next * s->ldq, s->d);
			fetch_row(h->dout + next * s->ldo, s->d);
			fetch_row(const_offset(h->dq, next * s->ldq), s->d);
		}
		/* What lies right of the last key was never written: 0, lest a stray NaN meet p = 0. */
		memset(b->ds + r * KEYS + p->n, 0, (vectors(p->n) - p->n) * sizeof(float));
		k->softmax_back_row(b->p + r * KEYS, b->ds + r * KEYS, vectors(p->n), h->lse[p->i + r],
				    delta[p->i + r], s->scale);
	}
}

/* backward of p = softmax(scale q k^T), o = p v, for one patch:
 * dp = dout v^T;  ds = p (dp - delta) scale;  dk += ds^T q;  dv += p^T dout;  dq += ds k */
static void patch_back(const struct kernels *k, const struct head *h, const struct backward *b, const struct patch *p,
		       const struct attention_shape *s, const int add[3], _Atomic int *turn)
{
	const float *q = h->q + (size_t)p->i * s->ldq, *dout = h->dout + (size_t)p->i * s->ldo;
	const float first_query = p->i == (s->causal ? p->j / QUERIES * QUERIES : 0), first_key = p->j == 0;

	if (h->dk) {
		pack_matrix(k, b->q_rows, q, s->ldq, s->d, p->m);
		weigh_transposed(k, h->dk + (size_t)p->j * s->ldk, s->ldk, b->ds, b->q_rows, p, s->d,
				 first_query ? add[1] : 1);
	}
	if (h->dv) {
		pack_matrix(k, b->dout_rows, dout, s->ldo, s->d, p->m);
		weigh_transposed(k, h->dv + (size_t)p->j * s->ldv, s->ldv, b->p, b->dout_rows, p, s->d,
				 first_query ? add[2] : 1);
	}
	await_value(turn, p->j / KEYS);
	if (h->dq)
		weigh(k, h->dq + (size_t)p->i * s->ldq, s->ldq, b->ds, b->k_rows, p, s->d, first_key ? add[0] : 1);
	atomic_store(turn, p->j / KEYS + 1);
}

/* Task i: as many heads as there are threads go through their blocks of keys side by side.  Only where fewer heads are
 * left do threads share one. */
static struct patch place(const struct device *dev, const struct attention_shape *s, int i, int *head)
{
	const int size = dev->threads * parts(s->lk, KEYS), first = i / size * dev->threads,
		  heads = smaller(dev->threads, s->n * s->heads - first), j = i % size / heads * KEYS;

	*head = first + i % size % heads;
	return (struct patch){ .j = j, .n = smaller(KEYS, s->lk - j) };
}

/* The first block of keys does it for all. */
static void delta_of(const struct kernels *k, float *delta, const struct head *h, const struct patch *p,
		     const struct attention_shape *s)
{
	for (size_t r = p->i; r < (size_t)p->i + p->m; r++)
		delta[r] = k->dot(h->dout + r * s->ldo, h->o + r * s->ldo, s->d);
}

static void keys_back(struct device *dev, const void *arg, int t, int thread)
{
	const struct descent *back = arg;
	const struct attention_shape *s = back->a->s;
	const struct backward b = backward_scratch(dev, thread, s);
	int head, i;
	const struct patch keys = place(dev, s, t, &head);
	const struct head h = head_of(back->a, head);
	float *delta = back->delta + (size_t)head * s->lq;
	_Atomic int *turn = back->turn + (size_t)head * strips_of(s);

	pack_transposed(dev->k, b.k, h.k + (size_t)keys.j * s->ldk, s->ldk, keys.n, s->d);
	pack_transposed(dev->k, b.v, h.v + (size_t)keys.j * s->ldv, s->ldv, keys.n, s->d);
	pack_matrix(dev->k, b.k_rows, h.k + (size_t)keys.j * s->ldk, s->ldk, s->d, keys.n);
	for (i = s->causal ? keys.j / QUERIES : 0; i < strips_of(s); i++) {
		struct patch p = strip_of(s, i);

		p.j = keys.j;
		p.n = keys.n;
		if (p.j)
			await_value(&turn[i], 1);
		else
			delta_of(dev->k, delta, &h, &p, s);
		weights_back(dev->k, &h, &b, delta, &p, s);
		patch_back(dev->k, &h, &b, &p, s, back->a->add, &turn[i]);
	}
}

void cpu_attention_back(struct device *dev, struct values dqv, struct values dkv, struct values dvv,
			struct values doutv, struct values ov, const float *lse, struct values qv, struct values kv,
			struct values vv, const struct attention_shape *s, const int add[3])
{
	float *dq = floats_at(dqv);
	float *dk = floats_at(dkv);
	float *dv = floats_at(dvv);
	const float *dout = floats_at(doutv);
	const float *o = floats_at(ov);
	const float *q = floats_at(qv);
	const float *k = floats_at(kv);
	const float *v = floats_at(vv);
	const struct task a = { s, { .q = q, .k = k, .v = v, .o = o, .dout = dout, .lse = lse, .dq = dq, .dk = dk,
				     .dv = dv }, add };
	const int heads = s->n * s->heads;
	const size_t deltas = (size_t)heads * s->lq, turns = (size_t)heads * strips_of(s);
	char *at = caller_scratch(dev, floats(deltas) + floats(turns));
	const struct descent b = { &a, carve(&at, deltas), (_Atomic int *)carve(&at, turns) };

	memset((void *)b.turn, 0, turns * sizeof(*b.turn));
	run_in_order(dev, heads * parts(s->lk, KEYS), 3.0 * heads * s->lq * s->lk * s->d, keys_back, &b);
}
