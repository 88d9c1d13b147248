/*
 * run_plan.h - what a run takes, found by making it on the dry backend: its networks from headers, its adapter and optimizer without values,
 * a step of each shape.  Private to a run.
 */
#ifndef TRAIN_PLAN_PLANNER_H
#define TRAIN_PLAN_PLANNER_H

#include "plan.h"
#include "../internal.h"

/* ---- planner.c ---- */
/* Other settings than the run's own may be counted: batch size, rank, optimizer, ... */
struct planned {
	struct train_settings s;
	struct optimizer_settings optimizer;
	bool common_batch;              /* what samples say of their batch size does not count */
};

/* r has files, data and objective; it need not have a device.  only: batches of this bucket alone ([w,h]); NULL: all. */
int run_count(const struct run *r, const struct planned *what, const struct plan_way *way, const int *only, struct plan *p, struct error *e)
	MUST_CHECK;
/* The fastest way that the settings allow and the limit (0: none) has room for; where none fits, the one that takes least. */
int run_plan(const struct run *r, const struct planned *what, size_t limit, const int *only, struct plan *p, struct error *e) MUST_CHECK;
struct planned run_as_set(const struct run *r);         /* what r itself is told */

/* ---- savings.c ---- */
/* A change of settings, what it would take then, and whether that fits. */
struct saving { struct planned what; size_t peak; bool fits; };
enum { SAVINGS_MOST = 8 };
struct savings {
	struct saving one[SAVINGS_MOST];        /* each cheaper setting alone */
	size_t count;
	struct saving together;                 /* one after another until it fits, in the order of what they cost; it may not */
};
/* For a plan that does not fit. */
void run_find_savings(const struct run *r, const struct plan *p, struct savings *s);
/* The change as "--gradient-checkpointing --network-dim 16 ...", malloced. */
char *saving_words(const struct run *r, const struct planned *what);
void saving_settings(const struct run *r, const struct planned *what, struct json_out *j);     /* fields of an object */

/* ---- print.c ---- */
/* s NULL: it fits.  The table, or with --json a line. */
int run_print_plan(const struct run *r, const struct plan *p, const struct savings *s, struct error *e) MUST_CHECK;
/* EXIT_MEMORY and the reason in a line. */
int run_refuse(const struct run *r, const struct plan *p, const struct savings *s, struct error *e) MUST_CHECK;

#endif
