/* DoRA against its formula in double precision, with W' = m (W + s B A) / |W + s B A| formed whole.  Gradients of
 * lengths of columns: adapter_kinds.c, tests/ops. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/philox.h"
#include "../../libcommon/adapter/adapter.h"
#include "../../libcommon/adapter/dora_lora.h"
#include "../../libcommon/adapter/lengths.h"
#include "../../libcommon/nn/ops.h"
#include <cmocka.h>     /* last: it takes the name fail */

enum { ROWS = 6, IN = 10, OUT = 7, RANK = 3, TAPS = 9, MOST = OUT * IN * TAPS,
       LONGEST = IN };

/* Of the greatest value: sums of 100 floats with 24 bits. */
#define TOLERANCE 1e-5
#define SCALE     0.7f

static const struct backend *const be = &cpu_backend;
static struct device *device;
static uint32_t draws;

static float *drawn(size_t n, float spread)
{
	float *x = be->alloc(device, n * sizeof(*x));

	/* the CPU's device memory is host memory */
	random_normal(&(struct random){ 11, RANDOM_TEST, draws++, 0 }, x, n);
	for (size_t i = 0; i < n; i++)
		x[i] *= spread;
	return x;
}

static float unit[RANK * RANK] = { 1, [RANK + 1] = 1, [2 * RANK + 2] = 1 },
	ones[IN] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
static const struct branch_constants constants = { unit, ones, RANK };

struct bench {
	struct weight w;                /* [OUT][k][k][IN] */
	float *host;                    /* its numbers in that order */
	struct branch branch;
	size_t fan;
};

static struct tensor parameter(float *x, int n, int k, int c)
{
	return (struct tensor){ .data = x, .grad = be->alloc(device, (size_t)n * k * k * c * sizeof(*x)), .n = n,
				.h = k, .w = k, .c = c, .wants_grad = true, .home = HOME_OWNER };
}

static size_t axis(const struct bench *b, bool columns, size_t o, size_t i)
{
	return columns ? (o * b->fan + i) % IN : o;
}

/* Lengths of rows or columns, and the squares of W's own. */
static void put_lengths(struct bench *b, bool columns)
{
	const int n = columns ? IN : OUT;

	b->branch.kind = columns ? &dora_lora_columns : &dora_lora_rows;
	b->branch.part[LENGTHS_PART] = parameter(drawn(n, 1), 1, 1, n);
	b->branch.fixed = be->alloc(device, n * sizeof(float));
	memset(b->branch.fixed, 0, n * sizeof(float));
	for (size_t o = 0; o < OUT; o++)
		for (size_t i = 0; i < b->fan; i++)
			b->branch.fixed[axis(b, columns, o, i)] += b->host[o * b->fan + i] * b->host[o * b->fan + i];
}

static void set_up(struct bench *b, int k, float weight, bool columns)
{
	float *turned;

	*b = (struct bench){ .fan = (size_t)IN * k * k, .w = { .dtype = DTYPE_F32, .out = OUT, .in = IN, .kh = k,
							       .kw = k } };
	b->host = drawn(OUT * b->fan, 0.3f);
	turned = xmalloc(OUT * b->fan * sizeof(*turned));
	for (size_t o = 0; o < OUT; o++)
		for (size_t t = 0; t < b->fan; t++)
			turned[o * b->fan + t % IN * k * k + t / IN] = b->host[o * b->fan + t];
	assert_int_equal(be->prepare(device, &b->w, turned), 0);
	free(turned);
	b->branch = (struct branch){ .inner = &kind_lora.branch, .rank = RANK, .scale = SCALE,
				     .constants = &constants, .weight = weight };
	b->branch.part[LORA_DOWN] = parameter(drawn(RANK * b->fan, 0.3f), RANK, k, IN);
	b->branch.part[LORA_UP] = parameter(drawn(OUT * RANK, 1), OUT, 1, RANK);
	put_lengths(b, columns);
}

