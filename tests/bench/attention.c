/*
 * attention.c - GFLOP/s of the cpu backend's attention, forward and backward, at the shapes of SDXL, Stable Diffusion
 * 1.5, their VAE and text encoders.  An addition counts as one, and what a causal mask hides as none.
 * usage: attention [SECONDS_PER_SHAPE [NAME]]      OMP_NUM_THREADS sets the threads, LORA_CPU the instruction set
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "median.h"

static const struct shape { const char *name; int n, heads, lq, lk, d; bool causal; } shapes[] = {
	{ "sdxl 64x64", 1, 10, 4096, 4096, 64 }, { "sdxl 64x64 text", 1, 10, 4096, 77, 64 },
	{ "sdxl 32x32", 1, 20, 1024, 1024, 64 }, { "sdxl 32x32 text", 1, 20, 1024, 77, 64 },
	{ "sdxl 32x32 of 512", 1, 10, 1024, 1024, 64 }, { "sdxl 16x16", 1, 20, 256, 256, 64 },
	{ "sdxl 16x16 text", 1, 20, 256, 77, 64 },
	{ "sd15 64x64", 1, 8, 4096, 4096, 40 }, { "sd15 64x64 text", 1, 8, 4096, 77, 40 },
	{ "sd15 32x32", 1, 8, 1024, 1024, 80 }, { "sd15 32x32 text", 1, 8, 1024, 77, 80 },
	{ "sd15 16x16", 1, 8, 256, 256, 160 }, { "sd15 16x16 text", 1, 8, 256, 77, 160 },
	{ "sd15 8x8", 1, 8, 64, 64, 160 },
	{ "vae 64x64", 1, 1, 4096, 4096, 512 }, { "clip l", 1, 12, 77, 77, 64, true },
	{ "clip g", 1, 20, 77, 77, 64, true }, { "demo", 1, 8, 64, 64, 16 },
};

struct bench { struct device *d; bool back; struct attention_shape s; float *q, *k, *v, *o, *lse, *dq, *dk, *dv; };

static int run(const void *arg)
{
	const struct bench *b = arg;
	const int add[3] = { 0 };

	if (b->back)
		cpu_backend.attention_back(b->d, f32(b->dq), f32(b->dk), f32(b->dv), f32(b->o), f32(b->o), b->lse,
					   f32(b->q), f32(b->k), f32(b->v), &b->s, add);
	else
		cpu_backend.attention(b->d, f32(b->o), b->lse, f32(b->q), f32(b->k), f32(b->v), &b->s);
	return 0;
}

static void measure(struct device *d, const struct shape *s, double seconds)
{
	const int c = s->heads * s->d;
	const size_t q = (size_t)s->n * s->lq * c, k = (size_t)s->n * s->lk * c;
	const double pairs = s->causal ? s->lq * (s->lq + 1) / 2.0 : (double)s->lq * s->lk;
	float *all = filled(3 * q + 4 * k + (size_t)s->n * s->heads * s->lq);
	struct bench b = { d, false, { s->n, s->heads, s->d, s->lq, s->lk, c, c, c, c, s->causal, 1 / sqrtf(s->d) },
			   all, all + q, all + q + k, all + q + 2 * k, all + 3 * q + 4 * k, all + 2 * q + 2 * k,
			   all + 3 * q + 2 * k, all + 3 * q + 3 * k };

	for (int back = 0; back < 2; back++) {
		double t, flops = (back ? 10 : 4) * pairs * s->n * c;

		b.back = back;
		t = median(seconds, run, &b);

		printf("%-18s %-8s %2d x %4d x %4d x %3d  %9.3f ms  %7.1f GFLOP/s\n", s->name,
		       back ? "backward" : "forward", s->heads, s->lq, s->lk, s->d, t * 1e3, flops / t * 1e-9);
	}
	free(all);
}

int main(int argc, char **argv)
{
	struct error e;
	struct device *d = cpu_backend.open(&e);

	if (!d)
		return report(&e);
	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
		if (argc < 3 || !strcmp(argv[2], shapes[i].name))
			measure(d, &shapes[i], argc > 1 ? atof(argv[1]) : 0.3);
	cpu_backend.close(d);
	return 0;
}
