/* Convolutions: convolve.cu's, but for the gradient of filters, where the pixels under a filter become a row of a
 * matrix in scratch (im2col), some rows at a time. */
#include "internal.h"

static bool is_linear(const struct conv_shape *s, int kh, int kw)
{
	return kh * kw == 1 && s->stride == 1 && !s->pad && s->oh == s->h && s->ow == s->w;
}

void cuda_conv2d(struct device *d, struct values y, struct values x, const struct weight *w, const float *bias,
		 const struct conv_shape *s)
{
	struct weight here;

	if (is_linear(s, w->kh, w->kw)) {
		cuda_linear(d, y, x, w, bias, s->n * s->oh * s->ow, NULL);
		return;
	}
	here = cuda_weight_here(d, w);
	cuda_ran(d, k_convolve(d->stream, y, x, &here, bias, s, d->fixed->cast), "convolution");
}

void cuda_conv2d_dx(struct device *d, struct values dx, struct values dy, const struct weight *w,
		    const struct conv_shape *s, int add)
{
	struct weight here;

	if (is_linear(s, w->kh, w->kw)) {
		cuda_linear_dx(d, dx, dy, w, s->n * s->h * s->w, add, NULL);
		return;
	}
	here = cuda_weight_here(d, w);
	cuda_ran(d, k_convolve_back(d->stream, dx, dy, &here, s, add, d->fixed->cast),
		 "convolution, backward");
}

/* backward of y = columns(x) W^T:  dW[out,taps*in] = dy^T columns(x), as floats, which lie behind the columns */
void cuda_conv2d_dw(struct device *d, float *dw, struct values x, struct values dy, int out, int in, int kh, int kw,
		    const struct conv_shape *s, int add)
{
	const bool halves = dy.type != DTYPE_F32;
	const int width = kh * kw * in;
	const size_t rows = (size_t)s->n * s->oh * s->ow;
	const size_t most = OPERANDS_BYTES / ((width + (halves ? out : 0)) * sizeof(float));
	struct columns c = { .n = s->n, .h = s->h, .w = s->w, .c = in, .oh = s->oh, .ow = s->ow, .kh = kh, .kw = kw,
			     .stride = s->stride, .pad = s->pad };

	for (; c.first < rows; c.first += c.rows) {
		struct values part = values_from(dy, c.first * out);
		float *columns, *floats;

		c.rows = rows - c.first < most ? rows - c.first : most;
		columns = cuda_scratch(d, c.rows * (size_t)(width + (halves ? out : 0)) * sizeof(float));
		floats = columns + (size_t)c.rows * width;
		cuda_ran(d, k_columns(d->stream, columns, x, &c), "convolution, backward");
		if (halves) {
			cuda_ran(d, k_axpby(d->stream, f32(floats), 1, part, 0, (size_t)c.rows * out), "cast");
			part = f32(floats);
		}
		cuda_gemm(d, 1, 0, out, width, c.rows, 1, part, out, f32(columns), width, add || c.first, f32(dw),
			  width);
	}
}
