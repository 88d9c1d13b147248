/*
 * planner.h - what a workload takes, found by making it on the dry backend: its networks from headers, its adapter and optimizer without
 * values, a step of each shape.
 */
#ifndef TRAIN_PLAN_PLANNER_H
#define TRAIN_PLAN_PLANNER_H

#include "../../io/json.h"
#include "plan.h"
#include "workload.h"

/* ---- planner.c ---- */
/* What it takes in this way.  only: batches of this bucket alone ([w,h]); NULL: all. */
int plan_count(const struct workload *w, const struct plan_way *way, const int *only, struct plan *p, struct error *e) MUST_CHECK;
/* The fastest way that the settings allow and the limit (0: none) has room for; where none fits, the one that takes least. */
int plan_make(const struct workload *w, size_t limit, const int *only, struct plan *p, struct error *e) MUST_CHECK;

/* ---- savings.c ---- */
/* A change of settings, what it would take then, and whether that fits. */
struct saving { struct workload what; size_t peak; bool fits; };
enum { SAVINGS_MOST = 8 };
struct savings {
	struct saving one[SAVINGS_MOST];        /* each cheaper setting alone */
	size_t count;
	struct saving together;                 /* one after another until it fits, in the order of what they cost; it may not */
};
/* For a plan that does not fit. */
void plan_find_savings(const struct workload *now, const struct plan *p, struct savings *s);
/* The change as "--gradient-checkpointing --network-dim 16 ...", malloced. */
char *saving_words(const struct train_settings *now, const struct train_settings *then);
/* As fields of an object */
void saving_settings(const struct train_settings *now, const struct train_settings *then, struct json_out *j);

/* ---- print.c ---- */
/* saved NULL: it fits.  The table, or with --json a line. */
int plan_print(const struct train_settings *s, const struct plan *p, const struct savings *saved, struct error *e) MUST_CHECK;
/* EXIT_MEMORY and the reason in a line. */
int plan_refuse(const struct train_settings *s, const struct plan *p, const struct savings *saved, struct error *e) MUST_CHECK;

#endif
