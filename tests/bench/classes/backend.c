/*
 * backend.c - a backend around another one, with a clock at each of its operations: where the time of a step goes.
 *
 * It is linked with a real program (lora-train, lora-encode, unet) in place of three of its functions (ld --wrap):
 * backend_find() hands out this backend; run_step() and workspace_run() are a pass, a step of training or a forward.
 * At the end a table by class of operation is written to stderr, in means of all passes but the first, which pays for
 * touching memory.  The program computes the same bytes as without.
 */
#include <stdio.h>
#include "../../../libcommon/nn/workspace.h"
#include "../../../libcommon/train/run.h"
#include "../peak.h"

enum class { PRODUCTS, CONVOLUTIONS, ATTENTION, NORMS, ELEMENTWISE, ADAPTER, OPTIMIZER, LOSS, COPIES, ALLOCATION,
	     CLASSES };
static const char *const class_names[CLASSES] = {
	"products", "convolutions", "attention", "norms", "elementwise", "adapter", "optimizer", "loss", "copies",
	"memory"
};

/* ---- operations that are counted: FLOP of the plain algorithm, so Winograd's may go beyond the peak ---- */

static double product(double m, double n, double k) { return 2 * m * n * k; }

static double layer(int rows, const struct weight *w, int columns, const struct narrow *more)
{
	const double wide = more ? columns + (more->from ? w->out + w->in - columns : 0) : 0;

	return product(rows, w->out, w->in) + (more ? product(rows, wide, more->rank) : 0);
}

/* back: backward */
static double layers(int rows, const struct stacked *s, bool back)
{
	double sum = 0;

	for (const struct stacked_layer *l = s->of; l < s->of + s->count; l++)
		sum += layer(rows, l->w, back ? l->w->in : l->w->out, l->more);
	return sum;
}

static double narrow_grads(const struct stacked_grads *s)
{
	double sum = 0;

	for (const struct narrow_grads *g = s->of; g < s->of + s->count; g++)
		sum += product(g->rows, (g->dup ? g->out : 0) + (double)(g->ddown ? g->in : 0), g->rank);
	return sum;
}

static double conv(const struct weight *w, const struct conv_shape *s)
{
	return product((double)s->n * s->oh * s->ow, w->out, (double)w->in * w->kh * w->kw);
}

/* As many products with all scores as there are: two forward, five backward. */
static double attend(const struct attention_shape *s, int products)
{
	return products * product((double)s->n * s->heads * s->lq, s->lk, s->d) / (s->causal ? 2 : 1);
}

/* One row an operation: its class, its FLOP (0: bound by memory), its arguments as backend_ops.def has them.  gemm() is
 * called by adapters alone, their kernels of convolutions are among the convolutions. */
#define ROW_open                ALLOCATION, 0, e
#define ROW_close               ALLOCATION, 0, d
#define ROW_alloc               ALLOCATION, 0, d, bytes
#define ROW_release             ALLOCATION, 0, d, p
#define ROW_room                ALLOCATION, 0, d
#define ROW_inner               ALLOCATION, 0, d, weights, head
#define ROW_look                ALLOCATION, 0, d, now
#define ROW_prepare             ALLOCATION, 0, d, w, host
#define ROW_unprepare           ALLOCATION, 0, d, w
#define ROW_invite              ALLOCATION, 0, d, mine, first, why, most
#define ROW_join                ALLOCATION, 0, d, of_first, mine, why, most
#define ROW_pass                COPIES, 0, d, out, outs, in, ins
#define ROW_upload              COPIES, 0, d, dst, host, bytes
#define ROW_download            COPIES, 0, d, host, src, bytes
#define ROW_copy                COPIES, 0, d, y, x, n
#define ROW_zero                COPIES, 0, d, y, n
#define ROW_step_begin          ALLOCATION, 0, d, key
#define ROW_step_end            ALLOCATION, 0, d
#define ROW_copy_columns        COPIES, 0, d, y, ldy, x, ldx, rows, cols, add
#define ROW_upsample            COPIES, 0, d, y, x, n, h, w, c
#define ROW_upsample_back       COPIES, 0, d, dx, dy, n, h, w, c, add
#define ROW_embedding           COPIES, 0, d, y, table, ids, rows
#define ROW_gather_rows         COPIES, 0, d, y, x, index, rows, c
#define ROW_gather_rows_back    COPIES, 0, d, dx, dy, index, rows, c
#define ROW_linear              PRODUCTS, layer(rows, w, w->out, more), d, y, x, w, bias, rows, more
#define ROW_linear_dx           PRODUCTS, layer(rows, w, w->in, more), d, dx, dy, w, rows, add, more
#define ROW_linear_geglu        PRODUCTS, layer(rows, w, w->out, more), d, g, y, x, w, bias, rows, more
#define ROW_linear_dx_geglu     PRODUCTS, layer(rows, w, w->in, more), d, dh, dx, dy, h, w, rows, more
#define ROW_linears             PRODUCTS, layers(rows, s, false), d, y, x, s, rows
#define ROW_linears_dx          PRODUCTS, layers(rows, s, true), d, dx, dy, s, rows, add
#define ROW_narrow_grads        ADAPTER, narrow_grads(g), d, g
#define ROW_gemm                ADAPTER, product(m, n, k), d, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc
#define ROW_conv2d              CONVOLUTIONS, conv(w, s), d, y, x, w, bias, s
#define ROW_conv2d_dx           CONVOLUTIONS, conv(w, s), d, dx, dy, w, s, add
#define ROW_conv2d_dw           ADAPTER, product((double)s->n * s->oh * s->ow, out, (double)in * kh * kw), \
	d, dw, x, dy, out, in, kh, kw, s, add