static void tear_down(struct bench *b)
{
	struct tensor *const t[] = { &b->branch.part[LORA_DOWN], &b->branch.part[LORA_UP],
				     &b->branch.part[LENGTHS_PART] };

	for (int i = 0; i < 3; i++) {
		be->release(device, t[i]->data);
		be->release(device, t[i]->grad);
	}
	be->release(device, b->branch.fixed);
	be->release(device, b->host);
	be->unprepare(device, &b->w);
}

/* W + s B A, and the lengths of its rows or columns */
static void sum_of_both(const struct bench *b, double v[MOST], double norm[LONGEST], bool columns)
{
	memset(norm, 0, LONGEST * sizeof(*norm));
	for (size_t o = 0; o < OUT; o++)
		for (size_t i = 0; i < b->fan; i++) {
			double *x = &v[o * b->fan + i];
			*x = b->host[o * b->fan + i];
			for (int k = 0; k < RANK; k++)
				*x += (double)SCALE * b->branch.part[LORA_UP].data[o * RANK
					+ k] * b->branch.part[LORA_DOWN].data[k * b->fan + i];
			norm[axis(b, columns, o, i)] += *x * *x;
		}
	for (int i = 0; i < LONGEST; i++)
		norm[i] = sqrt(norm[i]);
}

static void assert_near(const float *got, const double *want, size_t n)
{
	double greatest = 0;

	for (size_t i = 0; i < n; i++)
		greatest = fmax(greatest, fabs(want[i]));
	assert_true(greatest > 0);
	for (size_t i = 0; i < n; i++)
		if (!(fabs(got[i] - want[i]) <= TOLERANCE * greatest))
			fail_msg("element %zu is %g, not %g", i, (double)got[i], want[i]);
}

static void check_norms(int k, bool columns)
{
	static double v[MOST], norm[LONGEST];
	static float norm2[LONGEST], up_t[RANK * OUT], square[RANK * RANK], room[2][RANK * IN * TAPS];
	struct bench b;

	set_up(&b, k, 1, columns);
	if (columns)
		dora_column_norms(be, device, norm2, room[0], up_t, square, room[1], &b.branch, &b.w);
	else
		dora_row_norms(be, device, norm2, up_t, room[0], square, &b.branch, &b.w);
	sum_of_both(&b, v, norm, columns);
	for (int i = 0; i < LONGEST; i++)
		norm[i] *= norm[i];
	assert_near(norm2, norm, columns ? IN : OUT);
	tear_down(&b);
}

static void norms(void **state)
{
	for (int i = 0; i < 4; i++)
		check_norms(i & 1 ? 3 : 1, i & 2);
}

struct reference { double y[ROWS * OUT], dx[ROWS * IN], down[RANK * IN], up[OUT * RANK], magnitude[OUT]; };

/* The loss is the sum of dy y: its gradient by W' is dy^T x.
 * With W' = W + weight (m V / n - W) and n a constant, V = W + s B A. */
static void refer(const struct bench *b, const float *x, const float *dy, const float *bias, struct reference *r)
{
	static double v[MOST], norm[LONGEST];

	memset(r, 0, sizeof(*r));
	sum_of_both(b, v, norm, false);
	for (int o = 0; o < OUT; o++)
		for (int i = 0; i < IN; i++) {
			const double gain = b->branch.part[LENGTHS_PART].data[o] / norm[o], w = b->host[o * IN + i],
				f = b->branch.weight;
			const double own = v[o * IN + i], all = w + f * (gain * own - w);
			double slope = 0;
			for (int row = 0; row < ROWS; row++) {
				slope += (double)dy[row * OUT + o] * x[row * IN + i];
				r->y[row * OUT + o] += all * x[row * IN + i] + (i ? 0 : bias[o]);
				r->dx[row * IN + i] += dy[row * OUT + o] * all;
			}
			r->magnitude[o] += f * slope * own / norm[o];
			for (int k = 0; k < RANK; k++) {
				r->up[o * RANK + k] += f * slope * gain * SCALE * b->branch.part[LORA_DOWN].data[k * IN
					+ i];
				r->down[k * IN + i] += f * slope * gain * SCALE * b->branch.part[LORA_UP].data[o * RANK
					+ k];
			}
		}
}

