/*
 * ops.c - every operation against finite differences: the directional derivative of a loss through the operation, along
 * random directions of each input, against the tape's gradient.
 *
 * Tolerance.  The loss is computed in fp32, relative error about 1e-6 with the sums' lengths used here; the four-point
 * formula with step h divides that by h and leaves a truncation error of h^4.  With h = 8e-2 both stay below 1e-4 of
 * the gradient's norm; a wrong gradient is off by 1e-1 and more.  On a device that multiplies with 11 bits instead of
 * 24 an operand is off by 2^-12; a loss is off by some three of those (attention), and the quotient by 1e-2 of a
 * gradient that is as large as the loss; a DoRA's is a third or a tenth of it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/adapter/dora_lora.h"
#include "../../libcommon/adapter/lengths.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/philox.h"
#include "../../libcommon/nn/ops.h"

#define TOLERANCE  5e-4
#define COARSE     8e-2
#define STEP       8e-2
#define DIRECTIONS 6
#define MAX_INPUTS 5

struct rig {
	const struct backend *be;
	double tolerance;
	struct device *device;
	struct tape *tape;
	uint32_t draws;
	struct branch branch;           /* of the case that runs */
	struct weight weight[64]; int weights;
	void *owned[256]; int owns;     /* device memory, given back at the end */
};

/* One input that a gradient must reach: a tensor of the tape, or an adapter's matrix. */
struct input { int n, h, w, c; struct tensor leaf; float *host; };

struct testcase;
typedef struct tensor *build_fn(struct rig *r, const struct testcase *c, struct tensor **in);

struct testcase {
	const char *name;
	build_fn *build;
	struct { int n, h, w, c; } shape[MAX_INPUTS];
	int out, kernel, stride, groups, heads, extra;
	bool flag;
	const char *kind;               /* of an adapter whose parts are all inputs but one; NULL: a LoRA, if flag */
	float number[BRANCH_NUMBERS];
};

/* ---- material ---- */

static float *random_floats(struct rig *r, size_t n, float spread)
{
	float *x = xmalloc(n * sizeof(*x));
	size_t i;

	random_normal(&(struct random){ 7, RANDOM_TEST, r->draws++, 0 }, x, n);
	for (i = 0; i < n; i++)
		x[i] *= spread;
	return x;
}

static void *take(struct rig *r, size_t bytes)
{
	return r->owned[r->owns++] = r->be->alloc(r->device, bytes);
}

static float *on_device(struct rig *r, size_t n, float spread)
{
	float *host = random_floats(r, n, spread), *d = take(r, n * sizeof(*d));

	r->be->upload(r->device, d, host, n * sizeof(*d));
	free(host);
	return d;
}

static struct weight make_weight(struct rig *r, int out, int in, int k)
{
	struct weight w = { .dtype = DTYPE_F32, .out = out, .in = in, .kh = k, .kw = k };
	float *host = random_floats(r, (size_t)out * in * k * k, 1 / sqrtf(in * k * k));

	if (r->be->prepare(r->device, &w, host) < 0)
		exit(1);
	free(host);
	return r->weight[r->weights++] = w;
}

/* An adapter whose matrices are the case's last two inputs. */
static struct branch *make_lora(struct rig *r, const struct tensor *down, const struct tensor *up, bool leaves_out)
{
	static const struct branch_dropout dropout = { .on = true, .value = 0.3, .rank = 0.3, .seed = 3 };

	r->branch = (struct branch){ .kind = &kind_lora.branch, .inner = &kind_lora.branch,
				     .part = { [LORA_DOWN] = *down, [LORA_UP] = *up }, .rank = down->n, .scale = 0.7f,
				     .dropout = leaves_out ? &dropout : NULL };
	return &r->branch;
}

/* Any kind's. */
static struct branch *make_branch(struct rig *r, const struct testcase *c, struct tensor **in)
{
	const struct adapter_kind *const *kind = adapter_kinds;

	while (strcmp((*kind)->name, c->kind))
		kind++;
	r->branch = (struct branch){ .kind = &(*kind)->branch, .inner = &(*kind)->branch, .scale = 0.7f };
	memcpy(r->branch.number, c->number, sizeof(c->number));
	for (int i = 1; i < MAX_INPUTS && in[i]; i++)
		r->branch.part[i - 1] = *in[i];
	return &r->branch;
}