#define ROW_kronecker           ADAPTER, 0, d, y, scale, a, b, s
#define ROW_kronecker_back      ADAPTER, 0, d, da, db, scale, dy, a, b, s, add
#define ROW_rotate              ADAPTER, 0, d, y, r, room, x, b, rows, s
#define ROW_rotate_back         ADAPTER, 0, d, dx, db, room, dy, x, b, r, rows, s, add
#define ROW_dropout             ADAPTER, 0, d, x, r, p, n, rows, c, shared
#define ROW_group_norm          NORMS, 0, d, y, stats, x, gain, bias, s
#define ROW_group_norm_back     NORMS, 0, d, dx, dy, x, stats, gain, bias, s, add
#define ROW_group_norm_sums     NORMS, 0, d, stats, sums, x, at, pixels, s
#define ROW_group_norm_apply    NORMS, 0, d, y, stats, x, gain, bias, s
#define ROW_layer_norm          NORMS, 0, d, y, stats, sum, x, z, gain, bias, rows, c, eps
#define ROW_layer_norm_back     NORMS, 0, d, dx, also, dy, x, stats, gain, rows, c, add
#define ROW_activation          ELEMENTWISE, 0, d, y, x, n, kind
#define ROW_activation_back     ELEMENTWISE, 0, d, dx, dy, x, n, kind, add
#define ROW_geglu               ELEMENTWISE, 0, d, y, x, rows, c
#define ROW_geglu_back          ELEMENTWISE, 0, d, dx, dy, x, rows, c, add
#define ROW_axpby               ELEMENTWISE, 0, d, y, a, x, b, n
#define ROW_over_root           ELEMENTWISE, 0, d, y, a, x, v, eps, b, n
#define ROW_add                 ELEMENTWISE, 0, d, y, x, z, n
#define ROW_multiply            ELEMENTWISE, 0, d, y, x, z, rows, c, shared
#define ROW_add_per_sample      ELEMENTWISE, 0, d, y, x, v, n, hw, c
#define ROW_sum_per_sample      ELEMENTWISE, 0, d, dv, dy, n, hw, c, add
#define ROW_attention           ATTENTION, attend(s, 2), d, o, lse, q, k, v, s
#define ROW_attention_back      ATTENTION, attend(s, 5), d, dq, dk, dv, dout, o, lse, q, k, v, s, add
#define ROW_loss                LOSS, 0, d, loss, x, target, s
#define ROW_loss_back           LOSS, 0, d, dx, dloss, x, target, s, add
#define ROW_sum_squares         OPTIMIZER, 0, d, sum, t, count
#define ROW_axpby_all           OPTIMIZER, 0, d, a, b, t, count
#define ROW_adamw               OPTIMIZER, 0, d, moved, t, s, count
#define ROW_adamw8bit           OPTIMIZER, 0, d, moved, t, s, maps, count
#define ROW_lion                OPTIMIZER, 0, d, moved, t, s, count
#define ROW_adafactor           OPTIMIZER, 0, d, moved, t, s, count
#define ROW_estimate            OPTIMIZER, 0, d, sum, t, s, count
#define ROW_estimate_move       OPTIMIZER, 0, d, moved, a, eps, b, t, count
#define ROW_schedulefree        OPTIMIZER, 0, d, moved, t, s, count

/* ---- the clock ---- */

enum operation {
#define OP(type, name, parameters) OPERATION_##name,
#include "../../../libcommon/backend_ops.def"
	OPERATIONS
};
static const char *const operation_names[OPERATIONS] = {
#define OP(type, name, parameters) #name,
#include "../../../libcommon/backend_ops.def"
};

struct tally { enum class class; long calls; double seconds, flop; };

/* What the program did: the one state of this file, as a backend has none of its own. */
static struct {
	const struct backend *inner;
	bool warm, counts;              /* a pass has begun; and this is another */
	struct tally of[OPERATIONS], ignored;
	double seconds;
	long passes;
} clocked;

