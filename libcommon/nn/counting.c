/* The counting backend: for each operation what the CUDA backend launches, and what that moves and computes. */
#include <stdlib.h>
#include "../base/memory.h"
#include "counting.h"

/* cuda/internal.h's, staging.c's, kernels.h's */
enum { SCRATCH_BYTES = 64 << 20, STAGED_BYTES = 4 << 20, NARROW_MOST = 128 };

struct device {
	struct work work;
	const struct card_rates *rates;
	uintptr_t next;                 /* addresses that nobody dereferences, beyond those of a dry tape */
	/* the operand whose cast copy is in scratch: cuda/product.c keeps it for the next product of the same tokens */
	const float *cast_of; size_t cast_count; enum dtype cast_type;
};

/* ---- calls ---- */

static double floats(double n) { return 4 * n; }
static double size_of(enum dtype t) { return t == DTYPE_F32 ? 4 : 2; }

static void call(struct device *d, struct work_call c) { work_add(&d->work, d->rates, &c); }
static void forget(struct device *d) { d->cast_of = NULL; }

/* A kernel that writes memory: what was cast may have changed. */
static void kernel(struct device *d, enum work_class class, double bytes)
{
	forget(d);
	call(d, (struct work_call){ class, .kernels = 1, .bytes = bytes });
}

/* After y[n] was written by what does not forget: cuda/product.c's wrote() */
static void wrote(struct device *d, const float *y, size_t n)
{
	if (d->cast_of && y < d->cast_of + d->cast_count && d->cast_of < y + n)
		forget(d);
}

static void copies(struct device *d, long count, double bytes, double link)
{
	call(d, (struct work_call){ WORK_COPIES, .copies = count, .bytes = bytes, .link = link });
}

static void upload(struct device *d, size_t bytes)
{
	forget(d);
	copies(d, (bytes + STAGED_BYTES - 1) / STAGED_BYTES, bytes, bytes);
}

/* ---- products ---- */

/* c[m,n] (+)= a[m,k] b[k,n] */
static void product(struct device *d, enum work_class class, enum dtype type, double m, double n, double k, bool add,
		    const float *c, int ldc)
{
	call(d, (struct work_call){ class, .products = 1, .flop = 2 * m * n * k, .tf32 = type == DTYPE_F32,
				    .bytes = size_of(type) * k * (m + n) + floats(m * n * (add ? 2 : 1)) });
	wrote(d, c, (size_t)(m - 1) * ldc + n);
}

/* Largest magnitude, cast; or the cast alone; or nothing. */
static void cast(struct device *d, enum work_class class, const float *x, size_t n, enum dtype type)
{
	if (type == DTYPE_F32 || (d->cast_of == x && d->cast_count == n && d->cast_type == type))
		return;
	if (type == DTYPE_F16)
		kernel(d, class, floats(n));
	kernel(d, class, floats(n) + size_of(type) * n);
	d->cast_of = x;
	d->cast_count = n;
	d->cast_type = type;
}

static int at_once(int rows, size_t width, enum dtype type)
{
	const size_t most = SCRATCH_BYTES / (width * (size_t)size_of(type));

	return type == DTYPE_F32 || most > (size_t)rows ? rows : (int)most;
}

/* A weight that stays in host memory comes for each product. */
static void visit(struct device *d, const struct weight *w)
{
	const double bytes = (double)w->out * w->in * size_of(w->dtype);

	if (w->on_host)
		copies(d, 1, bytes, bytes);
}

static void fill(struct device *d, enum work_class class, const float *y, double n)
{
	call(d, (struct work_call){ class, .kernels = 1, .bytes = floats(n) });
	wrote(d, y, n);
}

static void gemm(struct device *d, double m, double n, double k, bool add, const float *c, int ldc)
{
	product(d, WORK_ADAPTER, DTYPE_F32, m, n, k, add, c, ldc);
}

/* An adapter's kernel beside a layer: its time is its memory's, its sums are tf32's. */
static void narrow_kernel(struct device *d, double moved, double sums)
{
	call(d, (struct work_call){ WORK_ADAPTER, .kernels = 1, .bytes = floats(moved), .flop = 2 * sums,
				    .tf32 = true });
}

static bool is_narrow(const struct narrow *more) { return more && more->rank <= NARROW_MOST; }