static float *fetched(struct rig *r, const float *x, size_t n)
{
	float *host = xmalloc(n * sizeof(*host));

	r->be->download(r->device, host, x, n * sizeof(*host));
	return host;
}

/* |w + s b A|^2 - |w|^2 */
static double growth(const float *w, const float *b, const float *down, int rank, size_t in, float s)
{
	double sum = 0;

	for (size_t i = 0; i < in; i++) {
		double update = 0;
		for (int k = 0; k < rank; k++)
			update += (double)s * b[k] * down[k * in + i];
		sum += update * (2 * w[i] + update);
	}
	return sum;
}

/* The tape's gradient takes the norm of a row for a constant, finite differences do not: the squares of W's rows are
 * told so that it is one, 40. */
static void rows_of_40(struct rig *r, const struct branch *l, const struct weight *w, float *squares)
{
	const size_t in = (size_t)w->in * w->kh * w->kw;
	float *base = fetched(r, w->data, w->out * in), *down = fetched(r, l->part[LORA_DOWN].data, l->rank * in);
	float *up = fetched(r, l->part[LORA_UP].data, (size_t)w->out * l->rank);

	for (int i = 0; i < w->out; i++)
		squares[i] = 40 - growth(base + i * in, up + (size_t)i * l->rank, down, l->rank, in, l->scale);
	free(base);
	free(down);
	free(up);
}

static void squares_of_columns(struct rig *r, const struct weight *w, float *squares)
{
	const size_t n = (size_t)w->out * w->in * w->kh * w->kw;
	float *base = fetched(r, w->data, n);

	memset(squares, 0, w->in * sizeof(*squares));
	for (size_t i = 0; i < n; i++)
		squares[i % w->in] += base[i] * base[i];
	free(base);
}

/* Of columns where there are as many lengths as W has, else of rows. */
static void make_dora(struct rig *r, struct branch *l, const struct tensor *magnitude, const struct weight *w)
{
	static struct branch_constants constants;
	static float *fixed;
	const bool columns = magnitude->c == w->in;
	float host[64], unit[8 * 8] = { 0 };

	if (!fixed) {
		fixed = take(r, sizeof(host));
		constants = (struct branch_constants){ take(r, sizeof(unit)), take(r, sizeof(host)), 8 };
	}
	if (columns)
		squares_of_columns(r, w, host);
	else
		rows_of_40(r, l, w, host);
	r->be->upload(r->device, fixed, host, magnitude->c * sizeof(*host));
	for (int i = 0; i < 64; i++)
		host[i] = 1, unit[i] = i % 9 == 0;
	r->be->upload(r->device, (float *)constants.unit, unit, sizeof(unit));
	r->be->upload(r->device, (float *)constants.ones, host, sizeof(host));
	l->kind = columns ? &dora_lora_columns : &dora_lora_rows;
	l->constants = &constants;
	l->part[LENGTHS_PART] = *magnitude;
	l->fixed = fixed;
	l->weight = 0.9f;
}

/* ---- cases ---- */

static struct tensor *linear(struct rig *r, const struct testcase *c, struct tensor **in)
{
	static struct linear l;

	if (!l.w.data || l.w.out != c->out)
		l = (struct linear){ make_weight(r, c->out, c->shape[0].c, 1), on_device(r, c->out, 1), NULL };
	l.branch = c->kind ? make_branch(r, c, in) : c->flag ? make_lora(r, in[1], in[2], c->extra) : NULL;
	if (!c->kind && in[3])
		make_dora(r, l.branch, in[3], &l.w);
	return op_linear(r->tape, in[0], &l);
}

static struct tensor *conv(struct rig *r, const struct testcase *c, struct tensor **in)
{
	static struct conv k;
	static const struct testcase *last;

	if (last != c)
		k = (struct conv){ make_weight(r, c->out, c->shape[0].c, c->kernel), on_device(r, c->out, 1), NULL,
				   c->stride };
	last = c;
	k.branch = c->kind ? make_branch(r, c, in) : c->flag ? make_lora(r, in[1], in[2], c->heads) : NULL;
	if (!c->kind && in[3])
		make_dora(r, k.branch, in[3], &k.w);
	return c->extra ? op_conv_pad_end(r->tape, in[0], &k) : op_conv(r->tape, in[0], &k);
}

static struct tensor *group_norm(struct rig *r, const struct testcase *c, struct tensor **in)
{
	static struct norm g;
	static const struct testcase *last;