/* A second batch of the same step: what the parameters have becomes twice as much. */
static void check_adds(struct tape *t, struct tensor *x, const struct linear *l, float *target, const float *weights,
		       struct reference *r)
{
	const struct branch *a = l->branch;
	struct tensor *y;

	tape_reset(t);
	y = op_linear(t, x, l);
	tape_backward(t, op_loss(t, y, &(struct tensor){ .data = target, .n = ROWS, .h = 1, .w = 1, .c = OUT },
				 &(struct loss_terms){ .weight = weights }),
		      1);
	for (int i = 0; i < OUT; i++)
		r->magnitude[i] *= 2;
	for (int i = 0; i < OUT * RANK; i++)
		r->up[i] *= 2;
	for (int i = 0; i < RANK * IN; i++)
		r->down[i] *= 2;
	assert_near(a->part[LENGTHS_PART].grad, r->magnitude, OUT);
	assert_near(a->part[LORA_UP].grad, r->up, OUT * RANK);
	assert_near(a->part[LORA_DOWN].grad, r->down, RANK * IN);
}

static void check_layer(float weight)
{
	struct bench b;
	struct linear l;
	struct reference r;
	struct error e;
	struct tape *t = tape_new(be, device, 1 << 20, &e);
	struct tensor x = parameter(drawn(ROWS * IN, 1), ROWS, 1, IN), *y, *loss;
	float *target = drawn(ROWS * OUT, 1), *dy = xmalloc(ROWS * OUT * sizeof(*dy)), weights[ROWS];

	assert_non_null(t);
	set_up(&b, 1, weight, false);
	l = (struct linear){ b.w, drawn(OUT, 1), &b.branch };
	for (int i = 0; i < ROWS; i++)
		weights[i] = OUT / 2.0f;        /* then the loss's slope is y - target */
	y = op_linear(t, &x, &l);
	for (int i = 0; i < ROWS * OUT; i++)
		dy[i] = y->data[i] - target[i];
	refer(&b, x.data, dy, l.bias, &r);
	assert_near(y->data, r.y, ROWS * OUT);
	loss = op_loss(t, y, &(struct tensor){ .data = target, .n = ROWS, .h = 1, .w = 1, .c = OUT },
		       &(struct loss_terms){ .weight = weights });
	tape_backward(t, loss, 1);
	assert_near(x.grad, r.dx, ROWS * IN);
	assert_near(b.branch.part[LORA_DOWN].grad, r.down, RANK * IN);
	assert_near(b.branch.part[LORA_UP].grad, r.up, OUT * RANK);
	assert_near(b.branch.part[LENGTHS_PART].grad, r.magnitude, OUT);
	check_adds(t, &x, &l, target, weights, &r);
	tape_free(t);
	be->release(device, x.data);
	be->release(device, x.grad);
	be->release(device, target);
	be->release(device, l.bias);
	free(dy);
	tear_down(&b);
}

static void forward_and_back(void **state)
{
	check_layer(1);
	check_layer(0.6f);
}

/* ---- beside other branches ---- */

enum { BRANCHES = 3, PARTS = 3, LARGEST = RANK * IN };
static const struct { int at; size_t n; } part[PARTS] = { { LORA_DOWN, RANK * IN }, { LORA_UP, OUT * RANK },
							   { LENGTHS_PART, OUT } };

/* y of a layer with branches in an order that ends at -1; dx and the parts' gradients where all of dy is 1 */
struct outcome { float y[ROWS * OUT], dx[ROWS * IN], part[BRANCHES][PARTS][LARGEST]; };

/* The first has lengths, the others are LoRAs. */
static int parts_of(int branch) { return branch == 0 ? PARTS : PARTS - 1; }

