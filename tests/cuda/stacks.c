/*
 * stacks - layers of one input beside each other (linears(), linears_dx(), narrow_grads() of several), and a layer with
 * its GEGLU either way, on the CUDA backend against the CPU's: with and without adapters, of ranks small, large
 * and not narrow any more, with weights one behind the other and apart.  Tolerances are weights.h's; what a product
 * made is multiplied once more.
 */
#include "weights.h"

/* Layers beside each other: out 0 ends them; rank 0 is a frozen one.  placed: their weights lie one behind the other;
 * on_host: in host memory.  no_dx: the input wants no gradient */
struct stack_size { int rows, in, out[STACKED_MOST], rank[STACKED_MOST]; enum dtype type;
		    bool placed, bias, add, no_dx, on_host; };
/* Of each layer. */
enum { UP, DOWN, BIAS, STACK_GIVEN };
enum { STACK_Z, STACK_DZ, STACK_DUP, STACK_DDOWN, STACK_MADE };
struct stack { struct weights w; struct both given[STACK_GIVEN], made[STACK_MADE]; };

static int take_stack(struct rig *r, struct stack *k, const struct stack_size *n, void *block[SIDES])
{
	size_t bytes = 0;
	int count = 0, s;

	for (; count < STACKED_MOST && n->out[count]; count++) {
		const size_t out = n->out[count], rank = n->rank[count] ? n->rank[count] : 1;

		k[count].w = take_weights(r, n->type, n->out[count], n->in, 1, 1);
		bytes += weight_bytes(&k[count].w.of[0]);
		k[count].given[UP] = take_drawn(r, out * rank, 1);
		k[count].given[DOWN] = take_drawn(r, rank * n->in, 1 / sqrtf(n->in));
		k[count].given[BIAS] = take_drawn(r, out, 1);
		k[count].made[STACK_Z] = take_output(r, n->rows * rank, false);
		k[count].made[STACK_DZ] = take_output(r, n->rows * rank, false);
		k[count].made[STACK_DUP] = take_output(r, out * rank, n->add);
		k[count].made[STACK_DDOWN] = take_output(r, rank * n->in, n->add);
	}
	for (s = 0; s < SIDES && (n->placed || n->on_host); s++) {
		char *at = block[s] = n->placed ? r->be[s]->alloc(r->device[s], bytes) : NULL, *host = xmalloc(bytes);

		for (int i = 0; i < count; i++) {
			struct weight *w = &k[i].w.of[s];

			/* the card has them in the order of their file */
			r->be[CARD]->download(r->device[CARD], host, k[i].w.of[CARD].data, weight_bytes(w));
			r->be[s]->unprepare(r->device[s], w);
			w->placed = n->placed;
			w->on_host = n->on_host;
			w->data = n->placed ? at : NULL;
			if (r->be[s]->prepare(r->device[s], w, host))
				die(EXIT_MEMORY, "no memory for the test");
			at += n->placed ? weight_bytes(w) : 0;
		}
		free(host);
	}
	return count;
}

static void run_stack(struct rig *r, int s, const struct stack *k, int count, const struct stack_size *n,
		      struct both y, struct both dx, struct both x, struct both dy)
{
	const struct backend *be = r->be[s];
	struct narrow more[STACKED_MOST], more_dx[STACKED_MOST];
	struct stacked forth = { .count = count }, back = { .count = count };
	struct stacked_grads g = { .count = 0 };
	const int out = y.n / n->rows;

	for (int i = 0, column = 0; i < count; column += n->out[i++]) {
		float *up = k[i].given[UP].at[s], *down = k[i].given[DOWN].at[s], *z = k[i].made[STACK_Z].at[s],
		      *dz = k[i].made[STACK_DZ].at[s];

		more[i] = (struct narrow){ z, up, n->rank[i], 0.5f, down, 1 };
		more_dx[i] = (struct narrow){ dz, down, n->rank[i], 1, up, 0.5f };
		forth.of[i] = (struct stacked_layer){ &k[i].w.of[s], n->bias ? k[i].given[BIAS].at[s] : NULL,
						      n->rank[i] ? &more[i] : NULL };
		back.of[i] = (struct stacked_layer){ &k[i].w.of[s], NULL, n->rank[i] ? &more_dx[i] : NULL };
		if (n->rank[i])
			g.of[g.count++] = (struct narrow_grads){ k[i].made[STACK_DUP].at[s],
				k[i].made[STACK_DDOWN].at[s], n->add, n->add, values_from(f32(dy.at[s]), column),
				f32(x.at[s]), z, dz, n->rows, n->out[i], n->in, n->rank[i], out, 0.5f };
	}
	be->linears(r->device[s], f32(y.at[s]), f32(x.at[s]), &forth, n->rows);
	be->linears_dx(r->device[s], f32(n->no_dx ? NULL : dx.at[s]), f32(dy.at[s]), &back, n->rows, n->add);
	be->narrow_grads(r->device[s], &g);
}

