/*
 * weight.c - frozen weights: the order in which their numbers lie, and how they become floats.
 *
 * A linear layer's lie in the panels that its products read, [out/nr][in][nr].  Forward widens a run of them; to turn
 * rows into columns took a quarter of a product of 77 rows.  Backward turns blocks of nr x nr.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

/* Columns that are turned at once: a line of the cache of every row. */
enum { TURNED = 32 };

/* [in][taps] -> [taps][in], one filter */
static void permute_filter(char *dst, const char *src, int in, int taps, size_t size)
{
	int c, t;

	for (t = 0; t < taps; t++)
		for (c = 0; c < in; c++, dst += size)
			memcpy(dst, src + ((size_t)c * taps + t) * size, size == 2 ? 2 : 4);
}

/* Four halves of each of four rows change places: a quarter of the loads and stores of one after the other, which took
 * a third of the time in which a model is read. */
static void turn_halves(char *dst, size_t dst_row, const char *src, size_t src_row)
{
	const uint64_t even = 0x0000ffff0000ffff, low = 0xffffffff;
	uint64_t x[4], odds[2], evens[2], y[4];
	int i;

	for (i = 0; i < 4; i++)
		memcpy(&x[i], src + i * src_row, 8);
	for (i = 0; i < 2; i++) {
		evens[i] = (x[2 * i] & even) | (x[2 * i + 1] & even) << 16;
		odds[i] = (x[2 * i] >> 16 & even) | (x[2 * i + 1] & ~even);
	}
	y[0] = (evens[0] & low) | evens[1] << 32;
	y[1] = (odds[0] & low) | odds[1] << 32;
	y[2] = evens[0] >> 32 | (evens[1] & ~low);
	y[3] = odds[0] >> 32 | (odds[1] & ~low);
	for (i = 0; i < 4; i++)
		memcpy(dst + i * dst_row, &y[i], 8);
}

/* [panel][in] -> [in][panel] */
static void turn_panel(char *dst, const char *src, int in, int panel, size_t size)
{
	const int fours = size == 2 ? in / 4 * 4 : 0;
	int c, i, r;

	for (c = 0; c < fours; c += TURNED)
		for (r = 0; r < panel; r += 4)
			for (i = c; i < fours && i < c + TURNED; i += 4)
				turn_halves(dst + ((size_t)i * panel + r) * 2, (size_t)panel * 2,
					    src + ((size_t)r * in + i) * 2, (size_t)in * 2);
	for (i = fours; i < in; i++)
		for (r = 0; r < panel; r++)
			memcpy(dst + ((size_t)i * panel + r) * size, src + ((size_t)r * in + i) * size,
			       size == 2 ? 2 : 4);
}

struct preparation { struct weight *w; const char *host; int rows; };

static void prepare_task(struct device *d, const void *arg, int task, int thread)
{
	const struct preparation *p = arg;
	const struct weight *w = p->w;
	const size_t size = element_size(w->dtype), each = (size_t)p->rows * w->kh * w->kw * w->in * size;
	char *dst = (char *)w->data + task * each;
	const char *src = p->host + task * each;

	if (w->panel)
		turn_panel(dst, src, w->in, w->panel, size);
	else if (w->kh * w->kw == 1)
		memcpy(dst, src, each);
	else
		permute_filter(dst, src, w->in, w->kh * w->kw, size);
}

int cpu_prepare(struct device *d, struct weight *w, const void *host)
{
	const int nr = d->k->nr;

	if (w->dtype != DTYPE_F32 && w->dtype != DTYPE_F16 && w->dtype != DTYPE_BF16 && !is_quantised(w->dtype))
		die(EXIT_OTHER, "a weight of a type that the cpu does not compute with; this is a bug in lora-tools");
	if (!w->placed)
		w->data = cpu_alloc(d, weight_bytes(w));
	if (!w->data)
		return -1;
	if (is_quantised(w->dtype)) {
		memcpy(w->data, host, weight_bytes(w));
		return 0;
	}
	w->panel = w->kh * w->kw == 1 && w->out % nr == 0 ? nr : 0;
	run_tasks(d, w->panel ? w->out / nr : w->out, (double)weight_bytes(w), prepare_task,
		  &(struct preparation){ w, host, w->panel ? nr : 1 });
	return 0;
}

void cpu_unprepare(struct device *d, struct weight *w)
{
	if (!w->placed)
		free(w->data);
	w->data = NULL;
}

/* Numbers of a row that lie a panel's width apart. */
static void widen_apart(const struct kernels *k, float *y, const struct weight *w, size_t at, size_t n)
{
	const size_t size = element_size(w->dtype), apart = w->panel * size, row = at / w->in;
	const char *from = (const char *)w->data + (row / w->panel * w->in + at % w->in) * apart +
		row % w->panel * size;
	char line[TURNED * sizeof(float)];
	size_t i, some;

	for (; n > 0; n -= some, y += some, from += some * apart) {
		some = n < TURNED ? n : TURNED;
		for (i = 0; i < some; i++)
			memcpy(line + i * size, from + i * apart, size);
		k->widen(y, line, w->dtype, some);
	}
}

void widen_weight(const struct kernels *k, float *y, const struct weight *w, size_t at, size_t n)
{
	const float *scales = (const float *)((const char *)w->data + weight_scales_at(w));
	const size_t row = (size_t)w->in * w->kh * w->kw;

	if (w->panel)
		widen_apart(k, y, w, at, n);
	else if (!is_quantised(w->dtype))
		k->widen(y, (const char *)w->data + at * element_size(w->dtype), w->dtype, n);
	else
		k->dequantise(y, w->data, w->dtype, w->dtype == DTYPE_U8 ? scales : scales + at / row, at, n);
}