/* y [rows,out] of x [rows,in], before the layer's own product: tells whether that is added */
static bool begin(struct device *d, const float *y, int out, double in, const float *bias, int rows, bool add,
		  const struct narrow *more)
{
	const double r = more ? more->rank : 0, from = more && more->from ? in : 0;

	if (is_narrow(more)) {
		narrow_kernel(d, rows * (from + r + out * (add ? 2.0 : 1)) + r * (from + out), rows * r * (from + out));
		wrote(d, y, (size_t)rows * out);
		wrote(d, more->z, (size_t)rows * more->rank);
		return true;
	}
	if (bias)
		fill(d, WORK_PRODUCTS, y, (double)rows * out);
	return bias || add;
}

static void end(struct device *d, const float *y, int out, int in, int rows, const struct narrow *more)
{
	if (!more || is_narrow(more))
		return;
	if (more->from)
		gemm(d, rows, more->rank, in, false, more->z, more->rank);
	gemm(d, rows, out, more->rank, true, y, out);
}

static void narrow_grads(struct device *d, const struct narrow_grads *g)
{
	const double wide = (g->dup ? g->out : 0) + (double)(g->ddown ? g->in : 0), rows = g->rows, r = g->rank;
	const int both = (g->dup != NULL) + (g->ddown != NULL);

	if (g->rank <= NARROW_MOST && both) {
		narrow_kernel(d, rows * (wide + both * r) + wide * r, rows * wide * r);
		wrote(d, g->dup, g->dup ? (size_t)g->out * g->rank : 0);
		wrote(d, g->ddown, g->ddown ? (size_t)g->rank * g->in : 0);
	} else if (both) {
		if (g->dup)
			gemm(d, g->out, r, rows, g->add_up, g->dup, g->rank);
		if (g->ddown)
			gemm(d, r, g->in, rows, g->add_down, g->ddown, g->in);
	}
}

/* y[rows,out] (+)= x[rows,in] times the weight, either way round */
static void layer(struct device *d, const float *y, const float *x, const struct weight *w, int rows, int in, int out,
		  bool add)
{
	const int most = at_once(rows, in, w->dtype);

	for (int at = 0, part; at < rows; at += part) {
		part = rows - at < most ? rows - at : most;
		cast(d, WORK_PRODUCTS, x + (size_t)at * in, (size_t)part * in, w->dtype);
		product(d, WORK_PRODUCTS, w->dtype, part, out, in, add, y + (size_t)at * out, out);
	}
}

static void linear(struct device *d, const float *y, const float *x, const struct weight *w, const float *bias,
		   int rows, const struct narrow *more)
{
	visit(d, w);
	layer(d, y, x, w, rows, w->in, w->out, begin(d, y, w->out, w->in, bias, rows, false, more));
	end(d, y, w->out, w->in, rows, more);
}

static void linear_dx(struct device *d, const float *dx, const float *dy, const struct weight *w, int rows, bool add,
		      const struct narrow *more)
{
	visit(d, w);
	layer(d, dx, dy, w, rows, w->out, w->in, begin(d, dx, w->in, w->out, NULL, rows, add, more));
	end(d, dx, w->in, w->out, rows, more);
}

/* ---- convolutions ---- */

static bool is_linear(const struct conv_shape *s, int kh, int kw)
{
	return kh * kw == 1 && s->stride == 1 && !s->pad && s->oh == s->h && s->ow == s->w;
}

static double inputs(const struct conv_shape *s)  { return (double)s->n * s->h * s->w; }
static double outputs(const struct conv_shape *s) { return (double)s->n * s->oh * s->ow; }

/* The largest magnitude, where there is a factor; and a product that reads the picture `from` itself. */
static void convolve(struct device *d, const struct weight *w, const struct conv_shape *s, double from, double to,
		     double bias, bool add)
{
	const double weights = (double)w->out * w->kh * w->kw * w->in;

	if (w->dtype == DTYPE_F16)
		kernel(d, WORK_CONVOLUTIONS, floats(from));
	forget(d);
	call(d, (struct work_call){ WORK_CONVOLUTIONS, .kernels = 1, .flop = 2 * outputs(s) * weights,
				    .tf32 = w->dtype == DTYPE_F32,
				    .bytes = floats(from + to * (add ? 2 : 1) + bias) + size_of(w->dtype) * weights });
}

static void conv2d(struct device *d, const float *y, const float *x, const struct weight *w, const float *bias,
		   const struct conv_shape *s)
{
	if (is_linear(s, w->kh, w->kw))
		linear(d, y, x, w, bias, outputs(s), NULL);
	else
		convolve(d, w, s, inputs(s) * w->in, outputs(s) * w->out, bias ? w->out : 0, false);
}