static void run_in_order(struct tape *t, struct linear *l, struct tensor *x, struct branch *all,
			 const int order[BRANCHES], struct outcome *out)
{
	struct branch **end = (struct branch **)&l->branch;
	struct tensor *y;

	*end = NULL;
	for (int i = 0; i < BRANCHES && order[i] >= 0; i++) {
		*end = &all[order[i]];
		end = &all[order[i]].next;
		*end = NULL;
		for (int k = 0; k < PARTS; k++)
			all[order[i]].part[part[k].at].has_grad = false;
	}
	x->has_grad = false;
	tape_reset(t);
	y = op_linear(t, x, l);
	memcpy(out->y, y->data, sizeof(out->y));
	tape_backward(t, y, 1);
	memcpy(out->dx, x->grad, sizeof(out->dx));
	for (int i = 0; i < BRANCHES && order[i] >= 0; i++)
		for (int k = 0; k < parts_of(order[i]); k++)
			memcpy(out->part[order[i]][k], all[order[i]].part[part[k].at].grad,
			       part[k].n * sizeof(float));
}

static void assert_sum(const float *got, const float *plain, float *const alone[BRANCHES],
		       const int order[BRANCHES], size_t n)
{
	double *want = xcalloc(n, sizeof(*want));

	for (size_t e = 0; e < n; e++) {
		want[e] = plain[e];
		for (int i = 0; i < BRANCHES && order[i] >= 0; i++)
			want[e] += (double)alone[order[i]][e] - plain[e];
	}
	assert_near(got, want, n);
	free(want);
}

static void check_order(struct tape *t, struct linear *l, struct tensor *x, struct branch *all,
			const int order[BRANCHES])
{
	static struct outcome plain, alone[BRANCHES], both;
	static const int none[BRANCHES] = { -1 };
	float *y[BRANCHES], *dx[BRANCHES];

	run_in_order(t, l, x, all, none, &plain);
	for (int i = 0; i < BRANCHES; i++) {
		run_in_order(t, l, x, all, (const int[BRANCHES]){ i, -1 }, &alone[i]);
		y[i] = alone[i].y;
		dx[i] = alone[i].dx;
	}
	run_in_order(t, l, x, all, order, &both);
	assert_sum(both.y, plain.y, y, order, ROWS * OUT);
	assert_sum(both.dx, plain.dx, dx, order, ROWS * IN);
	for (int i = 0; i < BRANCHES && order[i] >= 0; i++)
		for (int k = 0; k < parts_of(order[i]); k++) {
			double want[LARGEST];
			for (size_t e = 0; e < part[k].n; e++)
				want[e] = alone[order[i]].part[order[i]][k][e];
			assert_near(both.part[order[i]][k], want, part[k].n);
		}
}

/* A DoRA and two LoRAs, all trained, whichever comes first: each adds what it adds alone. */
static void branches_add_up(void **state)
{
	static const int orders[][BRANCHES] = { { 0, 1, 2 }, { 1, 0, 2 }, { 1, 2, 0 }, { 1, 2, -1 }, { 0, 2, -1 } };
	struct bench b[BRANCHES];
	struct branch all[BRANCHES];
	struct error e;
	struct tape *t = tape_new(be, device, 1 << 20, &e);
	struct tensor x = parameter(drawn(ROWS * IN, 1), ROWS, 1, IN);
	struct linear l;

	assert_non_null(t);
	for (int i = 0; i < BRANCHES; i++) {
		set_up(&b[i], 1, 1, false);
		all[i] = b[i].branch;
		if (i > 0)
			all[i].kind = &kind_lora.branch;
	}
	l = (struct linear){ b[0].w, drawn(OUT, 1) };
	for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++)
		check_order(t, &l, &x, all, orders[i]);
	tape_free(t);
	be->release(device, x.data);
	be->release(device, x.grad);
	be->release(device, l.bias);
	for (int i = 0; i < BRANCHES; i++)
		tear_down(&b[i]);
}

/* ---- by columns, and from a file ---- */

/* y = W' x for pictures of one pixel, of which a filter's middle sees all; W' lies weight of the way from W to the sum
 * of both with other lengths, of rows or of columns.  all [OUT,fan] */