	if (last != c)
		g = (struct norm){ on_device(r, c->shape[0].c, 1), on_device(r, c->shape[0].c, 1), c->shape[0].c,
				   c->groups, 1e-5f };
	last = c;
	return op_group_norm(r->tape, in[0], &g, c->flag);
}

static struct tensor *layer_norm(struct rig *r, const struct testcase *c, struct tensor **in)
{
	static struct norm g;

	if (!g.gain)
		g = (struct norm){ on_device(r, c->shape[0].c, 1), on_device(r, c->shape[0].c, 1), c->shape[0].c, 0,
				   1e-5f };
	return op_layer_norm(r->tape, in[0], &g);
}

static struct tensor *activation(struct rig *r, const struct testcase *c, struct tensor **in)
{
	return op_activation(r->tape, in[0], c->extra);
}

static struct tensor *geglu(struct rig *r, const struct testcase *c, struct tensor **in)
{
	return op_geglu(r->tape, in[0]);
}

static struct tensor *add(struct rig *r, const struct testcase *c, struct tensor **in)
{
	return op_add(r->tape, in[0], in[1]);
}

/* the gradient of a tensor that is used twice is a sum */
static struct tensor *used_twice(struct rig *r, const struct testcase *c, struct tensor **in)
{
	return op_add(r->tape, op_activation(r->tape, in[0], ACT_SILU), in[0]);
}

/* Used twice, so that the second backward adds.
 * The activation comes first: its backward reads its input, so that the input is still there. */
static struct tensor *multiply(struct rig *r, const struct testcase *c, struct tensor **in)
{
	static float *z;
	struct tensor *silu = op_activation(r->tape, in[0], ACT_SILU);

	if (!z)
		z = on_device(r, tensor_count(in[0]), 1);
	return op_add(r->tape, op_multiply(r->tape, in[0], z), silu);
}

static struct tensor *add_per_sample(struct rig *r, const struct testcase *c, struct tensor **in)
{
	return op_add_per_sample(r->tape, in[0], in[1]);
}

static struct tensor *add_positions(struct rig *r, const struct testcase *c, struct tensor **in)
{
	static float *positions;

	if (!positions)
		positions = on_device(r, (size_t)c->shape[0].h * c->shape[0].c, 1);
	return op_add_positions(r->tape, in[0], positions);
}

static struct tensor *concat(struct rig *r, const struct testcase *c, struct tensor **in)
{
	return op_concat(r->tape, in[0], in[1]);
}

static struct tensor *upsample(struct rig *r, const struct testcase *c, struct tensor **in)
{
	return op_upsample(r->tape, in[0]);
}

static struct tensor *attention(struct rig *r, const struct testcase *c, struct tensor **in)
{
	return op_attention(r->tape, whole_slice(in[0]), whole_slice(in[1]), whole_slice(in[2]), c->heads, c->flag);
}

static struct tensor *crop(struct rig *r, const struct testcase *c, struct tensor **in)
{
	return op_crop(r->tape, in[0], 3, 2);
}

static struct tensor *gather(struct rig *r, const struct testcase *c, struct tensor **in)
{
	static const int32_t rows[] = { 3, 0, 3, 5 };

	return op_gather(r->tape, in[0], rows, 4);
}

/* The check's own loss squares what comes out, so weights, c and mask show. */
static struct tensor *loss_case(struct rig *r, const struct testcase *c, struct tensor **in)
{
	static float *weight, *bend, *mask, *target;
	const struct tensor like = { .data = NULL, .n = in[0]->n, .h = in[0]->h, .w = in[0]->w, .c = in[0]->c };
	struct tensor goal = like;

	if (!weight) {
		weight = on_device(r, 8, 1);
		bend = take(r, 8 * sizeof(float));
		r->be->upload(r->device, bend, (const float[8]){ 0.3f, 0.5f, 0.8f, 1, 1, 1, 1, 1 }, 8 * sizeof(float));
		mask = on_device(r, 64, 1);
		target = on_device(r, 512, 1);
	}
	goal.data = target;
	return op_loss(r->tape, in[0], &goal, &(struct loss_terms){ .kind = c->extra, .weight = weight, .c = bend,
								   .mask = c->flag ? mask : NULL });
}

