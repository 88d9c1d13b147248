/*
 * products - matrix products and convolutions of the CUDA backend against the CPU's: every entry, every type of weight,
 * sizes that are not multiples of anything, and one that scratch does not hold at once.
 */
#include "weights.h"

/* Of the narrow matrices beside a layer's weight. */
enum { RANK = 5 };

/* magnitude: of what is multiplied, to leave the range of half precision on either side */
static void linear(struct rig *r, enum dtype type, int rows, int in, int out, float magnitude)
{
	struct weights w = take_weights(r, type, out, in, 1, 1);
	struct both x = take_drawn(r, (size_t)rows * in, magnitude), dy = take_drawn(r, (size_t)rows * out, magnitude);
	struct both bias = take_drawn(r, out, magnitude), z = take_drawn(r, (size_t)rows * RANK, magnitude),
		    up = take_drawn(r, (size_t)out * RANK, 1), down = take_drawn(r, (size_t)in * RANK, 1);
	char *name = xprintf("%s %d x %d -> %d, of %g", type_names[type], rows, in, out, magnitude), *text;
	int variant, s;

	for (variant = 0; variant < 2; variant++) {
		struct both y = take_output(r, (size_t)rows * out, false),
			dx = take_output(r, (size_t)rows * in, variant);

		for (s = 0; s < SIDES; s++) {
			const struct narrow more = { z.at[s], up.at[s], RANK, 0.5f },
					    more_dx = { z.at[s], down.at[s], RANK, 0.5f };

			r->be[s]->linear(r->device[s], f32(y.at[s]), f32(x.at[s]), &w.of[s],
					 variant ? bias.at[s] : NULL, rows, variant ? &more : NULL);
			r->be[s]->linear_dx(r->device[s], f32(dx.at[s]), f32(dy.at[s]), &w.of[s], rows, variant,
					    variant ? &more_dx : NULL);
		}
		compare(r, &y, tolerance(type), text = xprintf("linear %s%s", name, variant ? ", all" : ""));
		free(text);
		compare(r, &dx, tolerance(type), text = xprintf("linear_dx %s%s", name, variant ? ", all" : ""));
		free(text);
		give(r, y);
		give(r, dx);
	}
	give(r, x);
	give(r, dy);
	give(r, bias);
	give(r, z);
	give(r, up);
	give(r, down);
	give_weights(r, &w);
	free(name);
}

/* An adapter's products beside a layer's: z made on the way, and the gradients of both factors.  add: to what is
 * there */
struct narrow_size { int rows, in, out, rank, add; };
enum { Y, Z, DX, DZ, DUP, DDOWN, MADE };

static void run_narrow(struct rig *r, struct both (*made)[MADE], const struct both *given, struct weights *w,
		       const struct narrow_size *n)
{
	const struct both x = given[0], dy = given[1], bias = given[2], up = given[3], down = given[4];
	int i, s;

	for (s = 0; s < SIDES; s++) {
		const struct backend *be = r->be[s];
		struct device *d = r->device[s];
		float *at[MADE];

		for (i = 0; i < MADE; i++)
			at[i] = (*made)[i].at[s];
		be->linear(d, f32(at[Y]), f32(x.at[s]), &w->of[s], n->add ? bias.at[s] : NULL, n->rows,
			   &(struct narrow){ at[Z], up.at[s], n->rank, 0.5f, down.at[s], 1 });
		be->linear_dx(d, f32(at[DX]), f32(dy.at[s]), &w->of[s], n->rows, n->add,
			      &(struct narrow){ at[DZ], down.at[s], n->rank, 1, up.at[s], 0.5f });
		be->narrow_grads(d, &(struct stacked_grads){ { { at[DUP], at[DDOWN], n->add, n->add, f32(dy.at[s]),
				 f32(x.at[s]), at[Z], at[DZ], n->rows, n->out, n->in, n->rank, n->out, 0.5f } }, 1 });
		/* each of them alone, once more */
		be->narrow_grads(d, &(struct stacked_grads){ { { .dup = at[DUP], .add_up = 1, .dy = f32(dy.at[s]),
				 .z = at[Z], .rows = n->rows, .out = n->out, .rank = n->rank, .ldy = n->out,
				 .scale = 0.25f } }, 1 });
		be->narrow_grads(d, &(struct stacked_grads){ { { .ddown = at[DDOWN], .add_down = 1,
				 .x = f32(x.at[s]), .dz = at[DZ], .rows = n->rows, .in = n->in,
				 .rank = n->rank } }, 1 });
	}
}

