/* body_product.h - the innermost loops of every matrix product, and the packing before them.  See body.h. */

enum { TILE_COLS = 2 * LANES };

static inline vec finished(const float *c, vec s, const struct block *b, int j, size_t cols)
{
	s *= b->alpha;
	if (b->bias)
		s += load_some(b->bias + j, cols);
	return b->beta != 0 ? mul_add(all(b->beta), load_some(c, cols), s) : s;
}

/* Rows of a have one address in three: an instruction reaches the second and third by its index. */
enum { ADDRESSES = (TILE_ROWS + 2) / 3 };

/* Every element is a chain of multiply-adds over k in order, whatever tile it is in: how the matrix is cut into tiles
 * cannot change a result, nor can the size of a tile.  wide: more than LANES columns are left. */
static inline __attribute__((always_inline)) void tile(const struct block *b, int i, int j, const int rows,
						       const bool wide)
{
	const float *panel = b->panels + (size_t)j * b->k, *a[ADDRESSES];
	const size_t row = b->row, col = b->col, cols = b->n - j;
	vec s[TILE_ROWS][2];
	int k, r;

#pragma GCC unroll 5
	for (r = 0; r < (rows + 2) / 3; r++)
		a[r] = b->a + (i + 3 * r) * b->row;
#pragma GCC unroll 14
	for (r = 0; r < rows; r++)
		s[r][0] = s[r][1] = all(0);
	for (k = 0; k < b->k; k++, panel += TILE_COLS) {
		const vec b0 = *(const vec *)panel, b1 = wide ? *(const vec *)(panel + LANES) : all(0);

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
#pragma GCC unroll 14
	for (r = 0; r < rows; r++) {
		float *c = b->c + (i + r) * b->ldc + j;

		store_some(c, finished(c, s[r][0], b, j, cols), cols);
		if (wide)
			store_some(c + LANES, finished(c + LANES, s[r][1], b, j + LANES, cols - LANES), cols - LANES);
	}
}

/* A panel of b stays in the first-level cache while all rows of a are multiplied by it.  Each number of rows is a tile
 * of its own. */
static inline __attribute__((always_inline)) void panel_of_block(const struct block *b, int j, const bool wide)
{
	int i = 0;

	for (; i + TILE_ROWS <= b->m; i += TILE_ROWS)
		tile(b, i, j, TILE_ROWS, wide);
#define CASE(n) case n: if ((n) < TILE_ROWS) tile(b, i, j, (n) < TILE_ROWS ? (n) : 1, wide); break;
	switch (b->m - i) {
	CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13)
	}
#undef CASE
}

static void block(const struct block *b)
{
	int j = 0;

	for (; j + LANES < b->n; j += TILE_COLS)
		panel_of_block(b, j, true);
	if (j < b->n)
		panel_of_block(b, j, false);
}

static void pack_columns(float *panel, const float *const *rows, int k)
{
	int i, j, r;
	vec v[LANES];

	for (j = 0; j < TILE_COLS; j += LANES) {
		for (i = 0; i + LANES <= k; i += LANES) {
#pragma GCC unroll 16
			for (r = 0; r < LANES; r++)
				v[r] = load(rows[j + r] + i);
			transpose(v);
#pragma GCC unroll 16
			for (r = 0; r < LANES; r++)
				store(panel + (size_t)(i + r) * TILE_COLS + j, v[r]);
		}
		for (; i < k; i++)
			for (r = 0; r < LANES; r++)
				panel[(size_t)i * TILE_COLS + j + r] = rows[j + r][i];
	}
}

static void pack_rows(float *panels, size_t stride, const float *const *rows, int count, int n)
{
	int j, r;

	for (j = 0; j < n; j += TILE_COLS, panels += stride)
		for (r = 0; r < count; r++) {
			const size_t rest = n - j, second = rest > LANES ? rest - LANES : 0;
			float *dst = panels + r * TILE_COLS;

			store(dst, rows[r] ? load_some(rows[r] + j, rest) : all(0));
			store(dst + LANES, rows[r] && second ? load_some(rows[r] + j + LANES, second) : all(0));
		}
}

static inline vec widen_one(const uint16_t *x, enum dtype dtype)
{
	return dtype == DTYPE_F16 ? widen_f16(x) : (vec)(widen_u16(x) << 16);
}

static void widen(float *y, const void *x, enum dtype dtype, size_t n)
{
	const uint16_t *h = x;
	uint16_t last[LANES] = { 0 };
	size_t i;

	if (dtype == DTYPE_F32) {
		memcpy(y, x, n * sizeof(*y));
		return;
	}
	for (i = 0; i + LANES <= n; i += LANES)
		store(y + i, widen_one(h + i, dtype));
	if (i < n) {
		memcpy(last, h + i, (n - i) * sizeof(*h));
		store_some(y + i, widen_one(last, dtype), n - i);
	}
}
