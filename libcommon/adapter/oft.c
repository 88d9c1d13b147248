/*
 * oft.c - OFT: W turned by small rotations (base/rotation.h), each block of outputs by its own, W' = R^T W, or each
 * block of inputs, W' = W R^T.
 *
 * kohya's networks.oft and LyCORIS' diag-oft write the same tensors and turn outputs, the first in as many blocks as
 * network_dim says, the second in blocks of at most so many outputs.  PEFT turns inputs, and writes upper triangles.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/product.h"
#include "../base/rotation.h"
#include "../io/json.h"
#include "kind.h"
#include "metadata.h"
#include "split.h"

enum { NUMBERS, RESCALE };              /* parts */
enum { LIMIT, TERMS, INVERSE, KOHYA };  /* of number[] */
enum { ARG_CONSTRAINT, ARG_RESCALED, ARG_LINEAR, ARG_CONV };

/* An upper triangle of m numbers is that of a matrix of so many rows. */
static int side_of_triangle(int m)
{
	return (int)lround((1 + sqrt(1 + 8.0 * m)) / 2);
}

/* n, c: a device's [blocks*size,size], or [blocks,numbers of a triangle] */
static struct rotations rotations(int n, int c, bool triangle, const float *number)
{
	return (struct rotations){ .blocks = triangle ? n : n / c, .size = triangle ? side_of_triangle(c) : c,
				   .triangle = triangle, .inverse = number[INVERSE], .terms = (int)number[TERMS],
				   .limit = number[LIMIT] };
}

static struct rotations rotations_of_branch(const struct branch *b, bool triangle)
{
	return rotations(b->part[NUMBERS].n, b->part[NUMBERS].c, triangle, b->number);
}

static struct rotations rotations_of_form(const struct module_form *f, bool triangle)
{
	return rotations(f->part[NUMBERS].n, f->part[NUMBERS].c, triangle, f->number);
}

static double scale(const struct module_form *f, double alpha)
{
	return 1;
}

/* ---- shapes: of outputs ---- */

static void set_form(struct module_form *f, const struct weight *w, int blocks, bool rescaled, bool four)
{
	const int size = w->out / blocks;

	*f = (struct module_form){ .number = { [LIMIT] = -1 } };
	f->part[NUMBERS] = (struct part_form){ .n = w->out, .h = 1, .w = 1, .c = size, .dims = 3,
					       .shape = { blocks, size, size, 1 }, .start = START_ZERO };
	if (!rescaled)
		return;
	f->part[RESCALE] = part_whole(w->out, 1, 1, 1, four);
	f->part[RESCALE].start = START_ONE;
}

/* kohya's alpha is the limit for each output, LyCORIS' constraint takes its place.  LyCORIS' 0 is no limit, kohya's is
 * one. */
static void set_limit(struct module_form *f, const struct weight *w, double alpha, bool kohya)
{
	f->alpha = alpha;
	f->number[KOHYA] = kohya;
	f->number[LIMIT] = alpha > 0 || kohya ? (float)(alpha * w->out) : -1;
}

static void form(struct module_form *f, const struct weight *w, const struct kind_wish *wish)
{
	const double *args = wish->args->value;

	if (wish->lycoris) {
		set_form(f, w, split_width(w->out, wish->rank).large, args[ARG_RESCALED],
			 wish->convolution || w->kh > 1);
		set_limit(f, w, args[ARG_CONSTRAINT], false);
	} else {
		set_form(f, w, w->out % wish->rank ? 1 : wish->rank, false, false);
		set_limit(f, w, wish->alpha, true);
		if (w->out % wish->rank)
			f->part[NUMBERS].n = 0;
	}
}

static bool read_form(struct module_form *f, const struct weight *w, const struct safetensor *const part[BRANCH_PARTS])
{
	const struct safetensor *x = part[NUMBERS];

	if (x->dims != 3 || x->shape[0] < 1 || x->shape[0] > w->out || w->out % x->shape[0])
		return false;
	set_form(f, w, (int)x->shape[0], part[RESCALE] != NULL, part[RESCALE] && part[RESCALE]->dims > 2);
	return true;
}

static int missing(const struct safetensor *const part[BRANCH_PARTS])
{
	return part[NUMBERS] ? -1 : NUMBERS;
}

static const char *other(const struct safetensor *const part[BRANCH_PARTS])
{
	return part[NUMBERS] && part[NUMBERS]->dims == 4 ? "BOFT" : NULL;
}

