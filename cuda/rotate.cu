/*
 * Rows multiplied by small rotations, and backward: matrices in float, norms in double.
 *
 * Products of a block of channels or of a small matrix are all one kernel, a tile of 16x16 a block of threads.
 * Elimination is one block of threads a matrix, in global memory: it stays in the cache, and any size goes.
 */
#include "each.cuh"
#include "values.cuh"

enum { TILE = 16, THREADS = 256, FLUSH = 64 };

/* c = alpha op(a) op(b) + (add ? c : 0), matrix k of each lying `batch` values behind matrix k-1 */
struct matrix { struct values of; size_t batch; int ld; bool transposed; };
struct products { struct matrix c, a, b; int m, n, k; float alpha; int add; };

DEV float element(const matrix &x, size_t batch, int i, int j)
{
	return load(x.of, batch * x.batch + (x.transposed ? (size_t)j * x.ld + i : (size_t)i * x.ld + j));
}

/* Sums of long products are flushed, so that no float is added to one that is a thousand times larger. */
__global__ void __launch_bounds__(THREADS) products_kernel(products p)
{
	SHARED(float, a, [TILE][TILE + 1]);
	SHARED(float, b, [TILE][TILE + 1]);
	const int across = (p.n + TILE - 1) / TILE, down = (p.m + TILE - 1) / TILE, tile = blockIdx.x % (across * down);
	const size_t batch = blockIdx.x / (across * down);
	const int x = threadIdx.x % TILE, y = threadIdx.x / TILE, row = tile / across * TILE + y,
		  column = tile % across * TILE + x;
	float sum = 0, part = 0;

	for (int first = 0, tiles = 0; first < p.k; first += TILE) {
		a[y][x] = row < p.m && first + x < p.k ? element(p.a, batch, row, first + x) : 0;
		b[y][x] = column < p.n && first + y < p.k ? element(p.b, batch, first + y, column) : 0;
		__syncthreads();
		UNROLL for (int k = 0; k < TILE; k++)
			part += a[y][k] * b[k][x];
		__syncthreads();
		if (++tiles % FLUSH == 0) {
			sum += part;
			part = 0;
		}
	}
	sum = p.alpha * (sum + part);
	if (row < p.m && column < p.n)
		store(p.c.of, batch * p.c.batch + (size_t)row * p.c.ld + column, sum, p.add);
}

static cudaError_t multiply_all(cudaStream_t st, const products &p, int batches)
{
	const size_t tiles = (size_t)((p.m + TILE - 1) / TILE) * ((p.n + TILE - 1) / TILE);

	LAUNCH(products_kernel, tiles * batches, THREADS, 0, st, p);
	return cudaGetLastError();
}

/* Small matrices lie one behind the other; blocks of channels side by side. */
static matrix small(const float *at, const rotations *s, bool transposed)
{
	return { f32(at), (size_t)s->size * s->size, s->size, transposed };
}

static matrix channels(struct values of, const rotations *s, bool transposed)
{
	return { of, (size_t)s->size, s->blocks * s->size, transposed };
}

static cudaError_t multiply_small(cudaStream_t st, matrix c, matrix a, matrix b, const rotations *s, float alpha,
				  int add)
{
	return multiply_all(st, { c, a, b, s->size, s->size, s->size, alpha, add }, s->blocks);
}

/* y (+)= x r, or x r^T */
static cudaError_t turn_rows(cudaStream_t st, struct values y, struct values x, const float *r, int rows,
			     const rotations *s, bool back, int add)
{
	const products p = { channels(y, s, false), channels(x, s, false), small(r, s, back),
			     rows, s->size, s->size, 1, add };

	return multiply_all(st, p, s->blocks);
}

/* backward of y = x r:  dr = x^T dy */
static cudaError_t gather_rows(cudaStream_t st, float *dr, struct values x, struct values dy, int rows,
			       const rotations *s)
{
	const products p = { small(dr, s, false), channels(x, s, true), channels(dy, s, false),
			     s->size, s->size, rows, 1, 0 };

	return multiply_all(st, p, s->blocks);
}

/* ---- skew matrices ---- */

/* Above the diagonal, before the limit. */
DEV float number(const rotations &s, const float *b, size_t i, size_t j)
{
	const size_t n = s.size;
	const float x = s.triangle ? b[i * (2 * n - i - 1) / 2 + j - i - 1] : b[i * n + j] - b[j * n + i];

	return s.inverse ? -x : x;
}

DEV float skew(const rotations &s, const float *b, size_t i, size_t j)
{
	return i < j ? number(s, b, i, j) : i > j ? -number(s, b, j, i) : 0;
}

DEV size_t numbers_of(const rotations &s)
{
	return s.triangle ? (size_t)s.size * (s.size - 1) / 2 : (size_t)s.size * s.size;
}