static void narrow(struct rig *r, struct narrow_size n)
{
	static const char *const names[MADE] = { "y", "z", "dx", "dz", "dup", "ddown" };
	const size_t rows = n.rows, in = n.in, out = n.out, rank = n.rank,
		sizes[MADE] = { rows * out, rows * rank, rows * in, rows * rank, out * rank, rank * in };
	struct weights w = take_weights(r, DTYPE_F16, n.out, n.in, 1, 1);
	const struct both given[] = { take_drawn(r, rows * in, 1), take_drawn(r, rows * out, 1),
				      take_drawn(r, out, 1), take_drawn(r, out * rank, 1),
				      take_drawn(r, rank * in, 1 / sqrtf(in)) };
	struct both made[MADE];
	size_t i;

	for (i = 0; i < MADE; i++)
		made[i] = take_output(r, sizes[i], n.add && i != Y && i != Z && i != DZ);
	run_narrow(r, &made, given, &w, &n);
	for (i = 0; i < MADE; i++) {
		char *text = xprintf("narrow %d x %d -> %d -> %d%s: %s", n.rows, n.in, n.rank, n.out,
				     n.add ? ", added" : "", names[i]);

		compare(r, &made[i], (i == Z || i == DZ ? 1 : 2) * tolerance(DTYPE_F32), text);
		free(text);
		give(r, made[i]);
	}
	for (i = 0; i < sizeof(given) / sizeof(*given); i++)
		give(r, given[i]);
	give_weights(r, &w);
}

static void gemm(struct rig *r, int m, int n, int k)
{
	struct both a = take_drawn(r, (size_t)(m + 3) * (k + 3), 1), b = take_drawn(r, (size_t)(n + 3) * (k + 3), 1);
	int variant, s;

	for (variant = 0; variant < 8; variant++) {
		int ta = variant & 1, tb = variant >> 1 & 1, add = variant >> 2;
		struct both c = take_output(r, (size_t)m * (n + 2), true);
		char *name = xprintf("gemm %d x %d x %d%s%s%s", m, n, k, ta ? ", a turned" : "", tb ? ", b turned" : "",
				     add ? ", added" : "");

		for (s = 0; s < SIDES; s++) r->be[s]->gemm(r->device[s], ta, tb, m, n, k, 0.5f, f32(a.at[s]),
							   ta ? m + 3 : k + 3, f32(b.at[s]), tb ? k + 3 : n + 3,
							   add ? 0.25f : 0, f32(c.at[s]), n + 2);
		compare(r, &c, tolerance(DTYPE_F32), name);
		give(r, c);
		free(name);
	}
	give(r, a);
	give(r, b);
}

static void conv(struct rig *r, enum dtype type, int in, int out, int kernel, const struct conv_shape *c,
		 float magnitude)
{
	struct weights w = take_weights(r, type, out, in, kernel, kernel);
	const size_t pixels_in = (size_t)c->n * c->h * c->w, pixels_out = (size_t)c->n * c->oh * c->ow;
	struct both x = take_drawn(r, pixels_in * in, magnitude), dy = take_drawn(r, pixels_out * out, magnitude);
	struct both bias = take_drawn(r, out, magnitude);
	char *name = xprintf("%s %dx%d, %d x %dx%dx%d -> %d, stride %d, of %g", type_names[type], kernel, kernel, c->n,
			     c->h, c->w, in, out, c->stride, magnitude), *text;
	int add, s;

	for (add = 0; add < 2; add++) {
		struct both y = take_output(r, pixels_out * out, false), dx = take_output(r, pixels_in * in, add);
		struct both dw = take_output(r, (size_t)out * kernel * kernel * in, add);

		for (s = 0; s < SIDES; s++) {
			r->be[s]->conv2d(r->device[s], f32(y.at[s]), f32(x.at[s]), &w.of[s], add ? bias.at[s] : NULL,
					 c);
			r->be[s]->conv2d_dx(r->device[s], f32(dx.at[s]), f32(dy.at[s]), &w.of[s], c, add);
			r->be[s]->conv2d_dw(r->device[s], dw.at[s], f32(x.at[s]), f32(dy.at[s]), out, in, kernel,
					    kernel, c, add);
		}
		compare(r, &y, tolerance(type), text = xprintf("conv2d %s%s", name, add ? ", bias" : ""));
		free(text);
		compare(r, &dx, tolerance(type), text = xprintf("conv2d_dx %s%s", name, add ? ", added" : ""));
		free(text);
		compare(r, &dw, tolerance(DTYPE_F32), text = xprintf("conv2d_dw %s%s", name, add ? ", added" : ""));
		free(text);
		give(r, y);
		give(r, dx);
		give(r, dw);
	}
	give(r, x);
	give(r, dy);
	give(r, bias);
	give_weights(r, &w);
	free(name);
}