/* Nothing tells the inputs. */
static bool guess(struct weight *w, const struct safetensor *const part[BRANCH_PARTS])
{
	const struct safetensor *x = part[NUMBERS];

	return x->dims == 3 && x->shape[0] > 0 && x->shape[1] > 0 && x->shape[0] <= INT32_MAX / x->shape[1] &&
	       weight_of_shape(w, x->shape[0] * x->shape[1], 1, NULL);
}

static int settle(struct module_form *f, const struct weight *w, const struct kind_source *s, struct error *e)
{
	const char *module = safetensors_metadata(s->file, "ss_network_module");

	set_limit(f, w, s->alpha, !strncmp(s->name, "oft_unet_", 9) || (module && !strcmp(module, "networks.oft")));
	return 0;
}

static void say_blocks(char *text, size_t n, int blocks, int size)
{
	snprintf(text, n, "%d block%s of %dx%d", blocks, blocks == 1 ? "" : "s", size, size);
}

static void shape(const struct module_form *f, char *text, size_t n)
{
	say_blocks(text, n, f->part[NUMBERS].n / f->part[NUMBERS].c, f->part[NUMBERS].c);
}

static const char *dialect(const struct module_form *f)
{
	return f->number[KOHYA] ? "OFT" : NULL;
}

/* sd-scripts: attention alone, unless it is told of more: of the whole transformers, of resnets with what halves and
 * doubles. */
static bool takes(const char *layer, bool convolution_set, const struct kind_wish *wish)
{
	if (wish->lycoris)
		return true;
	if (convolution_set)
		return wish->args->value[ARG_CONV] && (strstr(layer, "resnets.") || strstr(layer, "samplers."));
	return wish->args->value[ARG_LINEAR] || strstr(layer, ".attn1.") || strstr(layer, ".attn2.");
}

/* ---- forward and backward: of outputs ---- */

/* u = from R, and R itself; in scratch. */
struct turned { struct rotations s; float *u, *r, *room; };

/* from.at NULL: R alone */
static struct turned turn_now(struct tape *t, struct values from, int rows, const struct branch *b, bool triangle)
{
	struct turned k = { .s = rotations_of_branch(b, triangle) };
	const size_t n = (size_t)rows * k.s.blocks * k.s.size, square = (size_t)k.s.blocks * k.s.size * k.s.size;

	k.u = from.at ? tape_scratch(t, n) : NULL;
	k.r = tape_scratch(t, square);
	k.room = tape_scratch(t, rotation_room(&k.s));
	tape_backend(t)->rotate(tape_device(t), f32(k.u), k.r, k.room, from, b->part[NUMBERS].data, rows, &k.s);
	return k;
}

static void turned_give(struct tape *t, struct turned *k)
{
	tape_scratch_give(t, k->room);
	tape_scratch_give(t, k->r);
	if (k->u)
		tape_scratch_give(t, k->u);
}

/* y += s (rescale (v R) - v), v = W x */
static void forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
		    const struct adapted *a, const void *pass)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const int rows = tensor_rows(y);
	const size_t n = tensor_count(y);
	float *v = tape_scratch(t, n);
	struct turned k;

	adapted_product(t, f32(v), x, a, NULL);
	k = turn_now(t, f32(v), rows, b, false);
	if (b->part[RESCALE].n)
		be->multiply(d, f32(k.u), f32(k.u), f32(b->part[RESCALE].data), rows, y->c, true);
	be->axpby(d, f32(k.u), -1, f32(v), 1, n);
	branch_leave_out_channels(t, b, k.u, rows, y->c);
	be->axpby(d, data_of(y), b->scale, f32(k.u), 1, n);
	turned_give(t, &k);
	tape_scratch_give(t, v);
}

/* backward of z = rescale u:  drescale += sum over rows of dz u;  dz becomes du.  u is overwritten. */
static void rescale_back(struct tape *t, float *dz, float *u, int rows, int out, const struct branch *b,
			 const struct part_grads *g)
{
	const struct backend *be = tape_backend(t);

	if (g->at[RESCALE]) {
		be->multiply(tape_device(t), f32(u), f32(u), f32(dz), rows, out, false);
		be->sum_per_sample(tape_device(t), f32(g->at[RESCALE]), f32(u), 1, rows, out, g->add[RESCALE]);
	}
	if (b->part[RESCALE].n)
		be->multiply(tape_device(t), f32(dz), f32(dz), f32(b->part[RESCALE].data), rows, out, true);
}

/* Is a part trained?  Only then may backward read x, which is freed otherwise. */
static bool trains(const struct part_grads *g)
{
	return g->at[NUMBERS] || g->at[RESCALE];
}

/* backward of y += s (rescale (v R) - v), v = W x.  v and R are computed again, which is
 * cheaper than keeping them. */
