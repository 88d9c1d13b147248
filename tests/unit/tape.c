/* The tape on a small hand-made network: checkpointed equals inline bit for bit,
 * the dry run measures what the real one takes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../libcommon/adapter/lora.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/philox.h"
#include "../../libcommon/nn/ops.h"
#include "../../libcommon/nn/workspace.h"
#include <cmocka.h>     /* last: it takes the name fail */

enum { BATCH = 3, LENGTH = 5, WIDTH = 24, HIDDEN = 40, RANK = 3, BLOCKS = 3 };

static const struct backend *be;
static struct device *device;

/* x + down(gelu(up(norm(x)))), adapters on both; the first block's are frozen, so that it needs no backward */
struct block { struct norm norm, wide; struct linear up, down; struct branch up_lora, down_lora; };
struct network { struct block block[BLOCKS]; float x[BATCH * LENGTH * WIDTH], target[BATCH * LENGTH * WIDTH],
		 weight[BATCH]; };

static float *on_device(uint32_t item, size_t n, float scale)
{
	float *host = xmalloc(n * sizeof(*host)), *p = be->alloc(device, n * sizeof(*host));
	struct random r = { 7, RANDOM_NOISE, 0, item };

	assert_non_null(p);
	random_normal(&r, host, n);
	for (size_t i = 0; i < n; i++)
		host[i] *= scale;
	be->upload(device, p, host, n * sizeof(*host));
	free(host);
	return p;
}

static void make_linear(struct linear *l, struct branch *lora, int in, int out, uint32_t item, bool trains)
{
	float *host = on_device(item, (size_t)in * out, 0.2f);

	*l = (struct linear){ .w = { .dtype = DTYPE_F32, .out = out, .in = in, .kh = 1, .kw = 1 },
			      .bias = on_device(item + 1, out, 0.1f) };
	assert_int_equal(be->prepare(device, &l->w, host), 0);  /* the CPU's device memory is host memory */
	be->release(device, host);
	*lora = (struct branch){ .kind = &kind_lora.branch, .inner = &kind_lora.branch, .rank = RANK, .scale = 0.5f };
	lora->part[LORA_DOWN] = (struct tensor){ .data = on_device(item + 2, (size_t)RANK * in, 0.3f), .n = RANK,
						 .h = 1, .w = 1, .c = in,
				      .wants_grad = trains, .home = HOME_OWNER };
	lora->part[LORA_UP] = (struct tensor){ .data = on_device(item + 3, (size_t)RANK * out, 0.3f), .n = out, .h = 1,
					       .w = 1, .c = RANK,
				    .wants_grad = trains, .home = HOME_OWNER };
	if (trains) {
		lora->part[LORA_DOWN].grad = on_device(item + 4, (size_t)RANK * in, 1);
		lora->part[LORA_UP].grad = on_device(item + 5, (size_t)RANK * out, 1);
	}
	l->branch = lora;
}

static void make_block(struct block *b, uint32_t item, bool trains)
{
	b->norm = (struct norm){ on_device(item, WIDTH, 1), on_device(item + 1, WIDTH, 0.1f), WIDTH, 0, 1e-5f };
	make_linear(&b->up, &b->up_lora, WIDTH, HIDDEN, item + 2, trains);
	make_linear(&b->down, &b->down_lora, HIDDEN, WIDTH, item + 10, trains);
	b->wide = (struct norm){ b->up.bias, b->up.bias, HIDDEN, 0, 1e-5f };
}

static void free_linear(struct linear *l)
{
	be->unprepare(device, &l->w);
	be->release(device, l->bias);
	be->release(device, l->branch->part[LORA_DOWN].data);
	be->release(device, l->branch->part[LORA_DOWN].grad);
	be->release(device, l->branch->part[LORA_UP].data);
	be->release(device, l->branch->part[LORA_UP].grad);
}

static int make(void **state)
{
	struct network *n = xcalloc(1, sizeof(*n));
	struct error e;

	be = backend_find("cpu", &e);
	device = be->open(&e);
	for (int i = 0; i < BLOCKS; i++)
		make_block(&n->block[i], 100 * i, i > 0);
	random_normal(&(struct random){ 7, RANDOM_LATENT, 0, 0 }, n->x, BATCH * LENGTH * WIDTH);
	random_normal(&(struct random){ 7, RANDOM_LATENT, 0, 1 }, n->target, BATCH * LENGTH * WIDTH);
	for (int i = 0; i < BATCH; i++)
		n->weight[i] = 0.5f + i;
	*state = n;
	return 0;
}