static const struct testcase cases[] = {
	{ "linear", linear, { { 2, 3, 5, 7 } }, .out = 11 },
	{ "linear with adapter", linear, { { 2, 3, 5, 9 }, { 3, 1, 1, 9 }, { 13, 1, 1, 3 } }, .out = 13, .flag = true },
	{ "linear with adapter and dropout", linear, { { 2, 3, 5, 9 }, { 6, 1, 1, 9 }, { 13, 1, 1, 6 } }, .out = 13,
	  .flag = true, .extra = 1 },
	{ "linear with DoRA", linear, { { 2, 3, 5, 9 }, { 3, 1, 1, 9 }, { 13, 1, 1, 3 }, { 1, 1, 1, 9 } }, .out = 13,
	  .flag = true },
	{ "linear with DoRA by output", linear, { { 2, 3, 5, 9 }, { 3, 1, 1, 9 }, { 13, 1, 1, 3 }, { 1, 1, 1, 13 } },
	  .out = 13, .flag = true },
	{ "linear with DoRA and dropout", linear, { { 2, 3, 5, 9 }, { 6, 1, 1, 9 }, { 13, 1, 1, 6 }, { 1, 1, 1, 9 } },
	  .out = 13, .flag = true, .extra = 1 },
	{ "linear with DoRA by output and dropout", linear, { { 2, 3, 5, 9 }, { 6, 1, 1, 9 }, { 13, 1, 1, 6 },
	  { 1, 1, 1, 13 } }, .out = 13, .flag = true, .extra = 1 },
	{ "conv 3x3", conv, { { 2, 5, 7, 4 } }, .out = 6, .kernel = 3, .stride = 1 },
	{ "conv 3x3 stride 2", conv, { { 1, 6, 9, 3 } }, .out = 5, .kernel = 3, .stride = 2 },
	{ "conv 3x3 stride 2, padded at the end", conv, { { 2, 6, 8, 3 } }, .out = 5, .kernel = 3, .stride = 2,
	  .extra = 1 },
	{ "conv 3x3 with adapter", conv, { { 2, 4, 5, 6 }, { 3, 3, 3, 6 }, { 7, 1, 1, 3 } }, .out = 7, .kernel = 3,
	  .stride = 1, .flag = true },
	{ "conv 3x3 with adapter and dropout", conv, { { 2, 4, 5, 6 }, { 6, 3, 3, 6 }, { 7, 1, 1, 6 } }, .out = 7,
	  .kernel = 3, .stride = 1, .flag = true, .heads = 1 },
	{ "conv 3x3 stride 2 with adapter", conv, { { 1, 6, 6, 5 }, { 2, 3, 3, 5 }, { 4, 1, 1, 2 } }, .out = 4,
	  .kernel = 3, .stride = 2, .flag = true },
	{ "conv 3x3 stride 2 with DoRA", conv, { { 1, 6, 6, 5 }, { 2, 3, 3, 5 }, { 4, 1, 1, 2 }, { 1, 1, 1, 5 } },
	  .out = 4, .kernel = 3, .stride = 2, .flag = true },
	{ "conv 3x3 stride 2 with DoRA by output", conv, { { 1, 6, 6, 5 }, { 2, 3, 3, 5 }, { 4, 1, 1, 2 },
	  { 1, 1, 1, 4 } }, .out = 4, .kernel = 3, .stride = 2, .flag = true },
	{ "linear with OFT", linear, { { 2, 3, 5, 7 }, { 12, 1, 1, 3 } }, .out = 12, .kind = "OFT", .number = { -1 } },
	{ "linear with OFT at its limit", linear, { { 2, 3, 5, 7 }, { 12, 1, 1, 3 } }, .out = 12, .kind = "OFT",
	  .number = { 0.8f } },
	{ "linear with OFT, rescaled", linear, { { 2, 3, 5, 7 }, { 12, 1, 1, 3 }, { 12, 1, 1, 1 } }, .out = 12,
	  .kind = "OFT", .number = { -1 } },
	{ "conv 3x3 stride 2 with OFT", conv, { { 2, 6, 5, 4 }, { 6, 1, 1, 2 } }, .out = 6, .kernel = 3, .stride = 2,
	  .kind = "OFT", .number = { 0.8f } },
	{ "linear with OFT of PEFT", linear, { { 2, 3, 5, 8 }, { 2, 1, 1, 6 } }, .out = 9, .kind = "OFT of PEFT",
	  .number = { -1, 5 } },
	{ "linear with OFT of PEFT, exact", linear, { { 2, 3, 5, 8 }, { 2, 1, 1, 6 } }, .out = 9,
	  .kind = "OFT of PEFT", .number = { -1, 0, 1 } },
	{ "group norm", group_norm, { { 2, 3, 5, 12 } }, .groups = 4 },
	{ "group norm with silu", group_norm, { { 2, 4, 3, 10 } }, .groups = 2, .flag = true },
	{ "layer norm", layer_norm, { { 2, 7, 1, 19 } } },
	{ "silu", activation, { { 1, 5, 7, 9 } }, .extra = ACT_SILU },
	{ "gelu", activation, { { 1, 5, 7, 9 } }, .extra = ACT_GELU },
	{ "quick gelu", activation, { { 1, 5, 7, 9 } }, .extra = ACT_QUICK_GELU },
	{ "geglu", geglu, { { 2, 7, 1, 22 } } },
	{ "add", add, { { 2, 3, 4, 5 }, { 2, 3, 4, 5 } } },
	{ "a tensor used twice", used_twice, { { 2, 3, 4, 5 } } },
	{ "multiply", multiply, { { 2, 3, 4, 5 } } },
	{ "add per sample", add_per_sample, { { 3, 4, 5, 6 }, { 3, 1, 1, 6 } } },
	{ "add positions", add_positions, { { 2, 9, 1, 6 } } },
	{ "concat", concat, { { 2, 3, 4, 5 }, { 2, 3, 4, 3 } } },
	{ "upsample", upsample, { { 2, 3, 4, 5 } } },
	{ "attention", attention, { { 2, 13, 1, 24 }, { 2, 7, 1, 24 }, { 2, 7, 1, 24 } }, .heads = 3 },
	{ "attention over 77 keys", attention, { { 1, 90, 1, 16 }, { 1, 77, 1, 16 }, { 1, 77, 1, 16 } }, .heads = 2 },
	{ "attention, causal", attention, { { 2, 17, 1, 16 }, { 2, 17, 1, 16 }, { 2, 17, 1, 16 } }, .heads = 2,
	  .flag = true },
	{ "gather", gather, { { 2, 4, 1, 6 } } },
	{ "crop", crop, { { 2, 4, 3, 5 } } },
	{ "loss l2", loss_case, { { 3, 4, 5, 6 } }, .extra = LOSS_L2 },
	{ "loss l2, masked", loss_case, { { 3, 4, 5, 6 } }, .extra = LOSS_L2, .flag = true },
	{ "loss huber", loss_case, { { 3, 4, 5, 6 } }, .extra = LOSS_HUBER },
	{ "loss huber, masked", loss_case, { { 3, 4, 5, 6 } }, .extra = LOSS_HUBER, .flag = true },
	{ "loss smooth l1", loss_case, { { 3, 4, 5, 6 } }, .extra = LOSS_SMOOTH_L1 },
};