static void conv2d_dx(struct device *d, const float *dx, const float *dy, const struct weight *w,
		      const struct conv_shape *s, bool add)
{
	if (is_linear(s, w->kh, w->kw))
		linear_dx(d, dx, dy, w, outputs(s), add, NULL);
	else
		convolve(d, w, s, outputs(s) * w->out, inputs(s) * w->in, 0, add);
}

/* Columns in scratch, some rows at a time, and their products. */
static void conv2d_dw(struct device *d, const float *dw, const struct conv_shape *s, int out, int in, size_t width,
		      bool add)
{
	const size_t most = SCRATCH_BYTES / (width * sizeof(float)), rows = outputs(s);

	for (size_t at = 0, part; at < rows; at += part) {
		part = rows - at < most ? rows - at : most;
		kernel(d, WORK_ADAPTER, floats(inputs(s) * in) * part / rows + floats(part * width));
		product(d, WORK_ADAPTER, DTYPE_F32, out, width, part, add || at, dw, width);
	}
}

/* ---- attention ---- */

/* FLOP of so many products with all scores */
static double scores(const struct attention_shape *s, double products)
{
	return 2 * products * s->n * s->heads * s->lq * s->lk * s->d / (s->causal ? 2 : 1);
}

static double queries(const struct attention_shape *s) { return floats((double)s->n * s->heads * s->lq * s->d); }
static double keys(const struct attention_shape *s)    { return floats((double)s->n * s->heads * s->lk * s->d); }
static double rows_of(const struct attention_shape *s) { return floats((double)s->n * s->heads * s->lq); }

/* cuda/attention.cu: wider heads are not multiplied in half precision. */
static bool is_wide(const struct attention_shape *s) { return s->d > 160; }

static void attend(struct device *d, double bytes, double flop, double again, bool wide)
{
	forget(d);
	call(d, (struct work_call){ WORK_ATTENTION, .kernels = 1, .bytes = bytes, .flop = flop, .again = again,
				    .tf32 = wide });
}

static int over(int n, int by) { return (n + by - 1) / by; }

/* cuda/attention_back.cu's: into how many parts the queries go where keys are few */
static int splits_of(const struct attention_shape *s)
{
	const int blocks = over(s->lk, s->d <= 64 ? 64 : 32) * s->heads * s->n, most = over(s->lq, 256);

	if (s->d > 160 || blocks >= 128)
		return 1;
	return over(256, blocks) < most ? over(256, blocks) : most;
}

/* Backward computes the scores twice: for dq, and for dk and dv. */
static void attend_back(struct device *d, const struct attention_shape *s, bool dq, bool dk, bool dv, const int add[3])
{
	const int splits = splits_of(s), wanted = dk + dv, parts = splits > 1 ? splits * wanted : wanted;

	attend(d, 2 * queries(s) + rows_of(s), 0, 0, false);
	if (dq)
		attend(d, (3 + add[0]) * queries(s) + 2 * keys(s) + 2 * rows_of(s), scores(s, 2), scores(s, 1),
		       is_wide(s));
	if (wanted)
		attend(d, 2 * queries(s) + (2 + parts) * keys(s) + 2 * rows_of(s), scores(s, 3), scores(s, 1),
		       is_wide(s));
	for (int i = 0; i < wanted && splits > 1; i++)
		attend(d, (splits + 1) * keys(s), 0, 0, false);
}

/* ---- small rotations: matrices of their own, multiplied one launch each ---- */

static double small(const struct rotations *s) { return floats((double)s->blocks * s->size * s->size); }

static void turn(struct device *d, const struct rotations *s, double rows)
{
	const double n = (double)s->blocks * s->size;

	forget(d);
	call(d, (struct work_call){ WORK_ADAPTER, .kernels = 1, .bytes = floats(2 * rows * n) + small(s),
				    .flop = 2 * rows * n * s->size, .tf32 = true });
}

static void small_kernels(struct device *d, const struct rotations *s, int count)
{
	while (count-- > 0)
		kernel(d, WORK_ADAPTER, 2 * small(s));
}

static int last_term(const struct rotations *s) { return s->terms == 3 ? 3 : s->terms - 1; }

static void rotate(struct device *d, const struct rotations *s, bool rows_too, int rows)
{
	small_kernels(d, s, 1 + (s->terms ? 2 + 2 * last_term(s) : 3));
	if (rows_too)
		turn(d, s, rows);
}

static void rotate_back(struct device *d, const struct rotations *s, bool dx, bool db, int rows)
{
	const int last = last_term(s);

	if (dx)
		turn(d, s, rows);
	if (!db)
		return;
	turn(d, s, rows);
	if (s->terms) {
		small_kernels(d, s, 3);
		for (int i = last - 1; i >= 0; i--)
			small_kernels(d, s, 3 + 1 + 2 * (last - (i + 1)));
	} else {
		small_kernels(d, s, 3);
	}
	small_kernels(d, s, 2);
}

