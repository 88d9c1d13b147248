/* Holes for inpainting: what is drawn, and what becomes of it in pixels and in latents. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include "../../libcommon/data/hole.h"
#include <cmocka.h>

enum { W = 64, H = 48, FACTOR = 4, HOLES = 200 };

static double covered(const uint8_t *mask)
{
	int n = 0;

	for (int i = 0; i < W * H; i++)
		n += mask[i] >= HOLE_EDGE;
	return (double)n / (W * H);
}

static void the_same_numbers_draw_the_same_hole(void **state)
{
	static uint8_t a[W * H], b[W * H];

	hole_draw(a, W, H, 7, 1, 2);
	hole_draw(b, W, H, 7, 1, 2);
	assert_memory_equal(a, b, sizeof(a));
	hole_draw(b, W, H, 8, 1, 2);
	assert_memory_not_equal(a, b, sizeof(a));
	hole_draw(b, W, H, 7, 2, 2);
	assert_memory_not_equal(a, b, sizeof(a));
	hole_draw(b, W, H, 7, 1, 3);
	assert_memory_not_equal(a, b, sizeof(a));
}

/* A shape is a tenth to half of each side, a cloud a tenth to three tenths; two add up at most.  None is empty or
 * whole. */
static void holes_leave_something(void **state)
{
	static uint8_t mask[W * H];
	double sum = 0, most = 0;

	for (int i = 0; i < HOLES; i++) {
		hole_draw(mask, W, H, 42, 5, i);
		for (int k = 0; k < W * H; k++)
			assert_true(mask[k] == 0 || mask[k] == 255);
		assert_true(covered(mask) > 0);
		sum += covered(mask) / HOLES;
		most = covered(mask) > most ? covered(mask) : most;
	}
	assert_true(most < 0.6);
	assert_true(sum > 0.05 && sum < 0.3);
}

static void a_hole_is_mid_grey(void **state)
{
	const uint8_t mask[2] = { 127, 128 };
	float rgb[6] = { 0.5f, -0.5f, 1, -1, 1, 0.25f };

	hole_cut(rgb, mask, 2);
	assert_true(rgb[0] == 0.5f && rgb[1] == -0.5f && rgb[2] == 1);
	assert_true(rgb[3] == 0 && rgb[4] == 0 && rgb[5] == 0);
}

static void the_upper_left_pixel_decides(void **state)
{
	static uint8_t mask[W * H];
	float small[W / FACTOR * (H / FACTOR)];

	mask[W + 1] = 255;                                      /* not the first of its cell */
	mask[(size_t)FACTOR * W + 2 * FACTOR] = HOLE_EDGE;      /* the first of cell 2, 1 */
	hole_shrink(small, W / FACTOR, H / FACTOR, FACTOR, mask);
	for (int i = 0; i < W / FACTOR * (H / FACTOR); i++)
		assert_true(small[i] == (i == W / FACTOR + 2));
}

static void mirrored_twice_is_as_before(void **state)
{
	static uint8_t a[W * H], b[W * H];

	hole_draw(a, W, H, 1, 1, 1);
	memcpy(b, a, sizeof(a));
	hole_mirror(b, W, H);
	assert_memory_not_equal(a, b, sizeof(a));
	assert_int_equal(b[0], a[W - 1]);
	hole_mirror(b, W, H);
	assert_memory_equal(a, b, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_numbers_draw_the_same_hole), cmocka_unit_test(holes_leave_something),
		cmocka_unit_test(a_hole_is_mid_grey), cmocka_unit_test(the_upper_left_pixel_decides),
		cmocka_unit_test(mirrored_twice_is_as_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
