/* Casts floats to the types that tensor cores multiply, and pictures to the rows of a convolution (im2col). */
#include "each.cuh"
#include "values.cuh"

/* WIDE: elements a thread where addresses allow: 16 bytes of half precision */
enum { THREADS = 256, WARPS = THREADS / 32, WIDE = 8 };

/* ---- the factor ---- */

__global__ void __launch_bounds__(THREADS) magnitude_kernel(float *part, const float *x, size_t n, bool wide)
{
	SHARED(float, tmp, [32]);
	const size_t step = (size_t)gridDim.x * THREADS, first = (size_t)blockIdx.x * THREADS + threadIdx.x,
		vectors = wide ? n / 4 : 0;
	float most = 0;

	for (size_t i = first; i < vectors; i += step) {
		const float4 v = ((const float4 *)x)[i];

		most = fmaxf(fmaxf(most, fmaxf(fabsf(v.x), fabsf(v.y))), fmaxf(fabsf(v.z), fabsf(v.w)));
	}
	for (size_t i = vectors * 4 + first; i < n; i += step)
		most = fmaxf(most, fabsf(x[i]));
	most = block_max(most, tmp);
	if (threadIdx.x == 0)
		part[blockIdx.x] = most;
}

int find_magnitude(cudaStream_t st, const float *x, size_t n, float *scratch)
{
	const size_t a_block = THREADS * 16, wanted = (n + a_block - 1) / a_block;
	const int blocks = wanted < CAST_SCRATCH ? wanted : CAST_SCRATCH;

	LAUNCH(magnitude_kernel, blocks, THREADS, 0, st, scratch, x, n, aligned(x, 16));
	return blocks;
}

/* ---- the cast ---- */

/* eight values, both addresses at multiples of 16 bytes */
template <class T> DEV void put_eight(T *y, const float *x, float factor)
{
	const float4 a = ((const float4 *)x)[0], b = ((const float4 *)x)[1];
	T v[WIDE];
	uint4 out[sizeof(v) / 16];

	put(&v[0], a.x * factor);
	put(&v[1], a.y * factor);
	put(&v[2], a.z * factor);
	put(&v[3], a.w * factor);
	put(&v[4], b.x * factor);
	put(&v[5], b.y * factor);
	put(&v[6], b.z * factor);
	put(&v[7], b.w * factor);
	memcpy(out, v, sizeof(v));
	UNROLL for (size_t i = 0; i < sizeof(v) / 16; i++)
		((uint4 *)y)[i] = out[i];
}

/* parts 0: no factor */
template <class T> __global__ void __launch_bounds__(THREADS)
cast_kernel(T *y, const float *x, size_t n, bool wide, const float *part, int parts, float *inverse, int under)
{
	SHARED(float, tmp, [32]);
	const int shift = parts ? shift_of(part, parts, tmp) : 0;
	const float factor = power_of_two(shift);
	const size_t step = (size_t)gridDim.x * THREADS, first = (size_t)blockIdx.x * THREADS + threadIdx.x,
		vectors = wide ? n / WIDE : 0;

	for (size_t i = first; i < vectors; i += step)
		put_eight(y + i * WIDE, x + i * WIDE, factor);
	for (size_t i = vectors * WIDE + first; i < n; i += step)
		put(&y[i], x[i] * factor);
	if (first == 0)
		*inverse = power_of_two(under - shift);
}

template <class T>
static cudaError_t cast_to(cudaStream_t st, T *y, float *inverse, int under, const float *x, size_t n,
			   const float *part, int parts)
{
	const size_t a_block = THREADS * WIDE * 2, blocks = (n + a_block - 1) / a_block;

	LAUNCH(cast_kernel<T>, blocks, THREADS, 0, st, y, x, n, aligned(x, 16) && aligned(y, 16), part, parts, inverse,
	       under);
	return cudaGetLastError();
}