/* ---- the parameters of a table ---- */

/* cuda/table.c: the table goes up, a row in some 150 bytes; a launch works through it, so many bytes an element; and
 * another adds up the sums that are asked for. */
static void table(struct device *d, const struct trained *t, int count, double bytes, int sums)
{
	double n = 0;

	for (int i = 0; i < count; i++)
		n += t[i].n;
	if (!count)
		return;
	upload(d, (size_t)count * 150);
	kernel(d, WORK_OPTIMIZER, bytes * n);
	if (sums)
		kernel(d, WORK_OPTIMIZER, 8.0 * sums * (n / (16 * 1024) + count));
}

static void pass(struct device *d, enum work_class class, double floats_moved)
{
	kernel(d, class, floats(floats_moved));
}

static double all(const struct norm_shape *s) { return (double)s->n * s->hw * s->c; }

/* sums over chunks of columns, those over groups, and each element */
static void group_norm(struct device *d, double read, double then, double n)
{
	pass(d, WORK_NORMS, read * n);
	pass(d, WORK_NORMS, 0);
	pass(d, WORK_NORMS, then * n);
}

static void sums_of_band(struct device *d, const struct norm_shape *s, int at, int pixels)
{
	if (!at)
		pass(d, WORK_NORMS, s->c);
	pass(d, WORK_NORMS, (double)pixels * s->c);
	pass(d, WORK_NORMS, s->c);
	if (at + pixels == s->hw)
		pass(d, WORK_NORMS, s->c);
}

/* Indices come from the host. */
static void look_up(struct device *d, double rows, double bytes)
{
	upload(d, rows * sizeof(int32_t));
	kernel(d, WORK_COPIES, bytes);
}


/* ---- one row an operation, in terms of its arguments as backend_ops.def has them ---- */

#define COUNT_release           if (p) forget(d)
#define COUNT_room
#define COUNT_look
#define COUNT_invite
#define COUNT_join
#define COUNT_pass
#define COUNT_upload            upload(d, bytes)
#define COUNT_download          copies(d, 1, bytes, bytes)
#define COUNT_copy              (forget(d), copies(d, 1, floats(2.0 * n), 0))
#define COUNT_zero              (forget(d), copies(d, 1, floats(n), 0))
#define COUNT_step_begin        forget(d)
#define COUNT_step_end          forget(d)
#define COUNT_linear            linear(d, y.at, x.at, w, bias, rows, more)
#define COUNT_linear_dx         linear_dx(d, dx.at, dy.at, w, rows, add, more)
#define COUNT_narrow_grads      narrow_grads(d, g)
#define COUNT_gemm              gemm(d, m, n, k, beta != 0, c.at, ldc)
#define COUNT_conv2d            conv2d(d, y.at, x.at, w, bias, s)
#define COUNT_conv2d_dx         conv2d_dx(d, dx.at, dy.at, w, s, add)
#define COUNT_conv2d_dw         conv2d_dw(d, dw, s, out, in, (size_t)kh * kw * in, add)
#define COUNT_kronecker         pass(d, WORK_ADAPTER, (double)s->p * s->q * s->m * s->n * s->taps)
#define COUNT_kronecker_back    do { \
		if (da) pass(d, WORK_ADAPTER, (double)s->p * s->q * s->m * s->n * s->taps); \
		if (db) pass(d, WORK_ADAPTER, (double)s->p * s->q * s->m * s->n * s->taps); \
	} while (0)
