/* Layers beside each other against single ones, bit for bit: outputs, the input's gradient and those of adapters; and
 * which layers do not lie beside each other. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../libcommon/adapter/lora.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/philox.h"
#include "../../libcommon/nn/ops.h"
#include <cmocka.h>     /* last: it takes the name fail */

enum { BATCH = 2, LENGTH = 7, WIDTH = 24, HEADS = 3, RANK = 5, LAYERS = 3, FIRST = LAYERS, LAST, ALL };

static const struct backend *const be = &cpu_backend;
static struct device *device;

/* q, k and v; what makes their input, so that this wants a gradient; and what reads a geglu, which is half as wide */
struct network { struct linear layer[ALL]; struct branch lora[ALL]; float x[BATCH * LENGTH * WIDTH]; };

static float *drawn(size_t n, float spread)
{
	static uint32_t draws;
	float *x = be->alloc(device, n * sizeof(*x));

	assert_non_null(x);
	random_normal(&(struct random){ 5, RANDOM_TEST, draws++, 0 }, x, n);    /* the CPU's memory is the host's */
	for (size_t i = 0; i < n; i++)
		x[i] *= spread;
	return x;
}

static struct tensor parameter(int n, int c)
{
	return (struct tensor){ .data = drawn((size_t)n * c, 0.3f), .grad = drawn((size_t)n * c, 1), .n = n, .h = 1,
				.w = 1, .c = c, .wants_grad = true, .home = HOME_OWNER };
}

static void make_layer(struct network *n, int i, int in)
{
	float *host = drawn(WIDTH * in, 0.2f);

	n->layer[i] = (struct linear){ .w = { .dtype = DTYPE_F32, .out = WIDTH, .in = in, .kh = 1, .kw = 1 },
				       .bias = drawn(WIDTH, 0.1f), .branch = &n->lora[i] };
	assert_int_equal(be->prepare(device, &n->layer[i].w, host), 0);
	be->release(device, host);
	n->lora[i] = (struct branch){ .kind = &kind_lora.branch, .inner = &kind_lora.branch, .rank = RANK,
				      .scale = 0.5f };
	n->lora[i].part[LORA_UP] = parameter(WIDTH, RANK);
	n->lora[i].part[LORA_DOWN] = parameter(RANK, in);
}

static int make(void **state)
{
	struct network *n = xcalloc(1, sizeof(*n));
	struct error e;

	device = be->open(&e);
	for (int i = 0; i < ALL; i++)
		make_layer(n, i, i == LAST ? WIDTH / 2 : WIDTH);
	random_normal(&(struct random){ 5, RANDOM_LATENT, 0, 0 }, n->x, BATCH * LENGTH * WIDTH);
	*state = n;
	return 0;
}

static int discard(void **state)
{
	struct network *n = *state;

	for (int i = 0; i < ALL; i++) {
		be->unprepare(device, &n->layer[i].w);
		be->release(device, n->layer[i].bias);
		for (int p = 0; p < BRANCH_PARTS; p++) {
			be->release(device, n->lora[i].part[p].data);
			be->release(device, n->lora[i].part[p].grad);
		}
	}
	be->close(device);
	free(n);
	return 0;
}

/* What a step makes: attention's output, and the gradients of all adapters. */
enum { MADE = BATCH * LENGTH * WIDTH, GRADS = ALL * 2 * RANK * WIDTH };
struct result { float o[MADE], grad[GRADS]; bool beside; };

static struct tensor *attend(struct tape *t, const struct network *n, struct tensor *x, bool beside,
			     struct slice *qkv)
{
	const struct linear *const of_x[] = { &n->layer[0], &n->layer[1], &n->layer[2] };

	if (beside)
		op_linears(t, last_use(x), of_x, LAYERS, qkv);
	else
		for (int i = 0; i < LAYERS; i++)
			qkv[i] = whole_slice(op_linear(t, i < LAYERS - 1 ? x : last_use(x), of_x[i]));
	for (int i = 0; i < LAYERS; i++)
		last_use(qkv[i].of);
	return op_attention(t, qkv[0], qkv[1], qkv[2], HEADS, false);
}

