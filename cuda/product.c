/* Matrix products through cuBLAS. */
#include <math.h>
#include "internal.h"

static cudaDataType_t blas_type(enum dtype t)
{
	return t == DTYPE_F16 ? CUDA_R_16F : t == DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

/* Sums are float everywhere; floats are multiplied as tf32, whose 10 bits of fraction are those of half precision. */
static cublasComputeType_t compute_type(enum dtype t)
{
	return t == DTYPE_F32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

static void wrote(struct device *d, const void *c, size_t bytes)
{
	const char *at = c, *of = d->operand.of;

	if (of && at < of + d->operand.bytes && of < at + bytes)
		d->operand.of = NULL;
}

static void wrote_values(struct device *d, struct values y, size_t n)
{
	wrote(d, y.at, n * type_size(y.type));
}

static void wrote_floats(struct device *d, const float *y, size_t n)
{
	wrote(d, y, n * sizeof(*y));
}

/* y[rows,c] = bias[c].  The cast operand stays, unless y was it. */
static void fill_rows(struct device *d, struct values y, const float *bias, int rows, int c)
{
	cuda_must(k_fill_rows(d->stream, y, bias, rows, c), "bias");
	wrote_values(d, y, (size_t)rows * c);
}

/* cuBLAS counts columns first, so it is asked for c^T = op(b)^T a^T: the operands change places, and what is row-major
 * here is transposed there already. */
void run_product(struct device *d, const struct product *p)
{
	const cudaDataType_t type = blas_type(p->type);
	const float beta = p->add;
	const void *factor = p->scaled ? &d->fixed->inverse : &p->factor;
	const void *keep = p->scaled ? p->add ? &d->fixed->one : &d->fixed->zero : &beta;

	blas_must(cublasSetPointerMode(d->blas, p->scaled ? CUBLAS_POINTER_MODE_DEVICE : CUBLAS_POINTER_MODE_HOST),
		  "pointer mode");
	blas_must(cublasGemmEx(d->blas, p->transposed ? CUBLAS_OP_T : CUBLAS_OP_N, CUBLAS_OP_N, p->n, p->m, p->k,
			       factor, p->b, type, p->ldb, p->a, type, p->lda, keep, p->c, blas_type(p->to), p->ldc,
			       compute_type(p->type), CUBLAS_GEMM_DEFAULT), "a matrix product");
	wrote(d, p->c, ((size_t)(p->m - 1) * p->ldc + p->n) * type_size(p->to));
}

/* ---- operands ---- */

/* x[n] in the weight's type: itself, or of floats a copy in scratch that stays for the next product with the same x.
 * under: the power of two of what the product makes */
static const void *cast(struct device *d, struct values x, size_t n, enum dtype type, int under)
{
	struct operand *o = &d->operand;
	const size_t bytes = n * sizeof(float);

	if (x.type == type)
		return x.at;
	if (o->of == x.at && o->bytes == bytes && o->type == type && o->under == under)
		return d->scratch;
	cuda_ran(d, k_cast(d->stream, cuda_scratch(d, n * type_size(type)), type, &d->fixed->inverse, under,
			   floats_at(x), n, d->fixed->cast), "cast");
	*o = (struct operand){ x.at, bytes, type, under };
	return d->scratch;
}

/* Rows of so many bytes that `room` bytes of scratch hold. */
static int rows_at_once(int rows, size_t bytes, size_t room)
{
	const size_t most = room / bytes;

	return most > (size_t)rows ? rows : (int)most;
}

/* ---- linear layers ---- */

/* y (+)= x times the weight, either way round.  y: rows of ldy values; x: rows of ldx, of which it reads those from
 * column `from` on. */
struct layer { struct values y, x; int rows, out, in, ldy, ldx, from; bool transposed, add; };

static void run_layer(struct device *d, const struct layer *l, const struct weight *w)
{
	const size_t size = type_size(w->dtype);
	const bool as_it_is = l->x.type == w->dtype;
	const int most = as_it_is ? l->rows : rows_at_once(l->rows, l->ldx * size, cuda_scratch_before(d, w));
	int at, part;

	if (w->dtype == DTYPE_F32 && (!as_it_is || l->y.type != w->dtype)) {
		cuda_gemm(d, 0, l->transposed, l->rows, l->out, l->in, 1, values_from(l->x, l->from), l->ldx,
			  f32(w->data), w->in, l->add, l->y, l->ldy);
		return;
	}
	if (l->y.type != DTYPE_F32 && l->y.type != w->dtype)
		die(EXIT_OTHER, "a layer's values are of another type than its weight; this is a bug in lora-tools");
	for (at = 0; at < l->rows; at += part) {
		const struct values x = values_from(l->x, (size_t)at * l->ldx);
		const char *a;

		part = l->rows - at < most ? l->rows - at : most;
		a = cast(d, x, (size_t)part * l->ldx, w->dtype, l->y.shift);
		run_product(d, &(struct product){ .type = w->dtype, .to = l->y.type, .m = part, .n = l->out,
			.k = l->in, .a = a + l->from * size, .lda = l->ldx,
			.b = w->data, .ldb = w->in, .transposed = l->transposed, .add = l->add,
			.scaled = !as_it_is && w->dtype == DTYPE_F16,
			.factor = ldexpf(1, l->y.shift - (as_it_is ? x.shift : 0)),
			.c = values_from(l->y, (size_t)at * l->ldy).at, .ldc = l->ldy });
	}
}

/* Products of larger ranks are cuBLAS's. */
static bool is_narrow(const struct narrow *more)
{
	return more && more->rank <= NARROW_MOST;
}

static int count_narrow(const struct stacked *s)
{
	int n = 0;

	for (int i = 0; i < s->count; i++)
		n += is_narrow(s->of[i].more);
	return n;
}

static void wrote_z(struct device *d, const struct stacked *s, int rows)
{
	for (int i = 0; i < s->count; i++)
		if (is_narrow(s->of[i].more))
			wrote_floats(d, s->of[i].more->z, (size_t)rows * s->of[i].more->rank);
}

static bool has_bias(const struct stacked *s)
{
	for (int i = 0; i < s->count; i++)
		if (s->of[i].bias)
			return true;
	return false;
}

/* What y holds before the layers' own products are added: biases and adapters' parts, or nothing.  Tells whether they
 * are added.  The cast operand stays. */
static bool begin_forward(struct device *d, struct values y, struct values x, const struct stacked *s, int rows)
{
	const bool narrow = count_narrow(s);

	if (!narrow && !has_bias(s))
		return false;
	if (!narrow && s->count == 1) {
		fill_rows(d, y, s->of[0].bias, rows, s->of[0].w->out);
		return true;
	}
	cuda_must(k_narrow(d->stream, y, x, s, rows), "adapters' products");
	wrote_values(d, y, (size_t)rows * stacked_out(s));
	wrote_z(d, s, rows);
	return true;
}

static void end_forward(struct device *d, struct values y, int ldy, struct values x, const struct stacked_layer *l,
			int rows)
{
	const struct narrow *more = l->more;
	const int in = l->w->in;

	if (!more || is_narrow(more))
		return;
	if (more->from)
		cuda_gemm(d, 0, 1, rows, more->rank, in, more->first, x, in, f32(more->from), in, 0, f32(more->z),
			  more->rank);
	cuda_gemm(d, 0, 1, rows, l->w->out, more->rank, more->scale, f32(more->z), more->rank, f32(more->by),
		  more->rank, 1, y, ldy);
}

void cuda_linears(struct device *d, struct values y, struct values x, const struct stacked *s, int rows)
{
	const int ldy = stacked_out(s);
	const bool add = begin_forward(d, y, x, s, rows);
	struct weight w;

	for (int i = 0, n, column = 0; i < s->count; i += n, column += w.out) {
		n = stacked_joined(s, i, visits_most(d), &w);
		const struct weight here = cuda_weights_here(d, s, i, n, &w);

		run_layer(d, &(struct layer){ values_from(y, column), x, rows, w.out, w.in, ldy, w.in, 0, true, add },
			  &here);
	}
	for (int i = 0, column = 0; i < s->count; column += s->of[i++].w->out)
		end_forward(d, values_from(y, column), ldy, x, &s->of[i], rows);
}

void cuda_linear(struct device *d, struct values y, struct values x, const struct weight *w, const float *bias,
		 int rows, const struct narrow *more)
{
	cuda_linears(d, y, x, &(struct stacked){ { { w, bias, more } }, 1 }, rows);
}

static bool is_gated(const struct narrow *more, int columns)
{
	return (!more || more->rank <= GATED_RANK) && columns % GATED_COLUMNS == 0;
}

/* After the product, the adapter's part and the geglu in one launch. */
void cuda_linear_geglu(struct device *d, struct values g, struct values y, struct values x, const struct weight *w,
		       const float *bias, int rows, const struct narrow *more)
{
	const struct stacked s = { { { w, bias, more } }, 1 };

	if (!is_gated(more, w->out)) {
		cuda_linears(d, y, x, &s, rows);
		cuda_geglu(d, g, y, rows, w->out / 2);
		return;
	}
	const struct weight here = cuda_weights_here(d, &s, 0, 1, w);

	run_layer(d, &(struct layer){ y, x, rows, w->out, w->in, w->out, w->in, 0, true, false }, &here);
	cuda_must(k_narrow_geglu(d->stream, g, y, x, s.of, rows), "an adapter's products and geglu");
	wrote_values(d, y, (size_t)rows * w->out);
	wrote_values(d, g, (size_t)rows * w->out / 2);
	wrote_z(d, &s, rows);
}

static bool begin_backward(struct device *d, struct values dx, struct values dy, const struct stacked *s, int rows,
			   int add)
{
	if (!count_narrow(s))
		return add;
	cuda_must(k_narrow_dx(d->stream, dx, dy, s, rows, add), "adapters' products, backward");
	if (dx.at)
		wrote_values(d, dx, (size_t)rows * s->of[0].w->in);
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
		cuda_gemm(d, 0, 0, rows, more->rank, l->w->out, more->first, dy, ldy, f32(more->from), more->rank, 0,
			  f32(more->z), more->rank);
	if (dx.at)
		cuda_gemm(d, 0, 0, rows, l->w->in, more->rank, more->scale, f32(more->z), more->rank, f32(more->by),
			  l->w->in, 1, dx, l->w->in);
}

/* backward of y = x W^T:  dx[rows,in] = dy[rows,out] W; of layers beside each other the sum of them */
void cuda_linears_dx(struct device *d, struct values dx, struct values dy, const struct stacked *s, int rows, int add)
{
	const int ldy = stacked_out(s);
	bool adds = begin_backward(d, dx, dy, s, rows, add);
	struct weight w;

	for (int i = 0, n, column = 0; dx.at && i < s->count; i += n, column += w.out, adds = true) {
		n = stacked_joined(s, i, visits_most(d), &w);
		const struct weight here = cuda_weights_here(d, s, i, n, &w);

		run_layer(d, &(struct layer){ dx, dy, rows, w.in, w.out, w.in, ldy, column, false, adds }, &here);
	}
	for (int i = 0, column = 0; i < s->count; column += s->of[i++].w->out)
		end_backward(d, dx, values_from(dy, column), ldy, &s->of[i], rows);
}

void cuda_linear_dx(struct device *d, struct values dx, struct values dy, const struct weight *w, int rows, int add,
		    const struct narrow *more)
{
	cuda_linears_dx(d, dx, dy, &(struct stacked){ { { w, NULL, more } }, 1 }, rows, add);
}

/* The same the other way. */
void cuda_linear_dx_geglu(struct device *d, struct values dh, struct values dx, struct values dy, struct values h,
			  const struct weight *w, int rows, const struct narrow *more)
{
	const struct stacked s = { { { w, NULL, more } }, 1 };

	if (!is_gated(more, w->in * 2)) {
		cuda_linears_dx(d, dx, dy, &s, rows, 0);
		cuda_geglu_back(d, dh, dx, h, rows, w->in, 0);
		return;
	}
	const struct weight here = cuda_weights_here(d, &s, 0, 1, w);

	run_layer(d, &(struct layer){ dx, dy, rows, w->in, w->out, w->in, w->out, 0, false, false }, &here);
	cuda_must(k_narrow_dx_geglu(d->stream, dh, dx, dy, h, s.of, rows), "an adapter's products and geglu, backward");
	wrote_values(d, dh, (size_t)rows * w->in * 2);
	wrote_z(d, &s, rows);
}

static void wide_grads(struct device *d, const struct narrow_grads *g)
{
	if (g->dup)
		cuda_gemm(d, 1, 0, g->out, g->rank, g->rows, g->scale, g->dy, g->ldy, f32(g->z), g->rank, g->add_up,
			  f32(g->dup), g->rank);
	if (g->ddown)
		cuda_gemm(d, 1, 0, g->rank, g->in, g->rows, 1, f32(g->dz), g->rank, g->x, g->in, g->add_down,
			  f32(g->ddown), g->in);
}

void cuda_narrow_grads(struct device *d, const struct stacked_grads *all)
{
	cuda_must(k_narrow_grads(d->stream, all), "adapters' gradients");
	for (const struct narrow_grads *g = all->of; g < all->of + all->count; g++) {
		if (g->rank > NARROW_MOST) {
			wide_grads(d, g);
			continue;
		}
		wrote_floats(d, g->dup, g->dup ? (size_t)g->out * g->rank : 0);
		wrote_floats(d, g->ddown, g->ddown ? (size_t)g->rank * g->in : 0);
	}
}

/* ---- products of floats, some of which may lie in half precision ---- */

struct floats_product {
	int ta, tb, m, n, k;
	float alpha; const float *a, *b; int lda, ldb;
	float beta, *c; int ldc;
};

static void run_floats(struct device *d, const struct floats_product *p)
{
	blas_must(cublasSetPointerMode(d->blas, CUBLAS_POINTER_MODE_HOST), "pointer mode");
	blas_must(cublasGemmEx(d->blas, p->tb ? CUBLAS_OP_T : CUBLAS_OP_N, p->ta ? CUBLAS_OP_T : CUBLAS_OP_N, p->n,
			       p->m, p->k, &p->alpha, p->b, CUDA_R_32F, p->ldb, p->a, CUDA_R_32F, p->lda, &p->beta,
			       p->c, CUDA_R_32F, p->ldc, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_GEMM_DEFAULT),
		  "a matrix product");
	wrote_floats(d, p->c, (size_t)(p->m - 1) * p->ldc + p->n);
}

/* x[rows,columns] as floats: itself, or a copy in scratch at *room, which goes on behind it; *ld is that of either */
static const float *widened(struct device *d, struct values x, int *ld, int rows, int columns, float **room)
{
	float *to = *room;

	if (x.type == DTYPE_F32)
		return x.at;
	cuda_ran(d, k_copy_columns(d->stream, f32(to), columns, x, *ld, rows, columns, 0), "cast");
	*ld = columns;
	*room += (size_t)rows * columns;
	return to;
}

static size_t floats_widened(struct values x, int width)
{
	return x.type == DTYPE_F32 ? 0 : width;
}

/* Rows of activations, as many at a time as scratch holds beside the workspace: rows of c, or, where a is transposed,
 * terms of its sums. */
static void run_in_rows(struct device *d, const struct floats_product *p, struct values a, struct values b,
			struct values c)
{
	const bool copies = c.type != DTYPE_F32;
	const int wide = p->ta ? p->m : p->k;
	const size_t width = floats_widened(a, wide) + floats_widened(b, p->n) + floats_widened(c, p->n);
	const int rows = p->ta ? p->k : p->m, most = rows_at_once(rows, width * sizeof(float), OPERANDS_BYTES);
	int at, part;

	for (at = 0; at < rows; at += part) {
		const struct values to = values_from(c, p->ta ? 0 : (size_t)at * p->ldc);
		float *room = cuda_scratch(d, OPERANDS_BYTES);
		struct floats_product one = *p;

		part = rows - at < most ? rows - at : most;
		*(p->ta ? &one.k : &one.m) = part;
		one.a = widened(d, values_from(a, (size_t)at * p->lda), &one.lda, part, wide, &room);
		one.b = widened(d, values_from(b, p->ta ? (size_t)at * p->ldb : 0), &one.ldb, part, p->n, &room);
		one.c = copies ? room : to.at;
		one.ldc = copies ? p->n : p->ldc;
		one.beta = copies ? 0 : p->ta && at ? 1 : p->beta;
		run_floats(d, &one);
		if (copies)
			cuda_ran(d, k_copy_columns(d->stream, to, p->ldc, f32(room), p->n, part, p->n, p->beta != 0),
				 "cast");
	}
}

/* Half precision is not an operand that stands for a weight, and is overwritten or added to. */
static bool is_in_rows(const struct floats_product *p, struct values b, struct values c)
{
	return (b.type == DTYPE_F32 || (p->ta && !p->tb)) &&
	       (c.type == DTYPE_F32 || (!p->ta && (p->beta == 0 || p->beta == 1)));
}

void cuda_gemm(struct device *d, int ta, int tb, int m, int n, int k, float alpha, struct values a, int lda,
	       struct values b, int ldb, float beta, struct values c, int ldc)
{
	const struct floats_product p = { ta, tb, m, n, k, alpha, a.at, b.at, lda, ldb, beta, c.at, ldc };

	if (a.type == DTYPE_F32 && b.type == DTYPE_F32 && c.type == DTYPE_F32)
		run_floats(d, &p);
	else if (is_in_rows(&p, b, c))
		run_in_rows(d, &p, a, b, c);
	else
		die(EXIT_OTHER, "a product of half precision that cuda does not know; this is a bug in lora-tools");
}

/* ---- each kind once ---- */

/* c at the end of the operands' part of scratch, a and b before it; what is in them does not matter, and they are
 * zeros. */
static void run_kinds(struct device *d, int m, int n, int k)
{
	static const enum dtype type[][2] = { { DTYPE_F16, DTYPE_F32 }, { DTYPE_F16, DTYPE_F16 },
					      { DTYPE_BF16, DTYPE_F32 }, { DTYPE_BF16, DTYPE_BF16 },
					      { DTYPE_F32, DTYPE_F32 } };
	char *a = d->scratch, *b = a + OPERANDS_BYTES / 4;
	float *c = (float *)(d->scratch + OPERANDS_BYTES / 2);

	for (size_t t = 0; t < sizeof(type) / sizeof(*type); t++)
		for (int transposed = 0; transposed < 2; transposed++)
			run_product(d, &(struct product){ .type = type[t][0], .to = type[t][1], .m = m, .n = n, .k = k,
				.a = a, .lda = k, .b = b, .ldb = transposed ? k : n, .transposed = transposed,
				.factor = 1, .c = c, .ldc = n });
	cuda_gemm(d, 1, 0, m, n, k, 1, f32((float *)a), m, f32((float *)b), n, 0, f32(c), n);
}

/* Large, narrow both ways as an adapter's, and of as many rows as a text: cuBLAS has code of its own for each. */
void run_each_product(struct device *d)
{
	cuda_ran(d, cudaMemsetAsync(cuda_scratch(d, OPERANDS_BYTES), 0, OPERANDS_BYTES, d->stream), "zero");
	run_kinds(d, 1024, 640, 640);
	run_kinds(d, 1024, 16, 640);
	run_kinds(d, 1024, 640, 16);
	run_kinds(d, 77, 640, 640);
	cuda_must(cudaStreamSynchronize(d->stream), "the work so far");
}
