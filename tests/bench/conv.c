/*
 * conv.c - GFLOP/s (of the direct method) of the cpu backend's 3x3 convolutions at the shapes of SDXL's UNet and VAE.
 * usage: conv [SECONDS_PER_SHAPE]      OMP_NUM_THREADS sets the threads
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "../../libcommon/backend.h"

static const struct shape { int in, out, side, stride; } shapes[] = {
	{ 320, 320, 128, 1 }, { 320, 320, 64, 1 }, { 640, 640, 64, 1 }, { 640, 640, 32, 1 }, { 1280, 1280, 32, 1 },
		{ 1280, 1280, 16, 1 },
	{ 2560, 1280, 32, 1 }, { 320, 320, 64, 2 }, { 4, 320, 128, 1 }, { 320, 4, 128, 1 }, { 128, 128, 256, 1 },
		{ 512, 512, 64, 1 },
	{ 32, 32, 16, 1 }, { 64, 64, 8, 1 }, { 96, 96, 4, 1 },
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static float *filled(size_t n)
{
	float *p = cpu_backend.alloc(NULL, n * sizeof(*p));

	for (size_t i = 0; i < n; i++)
		p[i] = (float)(i * 2654435761u % 1024) / 512 - 1;
	return p;
}

/* 0: forward, 1: backward into the input, 2: backward into filters (of an adapter of rank 32) */
static double best_of(struct device *d, int way, const struct shape *s, float *x, float *y, float *dw,
		      const struct weight *w, double seconds)
{
	const int o = (s->side + s->stride - 1) / s->stride;
	const struct conv_shape c = { 1, s->side, s->side, o, o, s->stride, 1 };
	double best = 1e9, start = now();
	int runs = 0;

	while (now() - start < seconds || runs++ < 3) {
		double t = now();

		if (way == 0)
			cpu_backend.conv2d(d, y, x, w, NULL, &c);
		else if (way == 1)
			cpu_backend.conv2d_dx(d, x, y, w, &c, 0);
		else
			cpu_backend.conv2d_dw(d, dw, x, y, 32, s->in, 3, 3, &c, 0);
		t = now() - t;
		best = t < best ? t : best;
	}
	return best;
}

static void measure(struct device *d, const struct shape *s, double seconds)
{
	static const char *const names[] = { "forward", "dx", "dw r32" };
	const size_t area = (size_t)s->side * s->side, out = area / s->stride / s->stride,
		most = s->out > 32 ? s->out : 32;
	float *x = filled(area * s->in), *y = filled(out * most), *host = filled((size_t)s->out * s->in * 9),
		*dw = filled((size_t)32 * s->in * 9);
	struct weight w = { .dtype = DTYPE_F32, .out = s->out, .in = s->in, .kh = 3, .kw = 3 };

	if (cpu_backend.prepare(d, &w, host))
		die(EXIT_MEMORY, "no memory");
	for (int way = 0; way < 3; way++) {
		double t = best_of(d, way, s, x, y, dw, &w, seconds),
			flops = 18.0 * out * s->in * (way == 2 ? 32 : s->out);

		printf("%4d -> %4d  %3d x %3d  stride %d  %-8s %9.3f ms  %7.1f GFLOP/s\n", s->in, s->out, s->side,
		       s->side, s->stride, names[way], t * 1e3, flops / t * 1e-9);
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