static int discard(void **state)
{
	struct network *n = *state;

	for (int i = 0; i < BLOCKS; i++) {
		be->release(device, n->block[i].norm.gain);
		be->release(device, n->block[i].norm.bias);
		free_linear(&n->block[i].up);
		free_linear(&n->block[i].down);
	}
	be->close(device);
	free(n);
	return 0;
}

static struct tensor *block_forward(struct tape *t, const void *block, struct tensor *const *in)
{
	const struct block *b = block;
	struct tensor *y = op_layer_norm(t, in[0], &b->norm);

	y = op_activation(t, op_linear(t, y, &b->up), ACT_GELU);
	return op_add(t, in[0], op_linear(t, y, &b->down));
}

static struct tensor *forward(struct tape *t, const struct network *n)
{
	struct tensor *x = tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->x),
		*target = tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->target);
	struct tensor *weight = tensor_from(t, BATCH, 1, 1, 1, n->weight);

	for (int i = 0; i < BLOCKS; i++)
		x = tape_block(t, block_forward, &n->block[i], &x, 1);
	return op_loss(t, x, target, &(struct loss_terms){ .weight = weight->data });
}

static void forget(struct network *n)
{
	for (int i = 0; i < BLOCKS; i++)
		n->block[i].up_lora.part[LORA_UP].has_grad = n->block[i].up_lora.part[LORA_DOWN].has_grad =
			n->block[i].down_lora.part[LORA_UP].has_grad =
			n->block[i].down_lora.part[LORA_DOWN].has_grad = false;
}

static void step(struct tape *t, struct network *n, float loss[BATCH])
{
	struct tensor *l;

	tape_reset(t);
	l = forward(t, n);
	tape_backward(t, l, 1.0f / BATCH);
	tensor_download(t, l, loss);
}

static size_t measured(struct network *n, bool checkpointing)
{
	struct tape *dry = tape_new_dry();
	float loss[BATCH];
	size_t peak;

	tape_checkpointing(dry, checkpointing);
	step(dry, n, loss);
	forget(n);
	peak = tape_peak(dry);
	tape_free(dry);
	return peak;
}

/* all gradients in a row, [blocks][up's down, up's up, down's down, down's up] */
enum { GRADS = (BLOCKS - 1) * 2 * RANK * (WIDTH + HIDDEN) };

static void put(float **at, const struct tensor *p)
{
	be->download(device, *at, p->grad, tensor_count(p) * sizeof(float));
	*at += tensor_count(p);
}

static void gradients(const struct network *n, float *out)
{
	for (int i = 1; i < BLOCKS; i++) {
		put(&out, &n->block[i].up_lora.part[LORA_DOWN]);
		put(&out, &n->block[i].up_lora.part[LORA_UP]);
		put(&out, &n->block[i].down_lora.part[LORA_DOWN]);
		put(&out, &n->block[i].down_lora.part[LORA_UP]);
	}
}

static void run(struct network *n, bool checkpointing, float loss[BATCH], float *grads)
{
	struct error e;
	struct tape *t = tape_new(be, device, measured(n, checkpointing), &e);

	assert_non_null(t);
	tape_checkpointing(t, checkpointing);
	step(t, n, loss);
	gradients(n, grads);
	forget(n);
	tape_free(t);
}

static void checkpointed_is_inline(void **state)
{
	static float inline_grads[GRADS], grads[GRADS];
	float inline_loss[BATCH], loss[BATCH];

	run(*state, false, inline_loss, inline_grads);
	run(*state, true, loss, grads);
	assert_memory_equal(loss, inline_loss, sizeof(loss));
	assert_memory_equal(grads, inline_grads, sizeof(grads));
	for (int i = 0; i < BATCH; i++)
		assert_true(inline_loss[i] > 0.01);
}

/* The same step from any earlier state of the arena: nothing of the step before is read. */
static void repeated_step_is_the_same(void **state)
{
	static float first[GRADS], second[GRADS];
	float loss[BATCH];
	struct error e;
	struct tape *t = tape_new(be, device, measured(*state, true), &e);

	tape_checkpointing(t, true);
	step(t, *state, loss);
	gradients(*state, first);
	forget(*state);
	step(t, *state, loss);
	gradients(*state, second);
	forget(*state);
	tape_free(t);
	assert_memory_equal(first, second, sizeof(first));
}

static int steps_ended;

/* Of the first one, nothing was carried out. */
static bool first_again(struct device *d)
{
	return steps_ended++ == 0;
}