static void changed(const struct bench *b, const float *magnitude, bool by_input, double weight, double all[MOST])
{
	double norm[LONGEST];

	sum_of_both(b, all, norm, by_input);
	for (size_t i = 0; i < OUT * b->fan; i++) {
		const size_t k = axis(b, by_input, i / b->fan, i % b->fan);
		all[i] = b->host[i] + weight * (magnitude[k] / norm[k] * all[i] - b->host[i]);
	}
}

/* The bench's matrices in a file's layout, with lengths. */
static void write_file(const struct bench *b, const char *path, const char *stem, const float *magnitude, bool by_input)
{
	const int k = b->w.kh, dims = k > 1 ? 4 : 2;
	float *down = xmalloc(RANK * b->fan * sizeof(*down)), alpha = SCALE * RANK;
	char *name[] = { xprintf("%s.lora_down.weight", stem), xprintf("%s.lora_up.weight", stem),
			 xprintf("%s.alpha", stem), xprintf("%s.dora_scale", stem) };
	const struct safetensors_out t[] = {
		{ name[0], DTYPE_F32, dims, { RANK, IN, k, k }, down },
		{ name[1], DTYPE_F32, dims, { OUT, RANK, 1, 1 }, b->branch.part[LORA_UP].data },
		{ name[2], DTYPE_F32, 0, { 0 }, &alpha },
		{ name[3], DTYPE_F32, dims, { by_input ? 1 : OUT, by_input ? IN : 1, 1, 1 }, magnitude },
	};
	struct error e;

	for (size_t r = 0; r < RANK; r++)
		for (size_t i = 0; i < b->fan; i++)
			down[r * b->fan + i % IN * k * k + i / IN] = b->branch.part[LORA_DOWN].data[r * b->fan + i];
	assert_int_equal(safetensors_save(path, t, 4, NULL, 0, &e), 0);
	for (int i = 0; i < 4; i++)
		free(name[i]);
	free(down);
}

static struct tensor *run_layer(struct tape *t, struct tensor *x, const struct layer *l)
{
	return l->conv ? op_conv(t, x, l->conv) : op_linear(t, x, l->linear);
}

static void check_against(struct tape *t, const struct bench *b, const struct layer *l, const double *all)
{
	const size_t middle = b->w.kh / 2 * (b->w.kw + 1) * IN;
	struct tensor x = parameter(drawn(ROWS * IN, 1), ROWS, 1, IN), *y, *loss;
	float zeros[ROWS * OUT] = { 0 }, weights[ROWS];
	double want[ROWS * OUT] = { 0 }, dx[ROWS * IN] = { 0 };

	for (int i = 0; i < ROWS; i++)
		weights[i] = OUT / 2.0f;        /* then the loss's slope is y */
	y = run_layer(t, &x, l);
	for (int i = 0; i < ROWS * OUT; i++)
		for (int k = 0; k < IN; k++)
			want[i] += all[i % OUT * b->fan + middle + k] * x.data[i / OUT * IN + k];
	for (int i = 0; i < ROWS * OUT; i++)
		for (int k = 0; k < IN; k++)
			dx[i / OUT * IN + k] += want[i] * all[i % OUT * b->fan + middle + k];
	assert_near(y->data, want, ROWS * OUT);
	loss = op_loss(t, y, &(struct tensor){ .data = zeros, .n = ROWS, .h = 1, .w = 1, .c = OUT },
		       &(struct loss_terms){ .weight = weights });
	tape_backward(t, loss, 1);
	assert_near(x.grad, dx, ROWS * IN);
	be->release(device, x.data);
	be->release(device, x.grad);
}

/* One adapter of a file, with lengths of rows or columns; all += what it changes. */
static struct adapter *load(const struct bench *b, const struct layer_list *layers, const char *stem, bool by_input,
			    double weight, bool trainable, double *all)
{
	static double own[MOST];
	char path[] = "/tmp/test-dora-XXXXXX";
	float *magnitude = drawn(IN > OUT ? IN : OUT, 1);
	struct adapter *a;
	struct error e;

	assert_true(close(mkstemp(path)) == 0);
	write_file(b, path, stem, magnitude, by_input);
	a = adapter_load(path, layers, weight, trainable, be, device, &e);
	if (!a)
		fail_msg("%s", e.text);
	changed(b, magnitude, by_input, weight, own);
	for (size_t i = 0; i < OUT * b->fan; i++)
		all[i] += own[i] - b->host[i];
	unlink(path);
	be->release(device, magnitude);
	return a;
}

