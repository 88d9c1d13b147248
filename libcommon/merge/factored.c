/* A layer's update as a product in double. */
#include <math.h>
#include <stdlib.h>
#include "../base/linalg.h"
#include "../base/memory.h"
#include "../base/product.h"
#include "factored.h"

struct factored factored_new(size_t rows, size_t columns, size_t rank, double scale)
{
	return (struct factored){ rows, columns, rank, xcalloc(rows * rank + 1, sizeof(double)),
				  xcalloc(rank * columns + 1, sizeof(double)), scale };
}

void factored_free(struct factored *f)
{
	free(f->up);
	free(f->down);
}

double factored_norm(const struct factored *f)
{
	const struct matrix up = { .doubles = f->up, .row = f->rank, .column = 1 },
			    down = { .doubles = f->down, .row = f->columns, .column = 1 };

	return f->scale * product_norm(&up, &down, f->rows, f->columns, f->rank);
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Each factor gets the root of the singular values times the scale. */
static void put_values(struct factored *to, const double *u, const double *value, const double *vt, size_t known,
		       double scale)
{
	for (size_t k = 0; k < to->rank; k++) {
		const double root = sqrt(value[k] * scale);

		for (size_t o = 0; o < to->rows; o++)
			to->up[o * to->rank + k] = u[o * known + k] * root;
		for (size_t j = 0; j < to->columns; j++)
			to->down[k * to->columns + j] = vt[k * to->columns + j] * root;
	}
}

double factored_truncate(struct factored *f, size_t rank)
{
	const size_t all = smaller(f->rank, smaller(f->rows, f->columns));
	struct factored to = factored_new(f->rows, f->columns, smaller(rank, all), 1);
	const double scale = f->scale;
	double *u = xcalloc(f->rows * all + 1, sizeof(*u)), *value = xcalloc(all + 1, sizeof(*value)),
	       *vt = xcalloc(all * f->columns + 1, sizeof(*vt)), cut = 0;

	svd_product(u, value, vt, f->up, f->down, (int)f->rows, (int)f->columns, (int)f->rank);
	put_values(&to, u, value, vt, all, scale);
	for (size_t k = to.rank; k < all; k++)
		cut += value[k] * value[k];
	free(u);
	free(value);
	free(vt);
	factored_free(f);
	*f = to;
	return scale * sqrt(cut);
}

float *rounded_doubles(double *x, size_t n, enum dtype type)
{
	float *to = xmalloc((n + 1) * sizeof(*to));
	unsigned char *bytes = xmalloc((n + 1) * sizeof(*to));

	for (size_t i = 0; i < n; i++)
		to[i] = (float)x[i];
	from_float(bytes, type, to, n);
	to_float(to, bytes, type, n);
	for (size_t i = 0; i < n; i++)
		x[i] -= to[i];
	free(bytes);
	return to;
}

/* |(up + a)(down + b) - up down| = |[a, up] [down + b; b]|, without the difference of two that are nearly equal */
static double lost_norm(const struct factored *lost, const float *up, const float *down)
{
	const size_t r = lost->rank, twice = 2 * r;
	double *left = xmalloc((lost->rows * twice + 1) * sizeof(*left)),
	       *right = xmalloc((twice * lost->columns + 1) * sizeof(*right)), norm;
	const struct matrix a = { .doubles = left, .row = twice, .column = 1 },
			    b = { .doubles = right, .row = lost->columns, .column = 1 };

	for (size_t o = 0; o < lost->rows; o++)
		for (size_t k = 0; k < r; k++) {
			left[o * twice + k] = lost->up[o * r + k];
			left[o * twice + r + k] = up[o * r + k];
		}
	for (size_t i = 0; i < r * lost->columns; i++) {
		right[i] = down[i] + lost->down[i];
		right[r * lost->columns + i] = lost->down[i];
	}
	norm = product_norm(&a, &b, lost->rows, lost->columns, twice);
	free(left);
	free(right);
	return norm * lost->scale;
}

double factored_round(struct factored *f, enum dtype type, float **up, float **down)
{
	*up = rounded_doubles(f->up, f->rows * f->rank, type);
	*down = rounded_doubles(f->down, f->rank * f->columns, type);
	return lost_norm(f, *up, *down);
}