static void step_that_was_not_carried_out_adds_nothing(void **state)
{
	static float plain[GRADS], grads[GRADS];
	struct backend once = *be;
	float loss[BATCH];
	struct error e;
	struct tape *t;

	run(*state, false, loss, plain);
	once.step_end = first_again;
	t = tape_new(&once, device, measured(*state, false), &e);
	steps_ended = 0;
	do {
		tape_step_begins(t, 0);
		tape_backward(t, forward(t, *state), 1.0f / BATCH);
	} while (tape_step_again(t));
	gradients(*state, grads);
	forget(*state);
	tape_free(t);
	assert_int_equal(steps_ended, 2);
	assert_memory_equal(grads, plain, sizeof(grads));
}

/* Gradients of an accumulation add up: twice the same batch is twice the gradient,
 * to rounding of float sums (2^-23 each). */
static void second_batch_adds(void **state)
{
	static float once[GRADS], twice[GRADS];
	float loss[BATCH];
	struct error e;
	struct tape *t = tape_new(be, device, measured(*state, false), &e);

	step(t, *state, loss);
	gradients(*state, once);
	step(t, *state, loss);
	gradients(*state, twice);
	forget(*state);
	tape_free(t);
	for (int i = 0; i < GRADS; i++)
		assert_true(fabsf(twice[i] - 2 * once[i]) <= 1e-5f * (1 + fabsf(once[i])));
}

/* d(mean loss)/d(parameter) against a difference in the loss.
 * Loss values are float32 near 1: 1e-7 of noise over 2e-2 of change. */
static void gradient_is_a_slope(void **state)
{
	struct network *n = *state;
	static float grads[GRADS];
	const float h = 1e-2f;
	float loss[BATCH], *p = n->block[1].up_lora.part[LORA_UP].data;    /* the CPU's device memory is host memory */
	const float *g = grads + RANK * WIDTH;                  /* the second entry of block 1 */

	run(n, true, loss, grads);
	for (int k = 0; k < RANK * HIDDEN; k += 17) {
		static float none[GRADS];
		float kept = p[k];
		double high = 0, low = 0;

		p[k] = kept + h;
		run(n, false, loss, none);
		for (int i = 0; i < BATCH; i++)
			high += loss[i] / BATCH;
		p[k] = kept - h;
		run(n, false, loss, none);
		for (int i = 0; i < BATCH; i++)
			low += loss[i] / BATCH;
		p[k] = kept;
		assert_true(fabs((high - low) / (2 * h) - g[k]) < 1e-3 * (1 + fabs(g[k])));
	}
}

static void dry_peak_is_the_real_one(void **state)
{
	size_t peaks[2];

	for (int checkpointing = 0; checkpointing < 2; checkpointing++) {
		struct error e;
		struct tape *t = tape_new(be, device, 1 << 20, &e);
		float loss[BATCH];

		tape_checkpointing(t, checkpointing);
		step(t, *state, loss);
		forget(*state);
		peaks[checkpointing] = tape_peak(t);
		tape_free(t);
		assert_int_equal(peaks[checkpointing], measured(*state, checkpointing));
	}
	assert_true(peaks[1] < peaks[0]);
}

/* With one line less than measured the step ends the program with status 5: it must not write beside the arena. */
static void exhausted_arena_ends_it(void **state)
{
	int status;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (!child) {
		struct error e;
		struct tape *t = tape_new(be, device, measured(*state, false) - 64, &e);
		float loss[BATCH];

		close(STDERR_FILENO);
		step(t, *state, loss);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXIT_MEMORY);
}

static void *no_memory(struct device *d, size_t bytes)
{
	return NULL;
}

static void arena_without_memory_is_an_error(void **state)
{
	struct backend full = *be;
	struct error e = { 0 };

	full.alloc = no_memory;
	assert_null(tape_new(&full, device, 1 << 20, &e));
	assert_int_equal(e.code, EXIT_MEMORY);
	assert_non_null(strstr(e.text, "gradient-checkpointing"));
}

static struct tensor *inference(struct tape *t, void *arg)
{
	return forward(t, arg);
}

static void inference_records_nothing(void **state)
{
	struct workspace w = { .be = be, .device = device };
	static float grads[GRADS];
	float trained[BATCH], inferred[BATCH];
	struct error e;
	struct tensor *y = workspace_run(&w, inference, *state, &e);
	size_t peak;

	assert_non_null(y);
	tensor_download(w.tape, y, inferred);
	peak = w.bytes;
	y = workspace_run(&w, inference, *state, &e);
	assert_non_null(y);
	assert_int_equal(w.bytes, peak);
	workspace_free(&w);
	run(*state, false, trained, grads);
	assert_memory_equal(inferred, trained, sizeof(trained));
	assert_true(peak < measured(*state, true));
}

