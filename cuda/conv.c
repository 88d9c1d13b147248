/* Convolutions as matrix products (im2col): the pixels under a filter become a row of a matrix in scratch, some rows at
 * a time. */
#include "internal.h"

static struct columns columns_of(const struct conv_shape *s, int c, int kh, int kw)
{
	return (struct columns){ .n = s->n, .h = s->h, .w = s->w, .c = c, .oh = s->oh, .ow = s->ow, .kh = kh, .kw = kw,
				 .stride = s->stride, .pad = s->pad };
}

/* The next rows of a matrix of `width` columns: as many as fit. */
static int next_part(const struct columns *s, size_t rows, size_t width, enum dtype type)
{
	size_t most = SCRATCH_BYTES / (width * type_size(type)), left = rows - s->first;

	return left < most ? left : most;
}

static bool is_linear(const struct conv_shape *s, int kh, int kw)
{
	return kh * kw == 1 && s->stride == 1 && !s->pad && s->oh == s->h && s->ow == s->w;
}

void cuda_conv2d(struct device *d, struct values yv, struct values xv, const struct weight *w, const float *bias,
		 const struct conv_shape *s)
{
	float *y = floats_at(yv);
	const float *x = floats_at(xv);
	const int width = w->kh * w->kw * w->in;
	const size_t rows = (size_t)s->n * s->oh * s->ow;
	struct columns c = columns_of(s, w->in, w->kh, w->kw);

	if (is_linear(s, w->kh, w->kw)) {
		cuda_linear(d, f32(y), f32(x), w, bias, rows, NULL);
		return;
	}
	if (bias)
		fill_rows(d, y, bias, rows, w->out);
	cuda_ran(d, k_cast_factor(d->stream, w->dtype, &d->fixed->inverse, x, (size_t)s->n * s->h * s->w * w->in,
				  d->fixed->cast), "cast");
	for (; c.first < rows; c.first += c.rows) {
		c.rows = next_part(&c, rows, width, w->dtype);
		cuda_ran(d, k_columns(d->stream, d->scratch, w->dtype, &d->fixed->inverse, x, &c), "convolution");
		run_product(d, &(struct product){ .type = w->dtype, .m = c.rows, .n = w->out, .k = width,
			.a = d->scratch, .lda = width, .b = w->data, .ldb = width, .transposed = true, .add = bias,
			.c = y + c.first * w->out, .ldc = w->out });
	}
}

/* backward of y = columns(x) W^T:  dx = columns(dy) W, with W [out][taps][in] as the matrix [out*taps][in] that it is
 * in memory */
void cuda_conv2d_dx(struct device *d, struct values dxv, struct values dyv, const struct weight *w,
		    const struct conv_shape *s, int add)
{
	float *dx = floats_at(dxv);
	const float *dy = floats_at(dyv);
	const int width = w->kh * w->kw * w->out;
	const size_t rows = (size_t)s->n * s->h * s->w;
	struct columns c = columns_of(s, w->out, w->kh, w->kw);

	if (is_linear(s, w->kh, w->kw)) {
		cuda_linear_dx(d, f32(dx), f32(dy), w, rows, add, NULL);
		return;
	}
	cuda_ran(d, k_cast_factor(d->stream, w->dtype, &d->fixed->inverse, dy, (size_t)s->n * s->oh * s->ow * w->out,
				  d->fixed->cast),
		 "cast");
	for (; c.first < rows; c.first += c.rows) {
		c.rows = next_part(&c, rows, width, w->dtype);
		cuda_ran(d, k_columns_back(d->stream, d->scratch, w->dtype, &d->fixed->inverse, dy, &c),
			 "convolution, backward");
		run_product(d, &(struct product){ .type = w->dtype, .m = c.rows, .n = w->in, .k = width,
			.a = d->scratch, .lda = width, .b = w->data, .ldb = w->in, .add = add,
			.c = dx + c.first * w->in, .ldc = w->in });
	}
}

/* backward of y = columns(x) W^T:  dW[out,taps*in] = dy^T columns(x) */
void cuda_conv2d_dw(struct device *d, float *dw, struct values xv, struct values dyv, int out, int in, int kh, int kw,
		    const struct conv_shape *s, int add)
{
	const float *x = floats_at(xv);
	const float *dy = floats_at(dyv);
	const int width = kh * kw * in;
	const size_t rows = (size_t)s->n * s->oh * s->ow;
	struct columns c = columns_of(s, in, kh, kw);

	cuda_ran(d, k_cast_factor(d->stream, DTYPE_F32, &d->fixed->inverse, x, (size_t)s->n * s->h * s->w * in,
				  d->fixed->cast), "cast");
	for (; c.first < rows; c.first += c.rows) {
		c.rows = next_part(&c, rows, width, DTYPE_F32);
		cuda_ran(d, k_columns(d->stream, d->scratch, DTYPE_F32, &d->fixed->inverse, x, &c),
			 "convolution, backward");
		cuda_gemm(d, 1, 0, out, width, c.rows, 1, f32(dy + c.first * out), out, f32((float *)d->scratch), width,
			  add || c.first, f32(dw), width);
	}
}
