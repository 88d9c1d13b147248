/* The counting backend: for each operation what the CUDA backend launches, and what that moves and computes. */
#include <stdlib.h>
#include "../base/memory.h"
#include "../base/ring.h"
#include "counting.h"

/* cuda/internal.h's, staging.c's, kernels.h's */
enum { SCRATCH_BYTES = 72 << 20, OPERANDS_BYTES = 40 << 20, STAGED_BYTES = 4 << 20, NARROW_MOST = 128,
       NARROW_TOGETHER = 64, GATED_COLUMNS = 64, GATED_RANK = 64 };

struct device {
	struct work work;
	const struct card_rates *rates;
	uintptr_t next;                 /* addresses that nobody dereferences, beyond those of a dry tape */
	/* the operand whose cast copy is in scratch: cuda/product.c keeps it for the next product of the same tokens */
	const void *cast_of; size_t cast_bytes; enum dtype cast_type; int cast_under;
	struct ring visits;             /* weights that lie in host memory, as cuda/visits.c has them on the card */
};

/* ---- calls ---- */

static double floats(double n) { return 4 * n; }
static double size_of(enum dtype t) { return t == DTYPE_F32 ? 4 : 2; }
static double bytes_of(struct values v, double n) { return size_of(v.type) * n; }

static void call(struct device *d, struct work_call c) { work_add(&d->work, d->rates, &c); }
static void forget(struct device *d) { d->cast_of = NULL; }

/* A kernel that writes memory: what was cast may have changed. */
static void kernel(struct device *d, enum work_class class, double bytes)
{
	forget(d);
	call(d, (struct work_call){ class, .kernels = 1, .bytes = bytes });
}

/* After y[n] was written by what does not forget: cuda/product.c's wrote() */
static void wrote(struct device *d, struct values y, size_t n)
{
	const char *at = y.at, *of = d->cast_of;

	if (of && at < of + d->cast_bytes && of < at + (size_t)bytes_of(y, n))
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
		    struct values c, int ldc)
{
	call(d, (struct work_call){ class, .products = 1, .flop = 2 * m * n * k, .tf32 = type == DTYPE_F32,
				    .bytes = size_of(type) * k * (m + n) + bytes_of(c, m * n * (add ? 2 : 1)) });
	wrote(d, c, (size_t)(m - 1) * ldc + n);
}

/* Largest magnitude, cast; or the cast alone; or nothing. */
static void cast(struct device *d, enum work_class class, struct values x, size_t n, enum dtype type, int under)
{
	const size_t bytes = floats(n);

	if (x.type == type ||
	    (d->cast_of == x.at && d->cast_bytes == bytes && d->cast_type == type && d->cast_under == under))
		return;
	if (type == DTYPE_F16)
		kernel(d, class, floats(n));
	kernel(d, class, bytes + size_of(type) * n);
	d->cast_of = x.at;
	d->cast_bytes = bytes;
	d->cast_type = type;
	d->cast_under = under;
}

static int at_once(int rows, size_t bytes, size_t room)
{
	const size_t most = room / bytes;

	return most > (size_t)rows ? rows : (int)most;
}

/* A weight that stays in host memory comes for a product where it is not there yet, while the card computes; as so many
 * copies. */
static void visit(struct device *d, const struct weight *w, int count)
{
	const size_t bytes = weight_bytes(w);
	size_t at;

	if (!w->on_host || ring_find(&d->visits, w->data, bytes) >= 0)
		return;
	at = ring_place(&d->visits, bytes);
	while (ring_is_taken(&d->visits, at, bytes))
		ring_drop(&d->visits);
	ring_put(&d->visits, w->data, at, bytes);
	call(d, (struct work_call){ WORK_COPIES, .copies = count, .bytes = bytes, .link = bytes, .beside = true });
}

/* A quantised weight is widened into the end of scratch, a layer's into the end of what is a product's; *room: what is
 * left before it.  count: it is so many weights. */
