/* body_product.h - the innermost loops of every matrix product, and the packing before them.  See body.h. */

enum { TILE_COLS = 2 * LANES };

static inline void finish_row(float *c, vec s0, vec s1, const struct block *b, int j, size_t cols)
{
	const size_t second = cols > LANES ? cols - LANES : 0;

	s0 *= b->alpha;
	s1 *= b->alpha;
	if (b->bias) {
		s0 += load_some(b->bias + j, cols);
		s1 += second ? load_some(b->bias + j + LANES, second) : all(0);
	}
	if (b->beta != 0) {
		s0 = mul_add(all(b->beta), load_some(c, cols), s0);
		s1 = second ? mul_add(all(b->beta), load_some(c + LANES, second), s1) : s1;
	}
	store_some(c, s0, cols);
	if (second)
		store_some(c + LANES, s1, second);
}

/* Every element is a chain of multiply-adds over k in order, whatever tile it is in: how the matrix is cut into tiles
 * cannot change a result. */
static inline __attribute__((always_inline)) void tile(const struct block *b, int i, int j, const int rows)
{
	const float *panel = b->panels + (size_t)j * b->k, *a0 = b->a + i * b->row, *a3 = a0 + 3 * b->row;
	const size_t row = b->row, col = b->col;
	vec s[TILE_ROWS][2];
	int k, r;

#pragma GCC unroll 6
	for (r = 0; r < rows; r++)
		s[r][0] = s[r][1] = all(0);
	for (k = 0; k < b->k; k++, panel += TILE_COLS, a0 += col, a3 += col) {
		const vec b0 = *(const vec *)panel, b1 = *(const vec *)(panel + LANES);

#pragma GCC unroll 6
		for (r = 0; r < rows; r++) {
			const vec x = all(r < 3 ? a0[r * row] : a3[(r - 3) * row]);

			s[r][0] = mul_add(x, b0, s[r][0]);
			s[r][1] = mul_add(x, b1, s[r][1]);
		}
	}
#pragma GCC unroll 6
	for (r = 0; r < rows; r++)
		finish_row(b->c + (i + r) * b->ldc + j, s[r][0], s[r][1], b, j, b->n - j);
}

static void last_rows(const struct block *b, int i, int j)
{
	switch (b->m - i) {
	case 5: tile(b, i, j, 5); break;
	case 4: tile(b, i, j, 4); break;
	case 3: tile(b, i, j, 3); break;
	case 2: tile(b, i, j, 2); break;
	case 1: tile(b, i, j, 1); break;
	}
}

/* A panel of b stays in the first-level cache while all rows of a are multiplied by it. */
static void block(const struct block *b)
{
	int i, j;

	for (j = 0; j < b->n; j += TILE_COLS) {
		for (i = 0; i + TILE_ROWS <= b->m; i += TILE_ROWS)
			tile(b, i, j, TILE_ROWS);
		last_rows(b, i, j);
	}
}

static void pack_columns(float *panel, const float *const *rows, int k)
{
	int i, j, r;
	vec v[LANES];

	for (j = 0; j < TILE_COLS; j += LANES) {
		for (i = 0; i + LANES <= k; i += LANES) {
#pragma GCC unroll 8
			for (r = 0; r < LANES; r++)
				v[r] = load(rows[j + r] + i);
			transpose(v);
#pragma GCC unroll 8
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
