/* Panels of both operands are packed as floats; a tile of 16x6 results stays in registers. */
#include <algorithm>
#include <vector>
#include "emu_half.h"
#include "emu_gemm.h"
#include "emu_internal.h"
#include "emu_math.h"
#include "emu_ptx.h"

namespace emu {

enum { ROWS = 16, COLS = 6, DEPTH = 256, ROW_BLOCK = 192, COL_BLOCK = 1020 };

typedef float lanes __attribute__((vector_size(32), aligned(4)));

/* Cards round or cut off: the second way of EMU_MMA. */
static float tf32(float x)
{
	const uint32_t bits = opt().mma ? __float_as_uint(x) & ~0x1fffu : round_to_tf32(x);

	return __uint_as_float(bits);
}

static void widen(float *to, const operand &o, long at, long n)
{
	const uint16_t *half = (const uint16_t *)o.at + at;
	const float *single = (const float *)o.at + at;
	long i = 0;

	switch (o.type) {
	case ELEMENT_F32:
		memcpy(to, single, n * sizeof(*to));
		break;
	case ELEMENT_TF32:
		for (; i < n; i++)
			to[i] = tf32(single[i]);
		break;
	case ELEMENT_F16:
		for (; i + 8 <= n; i += 8)
			_mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(half + i))));
		for (; i < n; i++)
			to[i] = _cvtsh_ss(half[i]);
		break;
	case ELEMENT_BF16:
		for (; i < n; i++)
			to[i] = __uint_as_float((uint32_t)half[i] << 16);
	}
}

/* Lines lie along the panels' width where `along`, else along the depth.
 * Panels: [depth][width] each, 0 where there is nothing. */
static void pack(float *to, const operand &o, bool along, long first, long count, int width, long k0, int depth)
{
	float line[std::max<int>(ROW_BLOCK, std::max<int>(DEPTH, COL_BLOCK))];
	const long panels = (count + width - 1) / width;

	if (count % width)
		std::fill(to + (panels - 1) * width * depth, to + panels * width * depth, 0.f);
	if (along)
		for (int k = 0; k < depth; k++) {
			widen(line, o, (k0 + k) * o.ld + first, count);
			for (long i = 0; i < count; i += width)
				std::copy(line + i, line + std::min(i + width, count), to + i * depth + k * width);
		}
	else
		for (long i = 0; i < count; i++) {
			float *panel = to + i / width * width * depth + i % width;

			widen(line, o, (first + i) * o.ld + k0, depth);
			for (int k = 0; k < depth; k++)
				panel[k * width] = line[k];
		}
}

struct target { float *c; long ldc; float alpha, beta; };

static void store(const target &t, const lanes (&sum)[COLS][2], int rows, int cols)
{
	for (int j = 0; j < cols; j++)
		for (int i = 0; i < rows; i++) {
			float *c = t.c + j * t.ldc + i;
			const float product = t.alpha * sum[j][i / 8][i % 8];

			*c = t.beta == 0 ? product : product + t.beta * *c;
		}
}

/* Unrolled, or gcc keeps the sums in memory: each index of `sum` must be a constant. */
static void multiply_tile(const float *a, const float *b, int depth, const target &t, int rows, int cols)
{
	lanes sum[COLS][2] = {}, made[COLS][2];

	for (int k = 0; k < depth; k++, a += ROWS, b += COLS) {
		const lanes a0 = *(const lanes *)a, a1 = *(const lanes *)(a + 8);

#pragma GCC unroll 6
		for (int j = 0; j < COLS; j++) {
			sum[j][0] += a0 * b[j];
			sum[j][1] += a1 * b[j];
		}
	}
#pragma GCC unroll 6
	for (int j = 0; j < COLS; j++) {
		made[j][0] = sum[j][0];
		made[j][1] = sum[j][1];
	}
	store(t, made, rows, cols);
}

static void multiply_block(const float *a, const float *b, int depth, const target &t, long m, long n)
{
	for (long j = 0; j < n; j += COLS)
		for (long i = 0; i < m; i += ROWS)
			multiply_tile(a + i * depth, b + j * depth, depth,
				      { t.c + j * t.ldc + i, t.ldc, t.alpha, t.beta },
				      std::min<long>(ROWS, m - i), std::min<long>(COLS, n - j));
}

void gemm(long m, long n, long k, float alpha, operand a, operand b, float beta, float *c, long ldc)
{
	static std::vector<float> a_panels((ROW_BLOCK + ROWS) * DEPTH), b_panels((COL_BLOCK + COLS) * DEPTH);

	for (long j = 0; j < n; j += COL_BLOCK)
		for (long p = 0; p < k; p += DEPTH) {
			const long cols = std::min<long>(COL_BLOCK, n - j);
			const int depth = std::min<long>(DEPTH, k - p);

			pack(b_panels.data(), b, b.transposed, j, cols, COLS, p, depth);
			for (long i = 0; i < m; i += ROW_BLOCK) {
				const long rows = std::min<long>(ROW_BLOCK, m - i);

				pack(a_panels.data(), a, !a.transposed, i, rows, ROWS, p, depth);
				multiply_block(a_panels.data(), b_panels.data(), depth,
					       { c + j * ldc + i, ldc, alpha, p ? 1 : beta }, rows, cols);
			}
		}
}

void gemm_to_halves(long m, long n, long k, float alpha, operand a, operand b, float beta, uint16_t *c, long ldc)
{
	std::vector<float> sum((size_t)m * n);

	for (long j = 0; j < n && beta != 0; j++)
		widen(&sum[j * m], { c, a.type, ldc, false }, j * ldc, m);
	gemm(m, n, k, alpha, a, b, beta, sum.data(), m);
	for (long j = 0; j < n; j++)
		for (long i = 0; i < m; i++)
			c[j * ldc + i] = a.type == ELEMENT_F16 ? __float2half_rn(sum[j * m + i]).bits :
				__float2bfloat16_rn(sum[j * m + i]).bits;
}

}