static void own_gradients(struct network *n, float *own[BLOCKS][4], bool given)
{
	for (int i = 1; i < BLOCKS; i++) {
		struct tensor *const p[4] = { &n->block[i].up_lora.part[LORA_DOWN], &n->block[i].up_lora.part[LORA_UP],
					      &n->block[i].down_lora.part[LORA_DOWN],
					      &n->block[i].down_lora.part[LORA_UP] };
		for (int k = 0; k < 4; k++) {
			if (!given)
				own[i][k] = p[k]->grad;
			p[k]->grad = given ? own[i][k] : NULL;
		}
	}
}

/* Parameters without memory for gradients get the tape's, with the same values, until the next step begins. */
static void gradients_are_lent(void **state)
{
	static float want[GRADS], got[GRADS];
	struct network *n = *state;
	float *own[BLOCKS][4], loss[BATCH];
	struct error e;
	struct tape *t;

	for (int checkpointing = 0; checkpointing < 2; checkpointing++) {
		size_t need, own_need = measured(n, checkpointing);
		run(n, checkpointing, loss, want);
		own_gradients(n, own, false);
		need = measured(n, checkpointing);
		assert_null(n->block[1].up_lora.part[LORA_UP].grad);       /* the dry tape's are gone with it */
		t = tape_new(be, device, need, &e);
		tape_checkpointing(t, checkpointing);
		step(t, n, loss);
		gradients(n, got);
		assert_memory_equal(got, want, sizeof(got));
		tape_reset(t);
		assert_null(n->block[2].down_lora.part[LORA_UP].grad);
		assert_false(n->block[2].down_lora.part[LORA_UP].has_grad);
		tape_free(t);
		own_gradients(n, own, true);
		/* some go where activations were */
		assert_true(need >= own_need && need < own_need + GRADS * sizeof(float));
	}
}

static struct tensor *chained(struct tape *t, void *arg, bool told)
{
	struct network *n = arg;
	struct tensor *x = tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->x);

	for (int i = 0; i < 6; i++) {
		struct tensor *y = op_activation(t, told ? last_use(x) : x, ACT_SILU);
		x = y;
	}
	return x;
}

static struct tensor *told(struct tape *t, void *arg) { return chained(t, arg, true); }
static struct tensor *untold(struct tape *t, void *arg) { return chained(t, arg, false); }

static void what_is_read_last_goes(void **state)
{
	struct workspace w = { .be = be, .device = device };
	float y[2][BATCH * LENGTH * WIDTH];
	struct error e;
	struct tensor *x;

	assert_int_equal(7 * workspace_need(told, *state), 2 * workspace_need(untold, *state));
	x = workspace_run(&w, untold, *state, &e);
	tensor_download(w.tape, x, y[0]);
	x = workspace_run(&w, told, *state, &e);
	tensor_download(w.tape, x, y[1]);
	assert_memory_equal(y[0], y[1], sizeof(y[0]));
	workspace_free(&w);
}

/* Of three blocks the first is frozen: with it and the next checkpointed, the third runs once. */
static void last_blocks_may_stay(void **state)
{
	static float want[GRADS], got[GRADS];
	struct network *n = *state;
	float loss[BATCH];
	struct error e;
	size_t peak[BLOCKS + 1];

	run(n, false, loss, want);
	for (int first = 0; first <= BLOCKS; first++) {
		struct tape *t = tape_new(be, device, 1 << 20, &e);
		tape_checkpoint_first(t, first);
		step(t, n, loss);
		assert_int_equal(tape_blocks(t), BLOCKS);
		gradients(n, got);
		forget(n);
		assert_memory_equal(got, want, sizeof(got));
		peak[first] = tape_peak(t);
		tape_free(t);
	}
	assert_true(peak[1] < peak[0] && peak[2] <= peak[1]);
	assert_int_equal(peak[BLOCKS], measured(n, true));
	assert_int_equal(peak[0], measured(n, false));
}

/* ---- what runs again ---- */

static size_t linears, activations;

static void counted_linear(struct device *d, struct values y, struct values x, const struct weight *w,
			   const float *bias, int rows, const struct narrow *add)
{
	linears++;
	be->linear(d, y, x, w, bias, rows, add);
}