static void backward(struct tape *t, const struct tensor *y, const struct tensor *x, struct values dx,
		     const struct branch *b, const struct part_grads *g, const struct adapted *a, const void *pass)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const int rows = tensor_rows(y), add[2] = { 1, g->add[NUMBERS] };
	const size_t n = tensor_count(y);
	float *v = trains(g) ? tape_scratch(t, n) : NULL, *dz = tape_scratch(t, n), *dv = tape_scratch(t, n);
	struct turned k;

	if (v)
		adapted_product(t, f32(v), x, a, NULL);
	k = turn_now(t, f32(v), rows, b, false);
	be->axpby(d, f32(dz), b->scale, grad_of(y), 0, n);
	branch_leave_out_channels(t, b, dz, rows, y->c);
	be->axpby(d, f32(dv), -1, f32(dz), 0, n);
	rescale_back(t, dz, k.u, rows, y->c, b, g);
	be->rotate_back(d, f32(dx.at ? dv : NULL), g->at[NUMBERS], k.room, f32(dz), f32(v), b->part[NUMBERS].data, k.r,
			rows, &k.s, add);
	if (dx.at)
		adapted_product_back(t, dx, f32(dv), x, a, 1);
	turned_give(t, &k);
	tape_scratch_give(t, dv);
	tape_scratch_give(t, dz);
	if (v)
		tape_scratch_give(t, v);
}

/* ---- on the host, in double ---- */

static double *matrices(const struct delta *d, bool triangle)
{
	const struct rotations s = rotations_of_form(d->form, triangle);
	const struct rotation_limit limit = rotation_limit(&s, d->part[NUMBERS]);
	const size_t n = (size_t)s.size * s.size;
	double *r = xmalloc(s.blocks * n * sizeof(*r)), *room = xmalloc(2 * n * sizeof(*room));

	for (int k = 0; k < s.blocks; k++) {
		rotation_skew(&s, room, d->part[NUMBERS], limit.factor, k);
		rotation_matrix(&s, r + k * n, room, room + n);
	}
	free(room);
	return r;
}

static void *delta_outputs(const struct delta *d)
{
	return matrices(d, false);
}

/* What rows o.. of one block of s (R' - 1) hold, R' = R^T with its rows rescaled: [rows][size] */
static double *turning_rows(const struct delta *d, size_t n, size_t o, size_t rows)
{
	const double *r = (const double *)d->own + o / n * n * n;
	double *by = xmalloc(rows * n * sizeof(*by));

	for (size_t k = 0; k < rows; k++) {
		const double rescale = d->part[RESCALE] ? d->part[RESCALE][o + k] : 1;
		const size_t j = (o + k) % n;

		for (size_t i = 0; i < n; i++)
			by[k * n + i] = rescale * r[i * n + j] - (i == j);
	}
	return by;
}

/* Rows of R^T W within one block */
static void add_of_block(const struct delta *d, const struct delta_tile *t, size_t n, const struct base_rows *base)
{
	double *by = turning_rows(d, n, t->row, t->rows);
	float *w = xmalloc(n * t->columns * sizeof(*w));
	const struct matrix a = { NULL, by, n, 1 }, b = { w, NULL, t->columns, 1 };

	for (size_t i = 0; i < n; i++)
		base->read(base, t->row / n * n + i, t->column, t->columns, w + i * t->columns);
	product_add(t->sum, t->step, d->scale, &a, &b, t->rows, t->columns, n);
	free(by);
	free(w);
}

static void add_outputs(const struct delta *d, const struct delta_tile *t, const struct base_rows *base)
{
	const struct rotations s = rotations_of_form(d->form, false);
	const size_t n = s.size, end = t->row + t->rows;
	struct delta_tile part = *t;

	for (; part.row < end; part.row += part.rows) {
		const size_t next = (part.row / n + 1) * n;

		part.rows = (next < end ? next : end) - part.row;
		part.sum = t->sum + (part.row - t->row) * t->step;
		add_of_block(d, &part, n, base);
	}
}

/* ---- PEFT's: of inputs ---- */

static bool read_peft(struct module_form *f, const struct weight *w, const struct safetensor *const part[BRANCH_PARTS])
{
	const struct safetensor *x = part[NUMBERS];
	const int64_t in = (int64_t)w->in * w->kh * w->kw;
	int64_t size;

	if (x->dims != 2 || x->shape[0] < 1 || x->shape[0] > in || in % x->shape[0])
		return false;
	size = in / x->shape[0];
	if (x->shape[1] != size * (size - 1) / 2)
		return false;
	*f = (struct module_form){ .number = { [LIMIT] = -1 } };
	f->part[NUMBERS] = part_whole((int)x->shape[0], 1, 1, (int)x->shape[1], false);
	return true;
}

