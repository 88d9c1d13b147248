/*
 * narrow.cuh - what the kernels of adapters' narrow products share: matrices of activations and factors, four of a row
 * at once, and z's tile.
 *
 * These read and write whole activations for a few dozen columns, so memory is what they wait for: each is read once.
 *
 * Fragments are those of mma_tf32 (dev.cuh), g = lane/4, t = lane%4.  A sum may take its terms in any order and columns
 * may be called anything, so both are chosen for lanes to read and write four floats at once: of 16 terms, t holds
 * 4t..4t+3; of 32 columns, fragment i holds 4g+i, and its product's columns 2t and 2t+1 are 8t+i and 8t+4+i.
 */
#ifndef CUDA_NARROW_CUH
#define CUDA_NARROW_CUH

#include "values.cuh"

enum { TERMS = 16, COLUMNS = 32 };
enum { ROWS = 16, WARPS = 8, PAD = 16 };

/* ld: from one row to the next.  wide: four of a row may be read and written at once.  Shifts are in the factors of the
 * products. */
struct matrix { void *x; int rows, columns, ld; bool wide; enum dtype type; };

static struct matrix matrix_of(struct values v, int rows, int columns, int ld)
{
	const bool wide = columns % 4 == 0 && ld % 4 == 0 && aligned(v.at, v.type == DTYPE_F32 ? 16 : 8);

	return { v.at, rows, columns, ld, wide, v.type };
}

static struct matrix matrix_of(const float *x, int rows, int columns)
{
	return matrix_of(f32(x), rows, columns, columns);
}

/* Four of a row from column c on, 0 where there are none. */
DEV void read_four(float (&v)[4], const struct matrix &m, int row, int c)
{
	const float *from = (const float *)m.x + (size_t)row * m.ld + c;
	const int left = row < m.rows ? m.columns - c : 0;

	if (m.wide && left > 0) {
		const float4 x = *(const float4 *)from;

		v[0] = x.x;
		v[1] = x.y;
		v[2] = x.z;
		v[3] = x.w;
	} else
		UNROLL for (int i = 0; i < 4; i++)
			v[i] = i < left ? from[i] : 0;
}

DEV void write_four(const struct matrix &m, int row, int c, const float (&v)[4])
{
	float *to = (float *)m.x + (size_t)row * m.ld + c;
	const int left = row < m.rows ? m.columns - c : 0;

	if (m.wide && left > 0)
		*(float4 *)to = { v[0], v[1], v[2], v[3] };
	else
		UNROLL for (int i = 0; i < 4; i++)
			if (i < left)
				to[i] = v[i];
}

/* The same of activations and their gradients, which may be half precision. */
DEV void take_four(float (&v)[4], const struct matrix &m, int row, int c)
{
	const uint16_t *from = (const uint16_t *)m.x + (size_t)row * m.ld + c;
	const int left = row < m.rows ? m.columns - c : 0;
	uint16_t bits[4];

	if (m.type == DTYPE_F32) {
		read_four(v, m, row, c);
		return;
	}
	if (m.wide && left > 0) {
		const uint2 four = *(const uint2 *)from;

		memcpy(bits, &four, sizeof(bits));
	} else
		UNROLL for (int i = 0; i < 4; i++)
			bits[i] = i < left ? from[i] : 0;
	UNROLL for (int i = 0; i < 4; i++)
		v[i] = of_half(bits[i], m.type);
}

DEV void leave_four(const struct matrix &m, int row, int c, const float (&v)[4])
{
	uint16_t *to = (uint16_t *)m.x + (size_t)row * m.ld + c, bits[4];
	const int left = row < m.rows ? m.columns - c : 0;

	if (m.type == DTYPE_F32) {
		write_four(m, row, c, v);
		return;
	}
	UNROLL for (int i = 0; i < 4; i++)
		bits[i] = to_half(v[i], m.type);
	if (m.wide && left > 0) {
		uint2 four;

		memcpy(&four, bits, sizeof(bits));
		*(uint2 *)to = four;
	} else
		UNROLL for (int i = 0; i < 4; i++)
			if (i < left)
				to[i] = bits[i];
}

/* b[k][i]: term k0 + k of column n0 + i.  turned: the matrix lies as [columns, terms]. */
DEV void read_factor(float (&b)[4][4], const struct matrix &m, bool turned, int k0, int n0)
{
	float v[4];

	UNROLL for (int i = 0; i < 4; i++) {
		read_four(v, m, turned ? n0 + i : k0 + i, turned ? k0 : n0);
		UNROLL for (int j = 0; j < 4; j++)
			(turned ? b[j][i] : b[i][j]) = v[j];
	}
}

