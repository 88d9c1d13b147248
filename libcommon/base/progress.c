/* The progress bar, its figures (rate, time left), and the plain lines where there is no terminal. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "error.h"
#include "memory.h"
#include "progress.h"
#include "retry.h"
#include "slow_reader.h"

enum { COLUMNS = 80, WIDEST = 24, NARROWEST = 5 };

struct progress {
	char *label, *unit;
	uint64_t total, done;
	uint64_t first;                 /* what was done at the first call: a resumed run starts in the middle */
	double begun, first_at, shown;
	bool terminal, silent, started;
};

double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct progress *progress_begin(const char *label, const char *unit, uint64_t total)
{
	struct progress *p = xcalloc(1, sizeof(*p));

	p->label = xstrdup(label);
	p->unit = xstrdup(unit);
	p->total = total;
	p->begun = p->shown = seconds_now();
	p->terminal = isatty(STDERR_FILENO);
	p->silent = is_quiet();
	return p;
}

static void add_time(struct buffer *b, double seconds)
{
	unsigned long s = seconds < 1e9 ? (unsigned long)(seconds + 0.5) : 1000000000;

	if (s >= 3600)
		buffer_addf(b, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
	else
		buffer_addf(b, "%lu:%02lu", s / 60, s % 60);
}

static void add_rate(struct buffer *b, double per_second)
{
	if (per_second >= 1 || per_second <= 0)
		buffer_addf(b, "%.*f/s", per_second < 100, per_second);
	else
		buffer_addf(b, "%.1f s each", 1 / per_second);
}

/* " [===>  ]  45%", as wide as the room allows: the words are worth more than the bar. */
static void add_bar(struct buffer *b, double share, int room)
{
	int width = room - 8 < WIDEST ? room - 8 : WIDEST, full = (int)(share * width);

	if (width >= NARROWEST) {
		buffer_adds(b, " [");
		for (int i = 0; i < width; i++)
			buffer_adds(b, i < full ? "=" : i == full ? ">" : " ");
		buffer_adds(b, "]");
	}
	buffer_addf(b, " %3d%%", (int)(share * 100));
}

/* "9/20 pictures, 3.4/s, 0:03 left, loss 0.123" */
static void add_figures(struct buffer *b, const struct progress *p, double now, const char *words)
{
	double rate = p->done > p->first && now > p->first_at ? (double)(p->done - p->first) / (now - p->first_at) : 0;

	buffer_addf(b, "%llu", (unsigned long long)p->done);
	if (p->total)
		buffer_addf(b, "/%llu", (unsigned long long)p->total);
	buffer_addf(b, " %s", p->unit);
	if (rate > 0) {
		buffer_adds(b, ", ");
		add_rate(b, rate);
	}
	if (rate > 0 && p->done < p->total) {
		buffer_adds(b, ", ");
		add_time(b, (double)(p->total - p->done) / rate);
		buffer_adds(b, " left");
	}
	if (words)
		buffer_addf(b, ", %s", words);
}

static void describe(const struct progress *p, double now, const char *words, struct buffer *b)
{
	double share = p->total ? (p->done < p->total ? (double)p->done / (double)p->total : 1) : 0;
	struct buffer figures = { 0 };

	add_figures(&figures, p, now, words);
	buffer_adds(b, p->label);
	if (p->terminal && p->total)
		add_bar(b, share, COLUMNS - 1 - (int)(strlen(p->label) + 1 + figures.len));
	buffer_addf(b, "%s %s", p->terminal ? "" : ":", figures.data);
	buffer_free(&figures);
}

/* The cursor goes back to the line's beginning, so that a warning that comes next overwrites the bar. */
static void draw(const char *text)
{
	char line[COLUMNS + 2];
	size_t n = text_add(line, sizeof(line), 0, "%-*.*s\r", COLUMNS - 1, COLUMNS - 1, text);

	if (RETRY(write(STDERR_FILENO, line, n)) < 0)
		return;         /* the terminal is gone; the work is not */
}

void progress_at(struct progress *p, uint64_t done, const char *words)
{
	double now = seconds_now();
	struct buffer text = { 0 };

	if (!p->started) {
		p->started = true;
		p->first = done;
		p->first_at = now;
	}
	p->done = done;
	/* where nobody takes it, work goes on */
	if (p->silent || now - p->shown < (p->terminal ? 0.1 : 30) || !takes_now(STDERR_FILENO))
		return;
	p->shown = now;
	describe(p, now, words, &text);
	if (p->terminal)
		draw(text.data);
	else
		note("%s", text.data);
	buffer_free(&text);
}

static void close_line(const struct progress *p)
{
	struct buffer text = { 0 };

	buffer_addf(&text, "%s: %llu %s in ", p->label, (unsigned long long)p->done, p->unit);
	add_time(&text, seconds_now() - p->begun);
	if (p->terminal)
		draw("");
	note("%s", text.data);
	buffer_free(&text);
}

void progress_end(struct progress *p)
{
	if (!p)
		return;
	if (!p->silent)
		close_line(p);
	free(p->label);
	free(p->unit);
	free(p);
}