/* A triangle of no numbers would be a block of one input, which cannot turn. */
static bool guess_peft(struct weight *w, const struct safetensor *const part[BRANCH_PARTS])
{
	const struct safetensor *x = part[NUMBERS];

	return x->dims == 2 && x->shape[0] > 0 && x->shape[1] > 0 && x->shape[1] < INT32_MAX / 8 &&
	       x->shape[0] <= INT32_MAX / side_of_triangle((int)x->shape[1]) &&
	       weight_of_shape(w, 1, x->shape[0] * side_of_triangle((int)x->shape[1]), NULL);
}

/* What PEFT's configuration says, for files of ours, which have none beside them. */
#define TERMS_KEY "lora_tools.cayley_neumann_terms"

/* tuners/oft/config.py: the series is the default, of 5 terms. */
static int settle_peft(struct module_form *f, const struct weight *w, const struct kind_source *s, struct error *e)
{
	const json_t *type = json_object_get(s->config, "peft_type"), *series, *terms;
	const char *own = safetensors_metadata(s->file, TERMS_KEY);

	series = json_object_get(s->config, "use_cayley_neumann");
	terms = json_object_get(s->config, "num_cayley_neumann_terms");
	if (type && (!json_is_string(type) || strcmp(json_string_value(type), "OFT")))
		return fail(e, EXIT_INPUT,
			    "%s: peft_type is not OFT, and '%.200s' is one's; if it belongs to another adapter, "
			    "put this one into a folder of its own",
			    s->config_path, s->name);
	if ((series && !json_is_boolean(series)) || (terms && !json_is_integer(terms)))
		return fail(e, EXIT_INPUT,
			    "%s: use_cayley_neumann is no truth value, or num_cayley_neumann_terms no whole "
			    "number; save the adapter anew",
			    s->config_path);
	f->number[TERMS] = !series || json_is_true(series) ? (terms ? json_integer_value(terms) : 5) : 0;
	if (own && !s->config)
		f->number[TERMS] = atoi(own);
	/* OneTrainer, whose names are kohya's, turns convolutions the other way: W R, where PEFT has W R^T. */
	f->number[INVERSE] = !f->number[TERMS] != (s->convolution && !strncmp(s->name, "lora_", 5));
	if (!(f->number[TERMS] >= 0 && f->number[TERMS] <= 100) || (terms && json_integer_value(terms) < 1))
		return fail(e, EXIT_INPUT, "%s: the number of terms is not from 1 to 100; save the adapter anew",
			    s->config ? s->config_path : s->file->path);
	if (w->kh * w->kw > 1)
		return fail(e, EXIT_INPUT,
			    "%s: '%.200s' turns the inputs of a kernel larger than 1x1, which PEFT's own program "
			    "does in two ways; leave out such layers",
			    s->file->path, s->name);
	return 0;
}

static void tell_peft(const struct module_form *f, struct metadata_list *list)
{
	metadata_int(list, TERMS_KEY, (int)f->number[TERMS]);
}

static void shape_peft(const struct module_form *f, char *text, size_t n)
{
	say_blocks(text, n, f->part[NUMBERS].n, side_of_triangle(f->part[NUMBERS].c));
}

static const char *dialect_peft(const struct module_form *f)
{
	return "peft";
}

/* y += s W (x R - x) */
static void forward_peft(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
			 const struct adapted *a, const void *pass)
{
	const struct backend *be = tape_backend(t);
	struct turned k = turn_now(t, data_of(x), tensor_rows(x), b, true);
	struct tensor moved = *x;
	float *v = tape_scratch(t, tensor_count(y));

	be->axpby(tape_device(t), f32(k.u), -1, data_of(x), 1, tensor_count(x));
	moved.data = k.u;
	moved.type = DTYPE_F32;
	adapted_product(t, f32(v), &moved, a, NULL);
	branch_leave_out_channels(t, b, v, tensor_rows(y), y->c);
	be->axpby(tape_device(t), data_of(y), b->scale, f32(v), 1, tensor_count(y));
	tape_scratch_give(t, v);
	turned_give(t, &k);
}

