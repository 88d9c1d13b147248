/* The functions of the CUDA backend that only launch a kernel and check the launch. */
#include "internal.h"

void cuda_group_norm(struct device *d, struct values y, float *stats, struct values x, const float *gain,
		     const float *bias, const struct norm_shape *s)
{
	float *scratch = cuda_scratch(d, group_norm_scratch(s) * sizeof(*scratch));

	cuda_ran(d, k_group_norm(d->stream, y, stats, x, gain, bias, s, scratch), "group norm");
}

void cuda_group_norm_back(struct device *d, struct values dx, struct values dy, struct values x, const float *stats,
			  const float *gain, const float *bias, const struct norm_shape *s, int add)
{
	float *scratch = cuda_scratch(d, group_norm_scratch(s) * sizeof(*scratch));

	cuda_ran(d, k_group_norm_back(d->stream, dx, dy, x, stats, gain, bias, s, add, scratch),
		 "group norm, backward");
}

void cuda_group_norm_sums(struct device *d, float *stats, float *sums, const float *x, int at, int pixels,
			  const struct norm_shape *s)
{
	float *scratch = cuda_scratch(d, group_norm_scratch(s) * sizeof(*scratch));

	cuda_ran(d, k_group_norm_sums(d->stream, stats, sums, x, at, pixels, s, scratch), "group norm, sums of a band");
}

void cuda_group_norm_apply(struct device *d, float *y, const float *stats, const float *x, const float *gain,
			   const float *bias, const struct norm_shape *s)
{
	cuda_ran(d, k_group_norm_apply(d->stream, y, stats, x, gain, bias, s), "group norm of a band");
}

void cuda_layer_norm(struct device *d, struct values y, float *stats, float *sum, struct values x,
		     struct values z, const float *gain, const float *bias, int rows, int c, float eps)
{
	cuda_ran(d, k_layer_norm(d->stream, y, stats, sum, x, z, gain, bias, rows, c, eps), "layer norm");
}

void cuda_layer_norm_back(struct device *d, struct values dx, struct values also, struct values dy, struct values x,
			  const float *stats, const float *gain, int rows, int c, int add)
{
	cuda_ran(d, k_layer_norm_back(d->stream, dx, also, dy, x, stats, gain, rows, c, add), "layer norm, backward");
}

void cuda_activation(struct device *d, struct values y, struct values x, size_t n, enum activation kind)
{
	cuda_ran(d, k_activation(d->stream, y, x, n, kind), "activation");
}

void cuda_activation_back(struct device *d, struct values dx, struct values dy, struct values x, size_t n,
			  enum activation kind, int add)
{
	cuda_ran(d, k_activation_back(d->stream, dx, dy, x, n, kind, add), "activation, backward");
}

void cuda_geglu(struct device *d, struct values y, struct values x, int rows, int c)
{
	cuda_ran(d, k_geglu(d->stream, y, x, rows, c), "geglu");
}

void cuda_geglu_back(struct device *d, struct values dx, struct values dy, struct values x, int rows, int c, int add)
{
	cuda_ran(d, k_geglu_back(d->stream, dx, dy, x, rows, c, add), "geglu, backward");
}

void cuda_axpby(struct device *d, struct values y, float a, struct values x, float b, size_t n)
{
	cuda_ran(d, k_axpby(d->stream, y, a, x, b, n), "axpby");
}

void cuda_over_root(struct device *d, float *y, float a, const float *x, const float *v, float eps, float b, size_t n)
{
	cuda_ran(d, k_over_root(d->stream, y, a, x, v, eps, b, n), "over_root");
}

void cuda_add(struct device *d, struct values y, struct values x, struct values z, size_t n)
{
	cuda_ran(d, k_add(d->stream, y, x, z, n), "add");
}

void cuda_dropout(struct device *d, float *x, const struct random *r, double p, int n, int rows, int c, bool shared)
{
	cuda_ran(d, k_dropout(d->stream, x, r, step_value(d, r, sizeof(*r)), p, n, rows, c, shared), "dropout");
}

void cuda_multiply(struct device *d, struct values y, struct values x, struct values z, int rows, int c, bool shared)
{
	cuda_ran(d, k_multiply(d->stream, y, x, z, rows, c, shared), "multiply");
}

