/* Charts as inline SVG: frame, ticks, lines, legend. */
#include <math.h>
#include "chart.h"

/* Pixels of the drawing, which the page scales. */
enum { WIDTH = 640, HEIGHT = 250, LEFT = 62, RIGHT = 14, TOP = 34, BOTTOM = 30, POINTS = 400, ROW = 15 };

struct frame { double x0, x1, y0, y1; };

static double x_of(const struct frame *f, double x)
{
	return LEFT + (x - f->x0) / (f->x1 - f->x0) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct frame *f, double y)
{
	return HEIGHT - BOTTOM - (y - f->y0) / (f->y1 - f->y0) * (HEIGHT - TOP - BOTTOM);
}

/* Mean of the points [first, last) of a line; NaN when none is finite. */
static double mean(const double *y, size_t stride, size_t first, size_t last)
{
	double sum = 0;
	size_t i, n = 0;

	for (i = first; i < last; i++)
		if (isfinite(y[i * stride])) {
			sum += y[i * stride];
			n++;
		}
	return n ? sum / n : NAN;
}

static size_t group(const struct chart_line *l)
{
	return l->dots ? 1 : l->n / POINTS + 1;
}

static void widen(double x, double *low, double *high)
{
	if (isfinite(x)) {
		*low = fmin(*low, x);
		*high = fmax(*high, x);
	}
}

/* False: there is nothing to draw. */
static bool find_frame(const struct chart *c, struct frame *f)
{
	size_t i, k;

	*f = (struct frame){ INFINITY, -INFINITY, c->from_zero ? 0 : INFINITY, -INFINITY };
	for (i = 0; i < c->lines; i++) {
		const struct chart_line *l = &c->line[i];
		size_t g = group(l);
		for (k = 0; k < l->n; k += g) {
			widen(l->x[k * l->x_stride], &f->x0, &f->x1);
			widen(mean(l->y, l->y_stride, k, k + g < l->n ? k + g : l->n), &f->y0, &f->y1);
		}
		if (l->n)
			widen(l->x[(l->n - 1) * l->x_stride], &f->x0, &f->x1);
	}
	if (!(f->x0 <= f->x1) || !(f->y0 <= f->y1))
		return false;
	if (c->top)
		widen(c->top, &f->y0, &f->y1);
	if (f->x0 == f->x1)
		f->x1++;
	if (f->y0 == f->y1)
		f->y1 += f->y1 ? fabs(f->y1) / 10 : 1;
	else if (!c->from_zero)
		f->y0 -= (f->y1 - f->y0) / 20;
	f->y1 += (f->y1 - f->y0) / 20;
	return true;
}

/* 1, 2 or 5 times a power of ten, about `parts` to the range */
static double tick_step(double range, int parts)
{
	double rough = range / parts, power = 1, m;

	while (power > rough && power > 1e-300)
		power /= 10;
	while (power * 10 <= rough)
		power *= 10;
	m = rough / power;
	return power * (m < 1.5 ? 1 : m < 3.5 ? 2 : m < 7.5 ? 5 : 10);
}

static void add_ticks(struct buffer *out, const struct frame *f)
{
	double step = tick_step(f->y1 - f->y0, 4), t;

	for (t = ceil(f->y0 / step) * step; t <= f->y1; t += step) {
		double y = y_of(f, t), shown = fabs(t) < step / 1e6 ? 0 : t;
		buffer_addf(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
			    "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n", LEFT, WIDTH - RIGHT, y, y,
			    LEFT - 6, y + 4, shown);
	}
	step = fmax(tick_step(f->x1 - f->x0, 6), 1);
	for (t = ceil(f->x0 / step) * step; t <= f->x1; t += step)
		buffer_addf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>\n", x_of(f, t),
			    HEIGHT - BOTTOM + 16, t);
	buffer_addf(out, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>\n", LEFT, WIDTH - RIGHT,
		    HEIGHT - BOTTOM, HEIGHT - BOTTOM);
}

static void add_band(struct buffer *out, const struct frame *f, const struct chart *c)
{
	const double low = y_of(f, fmax(c->low, f->y0)), high = y_of(f, fmin(c->high, f->y1));

	if (c->low < c->high && high < low)
		buffer_addf(out, "<rect class=\"good\" x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%.1f\"/>\n", LEFT,
			    high, WIDTH - LEFT - RIGHT, low - high);
}

static void add_dots(struct buffer *out, const struct frame *f, const struct chart_line *l)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		if (isfinite(l->y[i * l->y_stride]))
			buffer_addf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n",
				    x_of(f, l->x[i * l->x_stride]), y_of(f, l->y[i * l->y_stride]), l->colour);
}

static void add_line(struct buffer *out, const struct frame *f, const struct chart_line *l)
{
	size_t i, g = group(l);
	bool down = false;

	buffer_addf(out, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"%s\" stroke-linejoin=\"round\" d=\"",
		    l->colour, l->thin ? "1" : "2");
	for (i = 0; i < l->n; i += g) {
		size_t end = i + g < l->n ? i + g : l->n;
		double y = mean(l->y, l->y_stride, i, end);
		if (isfinite(y))
			buffer_addf(out, "%c%.1f %.1f", down ? 'L' : 'M', x_of(f, mean(l->x, l->x_stride, i, end)),
				    y_of(f, y));
		down = isfinite(y);
	}
	buffer_adds(out, "\"/>\n");
}

/* One row at the top right, the last label at the edge: 6.2 pixels a letter. */
static void add_legend(struct buffer *out, const struct chart *c)
{
	double x = WIDTH - RIGHT;
	size_t i;

	if (c->lines < 2)
		return;
	for (i = c->lines; i-- > 0;) {
		size_t letters = 0;
		while (c->line[i].label[letters])
			letters++;
		x -= 6.2 * letters;
		buffer_addf(out, "<text x=\"%.1f\" y=\"%d\">%s</text>", x, ROW + 2, c->line[i].label);
		x -= 14;
		buffer_addf(out, "<rect x=\"%.1f\" y=\"%d\" width=\"10\" height=\"3\" fill=\"%s\"/>\n", x, ROW - 4,
			    c->line[i].colour);
		x -= 10;
	}
}

void chart_svg(struct buffer *out, const struct chart *c)
{
	struct frame f;
	size_t i;

	if (!find_frame(c, &f))
		return;
	buffer_addf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n<text class=\"title\" x=\"4\" "
			 "y=\"%d\">%s</text>\n", WIDTH, HEIGHT, c->title, ROW + 2, c->title);
	add_band(out, &f, c);
	add_ticks(out, &f);
	for (i = 0; i < c->lines; i++) {
		if (c->line[i].dots)
			add_dots(out, &f, &c->line[i]);
		else
			add_line(out, &f, &c->line[i]);
	}
	add_legend(out, c);
	buffer_adds(out, "</svg>\n");
}
