/*
 * attention.c - softmax(scale q k^T) v, a block of queries against a block of keys at a time.
 *
 * Forward: a task is some queries of one head.  It goes through the blocks of keys in order and keeps, for each row,
 * the greatest score so far and the sum of exponents (online softmax).  Backward: a task is one head, so that its sums
 * over queries and over keys have one order.
 */
#include <math.h>
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

struct forward {
	float *k, *v;           /* packed keys and values of a block */
	float *scores;          /* [QUERIES, KEYS] */
	float *o;               /* [QUERIES, d], not yet divided */
	float *max, *sum;       /* [QUERIES] */
};

static struct forward forward_scratch(struct device *dev, int thread, int d)
{
	const struct kernels *k = dev->k;
	const size_t keys = panel_floats(k, KEYS, d), values = panel_floats(k, d, KEYS);
	char *at = thread_scratch(dev, thread, floats(keys) + floats(values) + floats(QUERIES * KEYS) +
				  floats((size_t)QUERIES * d) + 2 * floats(QUERIES));

	return (struct forward){ carve(&at, keys), carve(&at, values), carve(&at, QUERIES * KEYS),
				 carve(&at, (size_t)QUERIES * d), carve(&at, QUERIES), carve(&at, QUERIES) };
}

/* Adds one block of keys to the online softmax. */
static void take_keys(const struct kernels *k, const struct forward *f, const float *q, const float *key,
		      const float *value, const struct patch *p, const struct attention_shape *s)
{
	int r;

	pack_transposed(k, f->k, key + (size_t)p->j * s->ldk, s->ldk, p->n, s->d);
	pack_matrix(k, f->v, value + (size_t)p->j * s->ldv, s->ldv, s->d, p->n);
	score(k, f->scores, q, s->ldq, f->k, p, s->d, s->scale);
	mask(f->scores, p, s->causal);
	for (r = 0; r < p->m; r++) {
		float factor = k->softmax_row(f->scores + r * KEYS, vectors(p->n), &f->max[r], &f->sum[r]);

		if (p->j && factor != 1)
			k->scale(f->o + (size_t)r * s->d, factor, s->d);
	}
	weigh(k, f->o, s->d, f->scores, f->v, p, s->d, p->j > 0);
}

/* One head's rows. */
struct head {
	const float *q, *k, *v, *o, *dout, *lse;
	float *to, *to_lse;             /* forward */
	float *dq, *dk, *dv;            /* backward */
};

static void attend(struct device *dev, int thread, const struct head *h, struct patch p,
		   const struct attention_shape *s)
{
	const struct forward f = forward_scratch(dev, thread, s->d);
	const int seen = keys_seen(s, p.i, p.m);
	int r;

	for (r = 0; r < p.m; r++) {
		f.max[r] = -INFINITY;
		f.sum[r] = 0;
	}
	for (p.j = 0; p.j < seen; p.j += KEYS) {
		p.n = smaller(KEYS, seen - p.j);
		take_keys(dev->k, &f, h->q + (size_t)p.i * s->ldq, h->k, h->v, &p, s);
	}
	for (r = 0; r < p.m; r++) {
		dev->k->axpby(h->to + (size_t)(p.i + r) * s->ldo, 1 / f.sum[r], f.o + (size_t)r * s->d, 0, s->d);
		h->to_lse[p.i + r] = f.max[r] + (float)plain_log(f.sum[r]);
	}
}

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

static int query_blocks(const struct attention_shape *s) { return (s->lq + QUERIES - 1) / QUERIES; }

static void attend_task(struct device *dev, const void *arg, int t, int thread)
{
	const struct task *a = arg;
	const int blocks = query_blocks(a->s), i = t % blocks * QUERIES;
	const struct head h = head_of(a, t / blocks);

	attend(dev, thread, &h, (struct patch){ .i = i, .m = smaller(QUERIES, a->s->lq - i) }, a->s);
}

void cpu_attention(struct device *dev, float *o, float *lse, const float *q, const float *k, const float *v,
		   const struct attention_shape *s)
{
	const struct task a = { s, { .q = q, .k = k, .v = v, .to = o, .to_lse = lse }, NULL };

	run_tasks(dev, s->n * s->heads * query_blocks(s), (double)s->n * s->heads * s->lq * s->lk * s->d, attend_task,
		  &a);
}