/* ---- the check ---- */

static int inputs_of(const struct testcase *c)
{
	int n = 0;

	while (n < MAX_INPUTS && c->shape[n].n)
		n++;
	return n;
}

static void upload(struct rig *r, struct input *in, int count, int moved, const float *direction, double by)
{
	int i;
	size_t k;

	for (i = 0; i < count; i++) {
		size_t n = tensor_count(&in[i].leaf);
		float *x = xmalloc(n * sizeof(*x));
		for (k = 0; k < n; k++)
			x[k] = in[i].host[k] + (i == moved ? by * direction[k] : 0);
		r->be->upload(r->device, in[i].leaf.data, x, n * sizeof(*x));
		free(x);
	}
}

/* What the tape made itself and the case reads last is freed as early as can be: an operation whose backward reads
 * what it did not ask for finds nothing there.  A parameter (of an adapter, in these cases) is handed over as
 * it is. */
static struct tensor *on_tape(struct rig *r, const struct testcase *c, int which, struct tensor *leaf)
{
	static float *zeros;
	const bool adapter = which > 0 && (c->build == linear || c->build == conv);

	if (!zeros) {
		zeros = take(r, 4096 * sizeof(float));
		r->be->zero(r->device, f32(zeros), 4096);
	}
	return adapter ? leaf : last_use(op_add_positions(r->tape, leaf, zeros));
}

