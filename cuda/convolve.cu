/*
 * convolve.cu - convolutions as matrix products whose left operand is read where it lies in the picture (implicit
 * im2col): no columns in memory.
 *
 * A row of the product is a pixel of the result, a column one of its channels; the sum goes over the channels of the
 * source, LINE bytes of them a step, and for each of these over the taps of the filter.  So the steps of one group of
 * channels read nearly the same pixels, which the first of them has brought into the multiprocessor's cache.
 *
 * Backward is the same product with the taps turned round.  With a stride, pixels of the input that lie a stride apart
 * were read by the same taps: these are a class of rows of their own (blockIdx.z), which meets no other tap.
 */
#include "values.cuh"

/* A block's tiles: ROWS pixels, and N channels (64 or 128), of LINE bytes each; pieces are what one instruction moves.
 * A warp owns 32 channels of a part of the rows. */
enum { WARPS = 8, THREADS = WARPS * 32, ROWS = 128, LINE = 64, PIECE = 16, PIECES = LINE / PIECE, COLUMNS = 32 };

/* source [n,h,w,c], result [n,oh,ow,out]; stride and pad are those of the convolution, also where this is backward.
 * wide, wide_weights: whole pieces of x and of the weight may be read at once; pairs: two elements of the result. */
struct convolution { int h, w, c, n, oh, ow, out, kh, kw, stride, pad; bool wide, wide_weights, pairs, add; };

/* One axis of a class of rows.  Of the result: `count` pixels, first, first + apart, ...; number i reads with tap
 * tap + a * apart the pixel i * step + start + a * turn of the source. */
struct axis { int count, first, apart, tap, taps, step, start, turn; };

template <bool BACK> DEV struct axis axis_of(int size, int taps, int number, const struct convolution &s)
{
	if (!BACK)
		return { size, 0, 1, 0, taps, s.stride, -s.pad, 1 };

	const int tap = (number + s.pad) % s.stride;

	return { (size - number + s.stride - 1) / s.stride, number, s.stride, tap,
		 tap < taps ? (taps - tap + s.stride - 1) / s.stride : 0, 1, (number + s.pad - tap) / s.stride, -1 };
}

/* A row of the product: its sample, and its places in the class.  There may be no pixel in it at all. */
struct pixel { int sample, y, x; };

DEV struct pixel pixel_of(int row, const struct axis &y, const struct axis &x)
{
	const int height = max(y.count, 1), width = max(x.count, 1), line = row / width;

	return { line / height, line % height, row % width };
}

/* ---- tiles: piece p of line r, so that neither writing nor reading meets in a bank ---- */

DEV int at_piece(int r, int p) { return r * PIECES + (p ^ r / 2 % PIECES); }

/* lines of N elements of type T, one for each element of the sum */
template <class T, int N> DEV int at_turned(int r, int p)
{
	return r * (N * (int)sizeof(T) / PIECE) + (p ^ r * ((int)sizeof(T) / 2) % 8);
}

template <int BYTES> struct vector { typedef uint4 type; };
template <> struct vector<8> { typedef uint2 type; };

/* What this thread moves into the left tile at a time: one piece of a row, whose first tap is at `place`.  X: the type
 * in the picture. */
template <class X, int E> DEV void take_pixels(X (&v)[E], const X *x, const struct pixel &place, int y_more, int x_more,
					       int channel, const struct convolution &s)
{
	const int iy = place.y + y_more, ix = place.x + x_more;
	const bool inside = iy >= 0 && iy < s.h && ix >= 0 && ix < s.w && channel < s.c;
	const X *from = x + (inside ? (((size_t)place.sample * s.h + iy) * s.w + ix) * s.c + channel : 0);

	if (s.wide) {
		typedef typename vector<sizeof(v)>::type part;
		enum { PARTS = E * sizeof(X) / sizeof(part) };
		part whole[PARTS];

		UNROLL for (int i = 0; i < PARTS; i++)
			whole[i] = inside ? ((const part *)from)[i] : part{};
		memcpy(v, whole, sizeof(whole));
	} else
		UNROLL for (int e = 0; e < E; e++)
			if (inside && channel + e < s.c)
				v[e] = from[e];
			else
				put(&v[e], 0);
}

DEV void put_operand(float *y, float x) { *y = __int_as_float(to_tf32(x)); }
DEV void put_operand(__half *y, float x) { put(y, x); }
DEV void put_operand(__nv_bfloat16 *y, float x) { put(y, x); }

DEV float widened(float x) { return x; }
DEV float widened(__half x) { return __half2float(x); }
DEV float widened(__nv_bfloat16 x) { return __bfloat162float(x); }

