/* Gradients of both factors of adapters, in one launch; of layers beside each other all at once. */
#include "narrow.cuh"

enum { GRAD_WARPS = 16, LAYERS = STACKED_MOST };

/* grad [columns,rank] = scale wide^T narrow, wide [rows,columns], narrow [rows,rank]; turned: grad [rank,columns] */
struct gradient { struct matrix wide, narrow, grad; float scale; bool turned, add; };
/* end: of the blocks of each */
struct gradients { struct gradient of[2 * LAYERS]; int end[2 * LAYERS], count; };

/* columns 4g+2m and 4g+2m+1 of 32 are rows g and g+8 of sum[m] */
DEV void sum_rows(float (&sum)[2][4][4], const struct gradient &p, int column, int rank)
{
	const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

	for (int row = warp * 8; row < p.wide.rows; row += GRAD_WARPS * 8) {
		float a[2][4], b[2][4];

		UNROLL for (int k = 0; k < 2; k++) {
			take_four(a[k], p.wide, row + t + 4 * k, column + 4 * g);
			read_four(b[k], p.narrow, row + t + 4 * k, rank + 4 * g);
		}
		UNROLL for (int i = 0; i < 4; i++) {
			const uint32_t right[2] = { to_tf32(b[0][i]), to_tf32(b[1][i]) };

			UNROLL for (int m = 0; m < 2; m++) {
				const uint32_t left[4] = { to_tf32(a[0][2 * m]), to_tf32(a[0][2 * m + 1]),
							   to_tf32(a[1][2 * m]), to_tf32(a[1][2 * m + 1]) };

				mma_tf32(sum[m][i], left, right);
			}
		}
	}
}

/* four: of one row of grad */
DEV void put_gradient(const struct gradient &p, int row, int c, const float (&four)[4])
{
	float v[4] = {};

	if (p.add)
		read_four(v, p.grad, row, c);
	UNROLL for (int i = 0; i < 4; i++)
		v[i] += p.scale * four[i];
	write_four(p.grad, row, c, v);
}

/* A lane's four columns of four of the rank. */
DEV void put_gradients(const float (&sum)[2][4][4], const struct gradient &p, int column, int rank, int j)
{
	UNROLL for (int i = 0; i < 4; i++) {
		const int at = i % 2 * 2 + j;
		const float along[4] = { sum[0][i][j], sum[0][i][j + 2], sum[1][i][j], sum[1][i][j + 2] },
			across[4] = { sum[i / 2][0][at], sum[i / 2][1][at], sum[i / 2][2][at], sum[i / 2][3][at] };

		if (p.turned)
			put_gradient(p, rank + i, column, along);
		else
			put_gradient(p, column + i, rank, across);
	}
}

__global__ void __launch_bounds__(GRAD_WARPS * 32) gradients_kernel(struct gradients all)
{
	SHARED(float, room, [GRAD_WARPS / 2 * 32 * 32]);
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, rank = blockIdx.y * COLUMNS;
	int which = 0;
	float sum[2][4][4] = {};

	while ((int)blockIdx.x >= all.end[which])
		which++;
	if (rank >= all.of[which].narrow.columns)
		return;

	const struct gradient &p = all.of[which];
	const int column = (blockIdx.x - (which ? all.end[which - 1] : 0)) * COLUMNS;

	sum_rows(sum, p, column, rank);
	add_warps<32, GRAD_WARPS>(&sum[0][0][0], room);
	if (threadIdx.x / 32 == 0)
		UNROLL for (int j = 0; j < 2; j++)
			put_gradients(sum, p, column + 4 * g, rank + 8 * t + 4 * j, j);
}

static void append(struct gradients *all, const struct gradient &g)
{
	const int blocks = (g.wide.columns + COLUMNS - 1) / COLUMNS;

	if (!g.grad.x)
		return;
	all->of[all->count] = g;
	all->end[all->count] = (all->count ? all->end[all->count - 1] : 0) + blocks;
	all->count++;
}

extern "C" cudaError_t k_narrow_grads(cudaStream_t st, const struct stacked_grads *s)
{
	struct gradients all = {};
	int rank = 0;

	for (const struct narrow_grads *g = s->of; g < s->of + s->count; g++) {
		const int r = g->rank;

		if (r > NARROW_MOST)
			continue;
		append(&all, { matrix_of(g->dy, g->rows, g->out, g->ldy), matrix_of(g->z, g->rows, r),
			       matrix_of(g->dup, g->out, r), shifted(g->scale, -g->dy.shift), false, g->add_up != 0 });
		append(&all, { matrix_of(g->x, g->rows, g->in, g->in), matrix_of(g->dz, g->rows, r),
			       matrix_of(g->ddown, r, g->in), shifted(1, -g->x.shift), true, g->add_down != 0 });
		rank = r > rank ? r : rank;
	}
	if (all.count)
		LAUNCH(gradients_kernel, dim3(all.end[all.count - 1], (rank + COLUMNS - 1) / COLUMNS), GRAD_WARPS * 32,
		       0, st, all);
	return cudaGetLastError();
}
