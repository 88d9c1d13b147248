/* Linear layers of one input, beside each other, or before a GEGLU, with their adapters: forward and backward. */
#include "internal.h"
#include "ops.h"

struct linears_op { const struct linear *of[STACKED_MOST]; int count; };

/* What linears() knows.  It must be the same in each step, as memory is planned for it. */
static bool is_stackable(const struct linear *l)
{
	const struct branch *b = l->branch;

	return !b || (!b->next && !b->bias && !branch_may_leave_out(b) && !b->kind->begin && b->kind->is_narrow &&
		      b->kind->is_narrow(b));
}

static bool are_stackable(const struct linears_op *op)
{
	for (int i = 0; i < op->count; i++)
		if (!is_stackable(op->of[i]))
			return false;
	return true;
}

/* ---- z of each adapter, [rows,rank], one behind the other ---- */

static bool keeps_z(const struct branch *b)
{
	return b && b->part[b->kind->up].wants_grad;
}

static size_t ranks_of(const struct linears_op *op, bool kept_alone)
{
	size_t ranks = 0;

	for (int i = 0; i < op->count; i++)
		if (op->of[i]->branch && (!kept_alone || keeps_z(op->of[i]->branch)))
			ranks += op->of[i]->branch->rank;
	return ranks;
}

/* Where this adapter's lies; *at goes on behind it. */
static float *next_z(float **at, const struct branch *b, int rows)
{
	float *z = *at;

	*at += (size_t)rows * b->rank;
	return z;
}

/* ---- forward ---- */

/* What all layers make beside their own products; z of those that train waits beside y.  g: geglu(y) too, of one layer;
 * or NULL */
static void forward(struct tape *t, struct tensor *g, struct tensor *y, const struct tensor *x,
		    const struct linears_op *op)
{
	const struct backend *be = tape_backend(t);
	const int rows = tensor_rows(x);
	const size_t kept = tape_is_recording(t) ? ranks_of(op, true) : 0, all = ranks_of(op, false);
	float *keep = kept ? tensor_beside(t, y, rows * kept) : NULL;
	float *scratch = all > kept ? tape_scratch(t, rows * (all - kept)) : NULL, *at = scratch;
	struct narrow more[STACKED_MOST];
	struct stacked s = { .count = op->count };

	for (int i = 0; i < op->count; i++) {
		const struct linear *l = op->of[i];
		const struct branch *b = l->branch;

		s.of[i] = (struct stacked_layer){ &l->w, l->bias, b ? &more[i] : NULL };
		if (b)
			more[i] = (struct narrow){ next_z(kept && keeps_z(b) ? &keep : &at, b, rows),
						   b->part[b->kind->up].data, b->rank, b->scale,
						   .from = b->part[b->kind->down].data, .first = 1 };
	}
	if (g)
		be->linear_geglu(tape_device(t), data_of(g), data_of(y), data_of(x), s.of[0].w, s.of[0].bias, rows,
				 s.of[0].more);
	else
		be->linears(tape_device(t), data_of(y), data_of(x), &s, rows);
	if (scratch)
		tape_scratch_give(t, scratch);
}

/* ---- backward ---- */

/* dup += scale dy^T z;  ddown = dz^T x or += */
static void factor_grads(struct tape *t, const struct tensor *y, const struct tensor *x, const struct linears_op *op,
			 float *dz)
{
	const int rows = tensor_rows(y);
	struct stacked_grads g = { .count = 0 };
	float *z = y->beside;

	for (int i = 0, column = 0; i < op->count; column += op->of[i++]->w.out) {
		struct branch *b = op->of[i]->branch;
		struct narrow_grads *one = &g.of[g.count];

		if (!b)
			continue;
		*one = (struct narrow_grads){ .dy = values_from(grad_of(y), column), .x = data_of(x), .rows = rows,
					      .out = op->of[i]->w.out, .in = x->c, .rank = b->rank, .ldy = y->c,
					      .scale = b->scale, .dz = next_z(&dz, b, rows) };
		one->dup = floats_at(tape_grad(t, &b->part[b->kind->up], &one->add_up));
		one->ddown = floats_at(tape_grad(t, &b->part[b->kind->down], &one->add_down));
		one->z = keeps_z(b) ? next_z(&z, b, rows) : NULL;
		g.count += one->dup || one->ddown;
	}
	if (g.count)
		tape_backend(t)->narrow_grads(tape_device(t), &g);
}

