/* Quantised weights to half precision, which products then read; codes and scales as struct weight has them. */
#include "cast.cuh"
#include "each.cuh"
#include "kernels.h"

/* PIECE: elements a thread at a time, 16 bytes of half precision */
enum { THREADS = 256, PIECE = 8, PIECES = 4 };

/* x[PIECE] at an address of 16 bytes */
DEV void put_piece(__half *y, const float *x)
{
	__half v[PIECE];
	uint4 out;

	UNROLL for (int i = 0; i < PIECE; i++)
		put(&v[i], x[i]);
	memcpy(&out, v, sizeof(out));
	*(uint4 *)y = out;
}

/* ---- a scale a row ---- */

/* E4M3's fields moved to a float's places are the number times 2^-120, subnormal ones too. */
DEV float code_value(uint8_t code, bool e4m3)
{
	const float size = __int_as_float((code & 0x7f) << 20) * 0x1p120f;

	return !e4m3 ? (float)(int8_t)code : code & 0x80 ? -size : size;
}

template <int V> struct widen_row {
	__half *y; const uint8_t *code; const float *scale; size_t c; bool e4m3;
	__device__ void operator()(size_t row, int piece) const
	{
		const size_t at = row * c + (size_t)piece * V;
		const float factor = scale[row];
		uint8_t codes[PIECE];
		float x[PIECE];

		if (V == 1) {
			put(&y[at], code_value(code[at], e4m3) * factor);
			return;
		}
		const uint2 eight = *(const uint2 *)(code + at);
		memcpy(codes, &eight, sizeof(codes));
		UNROLL for (int i = 0; i < PIECE; i++)
			x[i] = code_value(codes[i], e4m3) * factor;
		put_piece(y + at, x);
	}
};

static cudaError_t widen_rows(cudaStream_t st, __half *y, const struct weight *w, const float *scale)
{
	const size_t c = (size_t)w->kh * w->kw * w->in;
	const uint8_t *code = (const uint8_t *)w->data;
	const bool e4m3 = w->dtype == DTYPE_F8_E4M3;

	if (c % PIECE == 0 && aligned(y, 16) && aligned(code, 8))
		return each_in_rows(st, widen_row<PIECE>{ y, code, scale, c, e4m3 }, w->out, (int)(c / PIECE));
	return each_in_rows(st, widen_row<1>{ y, code, scale, c, e4m3 }, w->out, (int)c);
}

/* ---- NF4 ---- */

struct nf4_table { float of[NF4_VALUES]; };

/* The table is in shared memory, where a warp's places are in banks of their own.  A piece has one scale. */
__global__ void __launch_bounds__(THREADS)
widen_nf4_kernel(__half *y, const uint8_t *code, const float *scale, size_t n, nf4_table table)
{
	SHARED(float, value, [NF4_VALUES]);
	const size_t first = (size_t)blockIdx.x * (THREADS * PIECES) + threadIdx.x;

	/* A parameter that a variable index reaches would be copied to the stack. */
	UNROLL for (int i = 0; i < NF4_VALUES; i++)
		if ((int)threadIdx.x == i)
			value[i] = table.of[i];
	__syncthreads();                /* the table is here */
	UNROLL for (int p = 0; p < PIECES; p++) {
		const size_t at = (first + p * THREADS) * PIECE;
		float x[PIECE];

		if (at + PIECE <= n) {
			const uint32_t eight = *(const uint32_t *)(code + at / 2);
			const float factor = scale[at / NF4_BLOCK];

			UNROLL for (int i = 0; i < PIECE; i++)
				x[i] = value[eight >> (i / 2 * 8 + (i % 2 ? 0 : 4)) & 15] * factor;
			put_piece(y + at, x);
		} else {
			for (size_t i = at; i < n; i++)
				put(&y[i], value[code[i / 2] >> (i % 2 ? 0 : 4) & 15] * scale[i / NF4_BLOCK]);
		}
	}
}

static cudaError_t widen_nf4(cudaStream_t st, __half *y, const struct weight *w, const float *scale)
{
	const size_t n = weight_count(w), a_block = (size_t)THREADS * PIECES * PIECE;
	struct nf4_table table;

	memcpy(table.of, nf4_values, sizeof(table.of));
	LAUNCH(widen_nf4_kernel, (n + a_block - 1) / a_block, THREADS, 0, st, y, (const uint8_t *)w->data, scale, n,
	       table);
	return cudaGetLastError();
}

extern "C" cudaError_t k_widen(cudaStream_t st, void *y, const struct weight *w)
{
	const float *scale = (const float *)((const char *)w->data + weight_scales_at(w));

	return w->dtype == DTYPE_U8 ? widen_nf4(st, (__half *)y, w, scale) : widen_rows(st, (__half *)y, w, scale);
}