/* The gradients of all adapters, one behind the other, which are forgotten; what has none is as it was. */
static void take_gradients(struct network *n, float *at)
{
	for (int i = 0; i < ALL; i++)
		for (int p = 0; p < BRANCH_PARTS; p++) {
			struct tensor *part = &n->lora[i].part[p];

			if (!part->n)
				continue;
			if (part->has_grad)
				memcpy(at, part->grad, tensor_count(part) * sizeof(*at));
			at += tensor_count(part);
			part->has_grad = false;
		}
}

/* beside: by op_linears() */
static void run(struct network *n, bool beside, struct result *r)
{
	struct error e;
	struct tape *t = tape_new(be, device, 1 << 20, &e);
	struct tensor *x = tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->x), *zero, *weight, *o;
	const float one[BATCH] = { 1, 2 };
	static const float zeros[MADE];
	struct slice qkv[LAYERS];

	zero = tensor_from(t, BATCH, LENGTH, 1, WIDTH, zeros);
	weight = tensor_from(t, BATCH, 1, 1, 1, one);
	o = attend(t, n, op_linear(t, x, &n->layer[FIRST]), beside, qkv);
	r->beside = qkv[0].of == qkv[1].of && qkv[1].of == qkv[2].of;
	tensor_download(t, o, r->o);
	tape_backward(t, op_loss(t, o, zero, &(struct loss_terms){ .weight = weight->data }), 1);
	take_gradients(n, r->grad);
	tape_free(t);
}

static void check(struct network *n, bool beside)
{
	static struct result single, together;

	memset(&single, 0, sizeof(single));
	memset(&together, 0, sizeof(together));
	run(n, false, &single);
	run(n, true, &together);
	assert_int_equal(together.beside, beside);
	assert_memory_equal(single.o, together.o, sizeof(single.o));
	assert_memory_equal(single.grad, together.grad, sizeof(single.grad));
}

static void adapted_layers_are_those_alone(void **state)
{
	check(*state, true);
}

static void so_are_some_without_an_adapter_or_with_half_of_one(void **state)
{
	struct network *n = *state;

	n->layer[1].branch = NULL;
	n->lora[0].part[LORA_UP].wants_grad = false;    /* its z waits for nobody, that behind it does */
	check(n, true);
	n->lora[2].part[LORA_DOWN].wants_grad = false;
	check(n, true);
	n->layer[0].branch = n->layer[2].branch = NULL;
	check(n, true);
	n->layer[0].branch = &n->lora[0];
	n->layer[1].branch = &n->lora[1];
	n->layer[2].branch = &n->lora[2];
	n->lora[0].part[LORA_UP].wants_grad = n->lora[2].part[LORA_DOWN].wants_grad = true;
}

/* Two adapters on one layer; one that may drop something out, even where it does not now, as memory is planned once. */
static void others_are_single(void **state)
{
	struct network *n = *state;
	struct branch_dropout dropout = { .on = false, .value = 0.5 };
	struct branch second = n->lora[0];

	second.next = &n->lora[0];
	n->layer[0].branch = &second;
	check(n, false);
	n->layer[0].branch = &n->lora[0];
	n->lora[1].dropout = &dropout;
	check(n, false);
	dropout.value = 0;
	check(n, true);
	n->lora[1].dropout = NULL;
}

static size_t gradients_at_once;

static void counted_dx_geglu(struct device *d, struct values dh, struct values dx, struct values dy, struct values h,
			     const struct weight *w, int rows, const struct narrow *more)
{
	gradients_at_once++;
	be->linear_dx_geglu(d, dh, dx, dy, h, w, rows, more);
}

/* Layer LAST of geglu(layer 0 of layer FIRST's output).  AT_ONCE: in one call each way; but where something else reads
 * the geglu too (READ_BEFORE, READ_BEHIND) or what it is made of (READ_GATE), in two backward. */
enum gates { AT_ONCE = 1, READ_BEFORE = 2, READ_BEHIND = 4, READ_GATE = 8 };

static struct tensor *gated(struct tape *t, struct network *n, struct tensor *x, enum gates gates)
{
	struct tensor *g, *beside = NULL, *h = NULL, *y;