static void give_stack(struct rig *r, struct stack *k, int count, void *const block[SIDES])
{
	for (int i = 0; i < count; i++) {
		for (int g = 0; g < STACK_GIVEN; g++)
			give(r, k[i].given[g]);
		for (int m = 0; m < STACK_MADE; m++)
			give(r, k[i].made[m]);
		give_weights(r, &k[i].w);
	}
	for (int s = 0; s < SIDES; s++)
		r->be[s]->release(r->device[s], block[s]);
}

static void compare_stack(struct rig *r, struct stack *k, int count, const struct stack_size *n, const char *name)
{
	static const char *const names[STACK_MADE] = { "z", "dz", "dup", "ddown" };

	for (int i = 0; i < count; i++)
		for (int m = 0; m < STACK_MADE && n->rank[i]; m++) {
			char *text = xprintf("%s: %s of layer %d", name, names[m], i);

			compare(r, &k[i].made[m], 2 * tolerance(DTYPE_F32), text);
			free(text);
		}
}

static void stack(struct rig *r, struct stack_size n)
{
	struct stack k[STACKED_MOST];
	void *block[SIDES] = { NULL };
	const int count = take_stack(r, k, &n, block), out = n.out[0] + n.out[1] + n.out[2];
	struct both x = take_drawn(r, (size_t)n.rows * n.in, 1), dy = take_drawn(r, (size_t)n.rows * out, 1),
		    y = take_output(r, (size_t)n.rows * out, false),
		    dx = take_output(r, (size_t)n.rows * n.in, n.add || n.no_dx);
	char *name = xprintf("%d layers of %s, %d x %d -> %d, ranks %d %d %d%s%s", count, type_names[n.type], n.rows,
			     n.in, out, n.rank[0], n.rank[1], n.rank[2], n.placed ? ", one behind the other" : "",
			     n.no_dx ? ", no dx" : ""), *text;
	int s;

	for (s = 0; s < SIDES; s++)
		run_stack(r, s, k, count, &n, y, dx, x, dy);
	compare(r, &y, 2 * tolerance(n.type), text = xprintf("%s: y", name));
	free(text);
	compare(r, &dx, 2 * tolerance(n.type), text = xprintf("%s: dx", name));
	free(text);
	compare_stack(r, k, count, &n, name);
	give_stack(r, k, count, block);
	give(r, x);
	give(r, dy);
	give(r, y);
	give(r, dx);
	free(name);
}

/* z: made; or given, as a module's own kind makes it */
struct gated_size { int rows, in, out, rank; enum dtype type; bool bias, given_z; };

