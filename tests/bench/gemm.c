/*
 * gemm.c - matrix products of the cpu backend at SDXL's shapes and the demo's: GFLOP/s, percent of the
 * peak that the same run measures, and oneDNN's figure for the same product where it is installed.
 * usage: gemm [SECONDS_PER_SHAPE [WORD]]      WORD: only shapes with it in their name; OMP_NUM_THREADS sets the threads
 */
#include <stdio.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/thread.h"
#include "../../libcommon/cpu/internal.h"
#include "median.h"
#include "onednn.h"
#include "peak.h"

enum operation { LINEAR, LINEAR_F16, LINEAR_DX, LINEAR_DX_F16, GEMM_NT, GEMM_NN, GEMM_TN, IN_CACHE };

/* What an adapter of rank r does to a layer of m rows from k to n. */
#define LORA(m, n, k, r) \
	{ "lora down", GEMM_NT, m, r, k }, { "lora up", GEMM_NT, m, n, r }, { "lora dz", GEMM_NN, m, r, n }, \
	{ "lora dx", GEMM_NN, m, k, r }, { "lora dup", GEMM_TN, n, r, m }, { "lora ddown", GEMM_TN, r, k, m }
/* The layers of a block of attention of m rows and c channels: q k v o, GEGLU, its output; and their gradients. */
#define LAYERS(m, c) \
	{ "attn", LINEAR, m, c, c }, { "attn f16", LINEAR_F16, m, c, c }, { "geglu", LINEAR, m, 8 * c, c }, \
	{ "geglu f16", LINEAR_F16, m, 8 * c, c }, { "ff2", LINEAR, m, c, 4 * c }, \
	{ "ff2 f16", LINEAR_F16, m, c, 4 * c }, { "dx attn", LINEAR_DX, m, c, c }, \
	{ "dx geglu", LINEAR_DX, m, c, 8 * c }, { "dx geglu f16", LINEAR_DX_F16, m, c, 8 * c }, \
	{ "dx ff2 f16", LINEAR_DX_F16, m, 4 * c, c }

static const struct shape { const char *name; enum operation op; int m, n, k; } shapes[] = {
	{ "in cache", IN_CACHE, 98, 32, 256 },          /* what the inner loop could do, if memory cost nothing */
	LAYERS(1024, 640), LAYERS(256, 1280),           /* 512x512 */
	LAYERS(4096, 640), LAYERS(1024, 1280),          /* 1024x1024 */
	{ "text k/v", LINEAR, 77, 640, 2048 }, { "text k/v f16", LINEAR_F16, 77, 1280, 2048 },
	{ "text dx f16", LINEAR_DX_F16, 77, 2048, 1280 },
	{ "clip attn", LINEAR_F16, 77, 768, 768 }, { "clip fc1", LINEAR_F16, 77, 3072, 768 },
	{ "clip fc2", LINEAR_F16, 77, 768, 3072 }, { "clip attn", LINEAR_F16, 77, 1280, 1280 },
	{ "clip fc1", LINEAR_F16, 77, 5120, 1280 }, { "clip fc2", LINEAR_F16, 77, 1280, 5120 },
	{ "vae attn", LINEAR_F16, 4096, 512, 512 }, { "vae attn", LINEAR_F16, 16384, 512, 512 },
	{ "time emb f16", LINEAR_F16, 1, 1280, 1280 },
	LORA(1024, 1280, 1280, 4), LORA(1024, 1280, 1280, 8), LORA(1024, 1280, 1280, 16), LORA(1024, 1280, 1280, 32),
	LORA(1024, 1280, 1280, 64), LORA(1024, 1280, 1280, 128), LORA(256, 1280, 1280, 16), LORA(256, 1280, 1280, 32),
	LORA(4096, 640, 640, 32), LORA(1024, 10240, 1280, 32), LORA(1024, 1280, 5120, 32), LORA(4096, 5120, 640, 32),
	{ "demo 32", LINEAR, 1024, 32, 32 }, { "demo 64", LINEAR, 256, 64, 64 },
	{ "demo geglu", LINEAR, 256, 512, 64 }, { "demo lora down", GEMM_NT, 256, 4, 64 },
	{ "demo lora up", GEMM_NT, 256, 64, 4 },
};

struct bench { struct device *d; const struct shape *s; float *a, *b, *c; struct weight w; };

/* Products of one thread that are IN_CACHE. */
enum { REPEATS = 500 };

static double flops(const struct shape *s)
{
	return 2.0 * s->m * s->n * s->k * (s->op == IN_CACHE ? REPEATS * threads_default() : 1);
}

