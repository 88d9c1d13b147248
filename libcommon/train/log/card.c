/* A run's card in the log: the fields of a step, what is said once, the indicators. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include "../../base/error.h"
#include "../../base/memory.h"
#include "../../base/text.h"
#include "card.h"

/* ---- a step's fields ---- */

static const struct { const char *field; size_t at; } fields[] = {
	{ "gpu_utilization_percent", offsetof(struct card_row, utilization) },
	{ "gpu_memory_bytes", offsetof(struct card_row, memory) },
	{ "gpu_memory_planned_bytes", offsetof(struct card_row, planned) },
	{ "gpu_memory_percent", offsetof(struct card_row, memory_percent) },
	{ "gpu_power_watts", offsetof(struct card_row, watts) },
	{ "gpu_clock_mhz", offsetof(struct card_row, mhz) },
};
enum { FIELDS = sizeof(fields) / sizeof(*fields) };

static double *value_of(struct card_row *r, size_t at)
{
	return (double *)((char *)r + at);
}

struct card_row card_row_of(const struct device_use *use, size_t planned_bytes)
{
	const double *f = use->figure;

	return (struct card_row){
		.utilization = f[USE_BUSY], .memory = f[USE_MEMORY], .planned = planned_bytes,
		.memory_percent = 100 * f[USE_MEMORY] / f[USE_MEMORY_MOST], .watts = f[USE_WATTS], .mhz = f[USE_MHZ],
	};
}

void card_tell(const struct card_row *r, struct json_out *j)
{
	struct card_row row = *r;

	for (int i = 0; i < FIELDS; i++)
		if (isfinite(*value_of(&row, fields[i].at)))
			json_number(j, fields[i].field, *value_of(&row, fields[i].at));
}

static double number(const json_t *event, const char *field)
{
	const json_t *v = json_object_get(event, field);

	return json_is_number(v) ? json_number_value(v) : NAN;
}

bool card_read(const json_t *event, struct card_row *r)
{
	bool any = false;

	*r = (struct card_row){ .step = number(event, "step"), .seconds = number(event, "seconds") };
	for (int i = 0; i < FIELDS; i++) {
		*value_of(r, fields[i].at) = number(event, fields[i].field);
		any |= isfinite(*value_of(r, fields[i].at));
	}
	return any;
}

void card_rows_add(struct card_rows *rows, const struct card_row *r)
{
	GROW(rows->row, rows->count, rows->capacity);
	rows->row[rows->count++] = *r;
}

void card_rows_free(struct card_rows *rows)
{
	free(rows->row);
	*rows = (struct card_rows){ 0 };
}

/* ---- what is said once ---- */

/* usual: a card under full load does that, and nobody need do anything. */
static const struct { unsigned slowed; bool usual; const char *words; } slowed[] = {
	{ SLOWED_BY_POWER, true, "it draws as much power as its limit allows; that is usual under full load, and "
				 "nvidia-smi -pl raises the limit where the card allows it" },
	{ SLOWED_BY_HEAT, false, "it is too hot, and steps take longer; give it air, or less power with "
				 "nvidia-smi -pl" },
	{ SLOWED_BY_SUPPLY, false, "the computer's power supply asks it to, and steps take twice as long or longer; "
				   "look at its power cables" },
	{ SLOWED_BY_HARDWARE, false, "it protects itself from heat or from too little power, and steps take twice as "
				     "long or longer; nvidia-smi -q -d PERFORMANCE tells more" },
};

/* "the card lowers its clock (1395 of 1695 MHz, 137 of 140 W): " */
static size_t add_clock(char *text, size_t room, const double *f)
{
	size_t n = text_add(text, room, 0, "the card lowers its clock");
	const char *between = " (";

	if (isfinite(f[USE_MHZ]) && isfinite(f[USE_MHZ_MOST])) {
		n = text_add(text, room, n, "%s%.0f of %.0f MHz", between, f[USE_MHZ], f[USE_MHZ_MOST]);
		between = ", ";
	}
	if (isfinite(f[USE_WATTS]) && isfinite(f[USE_WATTS_MOST])) {
		n = text_add(text, room, n, "%s%.0f of %.0f W", between, f[USE_WATTS], f[USE_WATTS_MOST]);
		between = ", ";
	}
	return text_add(text, room, n, "%s: ", *between == ',' ? ")" : "");
}

