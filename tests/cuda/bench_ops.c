/* bench_ops - the operations that a step at 1024x1024, batch 1, is made of: time of each,
 * and what share of arithmetic or of memory that is. */
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include "../../cuda/internal.h"

enum { ROUNDS = 20 };

struct bench {
	struct device *d;
	float *a, *b, *c, *stats;
	struct weight linear, conv;
	int rows, in, out;
};

static float *take(struct device *d, size_t n)
{
	float *p = cuda_backend.alloc(d, n * sizeof(*p)), *host = malloc(n * sizeof(*host));
	size_t i;

	if (!p || !host)
		exit(1);
	for (i = 0; i < n; i++)
		host[i] = (float)((i * 2654435761u) % 65536) / 32768 - 1;
	cuda_backend.upload(d, p, host, n * sizeof(*p));
	free(host);
	return p;
}

static struct weight take_weight(struct device *d, int out, int in, int k)
{
	struct weight w = { .dtype = DTYPE_F16, .out = out, .in = in, .kh = k, .kw = k };
	size_t i, n = (size_t)out * in * k * k;
	uint16_t *host = malloc(n * sizeof(*host));

	if (!host)
		exit(1);
	for (i = 0; i < n; i++)
		host[i] = 0x2000 + (i * 2654435761u) % 4096 + (i % 2 << 15);    /* 0.008 to 0.03, both signs */
	if (cuda_backend.prepare(d, &w, host))
		exit(1);
	free(host);
	return w;
}

typedef void op(struct bench *b);

/* Median of ROUNDS after two for warming up; work: FLOP, or bytes where unit says so. */
static void run(struct bench *b, const char *name, op *fn, double work, const char *unit)
{
	cudaEvent_t from, to;
	float ms, best = 1e9f;
	int i;

	cudaEventCreate(&from);
	cudaEventCreate(&to);
	for (i = 0; i < ROUNDS + 2; i++) {
		cudaEventRecord(from, b->d->stream);
		fn(b);
		cudaEventRecord(to, b->d->stream);
		cudaEventSynchronize(to);
		cudaEventElapsedTime(&ms, from, to);
		if (i >= 2 && ms < best)
			best = ms;
	}
	printf("%-34s %6d x %5d -> %5d  %8.3f ms  %8.1f %s\n", name, b->rows, b->in, b->out, best,
	       work / best / (unit[0] == 'T' ? 1e9 : 1e6), unit);
	cudaEventDestroy(from);
	cudaEventDestroy(to);
}

static void forward(struct bench *b)
{
	b->d->operand.of = NULL;
	cuda_backend.linear(b->d, f32(b->c), f32(b->a), &b->linear, b->b, b->rows, NULL);
}
static void again(struct bench *b) { cuda_backend.linear(b->d, f32(b->c), f32(b->a), &b->linear, b->b, b->rows, NULL); }
static void back(struct bench *b)
{
	b->d->operand.of = NULL;
	cuda_backend.linear_dx(b->d, f32(b->a), f32(b->c), &b->linear, b->rows, 0, NULL);
}
static void lora_down(struct bench *b)
{
	cuda_backend.gemm(b->d, 0, 1, b->rows, 32, b->in, 1, f32(b->a), b->in, f32(b->b), b->in, 0, f32(b->c), 32);
}
static void lora_up(struct bench *b)
{
	cuda_backend.gemm(b->d, 0, 1, b->rows, b->out, 32, 1, f32(b->a), 32, f32(b->b), 32, 1, f32(b->c), b->out);
}
static void lora_dup(struct bench *b)
{
	cuda_backend.gemm(b->d, 1, 0, b->out, 32, b->rows, 1, f32(b->c), b->out, f32(b->a), 32, 1, f32(b->b), 32);
}