static struct weight weights_here(struct device *d, const struct weight *w, int count, enum work_class class,
				  size_t *room)
{
	const size_t wide = weight_count(w) * sizeof(uint16_t);
	struct weight here = *w;

	*room = w->kh * w->kw > 1 ? SCRATCH_BYTES : OPERANDS_BYTES;
	visit(d, w, count);
	if (!is_quantised(w->dtype))
		return here;
	*room -= (wide + 255) / 256 * 256;
	if (d->cast_bytes / sizeof(float) * size_of(d->cast_type) > *room)
		forget(d);
	call(d, (struct work_call){ class, .kernels = 1, .bytes = (double)(weight_bytes(w) + wide) });
	here.dtype = DTYPE_F16;
	return here;
}

static struct weight weight_here(struct device *d, const struct weight *w, enum work_class class, size_t *room)
{
	return weights_here(d, w, 1, class, room);
}

static void step_border(struct device *d)
{
	forget(d);
	ring_clear(&d->visits);
}

static void fill(struct device *d, enum work_class class, struct values y, double n)
{
	call(d, (struct work_call){ class, .kernels = 1, .bytes = bytes_of(y, n) });
	wrote(d, y, n);
}

/* Products of floats; activations in half precision come and go by scratch, some rows at a time. */
struct gemm { int ta, m, n, k, lda, ldb, ldc; bool add; struct values a, b, c; };

static void in_rows(struct device *d, enum work_class class, const struct gemm *g)
{
	const bool a = g->a.type != DTYPE_F32, b = g->b.type != DTYPE_F32, c = g->c.type != DTYPE_F32;
	const int rows = g->ta ? g->k : g->m, wide = g->ta ? g->m : g->k;
	const int most = at_once(rows, ((a ? wide : 0) + (b ? g->n : 0) + (size_t)(c ? g->n : 0)) * 4, OPERANDS_BYTES);

	for (int at = 0, part; at < rows; at += part) {
		const struct values to = values_from(g->c, g->ta ? 0 : (size_t)at * g->ldc);
		const double m = g->ta ? g->m : (part = rows - at < most ? rows - at : most);
		const double k = g->ta ? (part = rows - at < most ? rows - at : most) : g->k;

		if (a)
			kernel(d, WORK_ELEMENTWISE, 6.0 * part * wide);
		if (b)
			kernel(d, WORK_ELEMENTWISE, 6.0 * part * g->n);
		product(d, class, DTYPE_F32, m, g->n, k, c ? false : g->add || (g->ta && at), c ? f32(NULL) : to,
			c ? g->n : g->ldc);
		if (c)
			kernel(d, WORK_ELEMENTWISE, (6.0 + 2 * g->add) * part * g->n);
	}
}

static void multiply(struct device *d, enum work_class class, const struct gemm *g)
{
	if (g->a.type == DTYPE_F32 && g->b.type == DTYPE_F32 && g->c.type == DTYPE_F32)
		product(d, class, DTYPE_F32, g->m, g->n, g->k, g->add, g->c, g->ldc);
	else
		in_rows(d, class, g);
}

static void gemm(struct device *d, const struct gemm *g) { multiply(d, WORK_ADAPTER, g); }

/* An adapter's kernel beside a layer: its time is its memory's, its sums are tf32's. */
static void narrow_kernel(struct device *d, double bytes, double sums)
{
	call(d, (struct work_call){ WORK_ADAPTER, .kernels = 1, .bytes = bytes, .flop = 2 * sums, .tf32 = true });
}

static bool is_narrow(const struct narrow *more) { return more && more->rank <= NARROW_MOST; }

/* y (+)= x times the weight, either way round; x is read from a column on, rows of ldx */
struct layer { struct values y, x; int rows, out, in, ldy, ldx; bool add; };

static int count_narrow(const struct stacked *s)
{
	int n = 0;

	for (int i = 0; i < s->count; i++)
		n += is_narrow(s->of[i].more);
	return n;
}

static bool has_bias(const struct stacked *s)
{
	for (int i = 0; i < s->count; i++)
		if (s->of[i].bias)
			return true;
	return false;
}