struct span { struct tally *tally; double began; };

static struct span span_begin(enum operation op, enum class class, double flop)
{
	struct tally *t = clocked.counts ? &clocked.of[op] : &clocked.ignored;

	t->class = class;
	t->calls++;
	t->flop += flop;
	return (struct span){ t, seconds_now() };
}

static void span_end(struct span *s)
{
	s->tally->seconds += seconds_now() - s->began;
}

#define CALL(name, ...) CALL_ROW(name, __VA_ARGS__)
#define CALL_ROW(name, class, flop, ...) \
	struct span span __attribute__((cleanup(span_end), unused)) = span_begin(OPERATION_##name, class, flop); \
	return clocked.inner->name(__VA_ARGS__);
#define OP(type, name, parameters) static type clocked_##name parameters { CALL(name, ROW_##name) }
#include "../../../libcommon/backend_ops.def"

static struct backend clocked_backend = {
#define OP(type, name, parameters) .name = clocked_##name,
#include "../../../libcommon/backend_ops.def"
};

/* ---- the table ---- */

static struct tally sum_of(enum class class)
{
	struct tally sum = { class };

	for (int i = 0; i < OPERATIONS; i++)
		if (clocked.of[i].calls && clocked.of[i].class == class) {
			sum.calls += clocked.of[i].calls;
			sum.seconds += clocked.of[i].seconds;
			sum.flop += clocked.of[i].flop;
		}
	return sum;
}

static void print_row(const char *indent, const char *name, const struct tally *t, double peak)
{
	const double passes = clocked.passes;

	fprintf(stderr, "%s%-*s %9.1f ms %6.1f %%", indent, 22 - (int)strlen(indent), name, t->seconds / passes * 1e3,
		t->seconds / clocked.seconds * 100);
	if (t->flop)
		fprintf(stderr, " %9.1f GFLOP %6.1f GFLOP/s %6.1f %%", t->flop / passes * 1e-9,
			t->flop / t->seconds * 1e-9, t->flop / t->seconds * 1e-7 / peak);
	fputc('\n', stderr);
}

static void print_table(void)
{
	const int threads = threads_default();
	const double peak = peak_gflops(threads);
	struct tally all = { .seconds = clocked.seconds }, rest = all;

	if (!clocked.passes)
		return;
	fprintf(stderr, "%s, %d threads, peak %.0f GFLOP/s; mean of %ld after the first\n"
		"%22s    time       of all      counted                     of the peak\n", cpu_set(), threads, peak,
		clocked.passes, "");
	for (enum class c = 0; c < CLASSES; c++) {
		const struct tally sum = sum_of(c);

		if (!sum.calls)
			continue;
		rest.seconds -= sum.seconds;
		all.flop += sum.flop;
		print_row("", class_names[c], &sum, peak);
		for (int i = 0; i < OPERATIONS; i++)
			if (clocked.of[i].class == c && clocked.of[i].seconds >= clocked.seconds / 1000)
				print_row("  ", operation_names[i], &clocked.of[i], peak);
	}
	print_row("", "all else", &rest, peak);
	print_row("", "the whole", &all, peak);
}

/* ---- in place of the program's own ---- */

const struct backend *__real_backend_find(const char *name, struct error *e);
const struct backend *__wrap_backend_find(const char *name, struct error *e);
struct tensor *__real_workspace_run(struct workspace *w, forward_fn *fn, void *arg, struct error *e);
struct tensor *__wrap_workspace_run(struct workspace *w, forward_fn *fn, void *arg, struct error *e);
void __real_run_step(struct run *r, struct batches *b, struct step_facts *f);
void __wrap_run_step(struct run *r, struct batches *b, struct step_facts *f);

const struct backend *__wrap_backend_find(const char *name, struct error *e)
{
	clocked.inner = __real_backend_find(name, e);
	if (!clocked.inner)
		return NULL;
	clocked_backend.name = clocked.inner->name;
	atexit(print_table);
	return &clocked_backend;
}

static double pass_begin(void)
{
	clocked.counts = clocked.warm;
	clocked.warm = true;
	return seconds_now();
}

static void pass_end(double began)
{
	if (!clocked.counts)
		return;
	clocked.counts = false;
	clocked.seconds += seconds_now() - began;
	clocked.passes++;
}

void __wrap_run_step(struct run *r, struct batches *b, struct step_facts *f)
{
	const double began = pass_begin();

	__real_run_step(r, b, f);
	pass_end(began);
}

struct tensor *__wrap_workspace_run(struct workspace *w, forward_fn *fn, void *arg, struct error *e)
{
	const double began = pass_begin();
	struct tensor *y = __real_workspace_run(w, fn, arg, e);

	pass_end(began);
	return y;
}