/* A pixel of the weight's type is multiplied as it is: no factor is looked for. */
template <class T, class X> DEV void put_pixel(T *y, X x, float factor) { put_operand(y, widened(x) * factor); }
DEV void put_pixel(__half *y, __half x, float) { *y = x; }
DEV void put_pixel(__nv_bfloat16 *y, __nv_bfloat16 x, float) { *y = x; }

template <class T, class X, int E> DEV void leave_pixels(uint4 *left, int row, const X (&v)[E], float factor)
{
	T cast[E];
	uint4 whole;

	UNROLL for (int e = 0; e < E; e++)
		put_pixel(&cast[e], v[e], factor);
	memcpy(&whole, cast, sizeof(whole));
	left[at_piece(row, threadIdx.x % PIECES)] = whole;
}

/* Forward: lines of the right tile are channels of the result.  Backward: channels of the source, so that either way a
 * line is read as it lies in the weight [out][taps][in]. */
template <class T, int N, bool BACK>
DEV void load_weights(uint4 *right, const T *w, int tap, int channel, int column, const struct convolution &s)
{
	enum { E = PIECE / sizeof(T), PER_LINE = BACK ? N / E : PIECES };
	const int inner = BACK ? s.out : s.c, outer = BACK ? s.c : s.out;

	UNROLL for (int k = 0; k < N * PIECES / THREADS; k++) {
		const int r = (threadIdx.x + k * THREADS) / PER_LINE, p = (threadIdx.x + k * THREADS) % PER_LINE;
		const int line = (BACK ? channel : column) + r, at = (BACK ? column : channel) + p * E;
		const bool there = line < outer && at < inner;
		const T *from = w + (there ? ((size_t)line * s.kh * s.kw + tap) * inner + at : 0);
		uint4 *to = right + (BACK ? at_turned<T, N>(r, p) : at_piece(r, p));

		if (s.wide_weights) {
			cp_async16(to, from, there);
			continue;
		}
		T v[E];

		UNROLL for (int e = 0; e < E; e++)
			if (there && at + e < inner)
				v[e] = from[e];
			else
				put(&v[e], 0);
		memcpy(to, v, sizeof(*to));
	}
}

/* ---- the product ---- */

DEV void multiply(float *d, const uint32_t *a, const uint32_t *b, const __half *) { mma_f16(d, a, b); }
DEV void multiply(float *d, const uint32_t *a, const uint32_t *b, const __nv_bfloat16 *) { mma_bf16(d, a, b); }
DEV void multiply(float *d, const uint32_t *a, const uint32_t *b, const float *) { mma_tf32(d, a, b); }

/* The right operand of one half of a step, for 32 columns.  Fragments of 16 bits and of tf32 are the same bytes of a
 * line; only lines of floats cannot be turned by ldmatrix. */
template <class T, int N, bool BACK> DEV void right_fragments(uint32_t (&b)[4][2], const uint4 *right, int column,
							      int half)
{
	const int lane = threadIdx.x % 32;

	if (BACK && sizeof(T) == 4) {
		UNROLL for (int n = 0; n < 4; n++)
			UNROLL for (int i = 0; i < 2; i++) {
				const int at = column + n * 8 + lane / 4, line = half * 8 + lane % 4 + i * 4;

				b[n][i] = ((const uint32_t *)(right + at_turned<T, N>(line, at / 4)))[at % 4];
			}
	} else
		UNROLL for (int n = 0; n < 4; n += 2) {
			const int turned = at_turned<T, N>(half * 16 + lane % 16, (column + n * 8) / 8 + lane / 16),
				line = at_piece(column + n * 8 + lane % 8 + lane / 16 * 8, half * 2 + lane / 8 % 2);

			if (BACK)
				ldsm_x4_t(b[n], right + turned);
			else
				ldsm_x4(b[n], right + line);
		}
	if (sizeof(T) == 4)
		UNROLL for (int i = 0; i < 8; i++)
			b[i / 2][i % 2] = to_tf32(__int_as_float(b[i / 2][i % 2]));
}

template <class T, int N, bool BACK, int M>
DEV void multiply_tiles(float (&sum)[M][4][4], const uint4 *left, const uint4 *right, int row, int column, int half)
{
	const int lane = threadIdx.x % 32;
	uint32_t a[M][4], b[4][2];

	UNROLL for (int m = 0; m < M; m++)
		ldsm_x4(a[m], left + at_piece(row + m * 16 + lane % 16, half * 2 + lane / 16));
	right_fragments<T, N, BACK>(b, right, column, half);
	UNROLL for (int m = 0; m < M; m++)
		UNROLL for (int n = 0; n < 4; n++)
			multiply(sum[m][n], a[m], b[n], (const T *)NULL);
}

