/* How many singular values of a module are kept. */
#include <string.h>
#include "ranks.h"

static size_t clamp(size_t n, size_t least, size_t most)
{
	return n > most ? most : n < least ? least : n;
}

/* The first index from which on the values so far make up the share of all; `side`: none. */
static size_t first_with_share(const struct spectrum *s, bool squared, double share)
{
	const double all = squared ? s->squares : s->sum;
	double so_far = 0;

	for (size_t i = 0; i < s->known; i++) {
		so_far += squared ? s->value[i] * s->value[i] : s->value[i];
		if (so_far / all >= share)
			return i;
	}
	return s->side;
}

/* The fewest with that share of the squares. */
static size_t keep(const struct spectrum *s, double share)
{
	return first_with_share(s, true, share) + 1;
}

/*
 * kohya's: networks/resize_lora.py of sd-scripts, the same from 2023 to 48d368fa (2026-02-16).  Its index is one above
 * the last value that is wanted, at least 1, at most the last of all, and its rank one more: with room for it, a value
 * more is kept than the method's name says.
 */
static size_t after_index(const struct spectrum *s, size_t index)
{
	return clamp(index, 1, s->side > 1 ? s->side - 1 : 1) + 1;
}

static size_t sv_ratio(const struct spectrum *s, double ratio)
{
	size_t above = 0;

	while (above < s->known && s->value[above] > s->value[0] / ratio)
		above++;
	return after_index(s, above);
}

static size_t sv_fro(const struct spectrum *s, double share)
{
	return after_index(s, first_with_share(s, true, share * share) + 1);
}

static size_t sv_cumulative(const struct spectrum *s, double share)
{
	return after_index(s, first_with_share(s, false, share) + 1);
}

#define KOHYA_NOTHING 1e-6

static const struct rank_rule rules[] = {
	{ "keep", 0, 1, 0, false, keep },
	{ "sv_ratio", 1, 0, KOHYA_NOTHING, false, sv_ratio },
	{ "sv_fro", 0, 1, KOHYA_NOTHING, false, sv_fro },
	{ "sv_cumulative", 0, 1, KOHYA_NOTHING, true, sv_cumulative },
};

const struct rank_rule *rank_rule(const char *name)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
		if (!strcmp(rules[i].name, name))
			return &rules[i];
	return NULL;
}

size_t rank_kept(const struct rank_rule *rule, double parameter, size_t most, const struct spectrum *s)
{
	const size_t limit = most && most < s->side ? most : s->side;

	if (!rule)
		return limit;
	return s->value[0] <= rule->nothing ? 1 : clamp(rule->rank(s, parameter), 1, limit);
}
