/* Parcels: the parts of a rank's slice that are exchanged one after another between joined devices. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/optimize/slices.h"
#include "../../libcommon/train/parcels.h"
#include <cmocka.h>     /* last: it takes the name fail */

enum { MOST_PARAMETERS = 40 };

/* Parameters of odd sizes, shared out among ranks as an optimizer does. */
static void make(struct optimizer *o, struct parameter *p, uint32_t seed, int ranks)
{
	*o = (struct optimizer){ .ranks.count = ranks, .parameter = p, .count = 1 + seed % MOST_PARAMETERS };
	for (size_t i = 0; i < o->count; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = (struct parameter){ .count = 1 + (seed >> 8) % (i % 5 ? 300 : 5000), .at = o->floats };
		o->floats += p[i].count;
	}
	for (size_t i = 0; i < o->count; i++)
		p[i].owner = slice_owner(p[i].at, p[i].count, o->floats, ranks);
}

/* Marks what a parcel has; returns its floats with the gaps. */
static size_t mark(const struct optimizer *o, const struct parcel *parcel, int rank, char *seen)
{
	size_t end = 0;

	for (size_t i = 0; i < parcel->count; i++) {
		const struct segment *s = &parcel->segment[i];
		const struct parameter *p = &o->parameter[s->parameter];

		assert_int_equal(p->owner, rank);
		assert_true(s->floats && s->from + s->floats <= p->count);
		assert_true(s->at >= end && s->at % PARCEL_ALIGN == 0 && s->from % PARCEL_ALIGN == 0);
		end = s->at + s->floats;
		for (size_t k = 0; k < s->floats; k++)
			assert_int_equal(seen[p->at + s->from + k]++, 0);
	}
	return end;
}

static void every_number_is_in_one_parcel(void **state)
{
	struct parameter p[MOST_PARAMETERS];
	struct parcel parcel = { 0 };

	for (uint32_t seed = 0; seed < 300; seed++) {
		const int ranks = 1 + seed % 9;
		const size_t most = (1 + seed % 23) * PARCEL_ALIGN;
		struct optimizer o;
		char *seen;

		make(&o, p, seed, ranks);
		seen = xcalloc(o.floats, 1);
		for (int r = 0; r < ranks; r++) {
			struct cursor c = { 0 };

			for (parcel_cut(&parcel, &o, r, &c, most); parcel.count; parcel_cut(&parcel, &o, r, &c, most))
				assert_true(mark(&o, &parcel, r, seen) <= most);
		}
		for (size_t i = 0; i < o.floats; i++)
			assert_int_equal(seen[i], 1);
		free(seen);
	}
	free(parcel.segment);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_number_is_in_one_parcel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