void cuda_add_per_sample(struct device *d, struct values y, struct values x, struct values v, int n, int hw, int c)
{
	cuda_ran(d, k_add_per_sample(d->stream, y, x, v, n, hw, c), "add per sample");
}

void cuda_sum_per_sample(struct device *d, struct values dv, struct values dy, int n, int hw, int c, int add)
{
	cuda_ran(d, k_sum_per_sample(d->stream, dv, dy, n, hw, c, add), "sum per sample");
}

void cuda_copy_columns(struct device *d, struct values y, int ldy, struct values x, int ldx, int rows, int cols,
		       int add)
{
	cuda_ran(d, k_copy_columns(d->stream, y, ldy, x, ldx, rows, cols, add), "copy columns");
}

void cuda_upsample(struct device *d, struct values y, struct values x, int n, int h, int w, int c)
{
	cuda_ran(d, k_upsample(d->stream, y, x, n, h, w, c), "upsample");
}

void cuda_upsample_back(struct device *d, struct values dx, struct values dy, int n, int h, int w, int c, int add)
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

void cuda_embedding(struct device *d, float *y, const struct weight *table, const int32_t *ids, int rows)
{
	const struct weight here = cuda_weight_here(d, table);

	cuda_ran(d, k_embedding(d->stream, y, &here, to_scratch(d, ids, rows), rows), "embedding");
}

void cuda_gather_rows(struct device *d, struct values y, struct values x, const int32_t *index, int rows, int c)
{
	cuda_ran(d, k_gather_rows(d->stream, y, x, to_scratch(d, index, rows), rows, c), "gather rows");
}

void cuda_gather_rows_back(struct device *d, struct values dx, struct values dy, const int32_t *index, int rows,
			   int c)
{
	cuda_ran(d, k_gather_rows_back(d->stream, dx, dy, to_scratch(d, index, rows), rows, c),
		 "gather rows, backward");
}

void cuda_kronecker(struct device *d, float *y, float scale, const float *a, const float *b,
		    const struct kronecker_shape *s)
{
	cuda_ran(d, k_kronecker(d->stream, y, scale, a, b, s), "Kronecker product");
}

void cuda_kronecker_back(struct device *d, float *da, float *db, float scale, const float *dy, const float *a,
			 const float *b, const struct kronecker_shape *s, const int add[2])
{
	cuda_ran(d, k_kronecker_back(d->stream, da, db, scale, dy, a, b, s, add), "Kronecker product, backward");
}

void cuda_rotate(struct device *d, struct values y, float *r, float *room, struct values x, const float *b, int rows,
		 const struct rotations *s)
{
	cuda_ran(d, k_rotate(d->stream, y, r, room, x, b, rows, s, d->fixed->limit), "small rotations");
}

void cuda_rotate_back(struct device *d, struct values dx, float *db, float *room, struct values dy, struct values x,
		      const float *b, const float *r, int rows, const struct rotations *s, const int add[2])
{
	cuda_ran(d, k_rotate_back(d->stream, dx, db, room, dy, x, b, r, rows, s, add, d->fixed->limit),
		 "small rotations, backward");
}

void cuda_attention(struct device *d, struct values o, float *lse, struct values q, struct values k,
		    struct values v, const struct attention_shape *s)
{
	cuda_ran(d, k_attention(d->stream, o, lse, q, k, v, s), "attention");
}

void cuda_attention_back(struct device *d, struct values dq, struct values dk, struct values dv, struct values dout,
			 struct values o, const float *lse, struct values q, struct values k, struct values v,
			 const struct attention_shape *s, const int add[3])
{
	float *scratch = cuda_scratch(d, attention_back_scratch(s) * sizeof(*scratch));

	cuda_ran(d, k_attention_back(d->stream, dq, dk, dv, dout, o, lse, q, k, v, s, add, scratch),
		 "attention, backward");
}

void cuda_loss(struct device *d, float *loss, const float *x, const float *target, const struct loss_terms *s)
{
	cuda_ran(d, k_loss(d->stream, loss, x, target, s), "loss");
}

void cuda_loss_back(struct device *d, float *dx, const float *dloss, const float *x, const float *target,
		    const struct loss_terms *s, int add)
{
	cuda_ran(d, k_loss_back(d->stream, dx, dloss, x, target, s, add), "loss, backward");
}