static void say_shared(const struct device_use *use, card_say_fn *say, void *to)
{
	char text[400];
	size_t n = use->others == 1 ? text_add(text, sizeof(text), 0, "another program computes on this card")
		: text_add(text, sizeof(text), 0, "%d other programs compute on this card", use->others);

	if (use->other.pid)
		n = text_add(text, sizeof(text), n, "%s%s%sprocess %ld", use->others == 1 ? ": " : ", one is ",
			     use->other.name, *use->other.name ? ", " : "", use->other.pid);
	if (isfinite(use->others_bytes))
		n = text_add(text, sizeof(text), n, "; %.1f GiB of its memory are %s",
			     use->others_bytes / (1 << 30), use->others == 1 ? "that one's" : "theirs");
	text_add(text, sizeof(text), n, "; steps take longer meanwhile");
	warning("%s", text);
	say(to, "shared", text);
}

void card_findings(struct card_said *said, const struct device_use *use, card_say_fn *say, void *to)
{
	const unsigned now = use->slowed & ~said->slowed;
	char text[400];

	for (size_t i = 0; i < sizeof(slowed) / sizeof(*slowed); i++) {
		if (!(now & slowed[i].slowed))
			continue;
		text_add(text, sizeof(text), add_clock(text, sizeof(text), use->figure), "%s", slowed[i].words);
		if (slowed[i].usual)
			note("%s", text);
		else
			warning("%s", text);
		say(to, "throttled", text);
	}
	said->slowed |= now;
	if (use->others && !said->shared)
		say_shared(use, say, to);
	said->shared |= use->others > 0;
}

/* ---- the indicators ---- */

/* The ranges are those of the tutorials of sd-scripts' users, for cards of 16 to 48 GB. */
const struct card_indicator card_indicators[CARD_INDICATORS] = {
	[CARD_UTILIZATION] = { "utilisation", " %", offsetof(struct card_row, utilization), 85, 95,
			       "the card waits; a larger train_batch_size gives it more at once",
			       "the card never waits" },
	[CARD_MEMORY] = { "memory", " %", offsetof(struct card_row, memory_percent), 80, 90,
			  "there is room for a larger train_batch_size, or for less gradient_checkpointing",
			  "little is left: another program on the card may end the run" },
	[CARD_SECONDS] = { "step", " s", offsetof(struct card_row, seconds), 2, 8,
			   "faster than most", "slow: smaller pictures or batches make steps shorter" },
};

static int by_size(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double card_median(const struct card_rows *rows, const struct card_indicator *i)
{
	double *x = xcalloc(rows->count + 1, sizeof(*x)), median;
	size_t n = 0;

	for (size_t k = 0; k < rows->count; k++) {
		x[n] = *value_of(&rows->row[k], i->at);
		n += isfinite(x[n]);
	}
	qsort(x, n, sizeof(*x), by_size);
	median = n ? (x[(n - 1) / 2] + x[n / 2]) / 2 : NAN;
	free(x);
	return median;
}

const char *card_verdict(const struct card_indicator *i, double value)
{
	return value < i->low ? i->below : value > i->high ? i->above : "good";
}

void card_note(const struct card_rows *rows)
{
	char text[200];
	size_t n = 0;

	for (int i = 0; i < CARD_INDICATORS && rows->count; i++) {
		const struct card_indicator *of = &card_indicators[i];
		const double value = card_median(rows, of);

		if (isfinite(value))
			n = text_add(text, sizeof(text), n, "%s%s %.3g%s (%s%.0f-%.0f)", n ? ", " : "card: ", of->name,
				     value, of->unit, n ? "" : "good: ", of->low, of->high);
	}
	if (n)
		note("%s", text);
}