/* rows, columns: adapters with such lengths, all on one layer */
static void check_files(bool convolution, int rows, int columns, double weight, bool trainable)
{
	static double all[MOST];
	const char *stem = convolution ? "lora_unet_input_blocks_1_0_in_layers_2" :
		"lora_te1_text_model_encoder_layers_0_mlp_fc1";
	struct layer_list layers = { 0 };
	struct bench b;
	struct linear linear;
	struct conv conv;
	struct adapter *a[4];
	struct error e;
	struct tape *t = tape_new(be, device, 1 << 20, &e);

	assert_non_null(t);
	set_up(&b, convolution ? 3 : 1, 1, false);
	for (size_t i = 0; i < OUT * b.fan; i++)
		all[i] = b.host[i];
	linear = (struct linear){ b.w, NULL, NULL };
	conv = (struct conv){ b.w, NULL, NULL, 1 };
	layer_add(&layers, convolution ? COMPONENT_UNET : COMPONENT_TE1, LAYER_OTHER,
		  convolution ? "down_blocks.0.resnets.0.conv1" : "text_model.encoder.layers.0.mlp.fc1",
		  convolution ? NULL : &linear, convolution ? &conv : NULL);
	for (int i = 0; i < rows + columns; i++)
		a[i] = load(&b, &layers, stem, i >= rows, weight, trainable, all);
	check_against(t, &b, &layers.layer[0], all);
	for (int i = 0; i < rows + columns; i++)
		adapter_free(a[i]);
	layer_list_free(&layers);
	tape_free(t);
	tear_down(&b);
}

static void from_files(void **state)
{
	static const int together[][2] = { { 1, 0 }, { 0, 1 }, { 1, 1 }, { 2, 0 }, { 0, 2 }, { 2, 2 } };

	for (size_t k = 0; k < sizeof(together) / sizeof(*together); k++)
		for (int i = 0; i < 8; i++)
			check_files(i & 1, together[k][0], together[k][1], i & 2 ? 0.6 : 1, i & 4);
}

/* B is 0 and magnitudes are the norms, rounded once: the layer is W's. */
static void check_beginning(bool columns)
{
	struct bench b;
	struct linear with, without;
	struct error e;
	struct tape *t = tape_new(be, device, 1 << 20, &e);
	struct tensor x = parameter(drawn(ROWS * IN, 1), ROWS, 1, IN), *y, *plain;

	assert_non_null(t);
	set_up(&b, 1, 1, columns);
	memset(b.branch.part[LORA_UP].data, 0, OUT * RANK * sizeof(float));
	for (int i = 0; i < (columns ? IN : OUT); i++)
		b.branch.part[LENGTHS_PART].data[i] = sqrtf(b.branch.fixed[i]);
	with = (struct linear){ b.w, NULL, &b.branch };
	without = (struct linear){ b.w, NULL, NULL };
	y = op_linear(t, &x, &with);
	plain = op_linear(t, &x, &without);
	assert_memory_equal(y->data, plain->data, ROWS * OUT * sizeof(float));
	tape_free(t);
	be->release(device, x.data);
	be->release(device, x.grad);
	tear_down(&b);
}

static void begins_as_the_layer(void **state)
{
	check_beginning(false);
	check_beginning(true);
}

static int open_device(void **state)
{
	struct error e;

	return (device = be->open(&e)) ? 0 : -1;
}

static int close_device(void **state)
{
	be->close(device);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(norms), cmocka_unit_test(forward_and_back), cmocka_unit_test(branches_add_up),
		cmocka_unit_test(begins_as_the_layer), cmocka_unit_test(from_files),
	};

	return cmocka_run_group_tests(tests, open_device, close_device);
}