extern "C" cudaError_t k_cast(cudaStream_t st, void *y, enum dtype type, float *inverse, int under, const float *x,
			      size_t n, float *scratch)
{
	switch (type) {
	case DTYPE_F16:
		return cast_to(st, (__half *)y, inverse, under, x, n, scratch, find_magnitude(st, x, n, scratch));
	case DTYPE_BF16:
		return cast_to(st, (__nv_bfloat16 *)y, inverse, under, x, n, scratch, 0);
	default:
		return cast_to(st, (float *)y, inverse, under, x, n, scratch, 0);
	}
}

/* ---- convolutions as rows ---- */

/* A warp the taps of one line of a filter; a thread V neighbouring channels at a time.  y [rows][kh][kw][c].  Pixels of
 * a tensor are counted in int, and the loop divides nothing. */
template <int V> __global__ void __launch_bounds__(THREADS) columns_kernel(float *y, struct values x, columns s)
{
	const int row = blockIdx.x * WARPS + threadIdx.x / 32, ky = blockIdx.y, lane = threadIdx.x % 32;
	const int pixel = (int)s.first + row, pieces = s.c / V;
	const int line = pixel / s.ow, left = pixel % s.ow * s.stride - s.pad;
	const int iy = line % s.oh * s.stride - s.pad + ky;
	const bool in_height = iy >= 0 && iy < s.h;
	const size_t from = in_height ? ((size_t)(line / s.oh) * s.h + iy) * s.w * s.c : 0;
	float *to = y + ((size_t)row * s.kh + ky) * s.kw * s.c;

	for (int k = lane, piece = lane, ix = left; row < s.rows && k < s.kw * pieces; k += 32, piece += 32) {
		for (; piece >= pieces; piece -= pieces)
			ix++;
		const bool inside = in_height && ix >= 0 && ix < s.w;
		const size_t at = inside ? from + (size_t)ix * s.c + piece * V : 0;

		if (V == 4) {
			const float4 zero = { 0, 0, 0, 0 };

			((float4 *)to)[k] = inside ? *(const float4 *)((const float *)x.at + at) : zero;
		} else {
			to[k] = inside ? load(x, at) : 0;
		}
	}
}

extern "C" cudaError_t k_columns(cudaStream_t st, float *y, struct values x, const struct columns *s)
{
	const dim3 blocks((s->rows + WARPS - 1) / WARPS, s->kh);

	if (x.type == DTYPE_F32 && s->c % 4 == 0 && aligned(x.at, 16) && aligned(y, 16))
		LAUNCH(columns_kernel<4>, blocks, THREADS, 0, st, y, x, *s);
	else
		LAUNCH(columns_kernel<1>, blocks, THREADS, 0, st, y, x, *s);
	return cudaGetLastError();
}

/* ---- beside products ---- */

struct fill {
	struct values y; const float *bias; int c;
	__device__ void operator()(size_t row, int i) const { store(y, row * c + i, bias[i]); }
};

extern "C" cudaError_t k_fill_rows(cudaStream_t st, struct values y, const float *bias, int rows, int c)
{
	return each_in_rows(st, fill{ y, bias, c }, rows, c);
}

template <class T> struct reorder {
	T *y; const T *x; int in, taps;
	__device__ void operator()(size_t row, int i) const     /* y [out][taps][in], x [out][in][taps] */
	{
		y[row * in + i] = x[(row / taps * in + i) * taps + row % taps];
	}
};

extern "C" cudaError_t k_reorder_filters(cudaStream_t st, void *y, const void *x, size_t size, int out, int in,
					 int taps)
{
	const size_t rows = (size_t)out * taps;

	if (size == 2)
		return each_in_rows(st, reorder<uint16_t>{ (uint16_t *)y, (const uint16_t *)x, in, taps }, rows, in);
	return each_in_rows(st, reorder<uint32_t>{ (uint32_t *)y, (const uint32_t *)x, in, taps }, rows, in);
}
