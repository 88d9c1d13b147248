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

/* Weights one behind the other: the first row, or block, of each. */
struct part { const uint8_t *code; const float *scale; size_t first, n; };
struct stack { struct part of[STACKED_MOST]; int count; };

static struct part part_from(const struct weight *w, size_t first)
{
	return { (const uint8_t *)w->data, (const float *)((const char *)w->data + weight_scales_at(w)), first,
		 weight_count(w) };
}

/* A parameter that a variable index reaches would be copied to the stack. */
DEV struct part part_of(const struct stack &s, size_t at)
{
	struct part p = s.of[0];

	UNROLL for (int i = 1; i < STACKED_MOST; i++)
		if (i < s.count && at >= s.of[i].first)
			p = s.of[i];
	return p;
}

/* ---- a scale a row ---- */

/* E4M3's fields moved to a float's places are the number times 2^-120, subnormal ones too. */
DEV float code_value(uint8_t code, bool e4m3)
{
	const float size = __int_as_float((code & 0x7f) << 20) * 0x1p120f;

	return !e4m3 ? (float)(int8_t)code : code & 0x80 ? -size : size;
}

template <int V> struct widen_row {
	__half *y; struct stack from; size_t c; bool e4m3;
	__device__ void operator()(size_t row, int piece) const
	{
		const struct part w = part_of(from, row);
		const size_t at = (row - w.first) * c + (size_t)piece * V, to = row * c + (size_t)piece * V;
		const float factor = w.scale[row - w.first];
		uint8_t codes[PIECE];
		float x[PIECE];

		if (V == 1) {
			put(&y[to], code_value(w.code[at], e4m3) * factor);
			return;
		}
		const uint2 eight = *(const uint2 *)(w.code + at);
		memcpy(codes, &eight, sizeof(codes));
		UNROLL for (int i = 0; i < PIECE; i++)
			x[i] = code_value(codes[i], e4m3) * factor;
		put_piece(y + to, x);
	}
};

static cudaError_t widen_rows(cudaStream_t st, __half *y, const struct weight *const *w, int count)
{
	const size_t c = (size_t)w[0]->kh * w[0]->kw * w[0]->in;
	const bool e4m3 = w[0]->dtype == DTYPE_F8_E4M3;
	bool wide = c % PIECE == 0 && aligned(y, 16);
	struct stack from = {};
	size_t rows = 0;

	for (int i = 0; i < count; i++) {
		from.of[i] = part_from(w[i], rows);
		rows += w[i]->out;
		wide = wide && aligned(from.of[i].code, 8);
	}
	from.count = count;
	if (wide)
		return each_in_rows(st, widen_row<PIECE>{ y, from, c, e4m3 }, rows, (int)(c / PIECE));
	return each_in_rows(st, widen_row<1>{ y, from, c, e4m3 }, rows, (int)c);
}

/* ---- NF4 ---- */

struct nf4_table { float of[NF4_VALUES]; };

/* The table is in shared memory, where a warp's places are in banks of their own.  A piece has one scale. */
__global__ void __launch_bounds__(THREADS)
widen_nf4_kernel(__half *y, struct stack from, nf4_table table)
{
	SHARED(float, value, [NF4_VALUES]);
	const struct part w = part_of(from, blockIdx.x);
	const size_t first = (blockIdx.x - w.first) * (THREADS * PIECES) + threadIdx.x;

	UNROLL for (int i = 1; i < STACKED_MOST; i++)
		if (i < from.count && blockIdx.x >= from.of[i].first)
			y += from.of[i - 1].n;
	UNROLL for (int i = 0; i < NF4_VALUES; i++)
		if ((int)threadIdx.x == i)
			value[i] = table.of[i];
	__syncthreads();                /* the table is here */
	UNROLL for (int p = 0; p < PIECES; p++) {
		const size_t at = (first + p * THREADS) * PIECE;
		float x[PIECE];

		if (at + PIECE <= w.n) {
			const uint32_t eight = *(const uint32_t *)(w.code + at / 2);
			const float factor = w.scale[at / NF4_BLOCK];

			UNROLL for (int i = 0; i < PIECE; i++)
				x[i] = value[eight >> (i / 2 * 8 + (i % 2 ? 0 : 4)) & 15] * factor;
			put_piece(y + at, x);
		} else {
			for (size_t i = at; i < w.n; i++)
				put(&y[i], value[w.code[i / 2] >> (i % 2 ? 0 : 4) & 15] * w.scale[i / NF4_BLOCK]);
		}
	}
}

static cudaError_t widen_nf4(cudaStream_t st, __half *y, const struct weight *const *w, int count)
{
	const size_t a_block = (size_t)THREADS * PIECES * PIECE;
	struct stack from = {};
	struct nf4_table table;
	size_t blocks = 0;

	for (int i = 0; i < count; i++) {
		from.of[i] = part_from(w[i], blocks);
		blocks += (from.of[i].n + a_block - 1) / a_block;
	}
	from.count = count;
	memcpy(table.of, nf4_values, sizeof(table.of));
	LAUNCH(widen_nf4_kernel, blocks, THREADS, 0, st, y, from, table);
	return cudaGetLastError();
}

extern "C" cudaError_t k_widen(cudaStream_t st, void *y, const struct weight *const *w, int count)
{
	return w[0]->dtype == DTYPE_U8 ? widen_nf4(st, (__half *)y, w, count) : widen_rows(st, (__half *)y, w, count);
}
