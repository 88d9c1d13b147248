/* Places in a stretch of memory: random takes and gives against a plain list, and what the two ends promise. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../libcommon/base/error.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/philox.h"
#include "../../libcommon/nn/heap.h"
#include <cmocka.h>     /* last: it takes the name fail */

enum { TURNS = 4000, MOST = 200 };
#define HUGE ((size_t)1 << 46)
#define BASE ((char *)4096)

struct held { char *at; size_t bytes; enum heap_kind kind; };
struct trial { struct heap heap; struct held held[MOST]; size_t count; };

static void begin(struct trial *t, size_t size)
{
	*t = (struct trial){ .count = 0 };
	heap_init(&t->heap, BASE, size);
}

static uint64_t draw(uint32_t turn, uint32_t item, uint64_t below)
{
	return random_below(&(struct random){ 5, RANDOM_TEST, turn, item }, 0, below);
}

static void give(struct trial *t, size_t i)
{
	if (t->held[i].kind == HEAP_PILED)      /* goes with all the rest alone */
		return;
	heap_give(&t->heap, t->held[i].at);
	t->held[i] = t->held[--t->count];
}

static void leave_block(struct trial *t)
{
	heap_clear_inside(&t->heap);
	for (size_t i = 0; i < t->count; )
		if (t->held[i].kind == HEAP_INSIDE)
			t->held[i] = t->held[--t->count];
		else
			i++;
}

/* One turn: mostly takes while little is held, mostly gives while much is; now and then a block ends. */
static void turn(struct trial *t, uint32_t k)
{
	static const enum heap_kind kinds[] = { HEAP_KEPT, HEAP_KEPT, HEAP_KEPT, HEAP_INSIDE, HEAP_INSIDE, HEAP_INSIDE,
						HEAP_PILED };
	const enum heap_kind kind = kinds[draw(k, 0, 7)];
	const size_t bytes = draw(k, 1, 5000);

	if (draw(k, 2, 1000) == 0 || t->count == MOST) {
		heap_clear(&t->heap);
		t->count = 0;
	} else if (draw(k, 2, 1000) < 10) {
		leave_block(t);
	} else if (draw(k, 3, MOST) < t->count) {
		give(t, draw(k, 4, t->count));
	} else {
		char *at = heap_take(&t->heap, kind, bytes);
		assert_non_null(at);
		t->held[t->count++] = (struct held){ at, bytes, kind };
	}
}

static void check_apart(const struct trial *t, size_t size)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct held *a = &t->held[i];
		assert_true(a->at >= BASE && (size_t)(a->at - BASE) + a->bytes <= size);
		assert_int_equal((a->at - BASE) % 64, 0);
		if (a->kind != HEAP_PILED)
			assert_int_equal(heap_is_inside(&t->heap, a->at), a->kind == HEAP_INSIDE);
		for (size_t k = 0; k < i; k++)
			assert_true(a->at + a->bytes <= t->held[k].at || t->held[k].at + t->held[k].bytes <= a->at ||
				    !a->bytes || !t->held[k].bytes);
	}
}

static void pieces_never_overlap(void **state)
{
	struct trial t;

	begin(&t, HUGE);
	for (uint32_t k = 0; k < TURNS; k++) {
		turn(&t, k);
		if (k % 20 == 0)
			check_apart(&t, HUGE);
	}
	heap_free(&t.heap);
}

/* The same calls in a stretch of exactly the peak: they all fit, at the same distances from the ends.
 * With a line less one does not. */
static void a_dry_run_tells_the_size(void **state)
{
	struct trial dry, real;
	size_t peak;
	uint32_t k;

	begin(&dry, HUGE);
	for (k = 0; k < TURNS; k++)
		turn(&dry, k);
	peak = dry.heap.peak;
	assert_true(peak > 100000 && peak % 64 == 0);
	begin(&real, peak);
	for (k = 0; k < TURNS; k++)
		turn(&real, k);
	assert_int_equal(real.heap.peak, peak);
	check_apart(&real, peak);
	for (size_t i = 0; i < real.count; i++) {
		const size_t low = real.held[i].at - BASE, dry_low = dry.held[i].at - BASE;
		assert_true(low == dry_low || peak - low == HUGE - dry_low);
	}
	heap_free(&dry.heap);
	heap_free(&real.heap);
}

static void full_is_null(void **state)
{
	struct heap h;

	heap_init(&h, BASE, 64 * 10);
	assert_non_null(heap_take(&h, HEAP_KEPT, 64 * 6));
	assert_null(heap_take(&h, HEAP_INSIDE, 64 * 4 + 1));
	assert_null(heap_take(&h, HEAP_PILED, SIZE_MAX / 2));
	assert_non_null(heap_take(&h, HEAP_INSIDE, 64 * 4));
	assert_null(heap_take(&h, HEAP_KEPT, 1));
	heap_clear(&h);
	assert_non_null(heap_take(&h, HEAP_KEPT, 64 * 10));
	assert_int_equal(h.peak, 64 * 10);
	heap_free(&h);
}

/* low end: A B C; B goes.  A gap takes what fits first from its own end, the pile from the far side,
 * a block's inside before it grows. */
static void gaps_are_used(void **state)
{
	struct heap h;
	char *a, *b, *c, *inside;

	heap_init(&h, BASE, HUGE);
	a = heap_take(&h, HEAP_KEPT, 64);
	b = heap_take(&h, HEAP_KEPT, 640);
	c = heap_take(&h, HEAP_KEPT, 64);
	heap_give(&h, b);
	assert_ptr_equal(heap_take(&h, HEAP_KEPT, 100), b);
	assert_ptr_equal(heap_take(&h, HEAP_PILED, 100), c - 128);
	inside = heap_take(&h, HEAP_INSIDE, 384);
	assert_ptr_equal(inside, b + 128);
	assert_true(heap_is_inside(&h, inside) && !heap_is_inside(&h, a));
	assert_ptr_equal(heap_take(&h, HEAP_INSIDE, 64), BASE + HUGE - 64);
	assert_int_equal(h.peak, 64 + 640 + 64 + 64);
	heap_clear_inside(&h);
	assert_ptr_equal(heap_take(&h, HEAP_KEPT, 384), inside);
	heap_free(&h);
}

static void giving_twice_ends_the_program(void **state)
{
	int status;
	pid_t child = fork();

	if (!child) {
		struct heap h;
		void *p;
		heap_init(&h, BASE, HUGE);
		p = heap_take(&h, HEAP_KEPT, 64);
		close(STDERR_FILENO);
		heap_give(&h, p);
		heap_give(&h, p);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_never_overlap), cmocka_unit_test(a_dry_run_tells_the_size),
		cmocka_unit_test(full_is_null), cmocka_unit_test(gaps_are_used),
		cmocka_unit_test(giving_twice_ends_the_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