static void linears(struct bench *b)
{
	static const struct { int rows, in, out; } s[] = {
		{ 4096, 640, 640 }, { 4096, 640, 5120 }, { 4096, 2560, 640 },
		{ 1024, 1280, 1280 }, { 1024, 1280, 10240 }, { 1024, 5120, 1280 }, { 77, 2048, 1280 },
	};
	size_t i;

	for (i = 0; i < sizeof(s) / sizeof(*s); i++) {
		double flop = 2.0 * s[i].rows * s[i].in * s[i].out;
		b->rows = s[i].rows, b->in = s[i].in, b->out = s[i].out;
		b->linear = take_weight(b->d, b->out, b->in, 1);
		run(b, "linear", forward, flop, "TFLOP/s");
		run(b, "linear, x cast already", again, flop, "TFLOP/s");
		run(b, "linear_dx", back, flop, "TFLOP/s");
		run(b, "adapter down, rank 32", lora_down, 4.0 * s[i].rows * s[i].in, "GB/s");
		run(b, "adapter up", lora_up, 8.0 * s[i].rows * s[i].out, "GB/s");
		run(b, "gradient of up", lora_dup, 4.0 * s[i].rows * s[i].out, "GB/s");
		cuda_backend.unprepare(b->d, &b->linear);
	}
}

static struct conv_shape shape_of(const struct bench *b, int side)
{
	return (struct conv_shape){ b->rows / side / side, side, side, side, side, 1, 1 };
}
static int side_of(const struct bench *b) { int s = 1; while (s * s < b->rows) s *= 2; return s; }
static void conv(struct bench *b)
{
	struct conv_shape s = shape_of(b, side_of(b));
	cuda_backend.conv2d(b->d, f32(b->c), f32(b->a), &b->conv, b->b, &s);
}
static void conv_back(struct bench *b)
{
	struct conv_shape s = shape_of(b, side_of(b));
	cuda_backend.conv2d_dx(b->d, f32(b->a), f32(b->c), &b->conv, &s, 0);
}

static void convs(struct bench *b)
{
	static const struct { int rows, in, out; } s[] = { { 16384, 320, 320 }, { 16384, 960, 320 }, { 4096, 640, 640 },
							   { 1024, 1280, 1280 }, { 1024, 2560, 1280 } };
	size_t i;

	for (i = 0; i < sizeof(s) / sizeof(*s); i++) {
		double flop = 18.0 * s[i].rows * s[i].in * s[i].out;
		b->rows = s[i].rows, b->in = s[i].in, b->out = s[i].out;
		b->conv = take_weight(b->d, b->out, b->in, 3);
		run(b, "conv 3x3", conv, flop, "TFLOP/s");
		run(b, "conv 3x3, dx", conv_back, flop, "TFLOP/s");
		cuda_backend.unprepare(b->d, &b->conv);
	}
}

static struct norm_shape group(const struct bench *b)
{
	return (struct norm_shape){ 1, b->rows, b->in, 32, 1e-5f, true };
}
static void group_norm(struct bench *b)
{
	struct norm_shape s = group(b);
	cuda_backend.group_norm(b->d, f32(b->c), b->stats, f32(b->a), b->b, b->b, &s);
}
static void group_norm_back(struct bench *b)
{
	struct norm_shape s = group(b);
	cuda_backend.group_norm_back(b->d, f32(b->a), f32(b->c), f32(b->a), b->stats, b->b, b->b, &s, 0);
}
static void layer_norm(struct bench *b)
{
	cuda_backend.layer_norm(b->d, f32(b->c), b->stats, NULL, f32(b->a), f32(NULL), b->b, b->b, b->rows, b->in,
				1e-5f);
}
/* The sum over one of its terms, as there is no fourth array. */
static void add_norm(struct bench *b)
{
	cuda_backend.layer_norm(b->d, f32(b->c), b->stats, b->a, f32(b->a), f32(b->a), b->b, b->b, b->rows, b->in,
				1e-5f);
}
static void layer_norm_back(struct bench *b)
{
	cuda_backend.layer_norm_back(b->d, f32(b->a), f32(NULL), f32(b->c), f32(b->a), b->stats, b->b, b->rows, b->in,
				     1);
}
static void add_norm_back(struct bench *b)
{
	cuda_backend.layer_norm_back(b->d, f32(b->a), f32(b->c), f32(b->c), f32(b->a), b->stats, b->b, b->rows, b->in,
				     1);
}
static void geglu(struct bench *b) { cuda_backend.geglu(b->d, f32(b->c), f32(b->a), b->rows, b->in); }
static void geglu_back(struct bench *b)
{
	cuda_backend.geglu_back(b->d, f32(b->a), f32(b->c), f32(b->a), b->rows, b->in, 0);
}
static void add(struct bench *b) { cuda_backend.add(b->d, f32(b->c), f32(b->a), f32(b->c), (size_t)b->rows * b->in); }