/* backward of y += s W (x R - x) */
static void backward_peft(struct tape *t, const struct tensor *y, const struct tensor *x, struct values dx,
			  const struct branch *b, const struct part_grads *g, const struct adapted *a, const void *pass)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const int rows = tensor_rows(x), add[2] = { 1, g->add[NUMBERS] };
	struct turned k = turn_now(t, trains(g) ? data_of(x) : f32(NULL), rows, b, true);
	float *dv = tape_scratch(t, tensor_count(y)), *dm = tape_scratch(t, tensor_count(x));

	be->axpby(d, f32(dv), b->scale, grad_of(y), 0, tensor_count(y));
	branch_leave_out_channels(t, b, dv, tensor_rows(y), y->c);
	adapted_product_back(t, f32(dm), f32(dv), x, a, 0);
	be->rotate_back(d, dx, g->at[NUMBERS], k.room, f32(dm), data_of(x), b->part[NUMBERS].data, k.r, rows, &k.s,
			add);
	if (dx.at)
		be->axpby(d, dx, -1, f32(dm), 1, tensor_count(x));
	tape_scratch_give(t, dm);
	tape_scratch_give(t, dv);
	turned_give(t, &k);
}

/* R - 1 */
static void *delta_inputs(const struct delta *d)
{
	const struct rotations s = rotations_of_form(d->form, true);
	const size_t n = s.size;
	double *r = matrices(d, true);

	for (size_t i = 0; i < s.blocks * n; i++)
		r[i * n + i % n] -= 1;
	return r;
}

/* Columns of W (R - 1)^T within one block */
static void add_to_block(const struct delta *d, const struct delta_tile *t, size_t n, const struct base_rows *base)
{
	const size_t first = t->column / n * n;
	float *w = xmalloc(t->rows * n * sizeof(*w));
	const struct matrix a = { w, NULL, n, 1 }, b = { NULL, (const double *)d->own + t->column * n, 1, n };

	for (size_t i = 0; i < t->rows; i++)
		base->read(base, t->row + i, first, n, w + i * n);
	product_add(t->sum, t->step, d->scale, &a, &b, t->rows, t->columns, n);
	free(w);
}

static void add_inputs(const struct delta *d, const struct delta_tile *t, const struct base_rows *base)
{
	const struct rotations s = rotations_of_form(d->form, true);
	const size_t n = s.size, end = t->column + t->columns;
	struct delta_tile part = *t;

	for (; part.column < end; part.column += part.columns) {
		const size_t next = (part.column / n + 1) * n;

		part.columns = (next < end ? next : end) - part.column;
		part.sum = t->sum + part.column - t->column;
		add_to_block(d, &part, n, base);
	}
}

/* ---- rows ---- */

static const char *const algos[] = { "diag-oft", "oft", NULL }, *const no_algos[] = { NULL };

static const struct kind_suffix suffixes[] = { { "oft_blocks", NUMBERS }, { "rescale", RESCALE }, { NULL, 0 } };
static const struct kind_suffix suffixes_peft[] = {
	{ "oft_R.weight", NUMBERS }, { "oft_R.default.weight", NUMBERS }, { NULL, 0 }
};

static const struct kind_arg args[] = {
	{ "constraint", KIND_NUMBER, ARG_CONSTRAINT, 0, 1e6 },
	{ "rescaled", KIND_FLAG, ARG_RESCALED },
	{ "enable_all_linear", KIND_FLAG, ARG_LINEAR },
	{ "enable_conv", KIND_FLAG, ARG_CONV },
	{ 0 }
};
static const struct kind_arg no_args[] = { { 0 } };

/* sd-scripts' default where network_alpha says nothing */
#define KOHYA_ALPHA 1e-3

const struct adapter_kind kind_oft = {
	.name = "OFT",
	.module = "networks.oft",
	.plain_alpha = KOHYA_ALPHA,
	.algos = algos,
	.suffixes = suffixes,
	.args = args,
	.form = form,
	.read = read_form,
	.missing = missing,
	.other = other,
	.shape = shape,
	.guess = guess,
	.settle = settle,
	.dialect = dialect,
	.takes = takes,
	.scale = scale,
	.branch = { .forward = forward, .backward = backward },
	.delta_begin = delta_outputs,
	.add_delta = add_outputs,
	.needs_base = true,
};

const struct adapter_kind kind_oft_peft = {
	.name = "OFT of PEFT",
	.algos = no_algos,
	.begins = &kind_oft,
	.suffixes = suffixes_peft,
	.args = no_args,
	.read = read_peft,
	.missing = missing,
	.guess = guess_peft,
	.settle = settle_peft,
	.tell = tell_peft,
	.shape = shape_peft,
	.dialect = dialect_peft,
	.no_alpha = true,
	.scale = scale,
	.branch = { .forward = forward_peft, .backward = backward_peft },
	.delta_begin = delta_inputs,
	.add_delta = add_inputs,
	.needs_base = true,
};
