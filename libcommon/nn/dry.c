#include <stdlib.h>
#include "../base/memory.h"
#include "dry.h"

/* What takes no memory: the numbers of a backend that is never counted. */
static const struct dry_rules exact = { .align = 1, .page = 1 };

struct device {
	struct dry_rules rules;
	struct dry_bytes bytes;
	size_t *left, slabs, capacity;  /* in each slab */
	size_t visit;                   /* room for a weight that comes from host memory */
};

struct device *dry_device_new(const struct dry_rules *rules)
{
	struct device *d = xcalloc(1, sizeof(*d));

	d->rules = *rules;
	return d;
}

struct dry_bytes dry_device_bytes(const struct device *d)
{
	return d->bytes;
}

static struct device *open_dry(struct error *e) { return dry_device_new(&exact); }

static void close_dry(struct device *d)
{
	if (d)
		free(d->left);
	free(d);
}

static size_t rounded(size_t bytes, size_t to)
{
	return (bytes + to - 1) / to * to;
}

static void count_in_slab(struct device *d, size_t bytes)
{
	size_t i;

	for (i = 0; i < d->slabs && d->left[i] < bytes; i++)
		;
	if (i == d->slabs) {
		GROW(d->left, d->slabs, d->capacity);
		d->left[d->slabs++] = d->rules.slab;
		d->bytes.taken += d->rules.slab;
	}
	d->left[i] -= bytes;
}

static void count(struct device *d, size_t bytes)
{
	const struct dry_rules *r = &d->rules;
	const size_t asked = rounded(bytes ? bytes : 1, r->align);

	d->bytes.asked += asked;
	if (asked >= r->own)
		d->bytes.taken += rounded(asked, r->page);
	else if (r->slab)
		count_in_slab(d, asked);
	else
		d->bytes.taken += asked;
}

/* An address that nothing reads: arenas only add to it. */
static void *alloc(struct device *d, size_t bytes)
{
	if (d)
		count(d, bytes);
	return (void *)(uintptr_t)(1 << 20);
}

static void release(struct device *d, void *p) { }
static size_t room(struct device *d) { return 0; }
static void upload(struct device *d, void *dst, const void *host, size_t bytes) { }
static void download(struct device *d, void *host, const void *src, size_t bytes) { }
static void copy(struct device *d, float *y, const float *x, size_t n) { }
static void zero(struct device *d, float *y, size_t n) { }

static int prepare(struct device *d, struct weight *w, const void *host)
{
	const size_t bytes = (size_t)w->out * w->in * w->kh * w->kw * (w->dtype == DTYPE_F32 ? 4 : 2);

	w->data = alloc(NULL, bytes);
	w->packed = NULL;
	if (d && w->on_host && d->rules.hosts) {
		d->bytes.host += bytes;
		if (bytes > d->visit)
			count(d, d->visit = bytes);
	} else if (d) {
		count(d, bytes);
	}
	return 0;
}

static void unprepare(struct device *d, struct weight *w) { w->data = w->packed = NULL; }

static void linear(struct device *d, float *y, const float *x, const struct weight *w, const float *bias, int rows) { }
static void linear_dx(struct device *d, float *dx, const float *dy, const struct weight *w, int rows, int add) { }
static void gemm(struct device *d, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
		 const float *b, int ldb, float beta, float *c, int ldc) { }
static void conv2d(struct device *d, float *y, const float *x, const struct weight *w, const float *bias,
		   const struct conv_shape *s) { }
static void conv2d_dx(struct device *d, float *dx, const float *dy, const struct weight *w, const struct conv_shape *s,
		      int add) { }
static void conv2d_dw(struct device *d, float *dw, const float *x, const float *dy, int out, int in, int kh, int kw,
		      const struct conv_shape *s, int add) { }

static void group_norm(struct device *d, float *y, float *stats, const float *x, const float *gain, const float *bias,
		       const struct norm_shape *s) { }
static void group_norm_back(struct device *d, float *dx, const float *dy, const float *x, const float *stats,
			    const float *gain, const float *bias, const struct norm_shape *s, int add) { }
static void group_norm_sums(struct device *d, float *stats, float *sums, const float *x, int at, int pixels,
			    const struct norm_shape *s) { }
static void group_norm_apply(struct device *d, float *y, const float *stats, const float *x, const float *gain,
			     const float *bias, const struct norm_shape *s) { }
static void layer_norm(struct device *d, float *y, float *stats, const float *x, const float *gain, const float *bias,
		       int rows, int c, float eps) { }
static void layer_norm_back(struct device *d, float *dx, const float *dy, const float *x, const float *stats,
			    const float *gain, int rows, int c, int add) { }

static void activation(struct device *d, float *y, const float *x, size_t n, enum activation kind) { }
static void activation_back(struct device *d, float *dx, const float *dy, const float *x, size_t n,
			    enum activation kind, int add) { }
