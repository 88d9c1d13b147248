/* Learning-rate schedules, one row each. */
#include <math.h>
#include <string.h>
#include "../base/elementary.h"
#include "../base/names.h"
#include "lr_schedule.h"

static double fraction(double part, double whole)
{
	return part / (whole > 1 ? whole : 1);
}

/* 0 at the end of the warm-up, 1 at the end of the run */
static double position(const struct lr_schedule *s, long k)
{
	return fraction(k - s->warmup, s->total - s->warmup);
}

static double constant(const struct lr_schedule *s, long k)
{
	return 1;
}

static double linear(const struct lr_schedule *s, long k)
{
	double left = fraction(s->total - k, s->total - s->warmup);

	return left > 0 ? left : 0;
}

static double cosine(const struct lr_schedule *s, long k)
{
	double y = 0.5 * (1 + plain_cos(M_PI * 0.5 * 2 * position(s, k)));

	return y > 0 ? y : 0;
}

static double cosine_with_restarts(const struct lr_schedule *s, long k)
{
	double p = position(s, k), y;

	if (p >= 1)
		return 0;
	y = 0.5 * (1 + plain_cos(M_PI * fmod(s->cycles * p, 1)));
	return y > 0 ? y : 0;
}

static double polynomial(const struct lr_schedule *s, long k)
{
	double left = 1 - (double)(k - s->warmup) / (s->total - s->warmup);

	return k > s->total ? s->end : (1 - s->end) * plain_pow(left, s->power) + s->end;
}

/* cycles / 2 half waves, as transformers counts them here: 1 is the usual half cosine. */
static double cosine_with_min_lr(const struct lr_schedule *s, long k)
{
	double y = 0.5 * (1 + plain_cos(M_PI * s->cycles * position(s, k))) * (1 - s->min_ratio) + s->min_ratio;

	return y > 0 ? y : 0;
}

static double inverse_sqrt(const struct lr_schedule *s, long k)
{
	double scale = s->timescale ? s->timescale : s->warmup ? s->warmup : 10000;

	return 1 / sqrt((k + scale - s->warmup) / scale);
}

static double warmup_stable_decay(const struct lr_schedule *s, long k)
{
	long stable = s->total - s->warmup - s->decay;
	double y;

	if (k < s->warmup + stable)
		return 1;
	if (k >= s->total)
		return s->min_ratio;
	y = 0.5 * (1 + plain_cos(M_PI * s->cycles * fraction(k - s->warmup - stable, s->decay)));
	return (y > 0 ? y : 0) * (1 - s->min_ratio) + s->min_ratio;
}

static const struct kind {
	const char *name;
	double (*after_warmup)(const struct lr_schedule *s, long k);
	bool warms_from_minimum;        /* else from 0 */
} kinds[] = {
	{ "constant", constant, false },
	{ "constant_with_warmup", constant, false },
	{ "linear", linear, false },
	{ "cosine", cosine, false },
	{ "cosine_with_restarts", cosine_with_restarts, false },
	{ "polynomial", polynomial, false },
	{ "cosine_with_min_lr", cosine_with_min_lr, false },
	{ "inverse_sqrt", inverse_sqrt, false },
	{ "warmup_stable_decay", warmup_stable_decay, true },
};

static const struct kind *find(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}

bool lr_schedule_known(const char *name)
{
	return find(name) != NULL;
}

const char *lr_schedule_names(void)
{
	static struct names names;

	names = NAMES_OF(kinds, "|", "|");
	return names.text;
}

double lr_multiplier(const struct lr_schedule *s, long k)
{
	const struct kind *kind = find(s->name);
	double low = kind->warms_from_minimum ? s->min_ratio : 0;

	if (k < s->warmup)
		return fraction(k, s->warmup) * (1 - low) + low;
	return kind->after_warmup(s, k);
}