static void counted_activation(struct device *d, struct values y, struct values x, size_t n, enum activation kind)
{
	activations++;
	be->activation(d, y, x, n, kind);
}

/* Each of three blocks runs forward, and the two that are trained again: but not their last layer, whose output
 * backward does not read, while it reads that layer's input. */
static void what_nobody_reads_does_not_run_again(void **state)
{
	struct backend counting = *be;
	struct error e;
	struct tape *t;
	float loss[BATCH];

	counting.linear = counted_linear;
	counting.activation = counted_activation;
	t = tape_new(&counting, device, 1 << 20, &e);
	tape_checkpointing(t, true);
	linears = activations = 0;
	step(t, *state, loss);
	forget(*state);
	tape_free(t);
	assert_int_equal(linears, 2 * BLOCKS + (BLOCKS - 1));
	assert_int_equal(activations, BLOCKS + (BLOCKS - 1));
}

/* x + down(gelu(norm(up(norm(x))))), all of it told what is read last.  The input of gelu is made again too. */
static struct tensor *told_block(struct tape *t, const void *block, struct tensor *const *in)
{
	const struct block *b = block;
	struct tensor *y = last_use(op_layer_norm(t, in[0], &b->norm));

	y = last_use(op_layer_norm(t, last_use(op_linear(t, y, &b->up)), &b->wide));
	y = last_use(op_activation(t, y, ACT_GELU));
	return op_add(t, in[0], last_use(op_linear(t, y, &b->down)));
}

/* Gradients, peak, and numbers of linear layers and activations of a step. */
static size_t told_step(struct network *n, bool cheap, size_t checkpointed, float *grads)
{
	struct backend counting = *be;
	struct tensor *x, *weight, *target;
	struct error e;
	struct tape *t;
	size_t peak;

	counting.linear = counted_linear;
	counting.activation = counted_activation;
	t = tape_new(&counting, device, 1 << 20, &e);
	tape_cheap_again(t, cheap);
	tape_checkpoint_first(t, checkpointed);
	linears = activations = 0;
	x = tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->x);
	target = tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->target);
	weight = tensor_from(t, BATCH, 1, 1, 1, n->weight);
	for (int i = 0; i < BLOCKS; i++) {
		x = last_use(x);
		x = tape_block(t, told_block, &n->block[i], &x, 1);
	}
	tape_backward(t, op_loss(t, x, target, &(struct loss_terms){ .weight = weight->data }), 1);
	gradients(n, grads);
	forget(n);
	peak = tape_peak(t);
	tape_free(t);
	return peak;
}

/* What is cheap runs again once for each block that is trained, and linear layers do not. */
static void what_is_cheap_is_made_again(void **state)
{
	static float want[GRADS], got[GRADS];
	const size_t all = told_step(*state, false, 0, want);

	for (size_t checkpointed = 0; checkpointed <= BLOCKS; checkpointed++) {
		const size_t peak = told_step(*state, true, checkpointed, got);

		assert_memory_equal(got, want, sizeof(got));
		assert_int_equal(activations, BLOCKS + (BLOCKS - 1));
		if (checkpointed)
			continue;
		assert_int_equal(linears, 2 * BLOCKS);
		assert_true(peak < all);
	}
}

/* Blocks of whose last operation backward reads something: the statistics of a norm; attention's output. */
static struct tensor *both_linears(struct tape *t, const struct block *b, struct tensor *x)
{
	return op_linear(t, op_activation(t, op_linear(t, x, &b->up), ACT_GELU), &b->down);
}

static struct tensor *norm_last(struct tape *t, const void *block, struct tensor *const *in)
{
	const struct block *b = block;

	return op_layer_norm(t, both_linears(t, b, in[0]), &b->norm);
}

static struct tensor *attention_last(struct tape *t, const void *block, struct tensor *const *in)
{
	struct tensor *y = both_linears(t, block, in[0]);

	return op_attention(t, whole_slice(y), whole_slice(y), whole_slice(y), 1, false);
}

static void run_blocks(struct network *n, block_fn *fn, bool checkpointing, float *grads)
{
	struct error e;
	struct tape *t = tape_new(be, device, 1 << 20, &e);
	struct tensor *x, *weight, *target;

	tape_checkpointing(t, checkpointing);
	x = tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->x);
	target = tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->target);
	weight = tensor_from(t, BATCH, 1, 1, 1, n->weight);
	for (int i = 0; i < BLOCKS; i++)
		x = tape_block(t, fn, &n->block[i], &x, 1);
	tape_backward(t, op_loss(t, x, target, &(struct loss_terms){ .weight = weight->data }), 1);
	gradients(n, grads);
	forget(n);
	tape_free(t);
}

