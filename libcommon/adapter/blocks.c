/* Parsing the lists of kohya's 23 blocks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "blocks.h"

enum { DOWN = 9, MID = 3, UP = 9, FIRST = 1 };

bool block_texts_given(const struct block_texts *t)
{
	return t->dims || t->alphas || t->conv_dims || t->conv_alphas || t->down || t->mid || t->up;
}

/* Numbers between commas; the count, or -1. */
static int numbers(const char *what, const char *text, double low, double high, double *out, int room, struct error *e)
{
	int n = 0;

	for (;; text++) {
		char *end;
		double x = strtod(text, &end);

		if (n == room)
			return fail(e, EXIT_USAGE, "%s: more than %d numbers", what, room);
		end += strspn(end, " ");
		if (end == text || (*end && *end != ',') || !(x >= low && x <= high))
			return fail(e, EXIT_USAGE, "%s: '%.40s' is no number from %g to %g", what, text, low, high);
		out[n++] = x;
		text = end;
		if (!*text)
			return n;
	}
}

/* 23 of them */
static int list(const char *what, const char *text, double high, double *out, struct error *e)
{
	int n = numbers(what, text, 0, high, out, UNET_BLOCKS, e);

	if (n >= 0 && n != UNET_BLOCKS)
		return fail(e, EXIT_USAGE, "%s: %d numbers, SDXL's UNet has %d blocks (embeddings, 9 input, 3 middle, "
					   "9 output, out)", what, n, UNET_BLOCKS);
	return n < 0 ? -1 : 0;
}

/* ---- learning rates ---- */

static double sine(double x)            { return sin(M_PI / 2 * x); }
static double cosine(double x)          { return sin(M_PI / 2 * (1 - x)); }
static double linear(double x)          { return x; }
static double reverse_linear(double x)  { return 1 - x; }
static double zeros(double x)           { return 0; }

static const struct preset { const char *name; double (*at)(double x); } presets[] = {
	{ "cosine", cosine }, { "sine", sine }, { "linear", linear }, { "reverse_linear", reverse_linear },
	{ "zeros", zeros },
};

/* "linear" or "linear+0.25": true when text is one of them */
static bool preset(const char *text, int n, double *out)
{
	const size_t length = strcspn(text, "+");

	for (size_t i = 0; i < sizeof(presets) / sizeof(*presets); i++) {
		char *end = (char *)text + length;
		double base = *end ? strtod(end + 1, &end) : 0;

		if (strlen(presets[i].name) != length || strncmp(text, presets[i].name, length) || *end)
			continue;
		for (int k = 0; k < n; k++)
			out[k] = presets[i].at((double)k / (n - 1)) + base;
		return true;
	}
	return false;
}

static int factors(const char *what, const char *text, double threshold, double *out, int n, struct error *e)
{
	int given;

	if (!text)
		return 0;
	given = preset(text, n, out) ? n : numbers(what, text, 0, 1e6, out, n, e);
	if (given < 0)
		return fail(e, EXIT_USAGE, "%s: '%.60s' is neither up to %d numbers nor cosine, sine, linear, "
					   "reverse_linear or zeros (or one of them and +X)", what, text, n);
	if (given < n)
		warning("%s: %d numbers for %d blocks; the others count as 1", what, given, n);
	for (int i = 0; i < given; i++)
		if (out[i] <= threshold)
			out[i] = 0;
	return 0;
}

static int read_factors(struct block_plan *p, const struct block_texts *t, struct error *e)
{
	if (factors("down_lr_weight", t->down, t->zero_threshold, p->lr + FIRST, DOWN, e) < 0 ||
	    factors("mid_lr_weight", t->mid, t->zero_threshold, p->lr + FIRST + DOWN, MID, e) < 0)
		return -1;
	return factors("up_lr_weight", t->up, t->zero_threshold, p->lr + FIRST + DOWN + MID, UP, e);
}

/* ---- ranks ---- */

static int read_ranks(const char *what, const char *text, int *out, struct error *e)
{
	double x[UNET_BLOCKS];

	if (!text)
		return 0;
	if (list(what, text, 4096, x, e) < 0)
		return -1;
	for (int i = 0; i < UNET_BLOCKS; i++)
		if ((out[i] = x[i]) != x[i])
			return fail(e, EXIT_USAGE, "%s: %g is no whole number", what, x[i]);
	return 0;
}

int block_plan_read(struct block_plan *p, const struct block_texts *t, int rank, double alpha, int conv_rank,
		    double conv_alpha, struct error *e)
{
	for (int i = 0; i < UNET_BLOCKS; i++) {
		p->rank[i] = rank;
		p->alpha[i] = alpha;
		p->conv_rank[i] = conv_rank;
		p->conv_alpha[i] = conv_alpha;
		p->lr[i] = 1;
	}
	p->convolutions = conv_rank > 0 || t->conv_dims;
	if (t->conv_alphas && !p->convolutions)
		return fail(e, EXIT_USAGE, "conv_block_alphas needs conv_block_dims or conv_dim");
	if (read_ranks("block_dims", t->dims, p->rank, e) < 0 ||
	    read_ranks("conv_block_dims", t->conv_dims, p->conv_rank, e) < 0)
		return -1;
	if ((t->alphas && list("block_alphas", t->alphas, 1e6, p->alpha, e) < 0) ||
	    (t->conv_alphas && list("conv_block_alphas", t->conv_alphas, 1e6, p->conv_alpha, e) < 0))
		return -1;
	return read_factors(p, t, e);
}

/* ---- which block ---- */

int unet_block(const char *stem)
{
	static const struct { const char *prefix; int first, count; } ranges[] = {
		{ "lora_unet_input_blocks_", FIRST, DOWN },
		{ "lora_unet_middle_block_", FIRST + DOWN, MID },
		{ "lora_unet_output_blocks_", FIRST + DOWN + MID, UP },
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
		const size_t n = strlen(ranges[i].prefix);
		if (!strncmp(stem, ranges[i].prefix, n)) {
			const long k = strtol(stem + n, NULL, 10);
			return k < ranges[i].count ? ranges[i].first + k : -1;
		}
	}
	return -1;
}
