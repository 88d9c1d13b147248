/* An adapter's narrow products behind its layer's own, and GEGLU of the sum, in one launch; either way. */
#include "gelu.cuh"
#include "narrow.cuh"

enum { ENOUGH_BLOCKS = 256 };

/* v: sum of four columns of y; then what lies there */
DEV void settle_four(float (&v)[4], const struct pass &p, int row, int c)
{
	float y[4];

	take_four(y, p.y, row, c);
	UNROLL for (int i = 0; i < 4; i++)
		v[i] += y[i] + (p.bias ? p.bias[c + i] : 0);
	leave_four(p.y, row, c, v);
	if (p.y.type != DTYPE_F32)
		UNROLL for (int i = 0; i < 4; i++)
			v[i] = of_half(to_half(v[i], p.y.type), p.y.type);
}

/* g = a gelu(b), a and b the halves of y's row */
struct gate {
	struct matrix g;
	template <int N> __device__ void columns(const float *tile, const struct pass &p, int row, int column) const
	{
		float value[4][4] = {}, gated[4][4] = {};

		multiply_tile<N>(value, tile, p, column);
		multiply_tile<N>(gated, tile, p, column + g.columns);
		UNROLL for (int j = 0; j < 4; j++) {
			const int r = row + lane_row(j), c = column + lane_column(j);
			float a[4] = { value[0][j], value[1][j], value[2][j], value[3][j] };
			float b[4] = { gated[0][j], gated[1][j], gated[2][j], gated[3][j] };

			settle_four(a, p, r, c);
			settle_four(b, p, r, c + g.columns);
			UNROLL for (int i = 0; i < 4; i++)
				a[i] *= gelu(b[i]);
			leave_four(g, r, c, a);
		}
	}
};

/* backward of it:  da = dy gelu(b);  db = dy a gelu'(b).  y is dy, and stays; dh, which may be h, has the halves da and
 * db.  of_h, of_dy: what brings either under dh's power of two */
struct gate_back {
	struct matrix g, h, dh;
	float of_h, of_dy;
	template <int N> __device__ void columns(const float *tile, const struct pass &p, int row, int column) const
	{
		float sum[4][4] = {};

		multiply_tile<N>(sum, tile, p, column);
		UNROLL for (int j = 0; j < 4; j++) {
			const int r = row + lane_row(j), c = column + lane_column(j);
			float dy[4], a[4], b[4];

			take_four(dy, p.y, r, c);
			take_four(a, h, r, c);
			take_four(b, h, r, c + g.columns);
			UNROLL for (int i = 0; i < 4; i++) {
				const float d = of_dy * (dy[i] + sum[i][j]), value = of_h * a[i], x = of_h * b[i];

				a[i] = d * gelu(x);
				b[i] = d * value * gelu_slope(x);
			}
			leave_four(dh, r, c, a);
			leave_four(dh, r, c + g.columns, b);
		}
	}
};

/* Blocks of the same rows share their columns, and each makes z of these rows. */
template <int N, class G> __global__ void __launch_bounds__(WARPS * 32) gated_kernel(struct pass p, G gate)
{
	SHARED(float, tile, [ROWS * (N * COLUMNS + PAD)]);
	SHARED(float, room, [WARPS / 2 * N * 16 * 32]);
	const int row = blockIdx.x * ROWS, warp = threadIdx.x / 32;

	if (p.makes_z)
		make_tile<N>(tile, room, p, row);
	if (!p.makes_z || blockIdx.y == 0)
		move_tile<N>(tile, p, row);
	for (int i = blockIdx.y * WARPS + warp; i < gate.g.columns / COLUMNS; i += gridDim.y * WARPS)
		gate.template columns<N>(tile, p, row, i * COLUMNS);
}

/* Enough blocks for a card's processors, where there are columns for them. */
static dim3 blocks_of_gated(const struct matrix &g)
{
	const int down = (g.rows + ROWS - 1) / ROWS, most = (g.columns / COLUMNS + WARPS - 1) / WARPS;
	const int across = (ENOUGH_BLOCKS + down - 1) / down;

	return dim3(down, across < most ? across : most);
}

template <class G> static cudaError_t run_gated(cudaStream_t st, const struct pass &p, const G &gate)
{
	const dim3 blocks = blocks_of_gated(gate.g);

	if (p.z.columns <= COLUMNS)
		LAUNCH((gated_kernel<1, G>), blocks, WARPS * 32, 0, st, p, gate);
	else
		LAUNCH((gated_kernel<GATED_RANK / COLUMNS, G>), blocks, WARPS * 32, 0, st, p, gate);
	return cudaGetLastError();
}

extern "C" cudaError_t k_narrow_geglu(cudaStream_t st, struct values g, struct values y, struct values x,
				      const struct stacked_layer *l, int rows)
{
	const struct narrow *n = l->more ? l->more : &nothing;
	const int out = l->w->out, in = l->w->in;
	const struct pass p = { matrix_of(x, rows, in, in), matrix_of(n->from, n->rank, in),
				matrix_of(n->by, out, n->rank), matrix_of(n->z, rows, n->rank),
				matrix_of(y, rows, out, out), l->bias, shifted(n->first, -x.shift), n->scale,
				n->from != NULL, true, true };

	return run_gated(st, p, gate{ matrix_of(g, rows, out / 2, out / 2) });
}

extern "C" cudaError_t k_narrow_dx_geglu(cudaStream_t st, struct values dh, struct values dx, struct values dy,
					 struct values h, const struct stacked_layer *l, int rows)
{
	const struct narrow *n = l->more;
	const int out = l->w->out, in = l->w->in;
	const struct matrix to = matrix_of(dx, rows, in, in);
	const struct pass p = { matrix_of(dy, rows, out, out), matrix_of(n->from, out, n->rank),
				matrix_of(n->by, n->rank, in), matrix_of(n->z, rows, n->rank), to, NULL,
				shifted(n->first, -dy.shift), shifted(n->scale, dx.shift), n->from != NULL, false,
				true };

	return run_gated(st, p, gate_back{ to, matrix_of(h, rows, 2 * in, 2 * in), matrix_of(dh, rows, 2 * in, 2 * in),
					   shifted(1, -h.shift), shifted(1, dh.shift - dx.shift) });
}