static void what_the_last_one_leaves_is_made_again(void **state)
{
	block_fn *const blocks[] = { norm_last, attention_last };
	static float grads[2][GRADS];

	for (int i = 0; i < 2; i++) {
		run_blocks(*state, blocks[i], false, grads[0]);
		run_blocks(*state, blocks[i], true, grads[1]);
		assert_memory_equal(grads[0], grads[1], sizeof(grads[0]));
	}
}

/* ---- what a block is given ---- */

static struct tensor *sum_block(struct tape *t, const void *block, struct tensor *const *in)
{
	return both_linears(t, block, last_use(op_add(t, in[0], in[1])));
}

static struct tensor *sum_block_that_tells(struct tape *t, const void *block, struct tensor *const *in)
{
	last_use(in[0]);
	last_use(in[1]);
	return sum_block(t, block, in);
}

/* x[i+1] = block(x[i], x[0]), of which the first has one input twice, and the last block is the last to read both */
static void run_sums(struct network *n, struct tape *t, block_fn *fn)
{
	struct tensor *const first = tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->x);
	struct tensor *const target = tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->target);
	struct tensor *const weight = tensor_from(t, BATCH, 1, 1, 1, n->weight), *x = first;

	for (int i = 0; i < BLOCKS; i++) {
		struct tensor *in[] = { x, first };

		x->last = x != first;
		first->last = i == BLOCKS - 1;
		x = tape_block(t, fn, &n->block[i], in, 2);
	}
	tape_backward(t, op_loss(t, last_use(x), target, &(struct loss_terms){ .weight = weight->data }), 1);
}

static size_t peak_of_sums(struct network *n, block_fn *fn)
{
	struct tape *dry = tape_new_dry();
	size_t peak;

	tape_checkpointing(dry, true);
	run_sums(n, dry, fn);
	forget(n);
	peak = tape_peak(dry);
	tape_free(dry);
	return peak;
}

static void a_block_frees_what_it_alone_reads(void **state)
{
	block_fn *const blocks[] = { sum_block, sum_block_that_tells };
	static float grads[2][2][GRADS];
	struct error e;

	for (int i = 0; i < 2; i++)
		for (int checkpointed = 0; checkpointed < 2; checkpointed++) {
			struct tape *t = tape_new(be, device, 1 << 20, &e);

			tape_checkpointing(t, checkpointed);
			run_sums(*state, t, blocks[i]);
			gradients(*state, grads[i][checkpointed]);
			forget(*state);
			tape_free(t);
			assert_memory_equal(grads[0][0], grads[i][checkpointed], sizeof(grads[0][0]));
		}
	assert_true(peak_of_sums(*state, sum_block_that_tells) < peak_of_sums(*state, sum_block));
}

/* ---- a sum and its norm, at once ---- */

static size_t adds, copies, norms;

static void counted_add(struct device *d, struct values y, struct values x, struct values z, size_t n)
{
	adds++;
	be->add(d, y, x, z, n);
}

static void counted_axpby(struct device *d, struct values y, float a, struct values x, float b, size_t n)
{
	copies++;
	be->axpby(d, y, a, x, b, n);
}

static void counted_norm(struct device *d, struct values y, float *stats, float *sum, struct values x,
			 struct values z, const float *gain, const float *bias, int rows, int c, float eps)
{
	norms++;
	be->layer_norm(d, y, stats, sum, x, z, gain, bias, rows, c, eps);
}

/* Apart: something reads the sum before its norm, so that neither way is one call for both. */
enum calls { APART, BACKWARD_AT_ONCE, AT_ONCE };

static struct tensor *add_norm(struct tape *t, struct tensor *a, struct tensor *b, const struct norm *g,
			       enum calls calls, struct tensor **sum)
{
	if (calls == AT_ONCE)
		return op_add_norm(t, a, b, g, sum);
	*sum = op_add(t, a, b);
	if (calls == APART)
		op_activation(t, *sum, ACT_SILU);
	return op_layer_norm(t, *sum, g);
}

/* x1 = x + silu(x), x2 = x1 + mlp(norm(x1)), x2 + mlp(norm(x2)).  Of the second block the first norm is frozen, while
 * what reads it is trained. */
