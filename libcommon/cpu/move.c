#include <string.h>
#include "internal.h"

#define EVERY_ROW _Pragma("omp parallel for num_threads(d->threads) if ((double)rows * c > WORTH_THREADS)") for (int r = 0; r < rows; r++)

void cpu_add_per_sample(struct device *d, float *y, const float *x, const float *v, int n, int hw, int c)
{
	const int rows = n * hw;

	EVERY_ROW
		d->k->add(y + (size_t)r * c, x + (size_t)r * c, v + (size_t)(r / hw) * c, c);
}

void cpu_copy_columns(struct device *d, float *y, int ldy, const float *x, int ldx, int rows, int cols, int add)
{
	const int c = cols;

	EVERY_ROW
		d->k->axpby(y + (size_t)r * ldy, 1, x + (size_t)r * ldx, add, c);
}

void cpu_upsample(struct device *d, float *y, const float *x, int n, int h, int w, int c)
{
	const int rows = n * 2 * h * 2 * w;

	EVERY_ROW {
		size_t from = (size_t)(r / (4 * h * w)) * h * w + (size_t)(r / (2 * w) % (2 * h) / 2) * w + r % (2 * w) / 2;

		memcpy(y + (size_t)r * c, x + from * c, c * sizeof(*y));
	}
}

/* inverts y = each pixel four times:  dx = the sum of the four */
void cpu_upsample_back(struct device *d, float *dx, const float *dy, int n, int h, int w, int c, int add)
{
	const int rows = n * h * w;

	EVERY_ROW {
		const float *top = dy + ((size_t)(r / w) * 4 * w + r % w * 2) * c, *bottom = top + (size_t)2 * w * c;
		float *to = dx + (size_t)r * c;

		d->k->axpby(to, 1, top, add, c);
		d->k->add(to, to, top + c, c);
		d->k->add(to, to, bottom, c);
		d->k->add(to, to, bottom + c, c);
	}
}

void cpu_embedding(struct device *d, float *y, const struct weight *table, const int32_t *ids, int rows)
{
	const size_t c = table->in, size = table->dtype == DTYPE_F32 ? 4 : 2;

	EVERY_ROW
		d->k->widen(y + r * c, (const char *)table->data + ids[r] * c * size, table->dtype, c);
}

void cpu_gather_rows(struct device *d, float *y, const float *x, const int32_t *index, int rows, int c)
{
	EVERY_ROW
		memcpy(y + (size_t)r * c, x + (size_t)index[r] * c, c * sizeof(*y));
}

/* One thread: an index may come twice. */
void cpu_gather_rows_back(struct device *d, float *dx, const float *dy, const int32_t *index, int rows, int c)
{
	int r;

	for (r = 0; r < rows; r++)
		d->k->axpby(dx + (size_t)index[r] * c, 1, dy + (size_t)r * c, 1, c);
}
