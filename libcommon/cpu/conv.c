/*
 * conv.c - convolutions as matrix products whose matrices are never stored: a tile gathers the pixels under its
 * filters.
 */
#include <string.h>
#include "internal.h"

/* The pixel of picture n at y, x, or NULL outside. */
static const float *pixel(const float *x, int n, int h, int w, int c, int py, int px)
{
	return py < 0 || px < 0 || py >= h || px >= w ? NULL : x + (((size_t)n * h + py) * w + px) * c;
}

/* Copy elements k..k+count of one row of a matrix whose row is kh*kw pixels of `channels` floats side by side. */
static void copy_taps(const struct left *a, float *dst, int k, int count,
		      const float *(*tap)(const struct left *a, int n, int y, int x, int ky, int kx), int n, int y,
		      int x)
{
	while (count > 0) {
		int t = k / a->channels, c = k % a->channels, run = a->channels - c < count ? a->channels - c : count;
		const float *src = tap(a, n, y, x, t / a->kw, t % a->kw);

		if (src)
			memcpy(dst, src + c, run * sizeof(*dst));
		else
			memset(dst, 0, run * sizeof(*dst));
		dst += run;
		k += run;
		count -= run;
	}
}

static const float *input_tap(const struct left *a, int n, int oy, int ox, int ky, int kx)
{
	const struct conv_shape *s = a->shape;

	return pixel(a->data, n, s->h, s->w, a->channels, oy * s->stride - s->pad + ky, ox * s->stride - s->pad + kx);
}

/* The output pixel that read input pixel y, x through tap ky, kx. */
static const float *output_tap(const struct left *a, int n, int y, int x, int ky, int kx)
{
	const struct conv_shape *s = a->shape;
	int oy = y + s->pad - ky, ox = x + s->pad - kx;

	if (oy % s->stride || ox % s->stride)
		return NULL;
	return pixel(a->data, n, s->oh, s->ow, a->channels, oy / s->stride, ox / s->stride);
}

static void gather_inputs(const struct left *a, float *dst, size_t ld, int i, int rows, int k, int count)
{
	const struct conv_shape *s = a->shape;

	for (; rows-- > 0; i++, dst += ld)
		copy_taps(a, dst, k, count, input_tap, i / (s->oh * s->ow), i / s->ow % s->oh, i % s->ow);
}

static void gather_outputs(const struct left *a, float *dst, size_t ld, int i, int rows, int k, int count)
{
	const struct conv_shape *s = a->shape;

	for (; rows-- > 0; i++, dst += ld)
		copy_taps(a, dst, k, count, output_tap, i / (s->h * s->w), i / s->w % s->h, i % s->w);
}

void cpu_conv2d(struct device *d, float *y, const float *x, const struct weight *w, const float *bias,
		const struct conv_shape *s)
{
	const int filter = w->kh * w->kw * w->in;
	const struct product p = {
		.m = s->n * s->oh * s->ow, .n = w->out, .k = filter, .alpha = 1, .bias = bias, .c = y, .ldc = w->out,
		.a = { .data = x, .gather = gather_inputs, .shape = s, .channels = w->in, .kh = w->kh, .kw = w->kw },
		.b = { .data = w->data, .dtype = w->dtype, .ld = filter, .transposed = true },
	};

	if (winograd_pays(w, s))
		winograd_conv2d(d, y, x, w, bias, s);
	else
		multiply(d, &p);
}

/* Row (tap, output channel) of the filters: its input channels. */
static const void *filter_row(const struct right *b, int k)
{
	const int taps = b->kh * b->kw, tap = k / b->channels, out = k % b->channels;

	return (const char *)b->data + ((size_t)out * taps + tap) * b->ld * (b->dtype == DTYPE_F32 ? 4 : 2);
}

/* backward of y = conv(x, W):  dx[pixel] = sum over taps of dy[the output that read it] W[tap] */
void cpu_conv2d_dx(struct device *d, float *dx, const float *dy, const struct weight *w, const struct conv_shape *s,
		   int add)
{
	const struct product p = {
		.m = s->n * s->h * s->w, .n = w->in, .k = w->kh * w->kw * w->out, .alpha = 1, .beta = add, .c = dx,
		.ldc = w->in,
		.a = { .data = dy, .gather = gather_outputs, .shape = s, .channels = w->out, .kh = w->kh, .kw = w->kw },
		.b = { .data = w->data, .dtype = w->dtype, .ld = w->in, .row = filter_row, .channels = w->out,
		       .kh = w->kh, .kw = w->kw },
	};

	if (winograd_pays(w, s))
		winograd_conv2d_dx(d, dx, dy, w, s, add);
	else
		multiply(d, &p);
}

/* Row k of the inputs as one tap sees them: the pixel that output pixel k read through it. */
static const void *shifted_row(const struct right *b, int k)
{
	const struct conv_shape *s = b->shape;
	int oy = k / s->ow % s->oh, ox = k % s->ow;

	return pixel(b->data, k / (s->oh * s->ow), s->h, s->w, b->channels, oy * s->stride - s->pad + b->ky,
		     ox * s->stride - s->pad + b->kx);
}

/* backward of y = conv(x, W):  dW[tap] = dy^T x shifted by the tap */
void cpu_conv2d_dw(struct device *d, float *dw, const float *x, const float *dy, int out, int in, int kh, int kw,
		   const struct conv_shape *s, int add)
{
	struct product p = {
		.m = out, .n = in, .k = s->n * s->oh * s->ow, .alpha = 1, .beta = add, .ldc = (size_t)kh * kw * in,
		.a = { .data = dy, .row = 1, .col = out },
		.b = { .data = x, .dtype = DTYPE_F32, .row = shifted_row, .shape = s, .channels = in },
	};
	int tap;

	for (tap = 0; tap < kh * kw; tap++) {
		p.b.ky = tap / kw;
		p.b.kx = tap % kw;
		p.c = dw + (size_t)tap * in;
		multiply(d, &p);
	}
}

size_t cpu_conv2d_scratch(const struct weight *w, const struct conv_shape *s, int threads)
{
	return winograd_pays(w, s) ? winograd_scratch(w, s, threads) : 0;
}
