/* linalg_body.h - the loops themselves, in vectors of LANES doubles; LOOPS is the table's name.  See linalg_loops.h. */

typedef double vec __attribute__((vector_size(LANES * 8)));
typedef double unaligned_vec __attribute__((vector_size(LANES * 8), aligned(8), may_alias));
enum { TILE_ROWS = 4, TILE = 2 * LANES };

static inline __attribute__((always_inline)) vec load(const double *x) { return *(const unaligned_vec *)x; }
static inline __attribute__((always_inline)) void store(double *x, vec v) { *(unaligned_vec *)x = v; }

/* TILE columns of `rows` rows from column j. */
static inline __attribute__((always_inline)) void tile(const struct strip *s, int i, int j, const int rows)
{
	const int columns = s->columns - j < TILE ? s->columns - j : TILE;
	const double *panel = s->panel + j, *a = s->a + i * s->row;
	double edge[TILE_ROWS][TILE] = { { 0 } };
	vec sum[TILE_ROWS][2];

#pragma GCC unroll 4
	for (int r = 0; r < rows; r++) {
		double *c = s->c + (i + r) * s->ldc + j;

		if (!s->fresh && columns < TILE)
			for (int k = 0; k < columns; k++)
				edge[r][k] = c[k];
		sum[r][0] = load(s->fresh || columns < TILE ? edge[r] : c);
		sum[r][1] = load(s->fresh || columns < TILE ? edge[r] + LANES : c + LANES);
	}
	for (int k = 0; k < s->depth; k++, panel += PANEL, a += s->col) {
		const vec b0 = load(panel), b1 = load(panel + LANES);

#pragma GCC unroll 4
		for (int r = 0; r < rows; r++) {
			sum[r][0] += a[r * s->row] * b0;
			sum[r][1] += a[r * s->row] * b1;
		}
	}
#pragma GCC unroll 4
	for (int r = 0; r < rows; r++) {
		double *c = s->c + (i + r) * s->ldc + j;

		store(columns < TILE ? edge[r] : c, sum[r][0]);
		store(columns < TILE ? edge[r] + LANES : c + LANES, sum[r][1]);
		for (int k = 0; columns < TILE && k < columns; k++)
			c[k] = edge[r][k];
	}
}

static void strip(const struct strip *s)
{
	for (int j = 0; j < s->columns; j += TILE) {
		int i;

		for (i = 0; i + TILE_ROWS <= s->rows; i += TILE_ROWS)
			tile(s, i, j, TILE_ROWS);
		switch (s->rows - i) {
		case 3: tile(s, i, j, 3); break;
		case 2: tile(s, i, j, 2); break;
		case 1: tile(s, i, j, 1); break;
		}
	}
}

static double dot(const double *x, const double *y, size_t n)
{
	vec sum[SUMS / LANES] = { { 0 } };
	double part[SUMS], total = 0;
	size_t i;

	for (i = 0; i + SUMS <= n; i += SUMS)
#pragma GCC unroll 4
		for (int k = 0; k < SUMS / LANES; k++)
			sum[k] += load(x + i + k * LANES) * load(y + i + k * LANES);
	for (int k = 0; k < SUMS / LANES; k++)
		store(part + k * LANES, sum[k]);
	for (int k = 0; i < n; i++, k++)
		part[k] += x[i] * y[i];
	for (int k = 0; k < SUMS; k++)
		total += part[k];
	return total;
}

static void add_scaled(double *y, double a, const double *x, size_t n)
{
	size_t i;

	for (i = 0; i + LANES <= n; i += LANES)
		store(y + i, load(y + i) + a * load(x + i));
	for (; i < n; i++)
		y[i] += a * x[i];
}

static void rotate(double *x, double *y, double c, double s, size_t n)
{
	size_t i;

	for (i = 0; i + LANES <= n; i += LANES) {
		const vec a = load(x + i), b = load(y + i);

		store(x + i, c * a - s * b);
		store(y + i, s * a + c * b);
	}
	for (; i < n; i++) {
		const double a = x[i], b = y[i];

		x[i] = c * a - s * b;
		y[i] = s * a + c * b;
	}
}

const struct linalg_loops LOOPS = { strip, dot, add_scaled, rotate };
