/* Matrix products through cuBLAS. */
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

static void wrote(struct device *d, const float *c, size_t n)
{
	if (d->operand.of && c < d->operand.of + d->operand.count && d->operand.of < c + n)
		d->operand.of = NULL;
}

void fill_rows(struct device *d, float *y, const float *bias, int rows, int c)
{
	cuda_must(k_fill_rows(d->stream, y, bias, rows, c), "bias");
	wrote(d, y, (size_t)rows * c);
}

/* cuBLAS counts columns first, so it is asked for c^T = op(b)^T a^T: the operands change places, and what is row-major
 * here is transposed there already. */
void run_product(struct device *d, const struct product *p)
{
	const cudaDataType_t type = blas_type(p->type);
	const bool scaled = p->type == DTYPE_F16;
	const float one = 1, beta = p->add;
	const void *factor = scaled ? &d->fixed->inverse : &one;
	const void *keep = scaled ? p->add ? &d->fixed->one : &d->fixed->zero : &beta;

	blas_must(cublasSetPointerMode(d->blas, scaled ? CUBLAS_POINTER_MODE_DEVICE : CUBLAS_POINTER_MODE_HOST),
		  "pointer mode");
	blas_must(cublasGemmEx(d->blas, p->transposed ? CUBLAS_OP_T : CUBLAS_OP_N, CUBLAS_OP_N, p->n, p->m, p->k,
			       factor, p->b, type, p->ldb, p->a, type, p->lda, keep, p->c, CUDA_R_32F, p->ldc,
			       compute_type(p->type), CUBLAS_GEMM_DEFAULT), "a matrix product");
	wrote(d, p->c, (size_t)(p->m - 1) * p->ldc + p->n);
}

/* x[n] in the weight's type: itself, or a copy in scratch that stays for the next product with the same x */
static const void *cast(struct device *d, const float *x, size_t n, enum dtype type)
{
	struct operand *o = &d->operand;

	if (type == DTYPE_F32)
		return x;
	if (o->of == x && o->count == n && o->type == type)
		return d->scratch;
	cuda_ran(d, k_cast(d->stream, cuda_scratch(d, n * type_size(type)), type, &d->fixed->inverse, x, n,
			   d->fixed->cast), "cast");
	*o = (struct operand){ x, n, type };
	return d->scratch;
}

/* Rows of a matrix of `width` columns that scratch holds in the type; all of them if it need not be cast. */
static int rows_at_once(int rows, int width, enum dtype type)
{
	size_t most = SCRATCH_BYTES / ((size_t)width * type_size(type));

	return type == DTYPE_F32 || most > (size_t)rows ? rows : (int)most;
}

/* Products of larger ranks are cuBLAS's. */
static bool is_narrow(const struct narrow *more)
{
	return more && more->rank <= NARROW_MOST;
}

/* What y holds before the layer's own product is added: the bias and an adapter's part, or nothing.  Tells whether it
 * is added.  The cast operand stays. */
static bool begin_forward(struct device *d, float *y, const float *x, const struct weight *w, const float *bias,
			  int rows, const struct narrow *more)
{
	if (is_narrow(more)) {
		cuda_must(k_narrow(d->stream, y, x, bias, rows, w->out, w->in, more), "an adapter's products");
		wrote(d, y, (size_t)rows * w->out);
		wrote(d, more->z, (size_t)rows * more->rank);
		return true;
	}
	if (bias)
		fill_rows(d, y, bias, rows, w->out);
	return bias;
}

static void end_forward(struct device *d, float *y, const float *x, const struct weight *w, int rows,
			const struct narrow *more)
{
	if (!more || is_narrow(more))
		return;
	if (more->from)
		cuda_gemm(d, 0, 1, rows, more->rank, w->in, more->first, f32(x), w->in, f32(more->from), w->in, 0,
			  f32(more->z), more->rank);
	cuda_gemm(d, 0, 1, rows, w->out, more->rank, more->scale, f32(more->z), more->rank, f32(more->by), more->rank,
		  1, f32(y), w->out);
}

void cuda_linear(struct device *d, struct values yv, struct values xv, const struct weight *w, const float *bias,
		 int rows, const struct narrow *more)
{
	float *y = floats_at(yv);
	const float *x = floats_at(xv);
	const int most = rows_at_once(rows, w->in, w->dtype);
	const void *weights = cuda_weight(d, w);
	const bool add = begin_forward(d, y, x, w, bias, rows, more);
	int at, part;

	for (at = 0; at < rows; at += part) {
		part = rows - at < most ? rows - at : most;
		run_product(d, &(struct product){ .type = w->dtype, .m = part, .n = w->out, .k = w->in,
			.a = cast(d, x + (size_t)at * w->in, (size_t)part * w->in, w->dtype), .lda = w->in,
			.b = weights, .ldb = w->in, .transposed = true, .add = add,
			.c = y + (size_t)at * w->out, .ldc = w->out });
	}
	end_forward(d, y, x, w, rows, more);
}

static bool begin_backward(struct device *d, float *dx, const float *dy, const struct weight *w, int rows, int add,
			   const struct narrow *more)
{
	if (!is_narrow(more))
		return add;
	cuda_must(k_narrow_dx(d->stream, dx, dy, rows, w->out, w->in, add, more), "an adapter's products, backward");
	wrote(d, dx, (size_t)rows * w->in);
	wrote(d, more->z, (size_t)rows * more->rank);
	return true;
}