static void wrote_z(struct device *d, const struct stacked *s, int rows)
{
	for (int i = 0; i < s->count; i++)
		if (is_narrow(s->of[i].more))
			wrote(d, f32(s->of[i].more->z), (size_t)rows * s->of[i].more->rank);
}

/* Floats of z and of both factors, and terms of the sums that make and use it; widths as they are multiplied. */
static void narrow_costs(const struct narrow *more, double rows, double from, double by, double *bytes, double *sums)
{
	*bytes += floats(rows * more->rank + more->rank * (from + by));
	*sums += rows * more->rank * (from + by);
}

/* Before the layers' own products: tells whether these are added */
static bool begin_forward(struct device *d, struct values y, struct values x, const struct stacked *s, int rows)
{
	const bool narrow = count_narrow(s);
	const double out = stacked_out(s);
	double bytes = bytes_of(y, rows * out), sums = 0;
	bool reads = false;

	if (!narrow && !has_bias(s))
		return false;
	if (!narrow && s->count == 1) {
		fill(d, WORK_PRODUCTS, y, rows * out);
		return true;
	}
	for (int i = 0; i < s->count; i++) {
		const struct narrow *more = s->of[i].more;

		if (!is_narrow(more))
			continue;
		reads |= more->from != NULL;
		narrow_costs(more, rows, more->from ? s->of[i].w->in : 0, s->of[i].w->out, &bytes, &sums);
	}
	narrow_kernel(d, bytes + (reads ? bytes_of(x, (double)rows * s->of[0].w->in) : 0), sums);
	wrote(d, y, rows * out);
	wrote_z(d, s, rows);
	return true;
}

static void end_forward(struct device *d, struct values y, int ldy, struct values x, const struct stacked_layer *l,
			int rows)
{
	const struct narrow *more = l->more;

	if (!more || is_narrow(more))
		return;
	if (more->from)
		gemm(d, &(struct gemm){ .m = rows, .n = more->rank, .k = l->w->in, .lda = l->w->in, .ldc = more->rank,
					.a = x, .c = f32(more->z) });
	gemm(d, &(struct gemm){ .m = rows, .n = l->w->out, .k = more->rank, .ldc = ldy, .add = true, .c = y });
}

/* One launch for all, or one each where a rank is large; each adds to dx what it made. */
static bool begin_backward(struct device *d, struct values dx, struct values dy, const struct stacked *s, int rows,
			   bool add)
{
	bool each = false;
	double bytes = 0, sums = 0;

	for (int i = 0; i < s->count; i++)
		each |= is_narrow(s->of[i].more) && s->of[i].more->rank > NARROW_TOGETHER;
	for (int i = 0, left = count_narrow(s); i < s->count; i++) {
		const struct narrow *more = s->of[i].more;
		const double in = dx.at ? s->of[i].w->in : 0, out = more && more->from ? s->of[i].w->out : 0;

		if (!is_narrow(more))
			continue;
		bytes += bytes_of(dy, rows * out);
		narrow_costs(more, rows, out, in, &bytes, &sums);
		if (--left && !each)
			continue;
		narrow_kernel(d, bytes + bytes_of(dx, rows * in * (add ? 2 : 1)), sums);
		bytes = sums = 0;
		add = true;
	}
	if (!count_narrow(s))
		return add;
	if (dx.at)
		wrote(d, dx, (size_t)rows * s->of[0].w->in);
	wrote_z(d, s, rows);
	return true;
}

static void end_backward(struct device *d, struct values dx, struct values dy, int ldy, const struct stacked_layer *l,
			 int rows)
{
	const struct narrow *more = l->more;

	if (!more || is_narrow(more))
		return;
	if (more->from)
		gemm(d, &(struct gemm){ .m = rows, .n = more->rank, .k = l->w->out, .lda = ldy, .ldc = more->rank,
					.a = dy, .c = f32(more->z) });
	if (dx.at)
		gemm(d, &(struct gemm){ .m = rows, .n = l->w->in, .k = more->rank, .ldc = l->w->in, .add = true,
					.c = dx });
}

