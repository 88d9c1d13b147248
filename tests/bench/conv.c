/*
 * conv.c - GFLOP/s (of the direct method) of the cpu backend's 3x3 convolutions at the shapes of SDXL's UNet and VAE.
 * usage: conv [SECONDS_PER_SHAPE]      OMP_NUM_THREADS sets the threads
 */
#include <stdio.h>
#include <stdlib.h>
#include "median.h"

static const struct shape { int in, out, side, stride; } shapes[] = {
	{ 320, 320, 128, 1 }, { 320, 320, 64, 1 }, { 640, 640, 64, 1 }, { 640, 640, 32, 1 }, { 1280, 1280, 32, 1 },
		{ 1280, 1280, 16, 1 },
	{ 2560, 1280, 32, 1 }, { 320, 320, 64, 2 }, { 4, 320, 128, 1 }, { 320, 4, 128, 1 }, { 128, 128, 256, 1 },
		{ 512, 512, 64, 1 },
	{ 32, 32, 16, 1 }, { 64, 64, 8, 1 }, { 96, 96, 4, 1 },
};

/* way: 0 forward, 1 backward into the input, 2 backward into filters (of an adapter of rank 32) */
struct bench { struct device *d; int way; struct conv_shape s; float *x, *y, *dw; const struct weight *w; };

static int run(const void *arg)
{
	const struct bench *b = arg;

	if (b->way == 0)
		cpu_backend.conv2d(b->d, f32(b->y), f32(b->x), b->w, NULL, &b->s);
	else if (b->way == 1)
		cpu_backend.conv2d_dx(b->d, f32(b->x), f32(b->y), b->w, &b->s, 0);
	else
		cpu_backend.conv2d_dw(b->d, b->dw, f32(b->x), f32(b->y), 32, b->w->in, 3, 3, &b->s, 0);
	return 0;
}

static void measure(struct device *d, const struct shape *s, double seconds)
{
	static const char *const names[] = { "forward", "dx", "dw r32" };
	const size_t area = (size_t)s->side * s->side, out = area / s->stride / s->stride,
		most = s->out > 32 ? s->out : 32;
	float *x = filled(area * s->in), *y = filled(out * most), *host = filled((size_t)s->out * s->in * 9),
		*dw = filled((size_t)32 * s->in * 9);
	struct weight w = { .dtype = DTYPE_F32, .out = s->out, .in = s->in, .kh = 3, .kw = 3 };
	const int o = (s->side + s->stride - 1) / s->stride;
	struct bench b = { d, 0, { 1, s->side, s->side, o, o, s->stride, 1 }, x, y, dw, &w };

	if (cpu_backend.prepare(d, &w, host))
		die(EXIT_MEMORY, "no memory");
	for (b.way = 0; b.way < 3; b.way++) {
		const double t = median(seconds, run, &b), flops = 18.0 * out * s->in * (b.way == 2 ? 32 : s->out);

		printf("%4d -> %4d  %3d x %3d  stride %d  %-8s %9.3f ms  %7.1f GFLOP/s\n", s->in, s->out, s->side,
		       s->side, s->stride, names[b.way], t * 1e3, flops / t * 1e-9);
	}
	cpu_backend.unprepare(d, &w);
	free(x);
	free(y);
	free(host);
	free(dw);
}

int main(int argc, char **argv)
{
	struct error e;
	struct device *d = cpu_backend.open(&e);

	if (!d)
		return report(&e);
	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
		measure(d, &shapes[i], argc > 1 ? atof(argv[1]) : 0.3);
	cpu_backend.close(d);
	return 0;
}