/* A product of two of these: the error of either is that of a layer. */
static void gated(struct rig *r, struct gated_size n)
{
	const size_t rank = n.rank ? n.rank : 1, rows = n.rows;
	struct weights w = take_weights(r, n.type, n.out, n.in, 1, 1);
	struct both x = take_drawn(r, rows * n.in, 1), up = take_drawn(r, n.out * rank, 1),
		    down = take_drawn(r, rank * n.in, 1 / sqrtf(n.in)), bias = take_drawn(r, n.out, 1),
		    z = n.given_z ? take_drawn(r, rows * rank, 1) : take_output(r, rows * rank, false),
		    y = take_output(r, rows * n.out, false), g = take_output(r, rows * n.out / 2, false);
	char *name = xprintf("%s and geglu, %d x %d -> %d, rank %d%s", type_names[n.type], n.rows, n.in, n.out,
			     n.rank, n.given_z ? ", z is given" : ""), *text;

	for (int s = 0; s < SIDES; s++) {
		const struct narrow more = { z.at[s], up.at[s], n.rank, 0.5f, n.given_z ? NULL : down.at[s], 2 };

		r->be[s]->linear_geglu(r->device[s], f32(g.at[s]), f32(y.at[s]), f32(x.at[s]), &w.of[s],
				       n.bias ? bias.at[s] : NULL, n.rows, n.rank ? &more : NULL);
	}
	compare(r, &y, 2 * tolerance(n.type), text = xprintf("%s: y", name));
	free(text);
	compare(r, &g, 4 * tolerance(n.type), text = xprintf("%s: g", name));
	free(text);
	if (n.rank)
		compare(r, &z, 2 * tolerance(DTYPE_F32), name);
	give(r, x);
	give(r, up);
	give(r, down);
	give(r, bias);
	give(r, z);
	give(r, y);
	give(r, g);
	give_weights(r, &w);
	free(name);
}

/* n.in reads the geglu: h has twice as many columns.  over: dh takes h's memory */
static void gated_back(struct rig *r, struct gated_size n, bool over)
{
	const size_t rows = n.rows;
	struct weights w = take_weights(r, n.type, n.out, n.in, 1, 1);
	struct both dy = take_drawn(r, rows * n.out, 1), up = take_drawn(r, (size_t)n.out * n.rank, 1),
		    down = take_drawn(r, (size_t)n.rank * n.in, 1 / sqrtf(n.in)), h = take_drawn(r, rows * n.in * 2, 1),
		    dz = n.given_z ? take_drawn(r, rows * n.rank, 1) : take_output(r, rows * n.rank, false),
		    dx = take_output(r, rows * n.in, false),
		    dh = over ? h : take_output(r, rows * n.in * 2, false);
	char *name = xprintf("geglu and %s, backward, %d x %d -> %d, rank %d%s%s", type_names[n.type], n.rows, n.in,
			     n.out, n.rank, n.given_z ? ", dz is given" : "", over ? ", in place" : ""), *text;

	for (int s = 0; s < SIDES; s++) {
		const struct narrow more = { dz.at[s], down.at[s], n.rank, 1, n.given_z ? NULL : up.at[s], 0.5f };

		r->be[s]->linear_dx_geglu(r->device[s], f32(dh.at[s]), f32(dx.at[s]), f32(dy.at[s]), f32(h.at[s]),
					  &w.of[s], n.rows, &more);
	}
	compare(r, &dh, 4 * tolerance(n.type), text = xprintf("%s: dh", name));
	free(text);
	compare(r, &dz, 2 * tolerance(DTYPE_F32), name);
	give(r, dy);
	give(r, up);
	give(r, down);
	give(r, dz);
	give(r, dx);
	if (!over)
		give(r, h);
	give_weights(r, &w);
	free(name);
}