static bool is_narrow_grad(const struct narrow_grads *g) { return g->rank <= NARROW_MOST; }

static void wide_grads(struct device *d, const struct narrow_grads *g)
{
	if (g->dup)
		gemm(d, &(struct gemm){ .ta = 1, .m = g->out, .n = g->rank, .k = g->rows, .lda = g->ldy,
					.ldb = g->rank, .ldc = g->rank, .add = g->add_up, .a = g->dy,
					.c = f32(g->dup) });
	if (g->ddown)
		gemm(d, &(struct gemm){ .ta = 1, .m = g->rank, .n = g->in, .k = g->rows, .lda = g->rank,
					.ldb = g->in, .ldc = g->in, .add = g->add_down, .b = g->x,
					.c = f32(g->ddown) });
}

/* All that are narrow in one launch. */
static void narrow_grads(struct device *d, const struct stacked_grads *all)
{
	double bytes = 0, sums = 0;

	for (const struct narrow_grads *g = all->of; g < all->of + all->count; g++) {
		const double wide = (g->dup ? g->out : 0) + (double)(g->ddown ? g->in : 0), rows = g->rows, r = g->rank;
		const int both = (g->dup != NULL) + (g->ddown != NULL);

		if (!is_narrow_grad(g))
			continue;
		bytes += (g->dup ? bytes_of(g->dy, rows * g->out) : 0) + (g->ddown ? bytes_of(g->x, rows * g->in) : 0) +
			 floats(rows * both * r + wide * r);
		sums += rows * wide * r;
		wrote(d, f32(g->dup), g->dup ? (size_t)g->out * g->rank : 0);
		wrote(d, f32(g->ddown), g->ddown ? (size_t)g->rank * g->in : 0);
	}
	if (bytes)
		narrow_kernel(d, bytes, sums);
	for (const struct narrow_grads *g = all->of; g < all->of + all->count; g++)
		if (!is_narrow_grad(g))
			wide_grads(d, g);
}

static void layer(struct device *d, const struct layer *l, const struct weight *w, size_t room)
{
	const bool as_it_is = l->x.type == w->dtype;
	const int most = as_it_is ? l->rows : at_once(l->rows, (size_t)l->ldx * size_of(w->dtype), room);

	if (w->dtype == DTYPE_F32 && (!as_it_is || l->y.type != w->dtype)) {
		multiply(d, WORK_PRODUCTS, &(struct gemm){ .m = l->rows, .n = l->out, .k = l->in, .lda = l->ldx,
							   .ldc = l->ldy, .add = l->add, .a = l->x, .c = l->y });
		return;
	}
	for (int at = 0, part; at < l->rows; at += part) {
		part = l->rows - at < most ? l->rows - at : most;
		cast(d, WORK_PRODUCTS, values_from(l->x, (size_t)at * l->ldx), (size_t)part * l->ldx, w->dtype,
		     l->y.shift);
		product(d, WORK_PRODUCTS, w->dtype, part, l->out, l->in, l->add,
			values_from(l->y, (size_t)at * l->ldy), l->ldy);
	}
}

static void linears(struct device *d, struct values y, struct values x, const struct stacked *s, int rows)
{
	const int ldy = stacked_out(s);
	const bool add = begin_forward(d, y, x, s, rows);
	struct weight w;

	for (int i = 0, n, column = 0; i < s->count; i += n, column += w.out) {
		size_t room;

		n = stacked_joined(s, i, d->visits.bytes, &w);
		const struct weight here = weights_here(d, &w, n, WORK_PRODUCTS, &room);

		layer(d, &(struct layer){ values_from(y, column), x, rows, w.out, w.in, ldy, w.in, add }, &here, room);
	}
	for (int i = 0, column = 0; i < s->count; column += s->of[i++].w->out)
		end_forward(d, values_from(y, column), ldy, x, &s->of[i], rows);
}

static bool is_gated(const struct narrow *more, int columns)
{
	return (!more || more->rank <= GATED_RANK) && columns % GATED_COLUMNS == 0;
}

