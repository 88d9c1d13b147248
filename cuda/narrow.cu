/* The narrow products of adapters beside their layers' own: z and what is made of it in one launch, and both factors'
 * gradients in another; of layers beside each other all at once. */
#include "gelu.cuh"
#include "values.cuh"

/*
 * These read and write whole activations for a few dozen columns, so memory is what they wait for: each is read once.
 *
 * Fragments are those of mma_tf32 (dev.cuh), g = lane/4, t = lane%4.  A sum may take its terms in any order and columns
 * may be called anything, so both are chosen for lanes to read and write four floats at once: of 16 terms, t holds
 * 4t..4t+3; of 32 columns, fragment i holds 4g+i, and its product's columns 2t and 2t+1 are 8t+i and 8t+4+i.
 */
enum { TERMS = 16, COLUMNS = 32 };
enum { ROWS = 16, WARPS = 8, GRAD_WARPS = 16, PAD = 16 };

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

enum { LAYERS = STACKED_MOST, ENOUGH_BLOCKS = 256 };

/* together: all make one y; else layer i is that of the blocks whose number has the remainder i */
struct passes { struct pass of[LAYERS]; int count; bool together; };

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

/* y's value, to which the products are added */
DEV void begin_four(float (&v)[4], const struct pass &p, int row, int c)
{
	UNROLL for (int i = 0; i < 4; i++)
		v[i] = p.bias && c + i < p.y.columns ? p.bias[c + i] : 0;
	if (p.add)
		take_four(v, p.y, row, c);
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

/* ---- the same behind the layer's product, and GEGLU of the sum, either way ---- */

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
	else if (p.z.columns <= 2 * COLUMNS)
		LAUNCH((gated_kernel<2, G>), blocks, WARPS * 32, 0, st, p, gate);
	else
		LAUNCH((gated_kernel<4, G>), blocks, WARPS * 32, 0, st, p, gate);
	return cudaGetLastError();
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

/* What factors of values in memory are to be multiplied with, where the product lies under its own power of two. */
static float shifted(float factor, int shift)
{
	return ldexpf(factor, shift);
}

static const struct narrow nothing = { NULL, NULL, 0, 0, NULL, 0 };

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

/* ---- gradients of the two factors ---- */

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