static void end_backward(struct device *d, float *dx, const float *dy, const struct weight *w, int rows,
			 const struct narrow *more)
{
	if (!more || is_narrow(more))
		return;
	if (more->from)
		cuda_gemm(d, 0, 0, rows, more->rank, w->out, more->first, f32(dy), w->out, f32(more->from), more->rank,
			  0, f32(more->z), more->rank);
	cuda_gemm(d, 0, 0, rows, w->in, more->rank, more->scale, f32(more->z), more->rank, f32(more->by), w->in, 1,
		  f32(dx), w->in);
}

/* backward of y = x W^T:  dx[rows,in] = dy[rows,out] W */
void cuda_linear_dx(struct device *d, struct values dxv, struct values dyv, const struct weight *w, int rows, int add,
		    const struct narrow *more)
{
	float *dx = floats_at(dxv);
	const float *dy = floats_at(dyv);
	const int most = rows_at_once(rows, w->out, w->dtype);
	const void *weights = cuda_weight(d, w);
	const bool adds = begin_backward(d, dx, dy, w, rows, add, more);
	int at, part;

	for (at = 0; at < rows; at += part) {
		part = rows - at < most ? rows - at : most;
		run_product(d, &(struct product){ .type = w->dtype, .m = part, .n = w->in, .k = w->out,
			.a = cast(d, dy + (size_t)at * w->out, (size_t)part * w->out, w->dtype), .lda = w->out,
			.b = weights, .ldb = w->in, .add = adds,
			.c = dx + (size_t)at * w->in, .ldc = w->in });
	}
	end_backward(d, dx, dy, w, rows, more);
}

void cuda_narrow_grads(struct device *d, const struct narrow_grads *g)
{
	if (g->rank <= NARROW_MOST) {
		cuda_must(k_narrow_grads(d->stream, floats_at(g->dy), floats_at(g->x), g), "an adapter's gradients");
		wrote(d, g->dup, g->dup ? (size_t)g->out * g->rank : 0);
		wrote(d, g->ddown, g->ddown ? (size_t)g->rank * g->in : 0);
		return;
	}
	if (g->dup)
		cuda_gemm(d, 1, 0, g->out, g->rank, g->rows, g->scale, g->dy, g->out, f32(g->z), g->rank, g->add_up,
			  f32(g->dup), g->rank);
	if (g->ddown)
		cuda_gemm(d, 1, 0, g->rank, g->in, g->rows, 1, f32(g->dz), g->rank, g->x, g->in, g->add_down,
			  f32(g->ddown), g->in);
}

void cuda_gemm(struct device *d, int ta, int tb, int m, int n, int k, float alpha, struct values av, int lda,
	       struct values bv, int ldb, float beta, struct values cv, int ldc)
{
	const float *a = floats_at(av);
	const float *b = floats_at(bv);
	float *c = floats_at(cv);

	blas_must(cublasSetPointerMode(d->blas, CUBLAS_POINTER_MODE_HOST), "pointer mode");
	blas_must(cublasGemmEx(d->blas, tb ? CUBLAS_OP_T : CUBLAS_OP_N, ta ? CUBLAS_OP_T : CUBLAS_OP_N, n, m, k, &alpha,
			       b, CUDA_R_32F, ldb, a, CUDA_R_32F, lda, &beta, c, CUDA_R_32F, ldc,
			       CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_GEMM_DEFAULT), "a matrix product");
	wrote(d, c, (size_t)(m - 1) * ldc + n);
}

/* ---- each kind once ---- */

/* c at the end of scratch, a and b before it; what is in them does not matter, and they are zeros. */
static void run_kinds(struct device *d, int m, int n, int k)
{
	static const enum dtype type[] = { DTYPE_F16, DTYPE_BF16, DTYPE_F32 };
	char *a = d->scratch, *b = a + SCRATCH_BYTES / 4;
	float *c = (float *)(d->scratch + SCRATCH_BYTES / 2);

	for (int t = 0; t < 3; t++)
		for (int transposed = 0; transposed < 2; transposed++)
			run_product(d, &(struct product){ .type = type[t], .m = m, .n = n, .k = k, .a = a, .lda = k,
				.b = b, .ldb = transposed ? k : n, .transposed = transposed, .c = c, .ldc = n });
	cuda_gemm(d, 1, 0, m, n, k, 1, f32((float *)a), m, f32((float *)b), n, 0, f32(c), n);
}

/* Large, narrow both ways as an adapter's, and of as many rows as a text: cuBLAS has code of its own for each. */
void run_each_product(struct device *d)
{
	cuda_ran(d, cudaMemsetAsync(cuda_scratch(d, SCRATCH_BYTES), 0, SCRATCH_BYTES, d->stream), "zero");
	run_kinds(d, 1024, 640, 640);
	run_kinds(d, 1024, 16, 640);
	run_kinds(d, 1024, 640, 16);
	run_kinds(d, 77, 640, 640);
	cuda_must(cudaStreamSynchronize(d->stream), "the work so far");
}