static void geglu(struct device *d, float *y, const float *x, int rows, int c) { }
static void geglu_back(struct device *d, float *dx, const float *dy, const float *x, int rows, int c, int add) { }
static void axpby(struct device *d, float *y, float a, const float *x, float b, size_t n) { }
static void add_floats(struct device *d, float *y, const float *x, const float *z, size_t n) { }
static void multiply(struct device *d, float *y, const float *x, const float *z, int rows, int c, bool shared) { }
static void add_per_sample(struct device *d, float *y, const float *x, const float *v, int n, int hw, int c) { }
static void sum_per_sample(struct device *d, float *dv, const float *dy, int n, int hw, int c, int add) { }

static void dropout(struct device *d, float *x, const struct random *r, double p, int n, int rows, int c, bool shared) { }

static void loss(struct device *d, float *y, const float *x, const float *target, const struct loss_terms *s) { }
static void loss_back(struct device *d, float *dx, const float *dloss, const float *x, const float *target,
		      const struct loss_terms *s, int add) { }

static void copy_columns(struct device *d, float *y, int ldy, const float *x, int ldx, int rows, int cols, int add) { }
static void upsample(struct device *d, float *y, const float *x, int n, int h, int w, int c) { }
static void upsample_back(struct device *d, float *dx, const float *dy, int n, int h, int w, int c, int add) { }
static void embedding(struct device *d, float *y, const struct weight *table, const int32_t *ids, int rows) { }
static void gather_rows(struct device *d, float *y, const float *x, const int32_t *index, int rows, int c) { }
static void gather_rows_back(struct device *d, float *dx, const float *dy, const int32_t *index, int rows, int c) { }

static void attention(struct device *d, float *o, float *lse, const float *q, const float *k, const float *v,
		      const struct attention_shape *s) { }
static void attention_back(struct device *d, float *dq, float *dk, float *dv, const float *dout, const float *o,
			   const float *lse, const float *q, const float *k, const float *v,
			   const struct attention_shape *s, const int add[3]) { }

static void mse(struct device *d, float *loss, const float *x, const float *target, const float *weight, int n,
		size_t each) { }
static void mse_back(struct device *d, float *dx, const float *dloss, const float *x, const float *target,
		     const float *weight, int n, size_t each, int add) { }
static void sum_squares(struct device *d, double *sum, const float *x, size_t n) { }
static void adamw(struct device *d, float *p, float *m, float *v, const float *grad, size_t n,
		  const struct adamw_step *s) { }
static void adamw8bit(struct device *d, float *p, const struct adam8_moments *q, const float *grad, size_t n,
		      const struct adamw_step *s) { }
static void lion(struct device *d, float *p, float *m, const float *grad, size_t n, const struct adamw_step *s) { }
static void adafactor(struct device *d, float *u, float *row, float *col, const float *grad,
		      const struct factored_shape *s, double share, float eps) { }
static double sum_products(struct device *d, const float *x, const float *z, size_t n) { return 0; }
static double sum_magnitudes(struct device *d, const float *x, size_t n) { return 0; }
static void axxpby(struct device *d, float *y, float a, const float *x, float b, size_t n) { }
static void over_root(struct device *d, float *y, float a, const float *x, const float *v, float eps, float b,
		      size_t n) { }

const struct backend dry_backend = {
	.name = "dry",
	.open = open_dry, .close = close_dry,
	.alloc = alloc, .release = release, .room = room, .upload = upload, .download = download, .copy = copy, .zero = zero,
	.prepare = prepare, .unprepare = unprepare,
	.linear = linear, .linear_dx = linear_dx, .gemm = gemm,
	.conv2d = conv2d, .conv2d_dx = conv2d_dx, .conv2d_dw = conv2d_dw,
	.group_norm = group_norm, .group_norm_back = group_norm_back, .group_norm_sums = group_norm_sums,
	.group_norm_apply = group_norm_apply, .layer_norm = layer_norm,
	.layer_norm_back = layer_norm_back,
	.activation = activation, .activation_back = activation_back, .geglu = geglu, .geglu_back = geglu_back,
	.axpby = axpby, .add = add_floats, .multiply = multiply, .add_per_sample = add_per_sample, .sum_per_sample = sum_per_sample,
	.dropout = dropout, .loss = loss, .loss_back = loss_back,
	.copy_columns = copy_columns, .upsample = upsample, .upsample_back = upsample_back,
	.embedding = embedding, .gather_rows = gather_rows, .gather_rows_back = gather_rows_back,
	.attention = attention, .attention_back = attention_back,
	.mse = mse, .mse_back = mse_back, .sum_squares = sum_squares, .adamw = adamw,
	.adamw8bit = adamw8bit, .lion = lion, .adafactor = adafactor,
	.sum_products = sum_products, .sum_magnitudes = sum_magnitudes, .axxpby = axxpby, .over_root = over_root,
};