/* After the product, the adapter's part and the geglu in one launch. */
static void linear_geglu(struct device *d, struct values g, struct values y, struct values x, const struct weight *w,
			 const float *bias, int rows, const struct narrow *more)
{
	const struct stacked s = { { { w, bias, more } }, 1 };
	const double in = more && more->from ? w->in : 0, n = (double)rows * w->out;
	double bytes = bytes_of(y, 2 * n) + bytes_of(g, n / 2) + bytes_of(x, rows * in), sums = 0;
	size_t room;

	if (!is_gated(more, w->out)) {
		linears(d, y, x, &s, rows);
		kernel(d, WORK_ELEMENTWISE, bytes_of(y, n) + bytes_of(g, n / 2));
		return;
	}
	const struct weight here = weights_here(d, w, 1, WORK_PRODUCTS, &room);

	layer(d, &(struct layer){ y, x, rows, w->out, w->in, w->out, w->in, false }, &here, room);
	if (more)
		narrow_costs(more, rows, in, w->out, &bytes, &sums);
	narrow_kernel(d, bytes, sums);
	wrote(d, y, n);
	wrote(d, g, n / 2);
	wrote_z(d, &s, rows);
}

static void linears_dx(struct device *d, struct values dx, struct values dy, const struct stacked *s, int rows,
		       bool add)
{
	const int ldy = stacked_out(s);
	bool adds = begin_backward(d, dx, dy, s, rows, add);
	struct weight w;

	for (int i = 0, n; dx.at && i < s->count; i += n, adds = true) {
		size_t room;

		n = stacked_joined(s, i, d->visits.bytes, &w);
		const struct weight here = weights_here(d, &w, n, WORK_PRODUCTS, &room);

		layer(d, &(struct layer){ dx, dy, rows, w.in, w.out, w.in, ldy, adds }, &here, room);
	}
	for (int i = 0, column = 0; i < s->count; column += s->of[i++].w->out)
		end_backward(d, dx, values_from(dy, column), ldy, &s->of[i], rows);
}

/* The same the other way. */
static void linear_dx_geglu(struct device *d, struct values dh, struct values dx, struct values dy, struct values h,
			    const struct weight *w, int rows, const struct narrow *more)
{
	const struct stacked s = { { { w, NULL, more } }, 1 };
	const double n = (double)rows * w->in, gates = bytes_of(dx, n) + bytes_of(h, 2 * n) + bytes_of(dh, 2 * n);
	double out = more->from ? w->out : 0, bytes = gates + bytes_of(dy, rows * out), sums = 0;
	size_t room;

	if (!is_gated(more, w->in * 2)) {
		linears_dx(d, dx, dy, &s, rows, false);
		kernel(d, WORK_ELEMENTWISE, gates);
		return;
	}
	const struct weight here = weights_here(d, w, 1, WORK_PRODUCTS, &room);

	layer(d, &(struct layer){ dx, dy, rows, w->in, w->out, w->in, w->out, false }, &here, room);
	narrow_costs(more, rows, out, w->in, &bytes, &sums);
	narrow_kernel(d, bytes, sums);
	wrote(d, dh, 2 * n);
	wrote_z(d, &s, rows);
}

static void linear(struct device *d, struct values y, struct values x, const struct weight *w, const float *bias,
		   int rows, const struct narrow *more)
{
	linears(d, y, x, &(struct stacked){ { { w, bias, more } }, 1 }, rows);
}

static void linear_dx(struct device *d, struct values dx, struct values dy, const struct weight *w, int rows, bool add,
		      const struct narrow *more)
{
	linears_dx(d, dx, dy, &(struct stacked){ { { w, NULL, more } }, 1 }, rows, add);
}

/* ---- convolutions ---- */

static bool is_linear(const struct conv_shape *s, int kh, int kw)
{
	return kh * kw == 1 && s->stride == 1 && !s->pad && s->oh == s->h && s->ow == s->w;
}

static double inputs(const struct conv_shape *s)  { return (double)s->n * s->h * s->w; }
static double outputs(const struct conv_shape *s) { return (double)s->n * s->oh * s->ow; }

