/*
 * emu_test.h - what only tests may ask of the stand-in.
 *
 * Environment, read once: EMU_SEED=n  a random legal schedule; EMU_PROTECT=1  device memory is closed while the host's
 * code runs; EMU_DRY=1; EMU_STATS=FILE  to which launches, products, copies and graphs so far are added, a line when a
 * graph is launched and one at the end; EMU_TOTAL_MB=n  the card's memory (12288); EMU_FAIL=n  as emu_fail();
 * EMU_MMA=1  the other way to round products.
 * Read at each call: EMU_DEVICES=n; EMU_CAPABILITY=86; EMU_DRIVER=13000; EMU_IMAGES=0  nothing was compiled for this
 * card.  What the stand-in complains of ends the program with status 42; PTX that it does not understand, with 43.
 */
#ifndef EMU_TEST_H
#define EMU_TEST_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct emu_stats {
	long launches, blocks, threads, switches, collectives, barriers, mma, ldmatrix, bank_conflicts;
	long products, copies;          /* calls of cuBLAS; copies and fills of device memory */
	long graphs;                    /* launched; what is in them counts above */
	size_t used, peak;              /* bytes of the card, in the driver's pages */
	/* things that could have failed for want of memory: allocations, streams, events, handles */
	long made;
	long live;                      /* those that were not given back */
};

void emu_get_stats(struct emu_stats *s);
void emu_reset_peak(void);
void emu_fail(long nth);                /* the nth thing from now on cannot be made, 0 is the next; -1: all can */
void emu_set_total(size_t bytes);       /* memory of the card */
void emu_set_blas(size_t bytes);        /* what cuBLAS takes for each kind of product when it first runs; 0 */
int emu_holds(const void *at, size_t bytes);    /* these bytes lie in one live allocation */
void emu_set_dry(int on);               /* counts launches and memory, checks arguments, computes nothing */

#ifdef __cplusplus
}
#endif

#endif
