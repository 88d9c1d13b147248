/* Narrow products of adapters beside their layers' own: z and what is made of it, in one launch; of layers beside each
 * other all at once. */
#include "narrow.cuh"

enum { LAYERS = STACKED_MOST };

/* together: all make one y; else layer i is that of the blocks whose number has the remainder i */
struct passes { struct pass of[LAYERS]; int count; bool together; };

/* y's value, to which the products are added */
DEV void begin_four(float (&v)[4], const struct pass &p, int row, int c)
{
	UNROLL for (int i = 0; i < 4; i++)
		v[i] = p.bias && c + i < p.y.columns ? p.bias[c + i] : 0;
	if (p.add)
		take_four(v, p.y, row, c);
}

/* The sum of so many layers' products, in their order. */
template <int N> DEV void make_columns(const float *tiles, const struct passes &all, int first, int count, int row,
				       int column)
{
	const struct pass &p = all.of[first];
	float sum[4][4] = {};

	for (int l = 0; l < count; l++)
		multiply_tile<N>(sum, tiles + l * place<N>(ROWS, 0), all.of[first + l], column);
	UNROLL for (int j = 0; j < 4; j++) {
		const int r = row + lane_row(j), c = column + lane_column(j);
		float v[4];

		begin_four(v, p, r, c);
		UNROLL for (int i = 0; i < 4; i++)
			v[i] += sum[i][j];
		leave_four(p.y, r, c, v);
	}
}

/* MOST: layers whose tiles there is room for */
template <int N, int MOST> __global__ void __launch_bounds__(WARPS * 32) narrow_kernel(struct passes all)
{
	SHARED(float, tiles, [MOST * ROWS * (N * COLUMNS + PAD)]);
	SHARED(float, room, [WARPS / 2 * N * 16 * 32]);
	const int apart = all.together ? 1 : all.count, first = blockIdx.x % apart, row = blockIdx.x / apart * ROWS;
	const int count = all.together ? all.count : 1;

	for (int l = 0; l < count; l++) {
		float *tile = tiles + l * place<N>(ROWS, 0);

		if (all.of[first + l].makes_z)
			make_tile<N>(tile, room, all.of[first + l], row);
		move_tile<N>(tile, all.of[first + l], row);
	}
	for (int column = threadIdx.x / 32 * COLUMNS; column < all.of[first].y.columns; column += WARPS * COLUMNS)
		make_columns<N>(tiles, all, first, count, row, column);
}

static int widest(const struct passes *p)
{
	int rank = 0;

	for (int i = 0; i < p->count; i++)
		rank = p->of[i].z.columns > rank ? p->of[i].z.columns : rank;
	return rank;
}

static cudaError_t run(cudaStream_t st, const struct passes *p)
{
	const int blocks = (p->of[0].z.rows + ROWS - 1) / ROWS * (p->together ? 1 : p->count), rank = widest(p);

	if (rank <= COLUMNS)
		LAUNCH((narrow_kernel<1, LAYERS>), blocks, WARPS * 32, 0, st, *p);
	else if (rank <= 2 * COLUMNS)
		LAUNCH((narrow_kernel<2, LAYERS>), blocks, WARPS * 32, 0, st, *p);
	else
		LAUNCH((narrow_kernel<4, 1>), blocks, WARPS * 32, 0, st, *p);
	return cudaGetLastError();
}

/* One after another: each adds to what those before it left. */
static cudaError_t run_each(cudaStream_t st, const struct passes *p)
{
	cudaError_t status = cudaSuccess;

	for (int i = 0; i < p->count && status == cudaSuccess; i++) {
		struct passes one = { { p->of[i] }, 1, true };

		one.of[0].add |= i > 0;
		status = run(st, &one);
	}
	return status;
}

extern "C" cudaError_t k_narrow(cudaStream_t st, struct values y, struct values x, const struct stacked *s, int rows)
{
	struct passes all = { {}, s->count, false };
	const int ldy = stacked_out(s);

	for (int i = 0, column = 0; i < s->count; column += s->of[i++].w->out) {
		const struct narrow *more = s->of[i].more, *n = more && more->rank <= NARROW_MOST ? more : &nothing;
		const int out = s->of[i].w->out, in = s->of[i].w->in;

		all.of[i] = { matrix_of(x, rows, in, in), matrix_of(n->from, n->rank, in),
			      matrix_of(n->by, out, n->rank), matrix_of(n->z, rows, n->rank),
			      matrix_of(values_from(y, column), rows, out, ldy),
			      s->of[i].bias, shifted(n->first, -x.shift), n->scale, n->from != NULL, true, false };
	}
	return run(st, &all);
}

extern "C" cudaError_t k_narrow_dx(cudaStream_t st, struct values dx, struct values dy, const struct stacked *s,
				   int rows, int add)
{
	struct passes all = { {}, 0, true };
	const int ldy = stacked_out(s);

	for (int i = 0, column = 0; i < s->count; column += s->of[i++].w->out) {
		const struct narrow *n = s->of[i].more;
		const int out = s->of[i].w->out, in = s->of[i].w->in;

		if (!n || n->rank > NARROW_MOST)
			continue;
		all.of[all.count++] = { matrix_of(values_from(dy, column), rows, out, ldy),
					matrix_of(n->from, out, n->rank), matrix_of(n->by, n->rank, in),
					matrix_of(n->z, rows, n->rank), matrix_of(dx, rows, dx.at ? in : 0, in), NULL,
					shifted(n->first, -dy.shift), shifted(n->scale, dx.shift), n->from != NULL,
					false, add != 0 };
	}
	return widest(&all) > NARROW_TOGETHER ? run_each(st, &all) : run(st, &all);
}