/* The numbers themselves, last row first. */
static void numbers(struct rig *r, enum dtype type, int out, int in)
{
	struct weights w = take_weights(r, type, out, in, 1, 1);
	struct both y = take_output(r, (size_t)out * in, false);
	char *name = xprintf("%s %d x %d, as they are", type_names[type], out, in);
	int32_t *row = xmalloc(out * sizeof(*row));

	for (int i = 0; i < out; i++)
		row[i] = out - 1 - i;
	for (int s = 0; s < SIDES; s++)
		r->be[s]->embedding(r->device[s], y.at[s], &w.of[s], row, out);
	compare(r, &y, tolerance(DTYPE_F16), name);
	give(r, y);
	give_weights(r, &w);
	free(row);
	free(name);
}

/* Three products read one x, and between them it changes: what was cast before must not be taken again. */
static void changed_operand(struct rig *r)
{
	struct weights w = take_weights(r, DTYPE_F16, 40, 24, 1, 1);
	struct both x = take_drawn(r, 24 * 16, 1), z = take_drawn(r, 24 * 16, 1), square = take_drawn(r, 24 * 24, 1);
	struct both y = take_output(r, 40 * 16, false), again = take_output(r, 40 * 16, false),
		after = take_output(r, 40 * 16, false);
	int s;

	for (s = 0; s < SIDES; s++) {
		const struct backend *be = r->be[s];
		struct device *d = r->device[s];

		be->linear(d, f32(y.at[s]), f32(x.at[s]), &w.of[s], NULL, 16, NULL);
		be->add(d, f32(x.at[s]), f32(x.at[s]), f32(z.at[s]), 24 * 16);
		be->linear(d, f32(again.at[s]), f32(x.at[s]), &w.of[s], NULL, 16, NULL);
		be->gemm(d, 0, 0, 16, 24, 24, 1, f32(z.at[s]), 24, f32(square.at[s]), 24, 1, f32(x.at[s]), 24);
		be->linear(d, f32(after.at[s]), f32(x.at[s]), &w.of[s], NULL, 16, NULL);
	}
	compare(r, &y, tolerance(DTYPE_F16), "x as it was");
	compare(r, &again, tolerance(DTYPE_F16), "x after an addition");
	compare(r, &after, tolerance(DTYPE_F16), "x after a product was added");
	give(r, x); give(r, z); give(r, square); give(r, y); give(r, again); give(r, after);
	give_weights(r, &w);
}

/* Weights that lie in host memory visit the card for each product,
 * two of different sizes in turn: the same bytes as from the card. */
static void on_host(struct rig *r)
{
	const struct backend *be = r->be[CARD];
	struct device *d = r->device[CARD];
	const int rows = 77, in = 64, out[2] = { 96, 40 };
	float *host = drawn(r, 96 * 64, 1), *x = be->alloc(d, rows * 64 * sizeof(float)),
		*y = be->alloc(d, rows * 96 * sizeof(float));
	float *answer[2] = { xmalloc(rows * 96 * sizeof(float)), xmalloc(rows * 96 * sizeof(float)) };
	struct weight w[2][2];          /* [size][where] */
	int turn, k, where, bad = 0;

	be->upload(d, x, host, rows * 64 * sizeof(float));
	for (k = 0; k < 2; k++)
		for (where = 0; where < 2; where++) {
			w[k][where] = (struct weight){ .dtype = DTYPE_F32, .out = out[k], .in = in, .kh = 1, .kw = 1,
						       .on_host = where };
			bad += be->prepare(d, &w[k][where], host) != 0;
		}
	for (turn = 0; turn < 4 && !bad; turn++) {
		k = turn % 2;
		for (where = 0; where < 2; where++) {
			be->linear(d, f32(y), f32(x), &w[k][where], NULL, rows, NULL);
			be->download(d, answer[where], y, (size_t)rows * out[k] * sizeof(float));
		}
		bad += memcmp(answer[0], answer[1], (size_t)rows * out[k] * sizeof(float)) != 0;
	}
	r->tests++;
	r->failed += bad != 0;
	printf("%sok %d - weights in host memory\n", bad ? "not " : "", r->tests);
	for (k = 0; k < 2; k++)
		for (where = 0; where < 2; where++)
			be->unprepare(d, &w[k][where]);
	be->release(d, x);
	be->release(d, y);
	free(host);
	free(answer[0]);
	free(answer[1]);
}

