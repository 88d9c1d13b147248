/* The card's part of a run's page: the indicators beside their good ranges, and curves. */
#include <math.h>
#include <stddef.h>
#include "../../io/chart.h"
#include "../../io/html.h"
#include "card.h"

#define GIB ((double)(1 << 30))
enum { STRIDE = sizeof(struct card_row) / sizeof(double) };

static void add_indicator(struct buffer *out, const struct card_rows *rows, const struct card_indicator *i)
{
	const double value = card_median(rows, i);

	if (!isfinite(value))
		return;
	buffer_addf(out, "<tr><td>%s</td><td class=\"n\">%.3g%s</td><td class=\"n\">%.0f-%.0f%s</td><td>%s</td></tr>\n",
		    i->name, value, i->unit, i->low, i->high, i->unit, card_verdict(i, value));
}

static void add_indicators(struct buffer *out, const struct card_rows *rows)
{
	buffer_adds(out, "<table>\n<tr><th>median of the steps</th><th class=\"n\">this run</th>"
			 "<th class=\"n\">good</th><th></th></tr>\n");
	for (int i = 0; i < CARD_INDICATORS; i++)
		add_indicator(out, rows, &card_indicators[i]);
	buffer_adds(out, "</table>\n");
}

static struct chart_line line_of(const struct card_rows *rows, const char *label, const char *colour, const double *y)
{
	return (struct chart_line){ label, colour, &rows->row[0].step, y, rows->count, STRIDE, STRIDE, false, false };
}

static void add_one(struct buffer *out, const struct card_rows *rows, const char *title, const double *y,
		    const struct card_indicator *good, double top)
{
	const struct chart_line line = line_of(rows, "", "#1f5fb4", y);

	chart_svg(out, &(struct chart){ title, &line, 1, true, good ? good->low : 0, good ? good->high : 0, top });
}

/* In GiB, up to the whole of the card. */
static void add_memory(struct buffer *out, const struct card_rows *rows)
{
	const struct card_indicator *good = &card_indicators[CARD_MEMORY];
	const struct card_row *last = &rows->row[rows->count - 1];
	const double most = last->memory / last->memory_percent * 100 / GIB, share = isfinite(most) ? most / 100 : 0;
	struct card_rows gib = { 0 };
	struct chart_line lines[2];

	for (size_t i = 0; i < rows->count; i++) {
		struct card_row r = rows->row[i];
		r.memory /= GIB;
		r.planned /= GIB;
		card_rows_add(&gib, &r);
	}
	lines[0] = line_of(&gib, "in use", "#1f5fb4", &gib.row[0].memory);
	lines[1] = line_of(&gib, "planned", "#d1651c", &gib.row[0].planned);
	chart_svg(out, &(struct chart){ "Memory of the card (GiB)", lines, 2, true, share * good->low,
					share * good->high, 100 * share });
	card_rows_free(&gib);
}

void card_section(struct buffer *out, const struct card_rows *rows)
{
	if (!rows->count)
		return;
	buffer_adds(out, "<h2>The card</h2>\n");
	add_indicators(out, rows);
	buffer_adds(out, "<p class=\"soft\">Green: the good range.</p>\n<div class=\"charts\">\n");
	add_one(out, rows, "Utilisation of the card (%)", &rows->row[0].utilization,
		&card_indicators[CARD_UTILIZATION], 100);
	add_memory(out, rows);
	add_one(out, rows, "Seconds a step", &rows->row[0].seconds, &card_indicators[CARD_SECONDS], 0);
	add_one(out, rows, "Power (W)", &rows->row[0].watts, NULL, 0);
	add_one(out, rows, "Clock (MHz)", &rows->row[0].mhz, NULL, 0);
	buffer_adds(out, "</div>\n");
}
