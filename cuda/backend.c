/* The table, and the entries that only launch: each is its kernel's launcher and a check. */
#include "internal.h"

static void group_norm(struct device *d, float *y, float *stats, const float *x, const float *gain, const float *bias,
		       const struct norm_shape *s)
{
	float *scratch = cuda_scratch(d, group_norm_scratch(s) * sizeof(*scratch));

	cuda_ran(d, k_group_norm(d->stream, y, stats, x, gain, bias, s, scratch), "group norm");
}

static void group_norm_back(struct device *d, float *dx, const float *dy, const float *x, const float *stats, const float *gain,
			    const float *bias, const struct norm_shape *s, int add)
{
	float *scratch = cuda_scratch(d, group_norm_scratch(s) * sizeof(*scratch));

	cuda_ran(d, k_group_norm_back(d->stream, dx, dy, x, stats, gain, bias, s, add, scratch), "group norm, backward");
}

static void group_norm_sums(struct device *d, float *stats, float *sums, const float *x, int at, int pixels, const struct norm_shape *s)
{
	float *scratch = cuda_scratch(d, group_norm_scratch(s) * sizeof(*scratch));

	cuda_ran(d, k_group_norm_sums(d->stream, stats, sums, x, at, pixels, s, scratch), "group norm, sums of a band");
}

static void group_norm_apply(struct device *d, float *y, const float *stats, const float *x, const float *gain, const float *bias,
			     const struct norm_shape *s)
{
	cuda_ran(d, k_group_norm_apply(d->stream, y, stats, x, gain, bias, s), "group norm of a band");
}

static void layer_norm(struct device *d, float *y, float *stats, const float *x, const float *gain, const float *bias, int rows, int c,
		       float eps)
{
	cuda_ran(d, k_layer_norm(d->stream, y, stats, x, gain, bias, rows, c, eps), "layer norm");
}

static void layer_norm_back(struct device *d, float *dx, const float *dy, const float *x, const float *stats, const float *gain, int rows,
			    int c, int add)
{
	cuda_ran(d, k_layer_norm_back(d->stream, dx, dy, x, stats, gain, rows, c, add), "layer norm, backward");
}

static void activation(struct device *d, float *y, const float *x, size_t n, enum activation kind)
{
	cuda_ran(d, k_activation(d->stream, y, x, n, kind), "activation");
}

static void activation_back(struct device *d, float *dx, const float *dy, const float *x, size_t n, enum activation kind, int add)
{
	cuda_ran(d, k_activation_back(d->stream, dx, dy, x, n, kind, add), "activation, backward");
}

static void geglu(struct device *d, float *y, const float *x, int rows, int c)
{
	cuda_ran(d, k_geglu(d->stream, y, x, rows, c), "geglu");
}

static void geglu_back(struct device *d, float *dx, const float *dy, const float *x, int rows, int c, int add)
{
	cuda_ran(d, k_geglu_back(d->stream, dx, dy, x, rows, c, add), "geglu, backward");
}

static void axpby(struct device *d, float *y, float a, const float *x, float b, size_t n)
{
	cuda_ran(d, k_axpby(d->stream, y, a, x, b, n), "axpby");
}

static void axxpby(struct device *d, float *y, float a, const float *x, float b, size_t n)
{
	cuda_ran(d, k_axxpby(d->stream, y, a, x, b, n), "axxpby");
}

static void over_root(struct device *d, float *y, float a, const float *x, const float *v, float eps, float b, size_t n)
{
	cuda_ran(d, k_over_root(d->stream, y, a, x, v, eps, b, n), "over_root");
}

static void add(struct device *d, float *y, const float *x, const float *z, size_t n)
{
	cuda_ran(d, k_add(d->stream, y, x, z, n), "add");
}

static void dropout(struct device *d, float *x, const struct random *r, double p, int n, int rows, int c, bool shared)
{
	cuda_ran(d, k_dropout(d->stream, x, r, p, n, rows, c, shared), "dropout");
}