/* The largest magnitude, where there is a factor; and a product that reads the picture x[from] itself. */
static void convolve(struct device *d, const struct weight *w, const struct conv_shape *s, struct values x, double from,
		     double written)
{
	const double weights = (double)weight_count(w);
	size_t room;
	const enum dtype type = weight_here(d, w, WORK_CONVOLUTIONS, &room).dtype;

	if (type == DTYPE_F16 && x.type == DTYPE_F32)
		kernel(d, WORK_CONVOLUTIONS, floats(from));
	forget(d);
	call(d, (struct work_call){ WORK_CONVOLUTIONS, .kernels = 1, .flop = 2 * outputs(s) * weights,
				    .tf32 = type == DTYPE_F32,
				    .bytes = bytes_of(x, from) + written + size_of(type) * weights });
}

static void conv2d(struct device *d, struct values y, struct values x, const struct weight *w, const float *bias,
		   const struct conv_shape *s)
{
	if (is_linear(s, w->kh, w->kw))
		linear(d, y, x, w, bias, outputs(s), NULL);
	else
		convolve(d, w, s, x, inputs(s) * w->in, bytes_of(y, outputs(s) * w->out) + floats(bias ? w->out : 0));
}

static void conv2d_dx(struct device *d, struct values dx, struct values dy, const struct weight *w,
		      const struct conv_shape *s, bool add)
{
	if (is_linear(s, w->kh, w->kw))
		linear_dx(d, dx, dy, w, outputs(s), add, NULL);
	else
		convolve(d, w, s, dy, outputs(s) * w->out, bytes_of(dx, inputs(s) * w->in * (add ? 2 : 1)));
}

/* Columns in scratch, some rows at a time, and their products; dy beside them as floats. */
static void conv2d_dw(struct device *d, const float *dw, struct values x, struct values dy, const struct conv_shape *s,
		      int out, int in, size_t width, bool add)
{
	const bool halves = dy.type != DTYPE_F32;
	const size_t most = OPERANDS_BYTES / ((width + (halves ? out : 0)) * sizeof(float)), rows = outputs(s);

	for (size_t at = 0, part; at < rows; at += part) {
		part = rows - at < most ? rows - at : most;
		kernel(d, WORK_ADAPTER, bytes_of(x, inputs(s) * in) * part / rows + floats(part * width));
		if (halves)
			kernel(d, WORK_ADAPTER, 6.0 * part * out);
		product(d, WORK_ADAPTER, DTYPE_F32, out, width, part, add || at, f32(dw), width);
	}
}

/* ---- attention ---- */

/* FLOP of so many products with all scores */
static double scores(const struct attention_shape *s, double products)
{
	return 2 * products * s->n * s->heads * s->lq * s->lk * s->d / (s->causal ? 2 : 1);
}

static double queries(const struct attention_shape *s) { return (double)s->n * s->heads * s->lq * s->d; }
static double keys(const struct attention_shape *s)    { return (double)s->n * s->heads * s->lk * s->d; }
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

/* Backward computes the scores twice: for dq, and for dk and dv.  What both read of dout and o is made with dq, or by
 * itself. */