/* limit[0] = what A is multiplied with, limit[1] = <A0, dA> / |A0|^2 where the limit acts, else 0; da may be NULL.
 * One block, one order. */
__global__ void __launch_bounds__(1024) limit_kernel(double *limit, const float *b, const float *da, rotations s)
{
	SHARED(double, tmp, [32]);
	const size_t n = s.size, count = s.blocks * n * n;
	double squares = 0, dots = 0, norm;

	for (size_t i = threadIdx.x; i < count; i += 1024) {
		const double a = skew(s, b + i / (n * n) * numbers_of(s), i / n % n, i % n);

		squares += a * a;
		dots += da ? a * da[i] : 0;
	}
	squares = block_sum(squares, tmp);
	dots = block_sum(dots, tmp);
	norm = sqrt(squares);
	if (threadIdx.x == 0) {
		const bool acts = s.limit >= 0 && norm > s.limit;

		limit[0] = acts ? s.limit / norm : 1;
		limit[1] = acts ? dots / squares : 0;
	}
}

/* a = sign A + diagonal I */
struct skew_matrices {
	float *a, sign, diagonal; const float *b; const double *limit; struct rotations s;
	__device__ void operator()(size_t row, int j) const
	{
		const size_t n = s.size, i = row % n;

		a[row * n + j] = sign * (float)limit[0] * skew(s, b + row / n * numbers_of(s), i, j) +
				 (i == (size_t)j ? diagonal : 0);
	}
};

/* y = factor x + diagonal I; y may be x */
struct with_diagonal {
	float *y, factor, diagonal; const float *x; int n;
	__device__ void operator()(size_t row, int j) const
	{
		y[row * n + j] = factor * x[row * n + j] + (row % n == (size_t)j ? diagonal : 0);
	}
};

static cudaError_t put_skew(cudaStream_t st, float *a, float sign, float diagonal, const float *b, const double *limit,
			    const rotations *s)
{
	return each_in_rows(st, skew_matrices{ a, sign, diagonal, b, limit, *s }, (size_t)s->blocks * s->size, s->size);
}

static cudaError_t put_diagonal(cudaStream_t st, float *y, float factor, const float *x, float diagonal,
				const rotations *s)
{
	return each_in_rows(st, with_diagonal{ y, factor, diagonal, x, s->size }, (size_t)s->blocks * s->size, s->size);
}

/* ---- matrices, forward ---- */

/* m becomes its inverse; pivots are at least 1 (base/rotation.c) */
__global__ void __launch_bounds__(THREADS) invert_kernel(float *matrices, int size)
{
	const size_t n = size;
	float *m = matrices + blockIdx.x * n * n;
	const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;

	for (size_t p = 0; p < n; p++) {
		const float pivot = 1 / m[p * n + p];

		__syncthreads();
		for (size_t j = threadIdx.x; j < n; j += THREADS)
			m[p * n + j] = j == p ? pivot : m[p * n + j] * pivot;
		__syncthreads();
		for (size_t i = warp; i < n; i += THREADS / 32) {
			const float factor = m[i * n + p];

			__syncwarp();
			for (size_t j = lane; j < n && i != p; j += 32)
				m[i * n + j] = (j == p ? 0 : m[i * n + j]) - factor * m[p * n + j];
		}
		__syncthreads();
	}
}

/* As base/rotation.c has it. */
static int last_term(int terms)
{
	return terms == 3 ? 3 : terms - 1;
}

static float coefficient(int terms, int power)
{
	return power == 0 || (power == last_term(terms) && terms > 2) ? 1 : 2;
}

/* h = the series from `first` on; other: room of the same size */
static cudaError_t horner(cudaStream_t st, float *h, const float *a, int first, float *other, const rotations *s)
{
	int power = last_term(s->terms);
	cudaError_t status = put_diagonal(st, h, 0, a, coefficient(s->terms, power), s);

	while (status == cudaSuccess && power-- > first) {
		status = multiply_small(st, small(other, s, false), small(a, s, false), small(h, s, false), s, 1, 0);
		if (status == cudaSuccess)
			status = put_diagonal(st, h, 1, other, coefficient(s->terms, power), s);
	}
	return status;
}

static cudaError_t cayley(cudaStream_t st, float *r, const float *b, const double *limit, const rotations *s)
{
	cudaError_t status = put_skew(st, r, -1, 1, b, limit, s);

	if (status != cudaSuccess)
		return status;
	LAUNCH(invert_kernel, s->blocks, THREADS, 0, st, r, s->size);
	return put_diagonal(st, r, 2, r, -1, s);
}