static struct tensor *residual_block(struct tape *t, const struct block *b, struct tensor *x, enum calls calls)
{
	struct tensor *h = add_norm(t, x, last_use(op_activation(t, x, ACT_SILU)), &b->norm, calls, &x);

	h = last_use(op_activation(t, last_use(op_linear(t, last_use(h), &b->up)), ACT_GELU));
	h = last_use(op_linear(t, h, &b->down));
	h = add_norm(t, last_use(x), h, &b->norm, calls, &x);
	h = last_use(op_activation(t, last_use(op_linear(t, last_use(h), &b->up)), ACT_GELU));
	return op_add(t, last_use(x), last_use(op_linear(t, h, &b->down)));
}

static struct tensor *apart(struct tape *t, const void *block, struct tensor *const *in)
{
	return residual_block(t, block, in[0], APART);
}

static struct tensor *backward_at_once(struct tape *t, const void *block, struct tensor *const *in)
{
	return residual_block(t, block, in[0], BACKWARD_AT_ONCE);
}

static struct tensor *at_once(struct tape *t, const void *block, struct tensor *const *in)
{
	return residual_block(t, block, in[0], AT_ONCE);
}

/* trains: backward too; else inference, whose sums lie over their terms */
static void residual_step(struct network *n, enum calls calls, bool trains, bool checkpointing, bool cheap,
			  float loss[BATCH], float *grads)
{
	static block_fn *const blocks[] = { apart, backward_at_once, at_once };
	struct backend counting = *be;
	struct tensor *x, *weight, *target, *l;
	struct error e;
	struct tape *t;

	counting.add = counted_add;
	counting.axpby = counted_axpby;
	counting.layer_norm = counted_norm;
	t = tape_new(&counting, device, 1 << 20, &e);
	adds = copies = norms = 0;
	tape_recording(t, trains);
	tape_checkpointing(t, checkpointing);
	tape_cheap_again(t, cheap);
	x = tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->x);
	target = tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->target);
	weight = tensor_from(t, BATCH, 1, 1, 1, n->weight);
	for (int i = 0; i < BLOCKS; i++)
		x = tape_block(t, blocks[calls], &n->block[i], &x, 1);
	l = op_loss(t, x, target, &(struct loss_terms){ .weight = weight->data });
	if (trains) {
		tape_backward(t, l, 1);
		gradients(n, grads);
	}
	tensor_download(t, l, loss);
	forget(n);
	tape_free(t);
}

/* The bits are those of calls for each, and the calls of the backend fewer: forward by all sums that have a norm,
 * backward by those whose term is trained, of which the second block has one and the third has two. */
static void sums_and_norms_at_once(void **state)
{
	static float want[GRADS], grads[GRADS];
	float loss[2][BATCH];

	for (int way = 0; way < 5; way++) {
		const bool trains = way < 4, checkpointing = way & 1, cheap = way & 2;
		size_t all_adds, all_copies, all_norms;

		residual_step(*state, APART, trains, checkpointing, cheap, loss[0], want);
		all_adds = adds;
		all_copies = copies;
		all_norms = norms;
		assert_int_equal(all_adds, 3 * BLOCKS + (checkpointing ? 2 * (BLOCKS - 1) : 0));
		for (int calls = BACKWARD_AT_ONCE; calls <= AT_ONCE; calls++) {
			residual_step(*state, calls, trains, checkpointing, cheap, loss[1], grads);
			assert_memory_equal(loss[1], loss[0], sizeof(loss[0]));
			assert_memory_equal(grads, want, sizeof(want));
			assert_int_equal(norms, all_norms);
			assert_int_equal(adds, calls == AT_ONCE ? BLOCKS : all_adds);
			assert_int_equal(all_copies - copies, trains ? 3 : 0);
		}
	}
}

/* Forward is told that nobody has read the sum before its norm, while something has. */
static void sum_read_before(struct network *n)
{
	struct block *b = &n->block[1];
	struct error e;
	struct tape *t = tape_new(be, device, 1 << 20, &e);
	struct tensor *x = tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->x), *zero, *sum, *early, *y;
	const float weight[BATCH] = { 1 };

	sum = op_add(t, x, op_linear(t, op_linear(t, x, &b->up), &b->down));
	early = op_activation(t, sum, ACT_SILU);
	sum->maker = early->maker;
	y = op_add(t, op_layer_norm(t, sum, &b->norm), early);
	zero = tensor_from(t, BATCH, LENGTH, 1, WIDTH, n->x);
	y = op_loss(t, y, zero, &(struct loss_terms){ .weight = tensor_from(t, BATCH, 1, 1, 1, weight)->data });
	tape_backward(t, y, 1);
}