static void attend_back(struct device *d, const struct attention_shape *s, struct values q, bool dq, bool dk, bool dv,
			const int add[3])
{
	const int splits = splits_of(s), wanted = dk + dv;
	const double written = splits > 1 ? floats(splits * wanted * keys(s)) : bytes_of(q, wanted * keys(s));

	if (!dq || is_wide(s))
		attend(d, bytes_of(q, 2 * queries(s)) + rows_of(s), 0, 0, false);
	if (dq)
		attend(d, bytes_of(q, (4 + add[0]) * queries(s) + 2 * keys(s)) + 2 * rows_of(s), scores(s, 2),
		       scores(s, 1), is_wide(s));
	if (wanted)
		attend(d, bytes_of(q, 2 * queries(s) + 2 * keys(s)) + written + 2 * rows_of(s), scores(s, 3),
		       scores(s, 1), is_wide(s));
	if (wanted && splits > 1)
		attend(d, floats(splits * wanted * keys(s)) + bytes_of(q, wanted * keys(s)), 0, 0, false);
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

/* sums over chunks of rows, and each element */
static void group_norm(struct device *d, double read, double written)
{
	kernel(d, WORK_NORMS, read);
	kernel(d, WORK_NORMS, read + written);
}

static void sums_of_band(struct device *d, const struct norm_shape *s, int pixels)
{
	pass(d, WORK_NORMS, (double)pixels * s->c);
	pass(d, WORK_NORMS, 0);
}

/* Indices come from the host. */
static void look_up(struct device *d, double rows, double bytes)
{
	upload(d, rows * sizeof(int32_t));
	kernel(d, WORK_COPIES, bytes);
}

static void look_up_weight(struct device *d, const struct weight *table, double rows)
{
	size_t room;
	const enum dtype type = weight_here(d, table, WORK_COPIES, &room).dtype;

	look_up(d, rows, (size_of(type) + 4) * rows * table->in);
}

/* ---- one row an operation, in terms of its arguments as backend_ops.def has them ---- */

/* What is written, or added to; and backward of y[n] = f(x) of `wide` times as many values of x. */
#define BOTH(v, n)              bytes_of(v, (n) * (add ? 2 : 1))
#define BACK(class, n, wide)    kernel(d, class, bytes_of(dy, n) + bytes_of(x, (wide) * (n)) + BOTH(dx, (wide) * (n)))

#define COUNT_release           if (p) forget(d)
#define COUNT_room
#define COUNT_look
#define COUNT_invite
#define COUNT_join
#define COUNT_pass
#define COUNT_upload            upload(d, bytes)
#define COUNT_download          copies(d, 1, bytes, bytes)
#define COUNT_copy              (forget(d), copies(d, 1, floats(2.0 * n), 0))
#define COUNT_zero              (forget(d), copies(d, 1, bytes_of(y, n), 0))
#define COUNT_step_begin        step_border(d)
#define COUNT_step_end          step_border(d)
#define COUNT_linear            linear(d, y, x, w, bias, rows, more)
#define COUNT_linear_dx         linear_dx(d, dx, dy, w, rows, add, more)
#define COUNT_linear_geglu      linear_geglu(d, g, y, x, w, bias, rows, more)
#define COUNT_linear_dx_geglu   linear_dx_geglu(d, dh, dx, dy, h, w, rows, more)
#define COUNT_linears           linears(d, y, x, s, rows)
#define COUNT_linears_dx        linears_dx(d, dx, dy, s, rows, add)
#define COUNT_narrow_grads      narrow_grads(d, g)
#define COUNT_gemm              gemm(d, &(struct gemm){ ta, m, n, k, lda, ldb, ldc, beta != 0, a, b, c })
#define COUNT_conv2d            conv2d(d, y, x, w, bias, s)
#define COUNT_conv2d_dx         conv2d_dx(d, dx, dy, w, s, add)
#define COUNT_conv2d_dw         conv2d_dw(d, dw, x, dy, s, out, in, (size_t)kh * kw * in, add)
#define COUNT_kronecker         pass(d, WORK_ADAPTER, (double)s->p * s->q * s->m * s->n * s->taps)
#define COUNT_kronecker_back    do { \
		if (da) pass(d, WORK_ADAPTER, (double)s->p * s->q * s->m * s->n * s->taps); \
		if (db) pass(d, WORK_ADAPTER, (double)s->p * s->q * s->m * s->n * s->taps); \
	} while (0)
#define COUNT_rotate            rotate(d, s, y.at, rows)
#define COUNT_rotate_back       rotate_back(d, s, dx.at, db, rows)
#define COUNT_group_norm        group_norm(d, bytes_of(x, all(s)), bytes_of(y, all(s)))
#define COUNT_group_norm_back   group_norm(d, bytes_of(x, all(s)) + bytes_of(dy, all(s)), BOTH(dx, all(s)))
#define COUNT_group_norm_sums   sums_of_band(d, s, pixels)
#define COUNT_group_norm_apply  pass(d, WORK_NORMS, 2 * all(s))
#define COUNT_layer_norm        kernel(d, WORK_NORMS, bytes_of(x, (double)rows * c) + bytes_of(y, (double)rows * c) + \
				       (sum ? bytes_of(z, (double)rows * c) + floats((double)rows * c) : 0))