/* y: the pixel's first channel */
DEV void store_two(void *y, enum dtype type, const float *sum, float factor, const float *bias, int column,
		   const struct convolution &s)
{
	const int size = type == DTYPE_F32 ? 4 : 2;
	float v[2];

	UNROLL for (int i = 0; i < 2; i++)
		v[i] = sum[i] * factor + (bias && column + i < s.out ? bias[column + i] : 0);
	if (s.pairs && column < s.out)
		store_pair((char *)y + column * size, type, v[0], v[1], s.add);
	else
		UNROLL for (int i = 0; i < 2; i++)
			if (column + i < s.out)
				store({ y, type, 0 }, column + i, v[i], s.add);
}

/* parts 0: no factor.  beside: what the result is multiplied by, too */
template <class T, int N, bool BACK, class X> __global__ void __launch_bounds__(THREADS, 2)
convolve_kernel(struct values y, const X *x, const T *w, const float *bias, struct convolution s, const float *part,
		int parts, float beside)
{
	enum { E = PIECE / sizeof(T), GROUPS = N / COLUMNS, MINE = ROWS * GROUPS / WARPS, M = MINE / 16 };
	SHARED(uint4, left, [2][ROWS * PIECES]);
	SHARED(uint4, right, [2][N * PIECES]);
	SHARED(float, tmp, [32]);
	const int shift = parts ? shift_of(part, parts, tmp) : 0, warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4;
	const float factor = power_of_two(shift);
	const struct axis down = axis_of<BACK>(s.oh, s.kh, BACK ? blockIdx.z / s.stride : 0, s),
		along = axis_of<BACK>(s.ow, s.kw, BACK ? blockIdx.z % s.stride : 0, s);
	const int tiles = (s.out + N - 1) / N, rows = s.n * down.count * along.count;
	const int first = (int)(blockIdx.x / tiles) * ROWS, column = (int)(blockIdx.x % tiles) * N;
	const int row = first + warp / GROUPS * MINE, my_columns = warp % GROUPS * COLUMNS;
	const int steps = first < rows ? (s.c + LINE / (int)sizeof(T) - 1) / (LINE / (int)sizeof(T)) * down.taps *
		along.taps : 0;
	const int piece = (int)(threadIdx.x % PIECES) * E;
	struct pixel place[2];
	float sum[M][4][4] = {};

	UNROLL for (int k = 0; k < 2; k++) {
		const int mine = first + (int)threadIdx.x / PIECES + k * (ROWS / 2);

		place[k] = pixel_of(mine < rows ? mine : 0, down, along);
		place[k].y = mine < rows ? place[k].y * down.step + down.start : -s.h - s.kh;   /* never inside */
		place[k].x = place[k].x * along.step + along.start;
	}
	/* step i + 1 is fetched while step i is multiplied; -1: the first alone */
	for (int i = -1, odd = 1, a = 0, b = 0, channel = 0; i < steps; i++, odd ^= 1) {
		const bool more = i + 1 < steps, mine = i >= 0 && row < rows && column + my_columns < s.out;

		cp_async_wait(0);
		__syncthreads();                /* these tiles are here, and nobody reads those before */
		if (more)
			load_weights<T, N, BACK>(right[odd ^ 1], w, (down.tap + a * down.apart) * s.kw + along.tap +
						 b * along.apart, channel, column, s);
		cp_async_commit();
		UNROLL for (int half = 0; half < 2; half++) {
			X taken[E];

			if (more)
				take_pixels(taken, x, place[half], a * down.turn, b * along.turn, channel + piece, s);
			if (mine)
				multiply_tiles<T, N, BACK>(sum, left[odd], right[odd], row - first, my_columns, half);
			if (more)
				leave_pixels<T>(left[odd ^ 1], threadIdx.x / PIECES + half * (ROWS / 2), taken, factor);
		}
		if (++b == along.taps) {
			b = 0;
			if (++a == down.taps) {
				a = 0;
				channel += LINE / (int)sizeof(T);
			}
		}
	}
	cp_async_wait(0);
	UNROLL for (int m = 0; m < M; m++)
		UNROLL for (int r = 0; r < 2; r++) {
			const int mine = row + m * 16 + g + r * 8;
			const struct pixel p = pixel_of(mine < rows ? mine : 0, down, along);
			const size_t at = (((size_t)p.sample * s.oh + down.first + p.y * down.apart) * s.ow +
					   along.first + p.x * along.apart) * s.out;
			void *to = (char *)y.at + at * (y.type == DTYPE_F32 ? 4 : 2);

			UNROLL for (int n = 0; n < 4; n++)
				if (mine < rows)
					store_two(to, y.type, &sum[m][n][2 * r], power_of_two(-shift) * beside, bias,
						  column + my_columns + n * 8 + (int)threadIdx.x % 4 * 2, s);
		}
}