static void multiply(struct device *d, float *y, const float *x, const float *z, int rows, int c, bool shared)
{
	cuda_ran(d, k_multiply(d->stream, y, x, z, rows, c, shared), "multiply");
}

static void add_per_sample(struct device *d, float *y, const float *x, const float *v, int n, int hw, int c)
{
	cuda_ran(d, k_add_per_sample(d->stream, y, x, v, n, hw, c), "add per sample");
}

static void sum_per_sample(struct device *d, float *dv, const float *dy, int n, int hw, int c, int add)
{
	cuda_ran(d, k_sum_per_sample(d->stream, dv, dy, n, hw, c, add), "sum per sample");
}

static void copy_columns(struct device *d, float *y, int ldy, const float *x, int ldx, int rows, int cols, int add)
{
	cuda_ran(d, k_copy_columns(d->stream, y, ldy, x, ldx, rows, cols, add), "copy columns");
}

static void upsample(struct device *d, float *y, const float *x, int n, int h, int w, int c)
{
	cuda_ran(d, k_upsample(d->stream, y, x, n, h, w, c), "upsample");
}

static void upsample_back(struct device *d, float *dx, const float *dy, int n, int h, int w, int c, int add)
{
	cuda_ran(d, k_upsample_back(d->stream, dx, dy, n, h, w, c, add), "upsample, backward");
}

/* Indices come from the host; in scratch they live as long as the one launch that reads them. */
static const int32_t *to_scratch(struct device *d, const int32_t *host, int count)
{
	int32_t *scratch = cuda_scratch(d, count * sizeof(*scratch));

	cuda_upload(d, scratch, host, count * sizeof(*scratch));
	return scratch;
}

static void embedding(struct device *d, float *y, const struct weight *table, const int32_t *ids, int rows)
{
	struct weight here = *table;

	here.data = (void *)cuda_weight(d, table);
	cuda_ran(d, k_embedding(d->stream, y, &here, to_scratch(d, ids, rows), rows), "embedding");
}

static void gather_rows(struct device *d, float *y, const float *x, const int32_t *index, int rows, int c)
{
	cuda_ran(d, k_gather_rows(d->stream, y, x, to_scratch(d, index, rows), rows, c), "gather rows");
}

static void gather_rows_back(struct device *d, float *dx, const float *dy, const int32_t *index, int rows, int c)
{
	cuda_ran(d, k_gather_rows_back(d->stream, dx, dy, to_scratch(d, index, rows), rows, c), "gather rows, backward");
}

static void attention(struct device *d, float *o, float *lse, const float *q, const float *k, const float *v,
		      const struct attention_shape *s)
{
	cuda_ran(d, k_attention(d->stream, o, lse, q, k, v, s), "attention");
}

static void attention_back(struct device *d, float *dq, float *dk, float *dv, const float *dout, const float *o, const float *lse,
			   const float *q, const float *k, const float *v, const struct attention_shape *s, const int add[3])
{
	float *scratch = cuda_scratch(d, attention_back_scratch(s) * sizeof(*scratch));

	cuda_ran(d, k_attention_back(d->stream, dq, dk, dv, dout, o, lse, q, k, v, s, add, scratch), "attention, backward");
}

static void loss(struct device *d, float *loss, const float *x, const float *target, const struct loss_terms *s)
{
	cuda_ran(d, k_loss(d->stream, loss, x, target, s), "loss");
}

static void loss_back(struct device *d, float *dx, const float *dloss, const float *x, const float *target, const struct loss_terms *s,
		      int add)
{
	cuda_ran(d, k_loss_back(d->stream, dx, dloss, x, target, s, add), "loss, backward");
}

static void mse(struct device *d, float *loss, const float *x, const float *target, const float *weight, int n, size_t each)
{
	cuda_ran(d, k_mse(d->stream, loss, x, target, weight, n, each), "mse");
}