static void run_in_cache(struct device *d, const void *arg, int task, int thread)
{
	const struct shape *s = arg;
	const size_t a = (size_t)s->m * s->k, b = (size_t)s->n * s->k, c = (size_t)s->m * s->n;
	char *at = thread_scratch(d, thread, floats(a) + floats(b) + floats(c));
	const struct block block = { .m = s->m, .n = s->n, .k = s->k, .a = carve(&at, a), .row = s->k, .col = 1,
				     .panels = carve(&at, b), .c = carve(&at, c), .ldc = s->n, .alpha = 1 };

	for (int i = 0; i < REPEATS; i++)
		d->k->block(&block);
}

static int run(const void *arg)
{
	const struct bench *b = arg;
	const struct shape *s = b->s;
	const int ta = s->op == GEMM_TN, tb = s->op == GEMM_NT;

	switch (s->op) {
	case LINEAR: case LINEAR_F16:
		cpu_backend.linear(b->d, f32(b->c), f32(b->a), &b->w, NULL, s->m, NULL);
		break;
	case LINEAR_DX: case LINEAR_DX_F16:
		cpu_backend.linear_dx(b->d, f32(b->c), f32(b->a), &b->w, s->m, 0, NULL);
		break;
	case IN_CACHE: run_tasks(b->d, threads_default(), 1e9, run_in_cache, s); break;
	default: cpu_backend.gemm(b->d, ta, tb, s->m, s->n, s->k, 1, f32(b->a), ta ? s->m : s->k, f32(b->b),
				  tb ? s->k : s->n, 0, f32(b->c), s->n);
	}
	return 0;
}

static int run_plain(const void *arg) { return onednn_product(arg); }
static int run_layer(const void *arg) { return onednn_layer_run(arg); }

/* The library's best GFLOP/s; 0: none.  Its threads look for work for a while before they sleep; ours must not be
 * measured meanwhile. */
static double library(const struct bench *b, double seconds)
{
	const struct shape *s = b->s;
	const bool layer = s->op <= LINEAR_DX_F16, half = s->op == LINEAR_F16 || s->op == LINEAR_DX_F16;
	struct plain_product p = { s->op == GEMM_TN, s->op == LINEAR || s->op == LINEAR_F16 || s->op == GEMM_NT,
				   s->m, s->n, s->k, b->a, half ? filled((size_t)s->n * s->k) : b->b, b->c };
	struct onednn_layer l = { 0 };
	const struct timespec pause = { 0, 20000000 };
	double best = median(seconds, run_plain, &p), packed = 0;

	if (best > 0 && layer && !onednn_layer_open(&l, &p)) {
		packed = median(seconds, run_layer, &l);
		onednn_layer_close(&l);
	}
	if (half)
		free(p.b);
	if (best > 0)
		nanosleep(&pause, NULL);
	best = packed > 0 && packed < best ? packed : best;
	return best > 0 ? flops(s) / best * 1e-9 : 0;
}

static void measure(struct device *d, const struct shape *s, double seconds, double peak)
{
	const bool back = s->op == LINEAR_DX || s->op == LINEAR_DX_F16;
	struct bench b = { d, s, filled((size_t)s->m * s->k), filled((size_t)s->n * s->k), filled((size_t)s->m * s->n),
			   { 0 } };
	double took, rate, theirs;

	b.w = (struct weight){ .data = b.b, .out = back ? s->k : s->n, .in = back ? s->n : s->k, .kh = 1, .kw = 1,
			       .dtype = s->op == LINEAR_F16 || s->op == LINEAR_DX_F16 ? DTYPE_F16 : DTYPE_F32 };
	took = median(seconds, run, &b);
	rate = flops(s) / took * 1e-9;
	theirs = s->op == IN_CACHE ? 0 : library(&b, seconds);
	printf("%-14s %5d x %5d x %5d %9.3f ms %6.1f GFLOP/s", s->name, s->m, s->n, s->k, took * 1e3, rate);
	if (peak > 0)
		printf(" %3.0f %%", 100 * rate / peak);
	printf(theirs > 0 ? " %7.1f\n" : "\n", theirs);
	fflush(stdout);
	free(b.a);
	free(b.b);
	free(b.c);
}

int main(int argc, char **argv)
{
	const double seconds = argc > 1 ? atof(argv[1]) : 0.2;
	const char *word = argc > 2 ? argv[2] : "", *library_name = onednn_name();
	const double peak = peak_gflops(threads_default());
	struct error e;
	struct device *d = cpu_backend.open(&e);

	if (!d)
		return report(&e);
	printf("%s, %d threads, peak %.1f GFLOP/s; medians; the last column: %s\n", cpu_set(), threads_default(), peak,
	       library_name ? library_name : "none (oneDNN is not installed)");
	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
		if (strstr(shapes[i].name, word))
			measure(d, &shapes[i], seconds, peak);
	cpu_backend.close(d);
	return 0;
}