extern "C" cudaError_t k_rotate(cudaStream_t st, struct values y, float *r, float *room, struct values x,
				const float *b, int rows, const struct rotations *s, double *limit)
{
	cudaError_t status;

	LAUNCH(limit_kernel, 1, 1024, 0, st, limit, b, (const float *)NULL, *s);
	if (s->terms) {
		status = put_skew(st, room, 1, 0, b, limit, s);
		if (status == cudaSuccess)
			status = horner(st, r, room, 0, room + (size_t)s->blocks * s->size * s->size, s);
	} else {
		status = cayley(st, r, b, limit, s);
	}
	if (status != cudaSuccess || !y.at)
		return status;
	return turn_rows(st, y, x, r, rows, s, false, 0);
}

/* ---- and back ---- */

/* backward of R = 2 (I - A)^-1 - I:  dA = (R + I)^T dR (R + I)^T / 2.  room: two of their size */
static cudaError_t cayley_back(cudaStream_t st, float *da, const float *dr, const float *r, float *room,
			       const rotations *s)
{
	float *twice = room, *half = room + (size_t)s->blocks * s->size * s->size;
	cudaError_t status = put_diagonal(st, twice, 1, r, 1, s);

	if (status == cudaSuccess)
		status = multiply_small(st, small(half, s, false), small(twice, s, true), small(dr, s, false), s, 0.5f,
					0);
	if (status == cudaSuccess)
		status = multiply_small(st, small(da, s, false), small(half, s, false), small(twice, s, true), s, 1, 0);
	return status;
}

/* backward of R = sum of c_j A^j, H the series from i + 1 on:  dA = sum over i of (A^T)^i dR H^T.  From the last i on,
 * each sum is A^T times the one before and dR H^T: Horner's way again, so that dR stays.  room: two of their size */
static cudaError_t series_back(cudaStream_t st, float *da, const float *dr, const float *a, float *room,
			       const rotations *s)
{
	float *h = room, *other = room + (size_t)s->blocks * s->size * s->size;
	cudaError_t status = put_diagonal(st, da, 0, dr, 0, s);

	for (int i = last_term(s->terms) - 1; i >= 0 && status == cudaSuccess; i--) {
		status = multiply_small(st, small(other, s, false), small(a, s, true), small(da, s, false), s, 1, 0);
		if (status == cudaSuccess)
			status = put_diagonal(st, da, 1, other, 0, s);
		if (status == cudaSuccess)
			status = horner(st, h, a, i + 1, other, s);
		if (status == cudaSuccess)
			status = multiply_small(st, small(da, s, false), small(dr, s, false), small(h, s, true), s, 1,
						1);
	}
	return status;
}

/* backward of A = f A0 of the numbers:  dA0 = f (dA - limit[1] A0), of which the numbers take the skew part */
struct numbers_back {
	float *db; const float *da, *b; const double *limit; struct rotations s; int add;
	__device__ void operator()(size_t row, int j) const
	{
		const size_t n = s.size, i = row % n, k = row / n;
		const float *own = da + k * n * n, *numbers = b + k * numbers_of(s);
		float *to = db + k * numbers_of(s) + (s.triangle ? i * (2 * n - i - 1) / 2 + j - i - 1 : i * n + j);
		double d;

		if (s.triangle && (size_t)j <= i)
			return;
		d = (double)own[i * n + j] - own[j * n + i] - 2 * limit[1] * skew(s, numbers, i, j);
		*to = (float)((s.inverse ? -1 : 1) * limit[0] * d) + (add ? *to : 0);
	}
};

extern "C" cudaError_t k_rotate_back(cudaStream_t st, struct values dx, float *db, float *room, struct values dy,
				     struct values x, const float *b, const float *r, int rows,
				     const struct rotations *s, const int add[2], double *limit)
{
	const size_t all = (size_t)s->blocks * s->size * s->size;
	float *dr = room, *da = room + all, *rest = room + 2 * all;
	cudaError_t status = cudaSuccess;

	if (dx.at)
		status = turn_rows(st, dx, dy, r, rows, s, true, add[0]);
	if (!db || status != cudaSuccess)
		return status;
	status = gather_rows(st, dr, x, dy, rows, s);
	if (status == cudaSuccess && s->terms) {
		LAUNCH(limit_kernel, 1, 1024, 0, st, limit, b, (const float *)NULL, *s);
		status = put_skew(st, rest, 1, 0, b, limit, s);
		if (status == cudaSuccess)
			status = series_back(st, da, dr, rest, rest + all, s);
	} else if (status == cudaSuccess) {
		status = cayley_back(st, da, dr, r, rest, s);
	}
	if (status != cudaSuccess)
		return status;
	LAUNCH(limit_kernel, 1, 1024, 0, st, limit, b, da, *s);
	return each_in_rows(st, numbers_back{ db, da, b, limit, *s, add[1] }, (size_t)s->blocks * s->size, s->size);
}