int main(void)
{
	static const enum dtype types[] = { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_I8, DTYPE_U8 };
	struct error e;
	struct rig r;
	size_t i;

	if (rig_open(&r, &e) < 0)
		return report(&e);
	for (i = 0; i < sizeof(types) / sizeof(*types); i++) {
		const enum dtype t = types[i];
		const bool placed = !is_quantised(t);

		stack(&r, (struct stack_size){ 33, 40, { 24, 24, 24 }, { 4, 4, 4 }, t, placed });
		stack(&r, (struct stack_size){ 18, 40, { 24, 16, 40 }, { 4, 0, 33 }, t, false, true, true });
		stack(&r, (struct stack_size){ 5, 16, { 8, 8 }, { 0, 0 }, t, placed, true, true });
		stack(&r, (struct stack_size){ 17, 24, { 8, 8, 8 }, { 0, 0, 0 }, t, placed, false, true });
	}
	stack(&r, (struct stack_size){ 20, 37, { 23, 45 }, { 1, 32 }, DTYPE_F16, true, true, true });
	stack(&r, (struct stack_size){ 77, 129, { 300, 64 }, { 32, 32 }, DTYPE_F16, false, false, false, true });
	stack(&r, (struct stack_size){ 40, 64, { 64, 64, 64 }, { 64, 40, 64 }, DTYPE_F16, true, true, true });
	stack(&r, (struct stack_size){ 40, 64, { 64, 64, 64 }, { 100, 8, 70 }, DTYPE_F16, true, false, true });
	stack(&r, (struct stack_size){ 40, 64, { 64, 64 }, { 100, 70 }, DTYPE_F16, true });
	stack(&r, (struct stack_size){ 40, 64, { 64, 64 }, { 100, 100 }, DTYPE_F16, true, .no_dx = true });
	stack(&r, (struct stack_size){ 20, 32, { 48, 16, 24 }, { NARROW_MOST + 1, 8, 0 }, DTYPE_F16, true, true });
	stack(&r, (struct stack_size){ 20, 32, { 48, 16 }, { 8, NARROW_MOST + 1 }, DTYPE_BF16, true, true, true });
	stack(&r, (struct stack_size){ 20, 32, { 48, 16 }, { 8, NARROW_MOST + 1 }, DTYPE_F16, true, .no_dx = true });
	/* codes that become one weight, and such as do not: 24 x 37 bytes are no multiple of 64 */
	for (i = 0; i < 3; i++) {
		const enum dtype t = (enum dtype[]){ DTYPE_I8, DTYPE_F8_E4M3, DTYPE_U8 }[i];

		stack(&r, (struct stack_size){ 12, 80, { 120, 40, 120 }, { 4, 0, 4 }, t });
		stack(&r, (struct stack_size){ 12, 128, { 25, 2, 25 }, { 4, 0, 4 }, t, .on_host = true });
		stack(&r, (struct stack_size){ 12, 37, { 24, 8, 5 }, { 4, 4, 4 }, t });
		stack(&r, (struct stack_size){ 20, 37, { 23, 45 }, { 1, 32 }, t });
	}
	/* together, and more than find room at once */
	stack(&r, (struct stack_size){ 18, 40, { 64, 8, 8 }, { 4, 0, 4 }, DTYPE_F16, .add = true, .on_host = true });
	stack(&r, (struct stack_size){ 18, 80, { 72, 72, 72 }, { 4, 4, 4 }, DTYPE_F16, .bias = true, .on_host = true });
	stack(&r, (struct stack_size){ 18, 40, { 24, 24, 24 }, { 4, 4, 4 }, DTYPE_U8, .on_host = true });
	for (i = 0; i < sizeof(types) / sizeof(*types); i++) {
		gated(&r, (struct gated_size){ 33, 40, 128, 4, types[i], true });
		gated(&r, (struct gated_size){ 5, 24, 64, 0, types[i], true });
		gated(&r, (struct gated_size){ 17, 37, 46, 3, types[i], false });       /* in two launches */
	}
	gated(&r, (struct gated_size){ 16, 36, 4096, 32, DTYPE_F16, false });
	gated(&r, (struct gated_size){ 40, 64, 640, 33, DTYPE_BF16, true, true });
	gated(&r, (struct gated_size){ 18, 48, 192, GATED_RANK + 1, DTYPE_F16, true });
	gated(&r, (struct gated_size){ 18, 48, 192, 64, DTYPE_F16, false, true });
	gated(&r, (struct gated_size){ 20, 32, 64, NARROW_MOST + 1, DTYPE_F16, true });
	gated(&r, (struct gated_size){ 20, 32, 64, 0, DTYPE_F16, false });
	for (i = 0; i < sizeof(types) / sizeof(*types); i++) {
		gated_back(&r, (struct gated_size){ 33, 64, 40, 4, types[i] }, i % 2);
		gated_back(&r, (struct gated_size){ 17, 23, 40, 3, types[i] }, false);  /* in two launches */
	}
	gated_back(&r, (struct gated_size){ 16, 2048, 36, 32, DTYPE_F16 }, true);
	gated_back(&r, (struct gated_size){ 40, 320, 64, 33, DTYPE_BF16, .given_z = true }, false);
	gated_back(&r, (struct gated_size){ 18, 96, 48, GATED_RANK, DTYPE_F16 }, true);
	gated_back(&r, (struct gated_size){ 18, 96, 48, GATED_RANK + 1, DTYPE_F16 }, true);
	gated_back(&r, (struct gated_size){ 20, 32, 64, NARROW_MOST + 1, DTYPE_F16 }, true);
	return rig_close(&r);
}
