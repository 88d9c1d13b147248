/* Joining the devices of the ranks of a run, so that these move what lies in their memory themselves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "share.h"

/* What a rank's device says. */
struct answer { bool can; char why[120]; struct invitation card; };

/* The first rank that cannot, or has another one's card; NULL: there is none. */
static const char *obstacle(const struct answer *all, int ranks)
{
	for (int r = 0; r < ranks; r++) {
		if (!all[r].can)
			return all[r].why;
		for (int k = 0; k < r; k++)
			if (!strcmp(all[k].card.card, all[r].card.card))
				return "two ranks have the same card: each needs one of its own";
	}
	return NULL;
}

static const char *invite_all(const struct ranks *ranks, const struct backend *be, struct device *d,
			      struct answer *all)
{
	struct answer *mine = &all[ranks->rank];

	mine->can = d && be->invite(d, &mine->card, ranks->rank == 0, mine->why, sizeof(mine->why));
	ranks_gather_each(ranks, all, sizeof(*all));
	return obstacle(all, ranks->count);
}

static const char *join_all(const struct ranks *ranks, const struct backend *be, struct device *d, struct answer *all)
{
	const struct rank_place place = { ranks->rank, ranks->count, ranks->here };
	struct answer *mine = &all[ranks->rank];

	mine->can = be->join(d, &all[0].card, &place, mine->why, sizeof(mine->why));
	ranks_gather_each(ranks, all, sizeof(*all));
	for (int r = 0; r < ranks->count; r++)
		if (!all[r].can)
			return all[r].why;
	return NULL;
}

void share_join_devices(struct share *s, const struct backend *be, struct device *d)
{
	struct answer *all;
	const char *why;

	if (s->ranks.count == 1)
		return;
	all = xcalloc(s->ranks.count, sizeof(*all));
	why = invite_all(&s->ranks, be, d, all);
	if (!why && s->ranks.here != s->ranks.count)
		why = "ranks are on several machines";
	if (!why)
		why = join_all(&s->ranks, be, d, all);
	s->ranks.joined = !why;
	snprintf(s->engine, sizeof(s->engine), "%s", why ? "MPI" : all[0].card.engine);
	snprintf(s->not_joined, sizeof(s->not_joined), "%s", why ? why : "");
	free(all);
}
