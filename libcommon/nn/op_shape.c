/* Operations that move values, forward and backward: concat, upsample, embedding, gather, crop. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "internal.h"
#include "ops.h"

/* backward of y = [a b]:  each takes its columns of dy */
static void concat_backward(struct tape *t, const struct node *n)
{
	const struct tensor *y = n->out;
	int i, first = 0;

	for (i = 0; i < 2; i++) {
		int add = 0, c = n->in[i]->c;
		const struct values dx = tape_grad(t, n->in[i], &add);
		if (dx.at)
			tape_backend(t)->copy_columns(tape_device(t), dx, c, values_from(grad_of(y), first), y->c,
						      tensor_rows(y), c, add);
		first += c;
	}
}

struct tensor *op_concat(struct tape *t, struct tensor *a, struct tensor *b)
{
	struct tensor *y = tensor_new(t, a->n, a->h, a->w, a->c + b->c);
	const struct backend *be = tape_backend(t);
	int rows = tensor_rows(a);

	must(rows == tensor_rows(b), "concat: rows");
	be->copy_columns(tape_device(t), data_of(y), y->c, data_of(a), a->c, rows, a->c, 0);
	be->copy_columns(tape_device(t), values_from(data_of(y), a->c), y->c, data_of(b), b->c, rows, b->c, 0);
	return tape_record(t, y, false, (struct node){ concat_backward, .in = { a, b } });
}

struct tensor *op_inner(struct tape *t, struct tensor *x)
{
	struct tensor *y;

	if (x->wants_grad || x->type == tape_inner_type(t))
		return x;
	y = tensor_inner(t, x->n, x->h, x->w, x->c);
	tape_backend(t)->axpby(tape_device(t), data_of(y), 1, data_of(x), 0, tensor_count(x));
	return tape_record(t, y, false, (struct node){ .in = { x } });
}

/* backward of y[2i+di,2j+dj] = x[i,j]:  dx is the sum of the four */
static void upsample_backward(struct tape *t, const struct node *n)
{
	const struct tensor *x = n->in[0];
	int add = 0;
	const struct values dx = tape_grad(t, n->in[0], &add);

	tape_backend(t)->upsample_back(tape_device(t), dx, grad_of(n->out), x->n, x->h, x->w, x->c, add);
}

struct tensor *op_upsample(struct tape *t, struct tensor *x)
{
	struct tensor *y = tensor_inner(t, x->n, 2 * x->h, 2 * x->w, x->c);

	tape_backend(t)->upsample(tape_device(t), data_of(y), data_of(x), x->n, x->h, x->w, x->c);
	return tape_record(t, y, false, (struct node){ upsample_backward, .in = { x } });
}

struct tensor *op_embedding(struct tape *t, const struct weight *table, const int32_t *ids, int n, int length)
{
	struct tensor *y = tensor_new(t, n, length, 1, table->in);

	tape_backend(t)->embedding(tape_device(t), y->data, table, ids, n * length);
	return y;
}

struct gather_op { int count; int32_t rows[]; };

/* backward of y[i] = x[rows[i]]:  dx[rows[i]] += dy[i]; rows that were not taken have gradient 0 */
static void gather_backward(struct tape *t, const struct node *n)
{
	const struct gather_op *op = n->op;
	const struct backend *be = tape_backend(t);
	struct tensor *x = n->in[0];
	int add = 0;
	const struct values dx = tape_grad(t, x, &add);

	if (!add)
		be->zero(tape_device(t), dx, tensor_count(x));
	be->gather_rows_back(tape_device(t), dx, grad_of(n->out), op->rows, op->count, x->c);
}

/* y has as many rows as are taken from x. */
static struct tensor *gather(struct tape *t, struct tensor *y, struct tensor *x, const int32_t *rows)
{
	const int count = tensor_rows(y);
	size_t bytes = sizeof(struct gather_op) + count * sizeof(*rows);
	struct gather_op *op = xmalloc(bytes);

	op->count = count;
	memcpy(op->rows, rows, count * sizeof(*rows));
	tape_backend(t)->gather_rows(tape_device(t), data_of(y), data_of(x), rows, count, x->c);
	tape_record(t, y, false, (struct node){ gather_backward, .in = { x }, .op = tape_keep(t, op, bytes) });
	free(op);
	return y;
}

struct tensor *op_gather(struct tape *t, struct tensor *x, const int32_t *rows, int count)
{
	return gather(t, tensor_new(t, count, 1, 1, x->c), x, rows);
}

struct tensor *op_crop(struct tape *t, struct tensor *x, int h, int w)
{
	struct tensor *y = tensor_new(t, x->n, h, w, x->c);
	int32_t *rows = xmalloc(tensor_rows(y) * sizeof(*rows));
	int n = 0;

	must(h <= x->h && w <= x->w, "crop: sizes");
	for (int k = 0; k < x->n; k++)
		for (int i = 0; i < h; i++)
			for (int j = 0; j < w; j++)
				rows[n++] = (k * x->h + i) * x->w + j;
	gather(t, y, x, rows);
	free(rows);
	return y;
}