/* ---- launchers ---- */

/* All that a launch reads and writes. */
struct job {
	cudaStream_t st;
	struct values y, x; const struct weight *w; const float *bias; float *scratch;
	struct convolution s;
};

static int over(int n, int by) { return (n + by - 1) / by; }

template <class T, int N, bool BACK, class X> static cudaError_t launch(const struct job *j, int rows, int parts)
{
	const float beside = ldexpf(1, j->y.shift - j->x.shift);
	const dim3 blocks(over(rows, ROWS) * over(j->s.out, N), 1, BACK ? j->s.stride * j->s.stride : 1);

	LAUNCH((convolve_kernel<T, N, BACK, X>), blocks, THREADS, 0, j->st, j->y, (const X *)j->x.at,
	       (const T *)j->w->data, j->bias, j->s, j->scratch, parts, beside);
	return cudaGetLastError();
}

/* Tiles of 128 channels are half as much to read, where they leave little over and are enough for a card. */
enum { ENOUGH_BLOCKS = 128 };

template <class T, bool BACK, class X> static cudaError_t convolve(struct job *j)
{
	const size_t source = (size_t)j->s.n * j->s.h * j->s.w * j->s.c;
	const int parts = j->w->dtype == DTYPE_F16 && j->x.type == DTYPE_F32 ?
		find_magnitude(j->st, (const float *)j->x.at, source, j->scratch) : 0;
	const int stride = BACK ? j->s.stride : 1, e = PIECE / sizeof(T), left = j->s.out % 128;
	const int rows = j->s.n * over(j->s.oh, stride) * over(j->s.ow, stride);

	j->s.wide = j->s.c % e == 0 && aligned(j->x.at, sizeof(X) * e < 16 ? 8 : 16);
	j->s.wide_weights = j->w->in % e == 0 && aligned(j->w->data, 16);
	j->s.pairs = j->s.out % 2 == 0 && aligned(j->y.at, j->y.type == DTYPE_F32 ? 8 : 4);
	if ((!left || left > 64) && (size_t)over(rows, ROWS) * over(j->s.out, 128) >= ENOUGH_BLOCKS)
		return launch<T, 128, BACK, X>(j, rows, parts);
	return launch<T, 64, BACK, X>(j, rows, parts);
}

template <bool BACK> static cudaError_t convolve_as(struct job *j)
{
	const enum dtype w = j->w->dtype, x = j->x.type;

	if (w == DTYPE_F16 && x == w)
		return convolve<__half, BACK, __half>(j);
	if (w == DTYPE_BF16 && x == w)
		return convolve<__nv_bfloat16, BACK, __nv_bfloat16>(j);
	if (w == DTYPE_F32 && x == DTYPE_F16)
		return convolve<float, BACK, __half>(j);
	if (w == DTYPE_F32 && x == DTYPE_BF16)
		return convolve<float, BACK, __nv_bfloat16>(j);
	if (x != DTYPE_F32)
		return cudaErrorInvalidValue;
	return w == DTYPE_F16 ? convolve<__half, BACK, float>(j) : w == DTYPE_BF16 ?
		convolve<__nv_bfloat16, BACK, float>(j) : convolve<float, BACK, float>(j);
}

cudaError_t k_convolve(cudaStream_t st, struct values y, struct values x, const struct weight *w, const float *bias,
		       const struct conv_shape *s, float *scratch)
{
	struct job j = { st, y, x, w, bias, scratch, { s->h, s->w, w->in, s->n, s->oh, s->ow, w->out, w->kh, w->kw,
						       s->stride, s->pad } };

	return convolve_as<false>(&j);
}

cudaError_t k_convolve_back(cudaStream_t st, struct values dx, struct values dy, const struct weight *w,
			    const struct conv_shape *s, int add, float *scratch)
{
	struct job j = { st, dx, dy, w, NULL, scratch, { s->oh, s->ow, w->out, s->n, s->h, s->w, w->in, w->kh, w->kw,
							 s->stride, s->pad } };

	j.s.add = add;
	return convolve_as<true>(&j);
}