static void gradient_that_was_complete_does_not_grow(void **state)
{
	int status;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (!child) {
		close(STDERR_FILENO);
		sum_read_before(*state);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXIT_OTHER);
}

static void frozen_blocks_have_no_way_back(void **state)
{
	struct network *n = *state;
	static float grads[GRADS];
	float loss[BATCH];

	run(n, false, loss, grads);
	assert_null(n->block[0].up_lora.part[LORA_UP].grad);
	assert_false(n->block[0].up_lora.part[LORA_UP].has_grad);
}

/* Bytes of forward and backward where what lies between layers is of that type: on the dry backend, as the CPU keeps
 * floats. */
static size_t peak_of(struct network *n, enum dtype type)
{
	struct tape *t = tape_new_dry();
	float loss[BATCH];
	size_t bytes;

	tape_inner(t, type);
	step(t, n, loss);
	bytes = tape_peak(t);
	forget(n);
	tape_free(t);
	return bytes;
}

static void sums_stay_float(void **state)
{
	struct network *n = *state;
	const struct block *b = &n->block[1];
	struct tape *t = tape_new_dry();
	struct tensor *x, *norm, *up, *y;

	tape_inner(t, DTYPE_F16);
	tape_gradients_under(t, 9);
	x = tensor_new(t, BATCH, LENGTH, 1, WIDTH);
	norm = op_layer_norm(t, x, &b->norm);
	up = op_activation(t, op_linear(t, norm, &b->up), ACT_GELU);
	y = op_add(t, x, op_linear(t, up, &b->down));
	assert_true(norm->type == DTYPE_F16 && up->type == DTYPE_F16);
	assert_int_equal(grad_of(up).shift, 9);
	assert_int_equal(data_of(up).shift, 0);
	assert_true(x->type == DTYPE_F32 && y->type == DTYPE_F32);
	assert_int_equal(grad_of(y).shift, 0);
	tape_inner(t, DTYPE_BF16);
	norm = op_layer_norm(t, x, &b->norm);
	assert_int_equal(norm->type, DTYPE_BF16);
	assert_int_equal(grad_of(norm).shift, 0);       /* its range is that of floats */
	x->wants_grad = true;
	assert_true(op_layer_norm(t, x, &b->norm)->again);      /* made again in backward: it costs little */
	tape_inner(t, DTYPE_F32);
	assert_false(op_layer_norm(t, x, &b->norm)->again);
	tape_free(t);
	assert_true(peak_of(n, DTYPE_F16) < peak_of(n, DTYPE_F32));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(checkpointed_is_inline, make, discard),
		cmocka_unit_test_setup_teardown(repeated_step_is_the_same, make, discard),
		cmocka_unit_test_setup_teardown(step_that_was_not_carried_out_adds_nothing, make, discard),
		cmocka_unit_test_setup_teardown(second_batch_adds, make, discard),
		cmocka_unit_test_setup_teardown(gradient_is_a_slope, make, discard),
		cmocka_unit_test_setup_teardown(dry_peak_is_the_real_one, make, discard),
		cmocka_unit_test_setup_teardown(exhausted_arena_ends_it, make, discard),
		cmocka_unit_test_setup_teardown(arena_without_memory_is_an_error, make, discard),
		cmocka_unit_test_setup_teardown(inference_records_nothing, make, discard),
		cmocka_unit_test_setup_teardown(gradients_are_lent, make, discard),
		cmocka_unit_test_setup_teardown(what_is_read_last_goes, make, discard),
		cmocka_unit_test_setup_teardown(last_blocks_may_stay, make, discard),
		cmocka_unit_test_setup_teardown(what_nobody_reads_does_not_run_again, make, discard),
		cmocka_unit_test_setup_teardown(what_is_cheap_is_made_again, make, discard),
		cmocka_unit_test_setup_teardown(what_the_last_one_leaves_is_made_again, make, discard),
		cmocka_unit_test_setup_teardown(a_block_frees_what_it_alone_reads, make, discard),
		cmocka_unit_test_setup_teardown(sums_and_norms_at_once, make, discard),
		cmocka_unit_test_setup_teardown(gradient_that_was_complete_does_not_grow, make, discard),
		cmocka_unit_test_setup_teardown(frozen_blocks_have_no_way_back, make, discard),
		cmocka_unit_test_setup_teardown(sums_stay_float, make, discard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
