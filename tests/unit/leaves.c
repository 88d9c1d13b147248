/* The tree in which a step's gradients are added: one tree, whoever computes its leaves; who owns which parameters. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/philox.h"
#include "../../libcommon/optimize/leaves.h"
#include "../../libcommon/optimize/slices.h"
#include <cmocka.h>     /* last: it takes the name fail */

/* A sum is known by a number that its operands and their order make. */
struct node { struct leaves of; uint64_t sum; };
struct stack { struct node node[64]; size_t depth, most; };

static uint64_t leaf(uint32_t i) { return (i + 1) * 0x9e3779b97f4a7c15ull; }
static uint64_t add(uint64_t a, uint64_t b) { return (a ^ (b << 21 | b >> 43)) * 0xd6e8feb86659fd93ull + 1; }

static void push(struct stack *s, struct node n, uint32_t count)
{
	while (s->depth && leaves_join(s->node[s->depth - 1].of, n.of, count)) {
		const struct node left = s->node[--s->depth];
		n = (struct node){ { left.of.first, n.of.end }, add(left.sum, n.sum) };
	}
	s->node[s->depth++] = n;
	s->most = s->depth > s->most ? s->depth : s->most;
}

static void push_leaves(struct stack *s, struct leaves of, uint32_t count)
{
	for (uint32_t i = of.first; i < of.end; i++)
		push(s, (struct node){ { i, i + 1 }, leaf(i) }, count);
}

/* By the definition, from the root: the left half is the largest power of two below the number of leaves. */
static uint64_t by_definition(uint32_t first, uint32_t end)
{
	uint32_t half = 1;

	if (end - first == 1)
		return leaf(first);
	while (2 * half < end - first)
		half *= 2;
	return add(by_definition(first, first + half), by_definition(first + half, end));
}

static void one_rank(void **state)
{
	for (uint32_t count = 1; count <= 300; count++) {
		struct stack s = { .depth = 0 };

		push_leaves(&s, (struct leaves){ 0, count }, count);
		assert_int_equal(s.depth, 1);
		assert_true(s.node[0].sum == by_definition(0, count));
		assert_true(s.most <= leaves_waiting(count, 1) + 1);    /* and the leaf in work */
	}
	assert_int_equal(leaves_waiting(1, 1), 0);
	assert_int_equal(leaves_waiting(2, 1), 1);
	assert_int_equal(leaves_waiting(65536, 1), 16);
}

/* Each rank adds what it has; whoever gets the nodes of all adds these. */
static void ranks_make(uint32_t count, uint32_t ranks)
{
	struct stack all = { .depth = 0 };
	uint32_t next = 0;

	for (uint32_t r = 0; r < ranks; r++) {
		struct leaves of = leaves_of_rank(count, ranks, r);
		struct stack own = { .depth = 0 };

		assert_int_equal(of.first, next);
		next = of.end;
		push_leaves(&own, of, count);
		assert_true(own.most <= leaves_waiting(count, ranks) + (ranks == 1));
		for (size_t i = 0; i < own.depth; i++) {
			const struct leaves node = leaves_next_node(&of, count);

			assert_int_equal(node.first, own.node[i].of.first);
			assert_int_equal(node.end, own.node[i].of.end);
			push(&all, own.node[i], count);
		}
		assert_int_equal(of.first, of.end);
	}
	assert_int_equal(next, count);
	assert_int_equal(all.depth, 1);
	assert_true(all.node[0].sum == by_definition(0, count));
}

static void any_ranks(void **state)
{
	struct random r = { 14, 0, 0, 0 };

	for (uint32_t ranks = 1; ranks <= 1024; ranks++) {
		ranks_make(ranks, ranks);
		ranks_make(1 + random_below(&r, 2 * ranks, 64), ranks);
		ranks_make(1 + random_below(&r, 2 * ranks + 1, 3000), ranks);
	}
	for (uint32_t count = 1; count <= 40; count++)
		for (uint32_t ranks = 1; ranks <= 40; ranks++)
			ranks_make(count, ranks);
	ranks_make(65536, 1000);
}

/* Parameters of all sizes, as adapters have them: many alike, a few large. */
static size_t parameters(const struct random *r, size_t *count)
{
	const size_t n = 1 + random_below(r, 0, 1500);

	for (size_t i = 0; i < n; i++)
		count[i] = 1 + random_below(r, 2 * i + 1, 2000) * (random_below(r, 2 * i + 2, 10) ? 1 : 200);
	return n;
}

/* Each parameter has one owner, the owners follow each other, and none has more than its equal part and one parameter:
 * half of one at each end of its part. */
static void slices_of(const size_t *count, size_t n, size_t floats, int ranks)
{
	size_t at = 0, own = 0, largest = 0;
	int last = 0;

	for (size_t i = 0; i < n; i++)
		largest = count[i] > largest ? count[i] : largest;
	for (size_t i = 0; i < n; i++) {
		const int owner = slice_owner(at, count[i], floats, ranks);

		assert_true(owner >= last && owner < ranks);
		own = owner == last ? own + count[i] : count[i];
		assert_true(own <= floats / ranks + largest + 1);
		last = owner;
		at += count[i];
	}
}

static void slices(void **state)
{
	size_t count[1501];

	for (uint32_t ranks = 1; ranks <= 1024; ranks++) {
		struct random r = { 15, RANDOM_TEST, ranks, 0 };
		const size_t n = parameters(&r, count);
		size_t floats = 0;

		for (size_t i = 0; i < n; i++)
			floats += count[i];
		slices_of(count, n, floats, ranks);
	}
	slices_of((size_t[]){ 7 }, 1, 7, 1024);
	slices_of((size_t[]){ (size_t)1 << 40, 1, (size_t)1 << 40 }, 3, ((size_t)2 << 40) + 1, 1024);
	assert_int_equal(slice_owner(0, 10, 40, 4), 0);
	assert_int_equal(slice_owner(10, 30, 40, 4), 2);        /* the middle of four tenths */
	assert_int_equal(slice_owner(0, 40, 40, 2), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(one_rank), cmocka_unit_test(any_ranks),
					   cmocka_unit_test(slices) };

	return cmocka_run_group_tests_name("leaves", tests, NULL, NULL);
}
