/* body_product.h - the innermost loops of every matrix product, and the packing before them.  See body.h. */

enum { TILE_COLS = 2 * LANES };

/* The first cols columns of a tile: c = alpha * s + bias + beta * c.  Each term for all rows before the next one: what
 * is asked of a row between two of them took as long as 5 % of a tile. */
static inline __attribute__((always_inline)) void finish(const struct block *b, float *c, vec (*s)[2], int j,
							 const int rows, const bool wide, size_t cols)
{
	const size_t more = wide ? cols - LANES : 0;
	const vec alpha = all(b->alpha), beta = all(b->beta);
	int r;

#pragma GCC unroll 14
	for (r = 0; r < rows; r++) {
		s[r][0] *= alpha;
		s[r][1] *= alpha;
	}
	if (b->bias) {
		const vec bias0 = load_some(b->bias + j, cols);
		const vec bias1 = wide ? load_some(b->bias + j + LANES, more) : bias0;

#pragma GCC unroll 14
		for (r = 0; r < rows; r++) {
			s[r][0] += bias0;
			s[r][1] += bias1;
		}
	}
	if (b->beta != 0) {
#pragma GCC unroll 14
		for (r = 0; r < rows; r++) {
			s[r][0] = mul_add(beta, load_some(c + r * b->ldc, cols), s[r][0]);
			if (wide)
				s[r][1] = mul_add(beta, load_some(c + r * b->ldc + LANES, more), s[r][1]);
		}
	}
#pragma GCC unroll 14
	for (r = 0; r < rows; r++) {
		store_some(c + r * b->ldc, s[r][0], cols);
		if (wide)
			store_some(c + r * b->ldc + LANES, s[r][1], more);
	}
}

/* Rows of a have one address in three: an instruction reaches the second and third by its index. */
enum { ADDRESSES = (TILE_ROWS + 2) / 3 };

/* A panel that is read where it lies has a row on a page of its own: no processor fetches such by itself. */
static inline void fetch_below(const float *panel, size_t step)
{
	__builtin_prefetch(panel + 16 * step);
	if (LANES == 16)
		__builtin_prefetch(panel + 16 * step + LANES);
}

/* So many numbers of k apart, a tile fetches some lines of what is read soon, and some of the rows that its sums go to:
 * all of them at once kept it waiting for what it reads itself.  A tile of 14 rows has 28 lines of them, one of 6 rows
 * has 6, and every stretch takes a few clocks of its own. */
enum { STRETCH = LANES == 16 ? 16 : 64 };

/* Where fetching what is read soon has come to: rows that are left, and how far the first of them has been. */
struct fetching { const struct soon *of; const char *row; int at, rows, each; };

static inline int stretches(int k) { return k > STRETCH ? (k + STRETCH - 1) / STRETCH : 1; }

static inline struct fetching start_fetching(const struct soon *s, int tiles, int k)
{
	const int lines = s->rows * ((s->bytes + 63) / 64), times = tiles * stretches(k);

	return (struct fetching){ s, s->at, 0, s->rows, lines ? (lines + times - 1) / times : 0 };
}

static inline void fetch_some(struct fetching *f)
{
	for (int i = 0; i < f->each && f->rows; i++) {
		__builtin_prefetch(f->row + f->at, 0, 2);
		f->at += 64;
		if (f->at >= f->of->bytes) {
			f->at = 0;
			f->row += f->of->apart;
			f->rows--;
		}
	}
}

/* Every element is a chain of multiply-adds over k in order, whatever tile it is in: how the matrix is cut into tiles
 * cannot change a result, nor can the size of a tile.  wide: more than LANES columns are left. */
static inline __attribute__((always_inline)) void tile(const struct block *b, int i, int j, const int rows,
						       const bool wide, const bool packed,
						       struct fetching *soon)
{
	const int times = packed ? stretches(b->k) : 1, each = (rows + times - 1) / times;
	const int stretch = packed ? STRETCH : b->k;
	const float *panel = packed ? b->panels + (size_t)j * b->k : b->b + j, *a[ADDRESSES];
	const size_t row = b->row, col = b->col, cols = b->n - j, step = packed ? TILE_COLS : b->ldb;
	float *c = b->c + i * b->ldc + j, *ahead = c, *last = c + (rows - 1) * b->ldc;
	vec s[TILE_ROWS][2];
	int k, q, r;

#pragma GCC unroll 5
	for (r = 0; r < (rows + 2) / 3; r++)
		a[r] = b->a + (i + 3 * r) * b->row;
#pragma GCC unroll 14
	for (r = 0; r < rows; r++)
		s[r][0] = s[r][1] = all(0);
	for (k = 0; k < b->k; k += stretch) {
		const int n = b->k - k < stretch ? b->k - k : stretch;

		fetch_some(soon);
		for (r = 0; r < each && ahead <= last; r++, ahead += b->ldc) {
			__builtin_prefetch(ahead, 1);
			if (LANES == 16 && wide)
				__builtin_prefetch(ahead + LANES, 1);
		}
#pragma GCC unroll 4
		for (q = 0; q < n; q++, panel += step) {
			const vec b0 = load(panel), b1 = wide ? load(panel + LANES) : all(0);

			if (!packed)
				fetch_below(panel, step);
#pragma GCC unroll 14
			for (r = 0; r < rows; r++) {
				const vec x = all(a[r / 3][r % 3 * row]);

				s[r][0] = mul_add(x, b0, s[r][0]);
				if (wide)
					s[r][1] = mul_add(x, b1, s[r][1]);
			}
#pragma GCC unroll 5
			for (r = 0; r < (rows + 2) / 3; r++)
				a[r] += col;
		}
	}
	if (cols >= (wide ? TILE_COLS : LANES))
		finish(b, c, s, j, rows, wide, wide ? TILE_COLS : LANES);
	else
		finish(b, c, s, j, rows, wide, cols);
}

