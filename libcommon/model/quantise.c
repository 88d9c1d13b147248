/* Quantising a weight, and the list of those that were. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../io/dtype_f8.h"
#include "quantise.h"

/* E4M3's largest number. */
#define E4M3_MOST 448.0

enum dtype quantise_type(const char *word)
{
	static const struct { const char *word; enum dtype type; } types[] = {
		{ "int8", DTYPE_I8 }, { "fp8", DTYPE_F8_E4M3 }, { "nf4", DTYPE_U8 },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (!strcmp(word, types[i].word))
			return types[i].type;
	return DTYPE_F32;
}

double quantise_error(const struct quantise_loss *loss)
{
	return loss->all ? sqrt(loss->off / loss->all) : 0;
}

/* The largest magnitude; infinity where a number is no number. */
static float most_of(const float *x, size_t n)
{
	float most = 0;

	for (size_t i = 0; i < n; i++) {
		const float size = fabsf(x[i]);
		if (!(size <= most))
			most = isnan(size) ? INFINITY : size;
	}
	return most;
}

static float scale_of(float most, enum dtype type)
{
	int power;

	if (type == DTYPE_U8)
		return most;
	if (type == DTYPE_I8)
		return most / 127;
	if (frexp(most / E4M3_MOST, &power) == 0.5)
		power--;
	return most > 0 ? ldexpf(1, power) : 0;
}

/* Of each type: codes, and what they stand for before they are scaled, of x [n] in the same units. */

/* The sum's last bit is 1, so it is rounded as whole numbers are.  rintf() is a call on a processor without SSE4. */
static void round_i8(int8_t *code, float *value, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const float whole = x[i] + 12582912 - 12582912;
		value[i] = whole > 127 ? 127 : whole < -127 ? -127 : whole;
		code[i] = (int8_t)value[i];
	}
}

static int nearest_nf4(float x)
{
	int low = 0;

	/* ties go down, as bitsandbytes' do */
	for (int step = NF4_VALUES / 2; step; step /= 2) {
		const float *at = &nf4_values[low + step];
		if (x > (at[-1] + at[0]) / 2)
			low += step;
	}
	return low;
}

/* Number `at` and those after it. */
static void round_nf4(uint8_t *codes, size_t at, float *value, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const int code = nearest_nf4(x[i]);
		codes[(at + i) / 2] |= (uint8_t)(code << ((at + i) % 2 ? 0 : 4));
		value[i] = nf4_values[code];
	}
}

/* Numbers at..at+n, n <= NF4_BLOCK, all of one scale. */
static void round_some(uint8_t *codes, const float *x, size_t at, size_t n, float scale, enum dtype type,
		       struct quantise_loss *loss)
{
	float share[NF4_BLOCK], value[NF4_BLOCK];

	for (size_t i = 0; i < n; i++)
		share[i] = scale > 0 ? x[at + i] / scale : 0;
	if (type == DTYPE_I8) {
		round_i8((int8_t *)codes + at, value, share, n);
	} else if (type == DTYPE_U8) {
		round_nf4(codes, at, value, share, n);
	} else {
		e4m3_from_float(codes + at, share, n);
		e4m3_to_float(value, codes + at, n);
	}
	for (size_t i = 0; i < n; i++) {
		const double off = (double)(value[i] * scale) - x[at + i];
		loss->off += off * off;
		loss->all += (double)x[at + i] * x[at + i];
	}
}

void quantise(void *to, const float *x, const struct weight *w, struct quantise_loss *loss)
{
	const size_t count = weight_count(w), each = w->dtype == DTYPE_U8 ? NF4_BLOCK : count / w->out;
	float *scale = (float *)((char *)to + weight_scales_at(w));

	*loss = (struct quantise_loss){ 0 };
	memset(to, 0, weight_scales_at(w));
	for (size_t at = 0; at < count; at += each, scale++) {
		const size_t end = count - at < each ? count : at + each;
		const float most = most_of(x + at, end - at);

		*scale = isfinite(most) ? scale_of(most, w->dtype) : NAN;
		for (size_t i = at; i < end; i += NF4_BLOCK)
			round_some(to, x, i, end - i < NF4_BLOCK ? end - i : NF4_BLOCK, *scale, w->dtype, loss);
	}
}

void quantising_free(struct quantising *q)
{
	for (size_t i = 0; i < q->count; i++)
		free(q->layer[i].name);
	free(q->layer);
	*q = (struct quantising){ .type = q->type };
}
