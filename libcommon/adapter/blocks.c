/* Parsing the lists of kohya's blocks, and which of them a module is in. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/elementary.h"
#include "../base/names.h"
#include "blocks.h"
#include "keys.h"

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

/* as many as there are blocks */
static int list(const char *what, const char *text, double high, double *out, const struct family *f, struct error *e)
{
	int n = numbers(what, text, 0, high, out, f->blocks.total, e);

	if (n >= 0 && n != f->blocks.total)
		return fail(e, EXIT_USAGE, "%s: %d numbers, %s's UNet has %d blocks (%s)", what, n, f->title,
			    f->blocks.total, f->blocks.are);
	return n < 0 ? -1 : 0;
}

/* ---- learning rates ---- */

static double sine(double x)            { return plain_sin(M_PI / 2 * x); }
static double cosine(double x)          { return plain_sin(M_PI / 2 * (1 - x)); }
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
			out[k] = presets[i].at(n > 1 ? (double)k / (n - 1) : 0) + base;
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
		return fail(e, EXIT_USAGE, "%s: '%.60s' is neither up to %d numbers nor %s (or one of them and +X)",
			    what, text, n, NAMES_OF(presets, ", ", " or ").text);
	if (given < n)
		warning("%s: %d numbers for %d blocks; the others count as 1", what, given, n);
	for (int i = 0; i < given; i++)
		if (out[i] <= threshold)
			out[i] = 0;
	return 0;
}

static int read_factors(struct block_plan *p, const struct block_texts *t, const struct block_map *b, struct error *e)
{
	double *down = p->lr + b->first, *mid = down + b->down, *up = mid + b->mid;

	if (factors("down_lr_weight", t->down, t->zero_threshold, down, b->down, e) < 0 ||
	    factors("mid_lr_weight", t->mid, t->zero_threshold, mid, b->mid, e) < 0)
		return -1;
	return factors("up_lr_weight", t->up, t->zero_threshold, up, b->up, e);
}

/* ---- ranks ---- */

static int read_ranks(const char *what, const char *text, int *out, const struct family *f, struct error *e)
{
	double x[BLOCKS_MOST];

	if (!text)
		return 0;
	if (list(what, text, 4096, x, f, e) < 0)
		return -1;
	for (int i = 0; i < f->blocks.total; i++)
		if ((out[i] = x[i]) != x[i])
			return fail(e, EXIT_USAGE, "%s: %g is no whole number", what, x[i]);
	return 0;
}

static int read_for(struct block_plan *p, const struct block_texts *t, const struct family *f, struct error *e)
{
	if (read_ranks("block_dims", t->dims, p->rank, f, e) < 0 ||
	    read_ranks("conv_block_dims", t->conv_dims, p->conv_rank, f, e) < 0)
		return -1;
	if ((t->alphas && list("block_alphas", t->alphas, 1e6, p->alpha, f, e) < 0) ||
	    (t->conv_alphas && list("conv_block_alphas", t->conv_alphas, 1e6, p->conv_alpha, f, e) < 0))
		return -1;
	return read_factors(p, t, &f->blocks, e);
}

/* Fails with what the first family says. */
static int read_for_any(struct block_plan *p, const struct block_texts *t, struct error *e)
{
	const int was_quiet = is_quiet();
	struct error others;
	int result = -1;

	quiet(1);               /* it is all said again when the family is known */
	for (size_t i = 0; result < 0 && family_at(i); i++)
		result = read_for(p, t, family_at(i), i ? &others : e);
	quiet(was_quiet);
	return result;
}

int block_plan_read(struct block_plan *p, const struct block_texts *t, const struct family *family, int rank,
		    double alpha, int conv_rank, double conv_alpha, struct error *e)
{
	for (int i = 0; i < BLOCKS_MOST; i++) {
		p->rank[i] = rank;
		p->alpha[i] = alpha;
		p->conv_rank[i] = conv_rank;
		p->conv_alpha[i] = conv_alpha;
		p->lr[i] = 1;
	}
	p->convolutions = conv_rank > 0 || t->conv_dims;
	if (t->conv_alphas && !p->convolutions)
		return fail(e, EXIT_USAGE, "conv_block_alphas needs conv_block_dims or conv_dim");
	return family ? read_for(p, t, family, e) : read_for_any(p, t, e);
}

/* ---- which block ---- */

/* "1_attentions_0_proj_in": kohya counts three a level, the third one's number is the sampler's too. */
static long place_in_level(const char *rest)
{
	char kind[16];
	int level, k;

	if (sscanf(rest, "%3d_%15[a-z]_%3d", &level, kind, &k) != 3 || level < 0 || k < 0 || k > 2)
		return -1;
	return 3 * level + (strstr(kind, "samplers") ? 2 : k);
}

static long number_of(const char *rest)         { return strtol(rest, NULL, 10); }
static long one_block(const char *rest)         { return 0; }

int unet_block(const char *stem)
{
	static const struct { const char *prefix; int first, count; long (*of)(const char *rest); } ranges[] = {
		{ "lora_unet_input_blocks_", 1, 9, number_of },
		{ "lora_unet_middle_block_", 10, 3, number_of },
		{ "lora_unet_output_blocks_", 13, 9, number_of },
		{ "lora_unet_down_blocks_", 1, 11, place_in_level },
		{ "lora_unet_mid_block_", 12, 1, one_block },
		{ "lora_unet_up_blocks_", 13, 12, place_in_level },
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
		const size_t n = strlen(ranges[i].prefix);
		if (!strncmp(stem, ranges[i].prefix, n)) {
			const long k = ranges[i].of(stem + n);
			return k >= 0 && k < ranges[i].count ? ranges[i].first + k : -1;
		}
	}
	return -1;
}

/* Of a UNet whose blocks are diffusers': kohya's count has the first convolution as block 0. */
static bool name_of_level(const char *stem, char name[BLOCK_NAME])
{
	const int block = unet_block(stem);
	const bool down = !strncmp(stem, "lora_unet_down_", 15), mid = !strncmp(stem, "lora_unet_mid_", 14),
		   up = !strncmp(stem, "lora_unet_up_", 13);

	if (block < 0 || !(down || mid || up))
		return false;
	snprintf(name, BLOCK_NAME, down ? "IN%02d" : mid ? "M00" : "OUT%02d", down ? block : block - 13);
	return true;
}

static long number_after(const char *stem, const char *prefix)
{
	const size_t n = strlen(prefix);

	return !strncmp(stem, prefix, n) && stem[n] >= '0' && stem[n] <= '9' ? strtol(stem + n, NULL, 10) : -1;
}

void block_name(const char *stem, char name[BLOCK_NAME])
{
	const long in = number_after(stem, "lora_unet_input_blocks_"),
		   out = number_after(stem, "lora_unet_output_blocks_");
	const char *dialect;
	const int component = adapter_key_component(stem, &dialect);

	if (in >= 0)
		snprintf(name, BLOCK_NAME, "IN%02d", (int)(in % 100));
	else if (out >= 0)
		snprintf(name, BLOCK_NAME, "OUT%02d", (int)(out % 100));
	else if (!strncmp(stem, "lora_unet_middle_block_", 23))
		strcpy(name, "M00");
	else if (component > COMPONENT_UNET)
		snprintf(name, BLOCK_NAME, "TE%d", component - COMPONENT_TE1 + 1);
	else if (!name_of_level(stem, name))
		strcpy(name, "OTHER");
}
