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

/* The place of a row of a gathered matrix: picture, y, x. */
struct place { int n, y, x; };

static struct place place_of(int i, int h, int w)
{
	return (struct place){ i / (h * w), i / w % h, i % w };
}

static void next_place(struct place *p, int h, int w)
{
	if (++p->x < w)
		return;
	p->x = 0;
	if (++p->y < h)
		return;
	p->y = 0;
	p->n++;
}

static void copy_or_zero(float *dst, const float *src, int n)
{
	if (src)
		memcpy(dst, src, n * sizeof(*dst));
	else
		memset(dst, 0, n * sizeof(*dst));
}

/* Elements at..at+n of a line of pixels side by side that begins at x[line], first..last of it in the picture. */
static void copy_line(float *dst, const float *x, ptrdiff_t line, int at, int n, int first, int last)
{
	const int zeros = smaller(first > at ? first - at : 0, n), end = smaller(last, at + n);
	const int copied = end > at + zeros ? end - at - zeros : 0;

	memset(dst, 0, zeros * sizeof(*dst));
	if (copied)
		memcpy(dst + zeros, x + (line + at + zeros), copied * sizeof(*dst));
	memset(dst + zeros + copied, 0, (n - zeros - copied) * sizeof(*dst));
}

/* Elements k..k+count of the row of output pixel p.  The pixels under a row of the filter are neighbours. */
static void gather_input(const struct left *a, float *dst, const struct place *p, int k, int count)
{
	const struct conv_shape *s = a->shape;
	const int c = a->channels, line = a->kw * c, x = p->x * s->stride - s->pad;
	const int first = x < 0 ? -x * c : 0, last = smaller(a->kw, s->w - x) * c;
	int ky = k / line, at = k % line, n;

	for (; count > 0; ky++, at = 0, dst += n, count -= n) {
		const int y = p->y * s->stride - s->pad + ky;

		n = smaller(line - at, count);
		if (y < 0 || y >= s->h)
			memset(dst, 0, n * sizeof(*dst));
		else
			copy_line(dst, a->data, (((ptrdiff_t)p->n * s->h + y) * s->w + x) * c, at, n, first, last);
	}
}

static void gather_inputs(const struct left *a, float *dst, size_t ld, int i, int rows, int k, int count)
{
	const struct conv_shape *s = a->shape;
	struct place p = place_of(i, s->oh, s->ow);

	for (; rows-- > 0; dst += ld, next_place(&p, s->oh, s->ow))
		gather_input(a, dst, &p, k, count);
}

/* The output pixel that read input pixel p through tap ky, kx. */
static const float *output_tap(const struct left *a, const struct place *p, int ky, int kx)
{
	const struct conv_shape *s = a->shape;
	const int y = p->y + s->pad - ky, x = p->x + s->pad - kx;

	if (s->stride == 1)
		return pixel(a->data, p->n, s->oh, s->ow, a->channels, y, x);
	if (y % s->stride || x % s->stride)
		return NULL;
	return pixel(a->data, p->n, s->oh, s->ow, a->channels, y / s->stride, x / s->stride);
}

/* Elements k..k+count of the row of input pixel p. */
static void gather_output(const struct left *a, float *dst, const struct place *p, int k, int count)
{
	int ky = k / a->channels / a->kw, kx = k / a->channels % a->kw, at = k % a->channels, n;

	for (; count > 0; at = 0, dst += n, count -= n) {
		const float *src = output_tap(a, p, ky, kx);

		n = smaller(a->channels - at, count);
		copy_or_zero(dst, src ? src + at : NULL, n);
		if (++kx == a->kw) {
			kx = 0;
			ky++;
		}
	}
}

static void gather_outputs(const struct left *a, float *dst, size_t ld, int i, int rows, int k, int count)
{
	const struct conv_shape *s = a->shape;
	struct place p = place_of(i, s->h, s->w);

	for (; rows-- > 0; dst += ld, next_place(&p, s->h, s->w))
		gather_output(a, dst, &p, k, count);
}

void cpu_conv2d(struct device *d, struct values yv, struct values xv, const struct weight *w, const float *bias,
		const struct conv_shape *s)
{
	float *y = floats_at(yv);
	const float *x = floats_at(xv);
	const int filter = w->kh * w->kw * w->in;
	struct product p = {
		.m = s->n * s->oh * s->ow, .n = w->out, .k = filter, .alpha = 1, .bias = bias, .c = y, .ldc = w->out,
		.a = { .data = x, .gather = gather_inputs, .shape = s, .channels = w->in, .kh = w->kh, .kw = w->kw },
		.b = right_of(w, filter),
	};

	p.b.transposed = true;
	if (winograd_pays(w, s))
		winograd_conv2d(d, y, x, w, bias, s);
	else
		multiply(d, &p);
}

/* Row (tap, output channel) of the filters: its input channels. */
static ptrdiff_t filter_row(const struct right *b, int k)
{
	const int taps = b->kh * b->kw, tap = k / b->channels, out = k % b->channels;

	return ((size_t)out * taps + tap) * b->ld;
}

/* backward of y = conv(x, W):  dx[pixel] = sum over taps of dy[the output that read it] W[tap] */
void cpu_conv2d_dx(struct device *d, struct values dxv, struct values dyv, const struct weight *w,
		   const struct conv_shape *s, int add)
{
	float *dx = floats_at(dxv);
	const float *dy = floats_at(dyv);
	struct product p = {
		.m = s->n * s->h * s->w, .n = w->in, .k = w->kh * w->kw * w->out, .alpha = 1, .beta = add, .c = dx,
		.ldc = w->in,
		.a = { .data = dy, .gather = gather_outputs, .shape = s, .channels = w->out, .kh = w->kh, .kw = w->kw },
		.b = right_of(w, w->in),
	};

	p.b.row = w->panel ? NULL : filter_row;
	p.b.channels = w->out;
	p.b.kh = w->kh;
	p.b.kw = w->kw;
	if (winograd_pays(w, s))
		winograd_conv2d_dx(d, dx, dy, w, s, add);
	else
		multiply(d, &p);
}

/* Row k of the inputs as one tap sees them: the pixel that output pixel k read through it. */
static ptrdiff_t shifted_row(const struct right *b, int k)
{
	const struct conv_shape *s = b->shape;
	int oy = k / s->ow % s->oh, ox = k % s->ow;
	const float *at = pixel(b->data, k / (s->oh * s->ow), s->h, s->w, b->channels,
				oy * s->stride - s->pad + b->ky, ox * s->stride - s->pad + b->kx);

	return at ? at - (const float *)b->data : -1;
}

/* backward of y = conv(x, W):  dW[tap] = dy^T x shifted by the tap */
void cpu_conv2d_dw(struct device *d, float *dw, struct values xv, struct values dyv, int out, int in, int kh, int kw,
		   const struct conv_shape *s, int add)
{
	const float *x = floats_at(xv);
	const float *dy = floats_at(dyv);
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
