/*
 * planner.h - finds the memory of a workload by building it on the dry backend: its networks from headers, its adapter
 * and optimizer without values, and a step of each shape.
 */
#ifndef TRAIN_PLAN_PLANNER_H
#define TRAIN_PLAN_PLANNER_H

#include "../../io/json.h"
#include "plan.h"
#include "workload.h"

/* ---- planner.c ---- */
/* Counts its memory with this plan_way (fit.h).  only: batches of this bucket alone ([w,h]); NULL: all. */
int plan_count(const struct workload *w, const struct plan_way *way, const int *only, struct plan *p,
	       struct error *e) MUST_CHECK;
/* Finds the fastest plan_way that the settings allow and that fits the limit (0: none); where none fits, the one that
 * takes least memory. */
int plan_make(const struct workload *w, size_t limit, const int *only, struct plan *p, struct error *e) MUST_CHECK;

/* ---- work.c ---- */
/* Counts the work of a step of the plan's batch with most pixels, and its time on the settings' card. */
int plan_work(const struct workload *w, struct plan *p, struct error *e) MUST_CHECK;

/* ---- savings.c ---- */
/* A change of settings, the memory with it, and whether that fits. */
struct saving { struct workload what; size_t peak; bool fits; };
enum { SAVINGS_MOST = 8 };
struct savings {
	struct saving one[SAVINGS_MOST];        /* each cheaper setting alone */
	size_t count;
	/* one after another until it fits, in the order of what they cost; it may not */
	struct saving together;
};
/* Finds the savings for a plan that does not fit. */
void plan_find_savings(const struct workload *now, const struct plan *p, struct savings *s);
/* The change as "--gradient-checkpointing --network-dim 16 ...", malloced. */
char *saving_words(const struct train_settings *now, const struct train_settings *then);
/* As fields of an object */
void saving_settings(const struct train_settings *now, const struct train_settings *then, struct json_out *j);

/* ---- print.c ---- */
/* saved NULL: it fits.  The table, or with --json a line. */
int plan_print(const struct train_settings *s, const struct plan *p, const struct savings *saved,
	       struct error *e) MUST_CHECK;
/* EXIT_MEMORY and the reason in a line. */
int plan_refuse(const struct train_settings *s, const struct plan *p, const struct savings *saved,
		struct error *e) MUST_CHECK;

/* ---- print_work.c: of a plan on a card ---- */
void work_table(const struct plan *p, const char *card, struct buffer *out);
void work_tell(const struct plan *p, const char *card, struct json_out *j);    /* card NULL: counts alone */

#endif