	if (gates & READ_GATE || !(gates & AT_ONCE))
		h = op_linear(t, x, &n->layer[0]);
	g = !h ? op_linear_geglu(t, x, &n->layer[0]) : op_geglu(t, gates & READ_GATE ? h : last_use(h));
	if (!(gates & AT_ONCE))
		g->gate = NULL;
	if (gates & READ_BEFORE)
		beside = op_activation(t, g, ACT_SILU);
	y = op_linear(t, gates & READ_BEHIND ? g : last_use(g), &n->layer[LAST]);
	if (gates & READ_BEHIND)
		beside = op_activation(t, last_use(g), ACT_SILU);
	if (gates & READ_GATE)
		beside = op_activation(t, last_use(h), ACT_SILU);
	return beside ? op_concat(t, y, beside) : y;
}

static void gate(struct network *n, enum gates gates, float *made)
{
	struct backend counts = *be;
	struct error e;
	struct tape *t;
	struct tensor *x, *weight, *y;
	const float one[BATCH] = { 1, 2 };
	static const float zeros[2 * MADE];

	counts.linear_dx_geglu = counted_dx_geglu;
	gradients_at_once = 0;
	t = tape_new(&counts, device, 1 << 20, &e);
	x = tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->x);
	weight = tensor_from(t, BATCH, 1, 1, 1, one);
	y = gated(t, n, last_use(op_linear(t, x, &n->layer[FIRST])), gates);
	tensor_download(t, y, made);
	tape_backward(t, op_loss(t, y, tensor_from(t, y->n, y->h, 1, y->c, zeros),
				 &(struct loss_terms){ .weight = weight->data }), 1);
	take_gradients(n, made + tensor_count(y));
	tape_free(t);
}

static void check_gate(struct network *n, bool backward_too)
{
	static const enum gates reads[] = { 0, READ_BEFORE, READ_BEHIND, READ_GATE };
	static float apart[2 * MADE + GRADS], at_once[2 * MADE + GRADS];

	for (size_t i = 0; i < sizeof(reads) / sizeof(*reads); i++) {
		memset(apart, 0, sizeof(apart));
		memset(at_once, 0, sizeof(at_once));
		gate(n, reads[i], apart);
		assert_int_equal(gradients_at_once, 0);
		gate(n, reads[i] | AT_ONCE, at_once);
		assert_int_equal(gradients_at_once, backward_too && !reads[i]);
		assert_memory_equal(apart, at_once, sizeof(apart));
	}
}

static void a_layer_and_its_geglu_are_those_alone(void **state)
{
	struct network *n = *state;
	struct branch_dropout dropout = { .on = false, .value = 0.5 };
	struct branch second = n->lora[LAST];

	check_gate(n, true);
	second.next = &n->lora[LAST];
	n->layer[LAST].branch = &second;
	check_gate(n, false);
	n->layer[LAST].branch = &n->lora[LAST];
	n->lora[0].dropout = &dropout;          /* two calls forward */
	check_gate(n, true);
	n->lora[0].dropout = NULL;
	n->lora[0].part[LORA_UP].wants_grad = false;
	check_gate(n, true);
	n->layer[0].branch = NULL;
	check_gate(n, true);
	n->layer[FIRST].branch = NULL;          /* nothing before it is trained */
	check_gate(n, false);
	n->layer[FIRST].branch = &n->lora[FIRST];
	n->layer[LAST].branch = NULL;
	check_gate(n, false);
	n->layer[0].branch = &n->lora[0];
	n->layer[LAST].branch = &n->lora[LAST];
	n->lora[0].part[LORA_UP].wants_grad = true;
}

static struct tensor *layers_last(struct tape *t, const void *network, struct tensor *const *in)
{
	const struct network *n = network;
	const struct linear *const l[] = { &n->layer[0], &n->layer[1] };
	struct slice y[2];

	op_linears(t, last_use(in[0]), l, 2, y);
	return y[0].of;
}