static void mse_back(struct device *d, float *dx, const float *dloss, const float *x, const float *target, const float *weight, int n,
		     size_t each, int add)
{
	cuda_ran(d, k_mse_back(d->stream, dx, dloss, x, target, weight, n, each, add), "mse, backward");
}

static double sum_of(struct device *d, cudaError_t status)
{
	double sum;

	cuda_ran(d, status, "sum");
	cuda_download(d, &sum, &d->fixed->sum, sizeof(sum));
	return sum;
}

static void sum_squares(struct device *d, double *sum, const float *x, size_t n)
{
	cuda_ran(d, k_sum_squares(d->stream, sum, x, n, d->fixed->partial), "sum of squares");
}

static double sum_products(struct device *d, const float *x, const float *z, size_t n)
{
	return sum_of(d, k_sum_products(d->stream, &d->fixed->sum, x, z, n, d->fixed->partial));
}

static double sum_magnitudes(struct device *d, const float *x, size_t n)
{
	return sum_of(d, k_sum_magnitudes(d->stream, &d->fixed->sum, x, n, d->fixed->partial));
}

static void adamw(struct device *d, float *p, float *m, float *v, const float *grad, size_t n, const struct adamw_step *s)
{
	cuda_ran(d, k_adamw(d->stream, p, m, v, grad, n, s), "AdamW");
}

static void adamw8bit(struct device *d, float *p, const struct adam8_moments *q, const float *grad, size_t n, const struct adamw_step *s)
{
	cuda_ran(d, k_adamw8bit(d->stream, p, q, grad, n, s), "AdamW8bit");
}

static void lion(struct device *d, float *p, float *m, const float *grad, size_t n, const struct adamw_step *s)
{
	cuda_ran(d, k_lion(d->stream, p, m, grad, n, s), "Lion");
}

static void adafactor(struct device *d, float *u, float *row, float *col, const float *grad, const struct factored_shape *s, double share,
		      float eps)
{
	double *scratch = cuda_scratch(d, (size_t)s->outer * s->inner * sizeof(*scratch));

	cuda_ran(d, k_adafactor(d->stream, u, row, col, grad, s, share, eps, scratch), "Adafactor");
}

const struct backend cuda_backend = {
	.name = "cuda",
	.open = cuda_open, .close = cuda_close,
	.alloc = cuda_alloc, .release = cuda_release, .room = cuda_room, .upload = cuda_upload, .download = cuda_download, .copy = cuda_copy,
	.zero = cuda_zero,
	.prepare = cuda_prepare, .unprepare = cuda_unprepare,
	.linear = cuda_linear, .linear_dx = cuda_linear_dx, .gemm = cuda_gemm,
	.conv2d = cuda_conv2d, .conv2d_dx = cuda_conv2d_dx, .conv2d_dw = cuda_conv2d_dw,
	.group_norm = group_norm, .group_norm_back = group_norm_back,
	.group_norm_sums = group_norm_sums, .group_norm_apply = group_norm_apply,
	.layer_norm = layer_norm, .layer_norm_back = layer_norm_back,
	.activation = activation, .activation_back = activation_back, .geglu = geglu, .geglu_back = geglu_back,
	.axpby = axpby, .add = add, .multiply = multiply, .add_per_sample = add_per_sample, .sum_per_sample = sum_per_sample,
	.dropout = dropout, .loss = loss, .loss_back = loss_back,
	.copy_columns = copy_columns, .upsample = upsample, .upsample_back = upsample_back,
	.embedding = embedding, .gather_rows = gather_rows, .gather_rows_back = gather_rows_back,
	.attention = attention, .attention_back = attention_back,
	.mse = mse, .mse_back = mse_back, .sum_squares = sum_squares,
	.adamw = adamw, .adamw8bit = adamw8bit, .lion = lion, .adafactor = adafactor,
	.sum_products = sum_products, .sum_magnitudes = sum_magnitudes, .axxpby = axxpby, .over_root = over_root,
};

const size_t cuda_backend_bytes = sizeof(cuda_backend);