/* A panel of b is used by all rows of a, in tiles whose rows differ by one at most.  Each number of rows is a tile of
 * its own. */
static inline __attribute__((always_inline)) void panel_of_block(const struct block *b, int j, const bool wide,
								const bool packed, struct fetching *soon)
{
	const int tiles = (b->m + TILE_ROWS - 1) / TILE_ROWS;
	int i = 0, rows, t;

	for (t = 0; t < tiles; t++, i += rows) {
		rows = (b->m - i + tiles - t - 1) / (tiles - t);
#define CASE(n) case n: if ((n) <= TILE_ROWS) tile(b, i, j, (n) <= TILE_ROWS ? (n) : 1, wide, packed, soon); break;
		switch (rows) {
		CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
		CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
		}
#undef CASE
	}
}

static void block(const struct block *b)
{
	const int tiles = (b->m + TILE_ROWS - 1) / TILE_ROWS * ((b->n + TILE_COLS - 1) / TILE_COLS);
	struct fetching soon = start_fetching(&b->soon, tiles, b->k);
	int j = 0;

	for (; !b->panels && j < b->n; j += TILE_COLS)
		panel_of_block(b, j, true, false, &soon);
	for (; j + LANES < b->n; j += TILE_COLS)
		panel_of_block(b, j, true, true, &soon);
	if (j < b->n)
		panel_of_block(b, j, false, true, &soon);
}

static inline vec widen_one(const uint16_t *x, enum dtype dtype)
{
	return dtype == DTYPE_F16 ? widen_f16(x) : (vec)(widen_u16(x) << 16);
}

/* Elements i.. of a row of floats or halves, the first n of them, zeros beyond. */
static inline vec load_wide(const void *row, size_t i, size_t n, enum dtype dtype)
{
	const uint16_t *h = (const uint16_t *)row + i;
	uint16_t last[LANES] = { 0 };

	if (dtype == DTYPE_F32)
		return load_some((const float *)row + i, n);
	if (n >= LANES)
		return widen_one(h, dtype);
	memcpy(last, h, n * sizeof(*h));
	return widen_one(last, dtype);
}

/* Packing reads up to sixteen short rows at once, more than a processor's own prefetching follows. */
static inline void will_read(const void *row, size_t i, enum dtype dtype, size_t ahead)
{
	__builtin_prefetch((const char *)row + i * element_size(dtype) + ahead, 0, 2);
}

/* A half of the panel that no column is in is left as it was: nobody reads it. */
static inline __attribute__((always_inline)) void pack_columns_of(float *panel, const void *const *rows, int n, int k,
								  enum dtype dtype, size_t ahead)
{
	int i, j, r;
	vec v[LANES];

	for (j = 0; j < n; j += LANES)
		for (i = 0; i < k; i += LANES) {
			float *dst = panel + (size_t)i * TILE_COLS + j;

#pragma GCC unroll 16
			for (r = 0; r < LANES; r++) {
				v[r] = load_wide(rows[j + r], i, k - i, dtype);
				will_read(rows[j + r], i, dtype, LANES * ahead);
			}
			transpose(v);
			if (k - i < LANES) {
				for (r = 0; r < k - i; r++)
					store(dst + (size_t)r * TILE_COLS, v[r]);
				break;
			}
#pragma GCC unroll 16
			for (r = 0; r < LANES; r++)
				store(dst + (size_t)r * TILE_COLS, v[r]);
		}
}

static void pack_columns(float *panel, const void *const *rows, enum dtype dtype, int n, int k, size_t ahead)
{
	switch (dtype) {
	case DTYPE_F32: pack_columns_of(panel, rows, n, k, DTYPE_F32, ahead); break;
	case DTYPE_F16: pack_columns_of(panel, rows, n, k, DTYPE_F16, ahead); break;
	default: pack_columns_of(panel, rows, n, k, DTYPE_BF16, ahead);
	}
}

static inline __attribute__((always_inline)) void pack_rows_of(float *panels, size_t stride, const void *const *rows,
							       int count, int n, enum dtype dtype, size_t ahead)
{
	int j, r;

	for (j = 0; j < n; j += TILE_COLS, panels += stride)
		for (r = 0; r < count; r++) {
			const size_t rest = n - j, second = rest > LANES ? rest - LANES : 0;
			float *dst = panels + r * TILE_COLS;

			store(dst, rows[r] ? load_wide(rows[r], j, rest, dtype) : all(0));
			store(dst + LANES, rows[r] && second ? load_wide(rows[r], j + LANES, second, dtype) : all(0));
			if (rows[r])
				will_read(rows[r], j, dtype, ahead);
		}
}

static void pack_rows(float *panels, size_t stride, const void *const *rows, enum dtype dtype, int count, int n,
		      size_t ahead)
{
	switch (dtype) {
	case DTYPE_F32: pack_rows_of(panels, stride, rows, count, n, DTYPE_F32, ahead); break;
	case DTYPE_F16: pack_rows_of(panels, stride, rows, count, n, DTYPE_F16, ahead); break;
	default: pack_rows_of(panels, stride, rows, count, n, DTYPE_BF16, ahead);
	}
}

static void widen(float *y, const void *x, enum dtype dtype, size_t n)
{
	size_t i;

	for (i = 0; i < n; i += LANES)
		store_some(y + i, load_wide(x, i, n - i, dtype), n - i);
}