#define COUNT_layer_norm_back   kernel(d, WORK_NORMS, bytes_of(dy, (double)rows * c) + bytes_of(x, (double)rows * c) + \
				       BOTH(dx, (double)rows * c) + (also.at ? bytes_of(also, (double)rows * c) : 0))
#define COUNT_activation        kernel(d, WORK_ELEMENTWISE, bytes_of(x, n) + bytes_of(y, n))
#define COUNT_activation_back   BACK(WORK_ELEMENTWISE, n, 1)
#define COUNT_geglu             kernel(d, WORK_ELEMENTWISE, bytes_of(x, 2.0 * rows * c) + bytes_of(y, (double)rows * c))
#define COUNT_geglu_back        BACK(WORK_ELEMENTWISE, (double)rows * c, 2)
#define COUNT_axpby             kernel(d, WORK_ELEMENTWISE, bytes_of(x, n) + bytes_of(y, (1.0 + (b != 0)) * n))
#define COUNT_dropout           pass(d, WORK_ADAPTER, 2.0 * n * rows * c)
#define COUNT_add               kernel(d, WORK_ELEMENTWISE, bytes_of(x, n) + bytes_of(z, n) + bytes_of(y, n))
#define COUNT_multiply          kernel(d, WORK_ELEMENTWISE, bytes_of(x, (double)rows * c) + \
				       bytes_of(y, (double)rows * c) + (shared ? 0 : bytes_of(z, (double)rows * c)))
#define COUNT_add_per_sample    kernel(d, WORK_ELEMENTWISE, bytes_of(x, (double)n * hw * c) + \
				       bytes_of(y, (double)n * hw * c))
#define COUNT_sum_per_sample    kernel(d, WORK_ELEMENTWISE, bytes_of(dy, (double)n * hw * c))
#define COUNT_copy_columns      kernel(d, WORK_ELEMENTWISE, bytes_of(x, (double)rows * cols) + \
				       bytes_of(y, (1.0 + !!add) * rows * cols))
#define COUNT_upsample          kernel(d, WORK_ELEMENTWISE, bytes_of(x, (double)n * h * w * c) + \
				       bytes_of(y, 4.0 * n * h * w * c))
#define COUNT_upsample_back     kernel(d, WORK_ELEMENTWISE, bytes_of(dy, 4.0 * n * h * w * c) + \
				       BOTH(dx, (double)n * h * w * c))
#define COUNT_embedding         look_up_weight(d, table, rows)
#define COUNT_gather_rows       look_up(d, rows, bytes_of(x, (double)rows * c) + bytes_of(y, (double)rows * c))
#define COUNT_gather_rows_back  look_up(d, rows, bytes_of(dy, (double)rows * c) + bytes_of(dx, 2.0 * rows * c))
#define COUNT_attention         attend(d, bytes_of(q, 2 * queries(s) + 2 * keys(s)) + rows_of(s), scores(s, 2), 0, \
				       is_wide(s))
#define COUNT_attention_back    attend_back(d, s, q, dq.at, dk.at, dv.at, add)
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

static enum dtype counting_inner(struct device *d, enum dtype weights, int head)
{
	return inner_on_card(weights, head);
}

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
	if (!w->placed)
		w->data = counting_alloc(d, weight_bytes(w));
	if (w->on_host && ring_for(weight_bytes(w)) > d->visits.bytes) {
		d->visits.bytes = ring_for(weight_bytes(w));
		ring_clear(&d->visits);
	}
	return 0;
}

static void counting_unprepare(struct device *d, struct weight *w) { w->data = NULL; }

const struct backend counting_backend = {
	.name = "counting",
#define OP(type, name, parameters) .name = counting_##name,
#include "../backend_ops.def"
};
