/*
 * card.h - what a run's card does, as the log shows it: fields of a step's event, findings that are said once, three
 * indicators beside the ranges in which a run is well.
 *
 * The figures are the caller's.  Must not know who measured them.
 */
#ifndef TRAIN_LOG_CARD_H
#define TRAIN_LOG_CARD_H

#include "../../backend.h"
#include "../../io/json.h"

/* A step of a card; NaN: not told.  All doubles, so that a chart can read one of them by its stride. */
struct card_row { double step, seconds, utilization, memory, planned, memory_percent, watts, mhz; };
struct card_rows { struct card_row *row; size_t count, capacity; };

struct card_row card_row_of(const struct device_use *use, size_t planned_bytes);
void card_tell(const struct card_row *r, struct json_out *j);
/* The card's part of a step's event; false: it has none, as on a CPU and in older logs. */
bool card_read(const json_t *event, struct card_row *r);
void card_rows_add(struct card_rows *rows, const struct card_row *r);
void card_rows_free(struct card_rows *rows);

/* What slows the card down, or shares it, and was not said before: calls say() for each. */
struct card_said { unsigned slowed; bool shared; };
typedef void card_say_fn(void *to, const char *kind, const char *words);
void card_findings(struct card_said *said, const struct device_use *use, card_say_fn *say, void *to);

struct card_indicator {
	const char *name, *unit;
	size_t at;                      /* in struct card_row */
	double low, high;               /* the good range */
	const char *below, *above;      /* what a value outside of it means */
};
enum { CARD_UTILIZATION, CARD_MEMORY, CARD_SECONDS, CARD_INDICATORS };
extern const struct card_indicator card_indicators[CARD_INDICATORS];
/* The median of the steps: the first ones, which pay for beginning, do not move it.  NaN: never told. */
double card_median(const struct card_rows *rows, const struct card_indicator *i);
const char *card_verdict(const struct card_indicator *i, double value);
/* All three, on one line of a terminal.  Nothing where no card was seen. */
void card_note(const struct card_rows *rows);

/* card_page.c: the page's part of it */
void card_section(struct buffer *out, const struct card_rows *rows);

#endif