int main(void)
{
	static const enum dtype types[] = { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_I8, DTYPE_F8_E4M3, DTYPE_U8 };
	struct error e;
	struct rig r;
	size_t i;

	if (rig_open(&r, &e) < 0)
		return report(&e);
	for (i = 0; i < sizeof(types) / sizeof(*types); i++) {
		linear(&r, types[i], 33, 40, 24, 1);
		linear(&r, types[i], 1, 7, 5, 1);
		numbers(&r, types[i], 9, 21);
		numbers(&r, types[i], 3, 2064);
		linear(&r, types[i], 77, 64, 129, 1);
		conv(&r, types[i], 16, 24, 3, &(struct conv_shape){ 2, 5, 7, 5, 7, 1, 1 }, 1);
		conv(&r, types[i], 3, 5, 3, &(struct conv_shape){ 1, 9, 6, 9, 6, 1, 1 }, 1);
		conv(&r, types[i], 8, 8, 3, &(struct conv_shape){ 2, 9, 9, 5, 5, 2, 1 }, 1);
		/* the VAE's: padded at the end alone */
		conv(&r, types[i], 8, 12, 3, &(struct conv_shape){ 1, 8, 8, 4, 4, 2, 0 }, 1);
		conv(&r, types[i], 12, 8, 1, &(struct conv_shape){ 2, 3, 5, 3, 5, 1, 0 }, 1);
		/* no pixel of odd number in height */
		conv(&r, types[i], 8, 8, 3, &(struct conv_shape){ 1, 1, 5, 1, 3, 2, 1 }, 1);
		/* several tiles each way, none of them full */
		conv(&r, types[i], 40, 72, 3, &(struct conv_shape){ 2, 9, 15, 9, 15, 1, 1 }, 1);
		conv(&r, types[i], 9, 7, 5, &(struct conv_shape){ 1, 11, 13, 4, 5, 3, 2 }, 1);
	}
	for (i = 0; i < (quick() ? 1 : 3); i++) {       /* so many that tiles are wide */
		conv(&r, types[(i + 1) % 3], 72, 1024, 1, &(struct conv_shape){ 2, 64, 63, 32, 32, 2, 0 }, 1);
		conv(&r, types[(i + 1) % 3], 1016, 68, 1, &(struct conv_shape){ 2, 64, 64, 32, 32, 2, 0 }, 1);
	}
	linear(&r, DTYPE_F16, 33, 40, 24, 1e6f);        /* activations that half precision cannot hold */
	linear(&r, DTYPE_F16, 33, 40, 24, 1e-9f);       /* and gradients */
	conv(&r, DTYPE_F16, 16, 24, 3, &(struct conv_shape){ 1, 5, 7, 5, 7, 1, 1 }, 1e6f);
	conv(&r, DTYPE_F16, 16, 24, 3, &(struct conv_shape){ 1, 5, 7, 5, 7, 1, 1 }, 1e-9f);
	if (!quick()) {                 /* more rows than scratch holds */
		linear(&r, DTYPE_F16, OPERANDS_BYTES / 1024 + 100, 512, 8, 1);
		linear(&r, DTYPE_I8, OPERANDS_BYTES / 1024 - 3, 512, 8, 1);      /* but for the weight at its end */
		conv(&r, DTYPE_F16, 64, 8, 3, &(struct conv_shape){ 1, 192, 192, 192, 192, 1, 1 }, 1);
	}
	narrow(&r, (struct narrow_size){ 33, 40, 24, 4, 0 });
	narrow(&r, (struct narrow_size){ 16, 37, 23, 1, 1 });
	narrow(&r, (struct narrow_size){ 77, 129, 300, 32, 1 });
	narrow(&r, (struct narrow_size){ 50, 72, 40, 33, 0 });
	narrow(&r, (struct narrow_size){ 150, 64, 64, 100, 1 });
	narrow(&r, (struct narrow_size){ 20, 30, 42, NARROW_MOST + 1, 1 });
	gemm(&r, 5, 3, 7);
	gemm(&r, 64, 48, 32);
	changed_operand(&r);
	on_host(&r);
	return rig_close(&r);
}
