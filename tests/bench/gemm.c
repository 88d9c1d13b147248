/*
 * gemm.c - GFLOP/s of the cpu backend's matrix products and attention at SDXL's shapes and the demo's.
 * usage: gemm [SECONDS_PER_SHAPE]      OMP_NUM_THREADS sets the threads
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/backend.h"

enum operation { LINEAR, LINEAR_F16, LINEAR_DX, LINEAR_DX_F16, GEMM_NT, GEMM_NN, GEMM_TN, ATTENTION, ATTENTION_BACK };

static const struct shape { const char *name; enum operation op; int m, n, k; } shapes[] = {
	{ "attn 640", LINEAR, 4096, 640, 640 }, { "geglu 640", LINEAR, 4096, 5120, 640 },
		{ "geglu 640 f16", LINEAR_F16, 4096, 5120, 640 },
	{ "attn 1280", LINEAR, 1024, 1280, 1280 }, { "attn 1280 f16", LINEAR_F16, 1024, 1280, 1280 },
	{ "geglu 1280", LINEAR, 1024, 10240, 1280 }, { "geglu 1280 f16", LINEAR_F16, 1024, 10240, 1280 },
	{ "ff2 1280", LINEAR, 1024, 1280, 5120 }, { "ff2 1280 f16", LINEAR_F16, 1024, 1280, 5120 },
	{ "dx attn 1280", LINEAR_DX, 1024, 1280, 1280 }, { "dx geglu 1280", LINEAR_DX, 1024, 1280, 10240 },
	{ "dx geglu 1280 f16", LINEAR_DX_F16, 1024, 1280, 10240 }, { "text k/v f16", LINEAR_F16, 77, 1280, 2048 },
	{ "time emb f16", LINEAR_F16, 1, 1280, 1280 },
	{ "lora down r32", GEMM_NT, 1024, 32, 1280 }, { "lora up r32", GEMM_NT, 1024, 1280, 32 },
		{ "lora dz r32", GEMM_NN, 1024, 32, 1280 },
	{ "lora dx r32", GEMM_NN, 1024, 1280, 32 }, { "lora dup r32", GEMM_TN, 1280, 32, 1024 },
		{ "lora ddown r32", GEMM_TN, 32, 1280, 1024 },
	{ "lora down r8", GEMM_NT, 1024, 8, 1280 }, { "demo 32", LINEAR, 1024, 32, 32 },
		{ "demo 64", LINEAR, 256, 64, 64 },
	{ "demo geglu", LINEAR, 256, 512, 64 }, { "demo lora down", GEMM_NT, 256, 4, 64 },
		{ "demo lora up", GEMM_NT, 256, 64, 4 },
	{ "attention 10x1024", ATTENTION, 1024, 10, 64 }, { "attention 10x4096", ATTENTION, 4096, 10, 64 },
	{ "attention 1x1024x512", ATTENTION, 1024, 1, 512 },
	{ "attention back 10x1024", ATTENTION_BACK, 1024, 10, 64 }, { "attention back 10x4096", ATTENTION_BACK, 4096,
								      10, 64 },
	{ "demo attention", ATTENTION, 64, 8, 16 },
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

struct bench { const struct shape *s; float *a, *b, *c, *extra; struct weight w; };

static double flops(const struct shape *s)
{
	const double product = 2.0 * s->m * s->n * s->k;

	return s->op == ATTENTION ? 2 * product * s->m : s->op == ATTENTION_BACK ? 5 * product * s->m : product;
}

static void attend(struct device *d, const struct bench *b)
{
	const struct shape *s = b->s;
	const size_t n = (size_t)s->m * s->n * s->k;
	const int ld = s->n * s->k, add[3] = { 0 };
	const struct attention_shape shape = { 1, s->n, s->k, s->m, s->m, ld, ld, ld, ld, false, 0.125f };

	if (s->op == ATTENTION)
		cpu_backend.attention(d, b->c, b->extra, b->a, b->a + n, b->a + 2 * n, &shape);
	else
		cpu_backend.attention_back(d, b->c, b->c + n, b->c + 2 * n, b->b, b->b, b->extra, b->a, b->a + n,
					   b->a + 2 * n, &shape, add);
}

static void run(struct device *d, const struct bench *b)
{
	const struct shape *s = b->s;
	const int ta = s->op == GEMM_TN, tb = s->op == GEMM_NT;

	switch (s->op) {
	case LINEAR: case LINEAR_F16: cpu_backend.linear(d, b->c, b->a, &b->w, NULL, s->m); break;
	case LINEAR_DX: case LINEAR_DX_F16: cpu_backend.linear_dx(d, b->c, b->a, &b->w, s->m, 0); break;
	case ATTENTION: case ATTENTION_BACK: attend(d, b); break;
	default: cpu_backend.gemm(d, ta, tb, s->m, s->n, s->k, 1, b->a, ta ? s->m : s->k, b->b, tb ? s->k : s->n, 0,
				  b->c, s->n);
	}
}

static void measure(struct device *d, const struct shape *s, double seconds)
{
	const bool attention = s->op >= ATTENTION, back = s->op == LINEAR_DX || s->op == LINEAR_DX_F16;
	const size_t mk = (size_t)s->m * s->k, nk = (size_t)s->n * s->k, mn = (size_t)s->m * s->n;
	struct bench b = { s, filled(attention ? 3 * mk * s->n : mk), filled(attention ? mk * s->n : nk),
			   filled(attention ? 3 * mk * s->n : mn), filled(mn), { 0 } };
	double best = 1e9, start = now();
	int runs = 0;

	b.w = (struct weight){ .data = b.b, .out = back ? s->k : s->n, .in = back ? s->n : s->k, .kh = 1, .kw = 1,
			       .dtype = s->op == LINEAR_F16 || s->op == LINEAR_DX_F16 ? DTYPE_F16 : DTYPE_F32 };
	while (now() - start < seconds || runs++ < 3) {
		double t = now();

		run(d, &b);
		t = now() - t;
		best = t < best ? t : best;
	}
	printf("%-24s %5d x %5d x %5d  %9.3f ms  %7.1f GFLOP/s\n", s->name, s->m, s->n, s->k, best * 1e3,
	       flops(s) / best * 1e-9);
	free(b.a);
	free(b.b);
	free(b.c);
	free(b.extra);
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