/* sum[i] += a[16 rows, 16 terms] b[16 terms, fragment i's columns]; a: rows g and g+8 */
DEV void multiply(float (*sum)[4], const uint32_t (&a)[2][4], const float (&b)[4][4])
{
	UNROLL for (int k = 0; k < 4; k += 2) {
		const uint32_t left[4] = { a[0][k], a[1][k], a[0][k + 1], a[1][k + 1] };

		UNROLL for (int i = 0; i < 4; i++) {
			const uint32_t right[2] = { to_tf32(b[k][i]), to_tf32(b[k + 1][i]) };

			mma_tf32(sum[i], left, right);
		}
	}
}

DEV void rounded(uint32_t (&a)[4], const float (&v)[4])
{
	UNROLL for (int i = 0; i < 4; i++)
		a[i] = to_tf32(v[i]);
}

/* The warps' sums into the first one's, in a fixed order.  room: N floats for each thread of half the warps */
template <int N, int COUNT> DEV void add_warps(float *sum, float *room)
{
	const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

	UNROLL for (int half = COUNT / 2; half; half /= 2) {
		if (warp >= half && warp < 2 * half)
			UNROLL for (int i = 0; i < N; i++)
				room[((warp - half) * N + i) * 32 + lane] = sum[i];
		__syncthreads();
		if (warp < half)
			UNROLL for (int i = 0; i < N; i++)
				sum[i] += room[(warp * N + i) * 32 + lane];
		__syncthreads();
	}
}

/* ---- z, and what is made of it ---- */

/* a [rows,k]; from [k,rank], by [rank,n], or both turned; z [rows,rank], y [rows,n] */
struct pass {
	struct matrix a, from, by, z, y;
	const float *bias;              /* NULL: none */
	float first, scale;
	bool makes_z, turned, add;
};

/* z's tile: rows of 32 N columns and a pad */
template <int N> DEV int place(int row, int column)
{
	return row * (N * COLUMNS + PAD) + column;
}

/* 0 where z has none */
template <int N> DEV void make_tile(float *tile, float *room, const struct pass &p, int row)
{
	const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
	float sum[N * 4][4] = {};

	for (int k = warp * TERMS; k < p.a.columns; k += WARPS * TERMS) {
		uint32_t a[2][4];
		float v[4], b[4][4];

		UNROLL for (int r = 0; r < 2; r++) {
			take_four(v, p.a, row + g + 8 * r, k + 4 * t);
			rounded(a[r], v);
		}
		UNROLL for (int n = 0; n < N; n++) {
			read_factor(b, p.from, p.turned, k + 4 * t, n * COLUMNS + 4 * g);
			multiply(&sum[4 * n], a, b);
		}
	}
	add_warps<N * 16, WARPS>(&sum[0][0], room);
	if (warp == 0)
		UNROLL for (int i = 0; i < N * 4; i++)
			UNROLL for (int j = 0; j < 4; j++)
				tile[place<N>(g + j / 2 * 8, i / 4 * COLUMNS + 8 * t + j % 2 * 4 + i % 4)] =
					p.first * sum[i][j];
	__syncthreads();
}

/* Between z's tile and its memory, whichever way. */
template <int N> DEV void move_tile(float *tile, const struct pass &p, int row)
{
	for (int i = threadIdx.x; i < ROWS * N * COLUMNS / 4; i += WARPS * 32) {
		const int r = i / (N * COLUMNS / 4), c = i % (N * COLUMNS / 4) * 4;
		float (&v)[4] = *(float (*)[4])(tile + place<N>(r, c));

		if (p.makes_z)
			write_four(p.z, row + r, c, v);
		else
			read_four(v, p.z, row + r, c);
	}
	__syncthreads();
}

/* sum += scale z by, of 16 rows and 32 columns of y */
template <int N> DEV void multiply_tile(float (&sum)[4][4], const float *tile, const struct pass &p, int column)
{
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

	UNROLL for (int k = 0; k < N * 2; k++) {
		uint32_t z[2][4];
		float b[4][4];

		UNROLL for (int r = 0; r < 2; r++)
			UNROLL for (int i = 0; i < 4; i++)
				z[r][i] = to_tf32(p.scale * tile[place<N>(g + 8 * r, k * TERMS + 4 * t + i)]);
		read_factor(b, p.by, p.turned, k * TERMS + 4 * t, column + 4 * g);
		multiply(sum, z, b);
	}
}

/* Of 16 rows and 32 columns, those whose four sums [0..3][j] a lane has. */
DEV int lane_row(int j) { return threadIdx.x % 32 / 4 + j / 2 * 8; }
DEV int lane_column(int j) { return 8 * (threadIdx.x % 4) + j % 2 * 4; }

/* What factors of values in memory are to be multiplied with, where the product lies under its own power of two. */
static float shifted(float factor, int shift)
{
	return ldexpf(factor, shift);
}

/* of a layer that has none */
static const struct narrow nothing = { NULL, NULL, 0, 0, NULL, 0 };

#endif