static void memory_bound(struct bench *b)
{
	static const struct { int rows, c; } s[] = { { 16384, 320 }, { 16384, 960 }, { 4096, 640 }, { 1024, 1280 } };
	size_t i;

	for (i = 0; i < sizeof(s) / sizeof(*s); i++) {
		double floats = 4.0 * s[i].rows * s[i].c;
		b->rows = s[i].rows, b->in = b->out = s[i].c;
		run(b, "group norm + silu", group_norm, 3 * floats, "GB/s");
		run(b, "group norm + silu, back", group_norm_back, 5 * floats, "GB/s");
		run(b, "layer norm", layer_norm, 2 * floats, "GB/s");
		run(b, "layer norm of a sum", add_norm, 3 * floats, "GB/s");
		run(b, "layer norm, back", layer_norm_back, 4 * floats, "GB/s");
		run(b, "layer norm of a sum, back", add_norm_back, 5 * floats, "GB/s");
		run(b, "add", add, 3 * floats, "GB/s");
	}
	b->rows = 4096, b->in = 2560;
	run(b, "geglu", geglu, 12.0 * b->rows * b->in, "GB/s");
	run(b, "geglu, back", geglu_back, 20.0 * b->rows * b->in, "GB/s");
}

/* rows: tokens; in: keys; out: heads of 64 */
static struct attention_shape heads(const struct bench *b)
{
	int c = b->out * 64;

	return (struct attention_shape){ 1, b->out, 64, b->rows, b->in, c, c, c, c, false, 0.125f };
}
static void attend(struct bench *b)
{
	struct attention_shape s = heads(b);
	cuda_backend.attention(b->d, f32(b->c), b->stats, f32(b->a), f32(b->b), f32(b->b), &s);
}

static void attend_back(struct bench *b)
{
	struct attention_shape s = heads(b);

	cuda_backend.attention_back(b->d, f32(b->a), f32(b->b), f32(b->b), f32(b->c), f32(b->c), b->stats, f32(b->a),
				    f32(b->b), f32(b->b), &s, (int[]){ 0, 0, 0 });
}

static void attentions(struct bench *b)
{
	static const struct { int lq, lk, heads; } s[] = { { 4096, 4096, 10 }, { 1024, 1024, 20 }, { 4096, 77, 10 },
							   { 1024, 77, 20 } };
	size_t i;

	for (i = 0; i < sizeof(s) / sizeof(*s); i++) {
		double flop = 4.0 * s[i].lq * s[i].lk * s[i].heads * 64;
		b->rows = s[i].lq, b->in = s[i].lk, b->out = s[i].heads;
		run(b, "attention", attend, flop, "TFLOP/s");
		run(b, "attention, back", attend_back, 2.5 * flop, "TFLOP/s");
	}
}

int main(void)
{
	struct error e;
	struct bench b = { .d = cuda_backend.open(&e) };
	const size_t most = (size_t)16384 * 2560;

	if (!b.d)
		return report(&e);
	b.a = take(b.d, most), b.b = take(b.d, most), b.c = take(b.d, most), b.stats = take(b.d, 1 << 20);
	linears(&b);
	convs(&b);
	memory_bound(&b);
	attentions(&b);
	cuda_backend.close(b.d);
	return 0;
}