/* backward of y[i] = x W[i]^T + bias[i] + scale (x down[i]^T) up[i]^T:
 * dx = sum of dy[i] W[i] + dz[i] down[i],  dz[i] = scale dy[i] up[i] */
static void linears_backward(struct tape *t, const struct node *n)
{
	const struct linears_op *op = n->op;
	struct tensor *x = n->in[0];
	const int rows = tensor_rows(x);
	const size_t ranks = ranks_of(op, false);
	float *dz = ranks ? tape_scratch(t, rows * ranks) : NULL, *at = dz;
	struct narrow more[STACKED_MOST];
	struct stacked s = { .count = op->count };
	int add = 0;
	const struct values dx = tape_grad(t, x, &add);

	for (int i = 0; i < op->count; i++) {
		const struct branch *b = op->of[i]->branch;

		s.of[i] = (struct stacked_layer){ &op->of[i]->w, NULL, b ? &more[i] : NULL };
		if (b)
			more[i] = (struct narrow){ next_z(&at, b, rows), b->part[b->kind->down].data, b->rank, 1,
						   .from = b->part[b->kind->up].data, .first = b->scale };
	}
	tape_backend(t)->linears_dx(tape_device(t), dx, grad_of(n->out), &s, rows, add);
	factor_grads(t, n->out, x, op, dz);
	if (dz)
		tape_scratch_give(t, dz);
}

static bool trains(const struct linears_op *op)
{
	for (int i = 0; i < op->count; i++)
		if (op->of[i]->branch && branch_trains(op->of[i]->branch))
			return true;
	return false;
}

static struct tensor *record(struct tape *t, struct tensor *y, struct tensor *x, const struct linears_op *op)
{
	const int reads = trains(op) ? READS(0) | READS_BESIDE : 0;

	return tape_record(t, y, trains(op), (struct node){ linears_backward, .in = { x }, .reads = reads,
							     .op = tape_keep(t, op, sizeof(*op)) });
}

static void one_by_one(struct tape *t, struct tensor *x, const struct linears_op *op, struct slice *y)
{
	const bool last = x->last;

	for (int i = 0; i < op->count; i++) {
		x->last = last && i == op->count - 1;
		y[i] = whole_slice(op_linear(t, x, op->of[i]));
	}
}

void op_linears(struct tape *t, struct tensor *x, const struct linear *const *l, int count, struct slice *y)
{
	struct linears_op op = { .count = count };
	struct tensor *all;
	int out = 0;

	for (int i = 0; i < count; i++) {
		must(x->c == l[i]->w.in, "linears: input width");
		op.of[i] = l[i];
		y[i] = (struct slice){ .at = out, .c = l[i]->w.out };
		out += l[i]->w.out;
	}
	if (!are_stackable(&op)) {
		one_by_one(t, x, &op, y);
		return;
	}
	all = tensor_inner(t, x->n, x->h, x->w, out);
	forward(t, NULL, all, x, &op);
	record(t, all, x, &op);
	for (int i = 0; i < count; i++)
		y[i].of = all;
}

/* Two operations for the tape, whose results are there before it frees x. */
struct tensor *op_linear_geglu(struct tape *t, struct tensor *x, const struct linear *l)
{
	const struct linears_op op = { { l }, 1 };
	struct tensor *y;
	struct node n;

	if (!are_stackable(&op))
		return op_geglu(t, last_use(op_linear(t, x, l)));
	must(x->c == l->w.in, "linear: input width");
	y = tensor_inner(t, x->n, x->h, x->w, l->w.out);
	n = geglu_node(t, y);
	forward(t, n.out, y, x, &op);
	last_use(record(t, y, x, &op));
	return tape_record(t, n.out, false, n);
}