#define COUNT_rotate            rotate(d, s, y.at, rows)
#define COUNT_rotate_back       rotate_back(d, s, dx.at, db, rows)
#define COUNT_group_norm        group_norm(d, 1, 2, all(s))
#define COUNT_group_norm_back   group_norm(d, 2, 3 + !!add, all(s))
#define COUNT_group_norm_sums   sums_of_band(d, s, at, pixels)
#define COUNT_group_norm_apply  pass(d, WORK_NORMS, 2 * all(s))
#define COUNT_layer_norm        pass(d, WORK_NORMS, 2.0 * rows * c)
#define COUNT_layer_norm_back   pass(d, WORK_NORMS, (3.0 + !!add) * rows * c)
#define COUNT_activation        pass(d, WORK_ELEMENTWISE, 2.0 * n)
#define COUNT_activation_back   pass(d, WORK_ELEMENTWISE, (3.0 + !!add) * n)
#define COUNT_geglu             pass(d, WORK_ELEMENTWISE, 3.0 * rows * c)
#define COUNT_geglu_back        pass(d, WORK_ELEMENTWISE, (5.0 + 2 * !!add) * rows * c)
#define COUNT_axpby             pass(d, WORK_ELEMENTWISE, (2.0 + (b != 0)) * n)
#define COUNT_dropout           pass(d, WORK_ADAPTER, 2.0 * n * rows * c)
#define COUNT_add               pass(d, WORK_ELEMENTWISE, 3.0 * n)
#define COUNT_multiply          pass(d, WORK_ELEMENTWISE, (shared ? 2.0 : 3.0) * rows * c)
#define COUNT_add_per_sample    pass(d, WORK_ELEMENTWISE, 2.0 * n * hw * c)
#define COUNT_sum_per_sample    pass(d, WORK_ELEMENTWISE, (double)n * hw * c)
#define COUNT_copy_columns      pass(d, WORK_ELEMENTWISE, (2.0 + !!add) * rows * cols)
#define COUNT_upsample          pass(d, WORK_ELEMENTWISE, 5.0 * n * h * w * c)
#define COUNT_upsample_back     pass(d, WORK_ELEMENTWISE, (5.0 + !!add) * n * h * w * c)
#define COUNT_embedding         (visit(d, table), look_up(d, rows, (size_of(table->dtype) + 4) * rows * table->in))
#define COUNT_gather_rows       look_up(d, rows, floats(2.0 * rows * c))
#define COUNT_gather_rows_back  look_up(d, rows, floats(3.0 * rows * c))
#define COUNT_attention         attend(d, 2 * queries(s) + 2 * keys(s) + rows_of(s), scores(s, 2), 0, is_wide(s))
#define COUNT_attention_back    attend_back(d, s, dq.at, dk.at, dv.at, add)
#define COUNT_loss              pass(d, WORK_LOSS, 2.0 * s->n * s->pixels * s->channels)
#define COUNT_loss_back         pass(d, WORK_LOSS, (3.0 + !!add) * s->n * s->pixels * s->channels)
#define COUNT_over_root         pass(d, WORK_ELEMENTWISE, (3.0 + (b != 0)) * n)
#define COUNT_sum_squares       table(d, t, count, 4, 1)
#define COUNT_axpby_all         table(d, t, count, 8 + 4 * (b != 0), 0)
#define COUNT_adamw             table(d, t, count, 28, 1)
#define COUNT_adamw8bit         table(d, t, count, 16, 1)
#define COUNT_lion              table(d, t, count, 20, 1)
#define COUNT_adafactor         do { \
		table(d, t, count, 4, 0);       /* rows */ \
		table(d, t, count, 4, 0);       /* columns */ \
		table(d, t, count, 0, 0);       /* means of rows */ \
		table(d, t, count, 0, 0);       /* factors of rows */ \
		table(d, t, count, 8, 2);       /* sums */ \
		table(d, t, count, 0, 0);       /* how far to go */ \
		table(d, t, count, 12, 1); \
	} while (0)
#define COUNT_estimate          table(d, t, count, 36, 2)
#define COUNT_estimate_move     table(d, t, count, 16, 1)
#define COUNT_schedulefree      table(d, t, count, 28, 1)

#define OP(type, name, parameters) static type counting_##name parameters { COUNT_##name; return (type)0; }
#define MEMORY(type, name, parameters)
#include "../backend_ops.def"

/* ---- memory: addresses alone ---- */

struct device *counting_device_new(const struct card_rates *r)
{
	struct device *d = xcalloc(1, sizeof(*d));

	d->rates = r;
	d->next = (uintptr_t)1 << 47;
	return d;
}

void counting_begin(struct device *d)                   { d->work = (struct work){ 0 }; }
struct work counting_work(const struct device *d)       { return d->work; }

static struct device *counting_open(struct error *e) { return counting_device_new(NULL); }
static void counting_close(struct device *d)         { free(d); }

static void *counting_alloc(struct device *d, size_t bytes)
{
	const uintptr_t at = d->next;

	d->next += (bytes + 255) / 256 * 256;
	return (void *)at;
}

static int counting_prepare(struct device *d, struct weight *w, const void *host)
{
	w->data = counting_alloc(d, (size_t)w->out * w->in * w->kh * w->kw * sizeof(float));
	return 0;
}

static void counting_unprepare(struct device *d, struct weight *w) { w->data = NULL; }

const struct backend counting_backend = {
	.name = "counting",
#define OP(type, name, parameters) .name = counting_##name,
#include "../backend_ops.def"
};