/* Of a block's last layers backward reads no output, but what their adapters left beside it. */
static void a_blocks_last_layers_run_again(void **state)
{
	struct network *n = *state;
	static const float zeros[2 * MADE], one[BATCH] = { 1, 2 };
	static float grad[2][GRADS];
	struct error e;

	for (int i = 0; i < 2; i++) {
		struct tape *t = tape_new(be, device, 1 << 20, &e);
		struct tensor *x = tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->x), *y;
		struct tensor *weight = tensor_from(t, BATCH, 1, 1, 1, one);

		tape_checkpointing(t, i);
		x = last_use(op_linear(t, x, &n->layer[FIRST]));
		y = tape_block(t, layers_last, n, &x, 1);
		tape_backward(t, op_loss(t, y, tensor_from(t, y->n, y->h, 1, y->c, zeros),
					 &(struct loss_terms){ .weight = weight->data }), 1);
		take_gradients(n, grad[i]);
		tape_free(t);
	}
	assert_memory_equal(grad[0], grad[1], sizeof(grad[0]));
}

/* Keys that are values too: their gradients are added up.  APART: values are what the same layer makes once more, in
 * memory of their own. */
enum way { APART, SINGLE, BESIDE, WAYS };
static void read_twice(struct network *n, enum way way, float *grad)
{
	const struct linear *const l[] = { &n->layer[0], &n->layer[1] };
	const float one[BATCH] = { 1, 2 };
	struct error e;
	struct tape *t = tape_new(be, device, 1 << 20, &e);
	struct tensor *x = tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->x), *weight, *o;
	struct slice y[2], v;

	weight = tensor_from(t, BATCH, 1, 1, 1, one);
	if (way == BESIDE)
		op_linears(t, x, l, 2, y);
	else
		for (int i = 0; i < 2; i++)
			y[i] = whole_slice(op_linear(t, x, l[i]));
	v = way == APART ? whole_slice(op_linear(t, x, l[1])) : y[1];
	o = op_attention(t, y[0], y[1], v, HEADS, false);
	tape_backward(t, op_loss(t, o, tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->x),
				 &(struct loss_terms){ .weight = weight->data }), 1);
	for (int i = 0; i < 2; i++) {
		memcpy(grad + i * RANK * WIDTH, n->lora[i].part[LORA_UP].grad, RANK * WIDTH * sizeof(*grad));
		n->lora[i].part[LORA_UP].has_grad = n->lora[i].part[LORA_DOWN].has_grad = false;
	}
	tape_free(t);
}

/* APART adds in another order: sums of some 100 floats, of 24 bits each. */
static void attention_may_read_columns_twice(void **state)
{
	static float grad[WAYS][2 * RANK * WIDTH];
	float most = 0;

	for (int way = 0; way < WAYS; way++)
		read_twice(*state, way, grad[way]);
	assert_memory_equal(grad[SINGLE], grad[BESIDE], sizeof(grad[SINGLE]));
	for (int i = 0; i < 2 * RANK * WIDTH; i++)
		most = fmaxf(most, fabsf(grad[APART][i]));
	assert_true(most > 0);
	for (int i = 0; i < 2 * RANK * WIDTH; i++)
		assert_true(fabsf(grad[APART][i] - grad[SINGLE][i]) <= 1e-5f * most);
}

/* v is read by nobody: its gradient would hold anything. */
static void attention_reads_all_columns(void **state)
{
	struct network *n = *state;
	const struct linear *const l[] = { &n->layer[0], &n->layer[1], &n->layer[2] };
	int status = 0;
	const pid_t child = fork();

	if (!child) {
		struct error e;
		struct tape *t = tape_new(be, device, 1 << 20, &e);
		struct slice qkv[LAYERS];

		close(STDERR_FILENO);
		op_linears(t, tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->x), l, LAYERS, qkv);
		op_attention(t, qkv[0], qkv[1], qkv[1], HEADS, false);
		_exit(0);
	}
	assert_true(child > 0 && waitpid(child, &status, 0) == child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adapted_layers_are_those_alone),
		cmocka_unit_test(so_are_some_without_an_adapter_or_with_half_of_one),
		cmocka_unit_test(others_are_single), cmocka_unit_test(a_layer_and_its_geglu_are_those_alone),
		cmocka_unit_test(a_blocks_last_layers_run_again),
		cmocka_unit_test(attention_may_read_columns_twice),
		cmocka_unit_test(attention_reads_all_columns),
	};

	return cmocka_run_group_tests(tests, make, discard);
}
