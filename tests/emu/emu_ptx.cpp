/* Matrix instructions of a warp. */
#include <math.h>
#include "emu_half.h"
#include "emu_internal.h"
#include "emu_ptx.h"

namespace emu {

/* Of the columns of a and the rows of b, 16 are used by 16-bit operands, 8 by tf32. */
struct tiles { alignas(32) float a[16][16], b[16][8], c[16][8]; };

static float float_of(uint32_t bits)
{
	float x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

/* With g = lane/4, t = lane%4: a is (g,2t) (g+8,2t) (g,2t+8) (g+8,2t+8), two elements each;
 * b (2t,g) (2t+8,g), two each. */
template <class F> static void gather_16(tiles &m, int lane, const mma_record &r, F widen)
{
	const int g = lane / 4, t = lane % 4 * 2;

	for (int i = 0; i < 8; i++)
		m.a[g + i / 2 % 2 * 8][t + i / 4 * 8 + i % 2] = widen(r.a[i / 2] >> i % 2 * 16 & 0xffff);
	for (int i = 0; i < 4; i++)
		m.b[t + i / 2 * 8 + i % 2][g] = widen(r.b[i / 2] >> i % 2 * 16 & 0xffff);
}

/* a is (g,t) (g+8,t) (g,t+4) (g+8,t+4); b (t,g) (t+4,g).  What a float has more than tf32 is not read. */
static void gather_tf32(tiles &m, int lane, const mma_record &r)
{
	const int g = lane / 4, t = lane % 4;

	for (int i = 0; i < 4; i++)
		m.a[g + i % 2 * 8][t + i / 2 * 4] = float_of(r.a[i] & ~0x1fffu);
	for (int i = 0; i < 2; i++)
		m.b[t + i * 4][g] = float_of(r.b[i] & ~0x1fffu);
}

static void multiply_in_floats(tiles &m, int depth)
{
	typedef float row __attribute__((vector_size(32)));

	for (int i = 0; i < 16; i++) {
		row c = *(row *)m.c[i];

		for (int k = 0; k < depth; k++)
			c += m.a[i][k] * *(row *)m.b[k];
		*(row *)m.c[i] = c;
	}
}

/* Another machine that the manual allows: exact sums of a few products, cut off toward 0. */
static void multiply_in_groups(tiles &m, int depth)
{
	const int group = depth / 2;

	for (int i = 0; i < 16; i++)
		for (int j = 0; j < 8; j++)
			for (int h = 0; h < depth; h += group) {
				double sum = m.c[i][j];
				float cut;

				for (int k = h; k < h + group; k++)
					sum += (double)m.a[i][k] * m.b[k][j];
				cut = (float)sum;
				m.c[i][j] = fabs(cut) > fabs(sum) ? nextafterf(cut, 0) : cut;
			}
}

template <mma_kind K> static void mma_all(void **record, unsigned)
{
	const int depth = K == MMA_TF32 ? 8 : 16;
	tiles m;

	stats.mma++;
	for (int lane = 0; lane < 32; lane++) {
		const mma_record &r = *(mma_record *)record[lane];

		if (K == MMA_F16)
			gather_16(m, lane, r, [](unsigned bits) { return _cvtsh_ss(bits); });
		else if (K == MMA_BF16)
			gather_16(m, lane, r, [](unsigned bits) { return float_of(bits << 16); });
		else
			gather_tf32(m, lane, r);
		for (int i = 0; i < 4; i++)
			m.c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] = r.d[i];
	}
	if (opt().mma)
		multiply_in_groups(m, depth);
	else
		multiply_in_floats(m, depth);
	for (int lane = 0; lane < 32; lane++)
		for (int i = 0; i < 4; i++)
			((mma_record *)record[lane])->d[i] = m.c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
}

warp_operation mma_of_warp(mma_kind kind)
{
	static const warp_operation operations[] = { mma_all<MMA_F16>, mma_all<MMA_BF16>, mma_all<MMA_TF32> };

	return operations[kind];
}

void mma(mma_kind kind, float *d, const uint32_t *a, const uint32_t *b, site s)
{
	static const char *const names[] = { "mma f16", "mma bf16", "mma tf32" };
	mma_record r = { d, a, b };

	collective(names[kind], s, ~0u, &r, mma_of_warp(kind));
}

/* Nearest, ties away from 0; NaN stays NaN. */
uint32_t round_to_tf32(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof(bits));
	if ((bits & 0x7f800000u) == 0x7f800000u)
		return bits & 0x7fffffu ? 0x7fffe000u : bits;
	return (bits + 0x1000u) & ~0x1fffu;
}

/* ---- ldmatrix ---- */

struct row_record { uint32_t *r; const void *address; uint32_t row[4]; int n; bool transposed; };

static void load_all(void **record, unsigned)
{
	const row_record &first = *(row_record *)record[0];
	uint16_t m[4][8][8];

	stats.ldmatrix += first.n;
	for (int i = 0; i < first.n; i++) {
		unsigned banks = 0;     /* 8 groups of 4 */

		for (int k = 0; k < 8; k++) {
			const row_record &r = *(row_record *)record[i * 8 + k];
			const unsigned bank = 1u << ((uintptr_t)r.address / 16 % 8);

			memcpy(m[i][k], r.row, 16);
			stats.bank_conflicts += (banks & bank) != 0;
			banks |= bank;
		}
	}
	for (int lane = 0; lane < 32; lane++)
		for (int i = 0; i < first.n; i++) {
			const row_record &r = *(row_record *)record[lane];
			const int g = lane / 4, t = lane % 4 * 2;

			r.r[i] = r.transposed ? m[i][t][g] | (uint32_t)m[i][t + 1][g] << 16 :
				m[i][g][t] | (uint32_t)m[i][g][t + 1] << 16;
		}
}

/* A row is read by the lane that gave its address: sanitizers then blame the right one. */
void ldmatrix(uint32_t *r, const void *row, int n, bool transposed, site s)
{
	row_record record = { r, row, {}, n, transposed };

	if (cur.lane < (unsigned)n * 8) {
		if ((uintptr_t)row % 16)
			fault(s, "ldmatrix: the address of a row is not a multiple of 16");
		if (!in_shared(row, 16))
			fault(s, "ldmatrix: a row is not in shared memory");
		copy_words(record.row, row, 16, 16);
	}
	collective(transposed ? "ldmatrix.trans" : "ldmatrix", s, ~0u, &record, load_all);
}

}