/* Runs the case; the loss is the sum over samples of the mean square of what comes out, summed in double. */
static double run(struct rig *r, const struct testcase *c, struct input *in, int count, bool backward)
{
	struct tensor *leaf[MAX_INPUTS] = { 0 }, *y, *loss;
	const float ones[64] = { [0 ... 63] = 1 };
	float host[64], *zero;
	double sum = 0;
	int i;

	tape_reset(r->tape);
	for (i = 0; i < count; i++) {
		in[i].leaf.has_grad = false;
		leaf[i] = on_tape(r, c, i, &in[i].leaf);
	}
	y = c->build(r, c, leaf);
	zero = xcalloc(tensor_count(y), sizeof(*zero));
	loss = op_loss(r->tape, y, tensor_from(r->tape, y->n, y->h, y->w, y->c, zero),
		       &(struct loss_terms){ .weight = tensor_from(r->tape, y->n, 1, 1, 1, ones)->data });
	free(zero);
	tensor_download(r->tape, loss, host);
	for (i = 0; i < y->n; i++)
		sum += host[i];
	if (backward)
		tape_backward(r->tape, loss, 1);
	return sum;
}

static double along(struct rig *r, const struct testcase *c, struct input *in, int count, int moved, const float *v)
{
	static const double at[4] = { -2, -1, 1, 2 }, factor[4] = { 1, -8, 8, -1 };
	double sum = 0;
	int i;

	for (i = 0; i < 4; i++) {
		upload(r, in, count, moved, v, at[i] * STEP);
		sum += factor[i] * run(r, c, in, count, false);
	}
	return sum / (12 * STEP);
}

static double norm_of(const float *x, size_t n)
{
	double sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += (double)x[i] * x[i];
	return sqrt(sum);
}

/* Greatest difference between the two derivatives over the directions, relative to the gradient's norm. */
static double check_input(struct rig *r, const struct testcase *c, struct input *in, int count, int which)
{
	size_t n = tensor_count(&in[which].leaf), k;
	float *grad = xmalloc(n * sizeof(*grad));
	double worst = 0, norm;
	int d;

	upload(r, in, count, -1, NULL, 0);
	run(r, c, in, count, true);
	r->be->download(r->device, grad, in[which].leaf.grad, n * sizeof(*grad));
	norm = norm_of(grad, n);
	for (d = 0; d < DIRECTIONS; d++) {
		float *v = random_floats(r, n, 1 / sqrtf(n));
		double dot = 0, error;
		for (k = 0; k < n; k++)
			dot += (double)grad[k] * v[k];
		error = fabs(dot - along(r, c, in, count, which, v)) / norm;
		worst = !(error <= worst) ? error : worst;
		free(v);
	}
	free(grad);
	return norm > 0 ? worst : INFINITY;
}

static bool check_case(struct rig *r, const struct testcase *c)
{
	struct input in[MAX_INPUTS] = { 0 };
	int i, count = inputs_of(c);
	double worst = 0;

	for (i = 0; i < count; i++) {
		struct tensor *x = &in[i].leaf;
		*x = (struct tensor){ .n = c->shape[i].n, .h = c->shape[i].h, .w = c->shape[i].w, .c = c->shape[i].c,
				      .wants_grad = true, .home = HOME_OWNER };
		in[i].host = random_floats(r, tensor_count(x), 1);
		x->data = take(r, tensor_count(x) * sizeof(float));
		x->grad = take(r, tensor_count(x) * sizeof(float));
	}
	for (i = 0; i < count; i++) {
		double error = check_input(r, c, in, count, i);
		worst = !(error <= worst) ? error : worst;
	}
	for (i = 0; i < count; i++)
		free(in[i].host);
	printf("%-40s %d inputs  %.1e  %s\n", c->name, count, worst, worst < r->tolerance ? "ok" : "FAIL");
	return worst < r->tolerance;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "cpu";
	struct error e;
	struct rig r = { .be = backend_find(name, &e), .tolerance = strcmp(name, "cpu") ? COARSE : TOLERANCE };
	int passed = 0, failed = 0;
	size_t i;

	if (!r.be || !(r.device = r.be->open(&e)) || !(r.tape = tape_new(r.be, r.device, (size_t)64 << 20, &e)))
		return report(&e);
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		*(check_case(&r, &cases[i]) ? &passed : &failed) += 1;
	tape_free(r.tape);
	while (r.owns)
		r.be->release(r.device, r.owned[--r.owns]);
	while (r.weights)
		r.be->unprepare(r.device, &r.weight[--r.weights]);
	r.be->close(r.device);
	printf("ops: %d passed, %d failed\n", passed, failed);
	return failed ? 1 : 0;
}