struct backward {
	float *k, *v, *k_rows;          /* a block of keys: packed for q k^T, dout v^T, ds k */
	float *q_rows, *dout_rows;      /* a block of queries: packed for ds^T q, p^T dout */
	float *p, *ds;                  /* [QUERIES, KEYS] */
	float *delta;                   /* [lq]: dout . o */
};

static struct backward backward_scratch(struct device *dev, int thread, const struct attention_shape *s)
{
	const size_t keys = panel_floats(dev->k, KEYS, s->d), rows = panel_floats(dev->k, s->d, KEYS);
	char *at = thread_scratch(dev, thread, 2 * floats(keys) + 3 * floats(rows) + 2 * floats(QUERIES * KEYS) +
				  floats(s->lq));

	return (struct backward){ carve(&at, keys), carve(&at, keys), carve(&at, rows), carve(&at, rows),
				  carve(&at, rows), carve(&at, QUERIES * KEYS), carve(&at, QUERIES * KEYS),
				  carve(&at, s->lq) };
}

/* backward of p = softmax(scale q k^T), o = p v, for one patch:
 * dp = dout v^T;  ds = p (dp - delta) scale;  dq += ds k;  dk += ds^T q;  dv += p^T dout */
static void patch_back(const struct kernels *k, const struct head *h, const struct backward *b, const struct patch *p,
		       const struct attention_shape *s, const int add[3])
{
	const float *q = h->q + (size_t)p->i * s->ldq, *dout = h->dout + (size_t)p->i * s->ldo;
	const float first_query = p->i == (s->causal ? p->j / QUERIES * QUERIES : 0), first_key = p->j == 0;
	int r;

	score(k, b->p, q, s->ldq, b->k, p, s->d, s->scale);
	mask(b->p, p, s->causal);
	score(k, b->ds, dout, s->ldo, b->v, p, s->d, 1);
	for (r = 0; r < p->m; r++) {
		/* What lies right of the last key was never written: 0, lest a stray NaN meet p = 0. */
		memset(b->ds + r * KEYS + p->n, 0, (vectors(p->n) - p->n) * sizeof(float));
		k->softmax_back_row(b->p + r * KEYS, b->ds + r * KEYS, vectors(p->n), h->lse[p->i + r],
				    b->delta[p->i + r], s->scale);
	}
	if (h->dq)
		weigh(k, h->dq + (size_t)p->i * s->ldq, s->ldq, b->ds, b->k_rows, p, s->d, first_key ? add[0] : 1);
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
}

static void head_back(struct device *dev, const void *arg, int t, int thread)
{
	const struct task *a = arg;
	const struct attention_shape *s = a->s;
	const struct head head = head_of(a, t), *h = &head;
	const struct backward b = backward_scratch(dev, thread, s);
	struct patch p;

	for (p.i = 0; p.i < s->lq; p.i++)
		b.delta[p.i] = dev->k->dot(h->dout + (size_t)p.i * s->ldo, h->o + (size_t)p.i * s->ldo, s->d);
	for (p.j = 0; p.j < s->lk; p.j += KEYS) {
		p.n = smaller(KEYS, s->lk - p.j);
		pack_transposed(dev->k, b.k, h->k + (size_t)p.j * s->ldk, s->ldk, p.n, s->d);
		pack_transposed(dev->k, b.v, h->v + (size_t)p.j * s->ldv, s->ldv, p.n, s->d);
		pack_matrix(dev->k, b.k_rows, h->k + (size_t)p.j * s->ldk, s->ldk, s->d, p.n);
		for (p.i = s->causal ? p.j / QUERIES * QUERIES : 0; p.i < s->lq; p.i += QUERIES) {
			p.m = smaller(QUERIES, s->lq - p.i);
			patch_back(dev->k, h, &b, &p, s, a->add);
		}
	}
}

void cpu_attention_back(struct device *dev, float *dq, float *dk, float *dv, const float *dout, const float *o,
			const float *lse, const float *q, const float *k, const float *v,
			const struct attention_shape *s, const int add[3])
{
	const struct task a = { s, { .q = q, .k = k, .v = v, .o = o, .dout = dout, .lse = lse, .dq = dq, .dk = dk,
				     .dv = dv }, add };

	run_tasks(dev, s->n * s->heads, 3.0 * s->n * s->heads * s->lq * s->lk * s->d, head_back, &a);
}
