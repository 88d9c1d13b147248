/* linalg_body.h - the loops themselves, in vectors of LANES doubles; LOOPS is the table's name.  See linalg_loops.h. */

typedef double vec __attribute__((vector_size(LANES * 8)));
typedef double unaligned_vec __attribute__((vector_size(LANES * 8), aligned(8), may_alias));

static inline __attribute__((always_inline)) vec load(const double *x) { return *(const unaligned_vec *)x; }
static inline __attribute__((always_inline)) void store(double *x, vec v) { *(unaligned_vec *)x = v; }

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

const struct linalg_loops LOOPS = { dot, add_scaled, rotate };
