/* Comparing numbers with golden ones, within the tolerance of their kind. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include "../../libcommon/base/memory.h"
#include "compare.h"

/* Rounding of tf32 is 2^13 times that of float; what float programs leave unused of the tolerances, 2^5, is taken off
 * but for one bit: a card may round operands or cut them off, and both are right. */
#define COARSE 512

/* rms 0: a single number, judged by its greatest error alone */
static const struct { double max, rms; } tolerances[] = {
	[KIND_EXACT]     = { 0, 0 },
	[KIND_TEXT]      = { 1e-5, 3e-6 },
	[KIND_VAE]       = { 1e-5, 5e-6 },
	[KIND_UNET]      = { 3e-5, 1e-5 },
	[KIND_SAMPLER]   = { 1e-4, 3e-5 },
	[KIND_PICTURE]   = { 1e-4, 3e-5 },
	[KIND_LOSS]      = { 1e-5, 0 },
	[KIND_GRAD_NORM] = { 3e-5, 0 },
	[KIND_GRAD_UNET] = { 5e-5, 2e-5 },
	[KIND_GRAD_TEXT] = { 2e-4, 1e-4 },
	[KIND_GRAD_TEXT_ALONE] = { 5e-5, 2e-5 },        /* families/README.md: of a model's only encoder */
	[KIND_WEIGHTS]   = { 2e-3, 3e-5 },
	[KIND_LOSSES]    = { 2e-6, 0 },
	[KIND_RATE]      = { 1e-9, 0 },         /* the README's, for schedules.json: both sides are doubles */
	[KIND_HALF]      = { 3e-4, 3e-4 },      /* the README's, for an adapter kept in F16 */
	/* an adapter's change of a weight; the merged one is rounded to float once */
	[KIND_DELTA]     = { 1e-5, 5e-6 },
};

void spread_add(struct spread *s, const float *got, const float *want, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double error = fabs((double)got[i] - want[i]), value = fabs((double)want[i]);
		if (!(error <= s->error))       /* a NaN stays */
			s->error = error;
		if (value > s->value)
			s->value = value;
		s->error2 += error * error;
		s->value2 += value * value;
	}
	s->n += n;
}

static double ratio(double error, double value)
{
	return error == 0 ? 0 : error / value;
}

static void line(const char *verdict, const char *format, va_list args)
{
	vprintf(format, args);
	printf("  %s\n", verdict);
}

void judge(struct tally *t, enum kind k, const struct spread *s, const char *name, ...)
{
	double max = ratio(s->error, s->value), rms = sqrt(ratio(s->error2, s->value2));
	const double wider = t->coarse ? COARSE : 1, max_limit = wider * tolerances[k].max,
		rms_limit = wider * tolerances[k].rms;
	bool ok = s->n > 0 && max <= max_limit && (rms_limit == 0 || rms <= rms_limit);
	char text[200];
	va_list args;

	va_start(args, name);
	vsnprintf(text, sizeof(text), name, args);
	va_end(args);
	printf("%-70s max %.1e (%.0e)", text, max, max_limit);
	if (rms_limit > 0)
		printf("  rms %.1e (%.0e)", rms, rms_limit);
	printf("  %s\n", ok ? "ok" : "FAIL");
	t->passed += ok;
	t->failed += !ok;
}

void passed(struct tally *t, const char *name, ...)
{
	va_list args;

	va_start(args, name);
	line("ok", name, args);
	va_end(args);
	t->passed++;
}

void failed(struct tally *t, const char *why, ...)
{
	va_list args;

	va_start(args, why);
	line("FAIL", why, args);
	va_end(args);
	t->failed++;
}

void skipped(struct tally *t, const char *what, ...)
{
	va_list args;

	printf("skipped: ");
	va_start(args, what);
	vprintf(what, args);
	va_end(args);
	putchar('\n');
	t->skipped++;
}
