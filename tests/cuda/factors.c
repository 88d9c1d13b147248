/*
 * factors - the operations of adapters' factors, Kronecker's product, against the CPU's, whose own tests hold them to double precision.
 *
 * Tolerance.  A product of three floats rounds twice; sums are in double on both sides and rounded once.
 */
#include "harness.h"

#define CLOSE 2e-7

/* for both sides, with their backend and device */
#define ON_BOTH(r) for (int s = 0; s < SIDES; s++)
#define BE (r->be[s])
#define D (r->device[s])

static void kronecker(struct rig *r, struct kronecker_shape k, const int add[2])
{
	const size_t na = (size_t)k.p * k.q, nb = (size_t)k.m * k.taps * k.n;
	struct both a = take_drawn(r, na, 1), b = take_drawn(r, nb, 1), dy = take_drawn(r, na * nb, 1), y = take_output(r, na * nb, false);
	struct both da = take_output(r, na, add[0]), db = take_output(r, nb, add[1]), alone = take_output(r, nb, add[1]);

	ON_BOTH(r) {
		BE->kronecker(D, y.at[s], 0.75f, a.at[s], b.at[s], &k);
		BE->kronecker_back(D, da.at[s], db.at[s], 0.75f, dy.at[s], a.at[s], b.at[s], &k, add);
		BE->kronecker_back(D, NULL, alone.at[s], 0.75f, dy.at[s], a.at[s], b.at[s], &k, add);
	}
	compare(r, &y, CLOSE, "Kronecker product");
	compare(r, &da, CLOSE, "  its way back to the left");
	compare(r, &db, CLOSE, "  its way back to the right");
	compare(r, &alone, CLOSE, "  to the right alone");
	give(r, a); give(r, b); give(r, dy); give(r, y); give(r, da); give(r, db); give(r, alone);
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
	return rig_close(&r);
}
