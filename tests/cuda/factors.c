/*
 * factors - the operations of adapters' factors, Kronecker's product and small rotations, against the CPU's, whose own
 * tests hold them to double precision.
 *
 * Tolerance.  A product of three floats rounds twice; its sums are in double on both sides and rounded once.  Rotations
 * are made in double by the CPU and in float by the card: some ten operations in a row of 6e-8 each, in elimination a
 * few more, and so for sums over a thousand rows.
 */
#include "harness.h"

#define CLOSE 2e-7
#define TURNS 3e-6

/* for both sides, with their backend and device */
#define ON_BOTH(r) for (int s = 0; s < SIDES; s++)
#define BE (r->be[s])
#define D (r->device[s])

static void kronecker(struct rig *r, struct kronecker_shape k, const int add[2])
{
	const size_t na = (size_t)k.p * k.q, nb = (size_t)k.m * k.taps * k.n;
	struct both a = take_drawn(r, na, 1), b = take_drawn(r, nb, 1), dy = take_drawn(r, na * nb, 1),
		    y = take_output(r, na * nb, false);
	struct both da = take_output(r, na, add[0]), db = take_output(r, nb, add[1]),
		    alone = take_output(r, nb, add[1]);

	ON_BOTH(r) {
		BE->kronecker(D, y.at[s], 0.75f, a.at[s], b.at[s], &k);
		BE->kronecker_back(D, da.at[s], db.at[s], 0.75f, dy.at[s], a.at[s], b.at[s], &k, add);
		BE->kronecker_back(D, NULL, alone.at[s], 0.75f, dy.at[s], a.at[s], b.at[s], &k, add);
	}
	compare(r, &y, CLOSE, "Kronecker product");
	compare(r, &da, CLOSE, "  backward to the left");
	compare(r, &db, CLOSE, "  backward to the right");
	compare(r, &alone, CLOSE, "  to the right alone");
	give(r, a); give(r, b); give(r, dy); give(r, y); give(r, da); give(r, db); give(r, alone);
}

static void rotations(struct rig *r, struct rotations form, int rows, const int add[2])
{
	const size_t c = (size_t)form.blocks * form.size;
	const size_t numbers =
	    (size_t)form.blocks * (form.triangle ? form.size * (form.size - 1) / 2 : form.size * form.size);
	struct both b = take_drawn(r, numbers, 0.2f), x = take_drawn(r, rows * c, 1), dy = take_drawn(r, rows * c, 1);
	struct both turn = take_output(r, c * form.size, false), room = take_output(r, rotation_room(&form), false);
	struct both y = take_output(r, rows * c, false), dx = take_output(r, rows * c, add[0]),
		    db = take_output(r, numbers, add[1]), alone = take_output(r, c * form.size, false);
	char name[100];

	ON_BOTH(r) {
		BE->rotate(D, f32(y.at[s]), turn.at[s], room.at[s], f32(x.at[s]), b.at[s], rows, &form);
		BE->rotate(D, f32(NULL), alone.at[s], room.at[s], f32(NULL), b.at[s], rows, &form);
		BE->rotate_back(D, f32(dx.at[s]), db.at[s], room.at[s], f32(dy.at[s]), f32(x.at[s]), b.at[s],
				turn.at[s], rows, &form, add);
	}
	snprintf(name, sizeof(name), "%d rows turned by %d x %d, %d terms", rows, form.blocks, form.size, form.terms);
	compare(r, &y, TURNS, name);
	compare(r, &turn, TURNS, "  the rotations");
	compare(r, &alone, TURNS, "  the rotations alone");
	compare(r, &dx, TURNS, "  backward to the rows");
	compare(r, &db, TURNS, "  and to the numbers");
	give(r, b); give(r, x); give(r, dy); give(r, turn); give(r, room); give(r, y); give(r, dx); give(r, db);
	give(r, alone);
}

int main(void)
{
	struct error e;
	struct rig r;

	if (rig_open(&r, &e) < 0)
		return report(&e);
	kronecker(&r, (struct kronecker_shape){ 1, 1, 1, 1, 1 }, (int[]){ 0, 0 });
	kronecker(&r, (struct kronecker_shape){ 3, 2, 5, 4, 9 }, (int[]){ 1, 0 });
	kronecker(&r, (struct kronecker_shape){ 8, 4, 20, 70, 1 }, (int[]){ 0, 1 });
	kronecker(&r, (struct kronecker_shape){ 2, 5, 300, 33, 1 }, (int[]){ 1, 1 });
	rotations(&r, (struct rotations){ 1, 1, false, false, 0, -1 }, 1, (int[]){ 0, 0 });
	rotations(&r, (struct rotations){ 80, 4, false, false, 0, -1 }, 70, (int[]){ 1, 0 });
	rotations(&r, (struct rotations){ 3, 5, false, false, 0, 0.5f }, 33, (int[]){ 0, 1 });
	rotations(&r, (struct rotations){ 2, 33, false, true, 0, 100 }, 20, (int[]){ 1, 1 });
	rotations(&r, (struct rotations){ 2, 80, true, true, 0, 2 }, 40, (int[]){ 0, 0 });
	rotations(&r, (struct rotations){ 7, 6, true, false, 5, -1 }, 1100, (int[]){ 1, 0 });
	rotations(&r, (struct rotations){ 2, 17, true, false, 2, 0.7f }, 20, (int[]){ 0, 1 });
	rotations(&r, (struct rotations){ 2, 17, true, false, 3, -1 }, 20, (int[]){ 0, 1 });
	return rig_close(&r);
}
