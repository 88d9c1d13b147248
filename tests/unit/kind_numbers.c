/* What kinds of adapters take from LyCORIS, as its functions give it: widths split in two, ranks by timestep. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include "../../libcommon/adapter/split.h"
#include "../../libcommon/nn/branch.h"
#include <cmocka.h>     /* last: it takes the name fail */

/* width, factor, smaller and larger side */
static const int splits[][4] = {
	{ 1, -1, 1, 1 }, { 7, -1, 1, 7 }, { 24, -1, 4, 6 }, { 127, -1, 1, 127 }, { 250, -1, 10, 25 },
	{ 320, -1, 16, 20 }, { 360, -1, 18, 20 }, { 1280, -1, 32, 40 }, { 10240, -1, 80, 128 }, { 1, 2, 1, 1 },
	{ 7, 2, 1, 7 }, { 24, 2, 2, 12 }, { 127, 2, 1, 127 }, { 250, 2, 2, 125 }, { 320, 2, 2, 160 },
	{ 360, 2, 2, 180 }, { 1280, 2, 2, 640 }, { 10240, 2, 2, 5120 }, { 1, 6, 1, 1 }, { 7, 6, 1, 7 },
	{ 24, 6, 4, 6 }, { 127, 6, 1, 127 }, { 250, 6, 5, 50 }, { 320, 6, 5, 64 }, { 360, 6, 6, 60 },
	{ 1280, 6, 5, 256 }, { 10240, 6, 5, 2048 }, { 1, 8, 1, 1 }, { 7, 8, 1, 7 }, { 24, 8, 3, 8 },
	{ 127, 8, 1, 127 }, { 250, 8, 5, 50 }, { 320, 8, 8, 40 }, { 360, 8, 8, 45 }, { 1280, 8, 8, 160 },
	{ 10240, 8, 8, 1280 }, { 1, 16, 1, 1 }, { 7, 16, 1, 7 }, { 24, 16, 4, 6 }, { 127, 16, 1, 127 },
	{ 250, 16, 10, 25 }, { 320, 16, 16, 20 }, { 360, 16, 15, 24 }, { 1280, 16, 16, 80 }, { 10240, 16, 16, 640 },
};

/* rank, least, exponent, timestep of 1000, and how many components take part */
static const struct { int rank, least; double exponent; int timestep, part;
} ranks[] = {
	{ 4, 1, 1, 0, 4 },	  { 4, 1, 1, 16, 3 },	    { 4, 1, 1, 400, 2 },      { 4, 1, 1, 667, 1 },
	{ 4, 1, 1, 983, 1 },	  { 4, 1, 1, 999, 1 },	    { 16, 1, 1, 0, 16 },      { 16, 1, 1, 16, 15 },
	{ 16, 1, 1, 400, 10 },	  { 16, 1, 1, 667, 5 },	    { 16, 1, 1, 983, 1 },     { 16, 1, 1, 999, 1 },
	{ 64, 1, 1, 0, 64 },	  { 64, 1, 1, 16, 62 },	    { 64, 1, 1, 400, 38 },    { 64, 1, 1, 667, 21 },
	{ 64, 1, 1, 983, 2 },	  { 64, 1, 1, 999, 1 },	    { 64, 8, 2, 0, 64 },      { 64, 8, 2, 16, 62 },
	{ 64, 8, 2, 400, 28 },	  { 64, 8, 2, 667, 14 },    { 64, 8, 2, 983, 8 },     { 64, 8, 2, 999, 8 },
	{ 32, 16, 0.5, 0, 32 },	  { 32, 16, 0.5, 16, 31 },  { 32, 16, 0.5, 400, 28 }, { 32, 16, 0.5, 667, 25 },
	{ 32, 16, 0.5, 983, 18 }, { 32, 16, 0.5, 999, 16 }, { 64, 32, 1, 0, 64 },     { 64, 32, 1, 16, 63 },
	{ 64, 32, 1, 400, 51 },	  { 64, 32, 1, 667, 42 },   { 64, 32, 1, 983, 32 },   { 64, 32, 1, 999, 32 },
	{ 8, 8, 1, 0, 8 },	  { 8, 8, 1, 16, 8 },	    { 8, 8, 1, 400, 8 },      { 8, 8, 1, 667, 8 },
	{ 8, 8, 1, 983, 8 },	  { 8, 8, 1, 999, 8 },
};

static void widths_are_split(void **state)
{
	for (size_t i = 0; i < sizeof(splits) / sizeof(*splits); i++) {
		const struct split s = split_width(splits[i][0], splits[i][1]);

		assert_int_equal(s.small, splits[i][2]);
		assert_int_equal(s.large, splits[i][3]);
	}
}

static void ranks_go_by_timestep(void **state)
{
	for (size_t i = 0; i < sizeof(ranks) / sizeof(*ranks); i++) {
		const struct rank_mask m = { .least = ranks[i].least,
					     .exponent = ranks[i].exponent,
					     .timesteps = 1000 };

		assert_int_equal(rank_at(&m, ranks[i].rank, ranks[i].timestep), ranks[i].part);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(widths_are_split),
					    cmocka_unit_test(ranks_go_by_timestep) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
