/*
 * chart.h - a chart of lines over whole numbers, as inline SVG.
 */
#ifndef IO_CHART_H
#define IO_CHART_H

#include <stdbool.h>
#include "../base/memory.h"

/* y[i] belongs to x[i] for i < n; one that is not finite leaves a gap.
 * stride: doubles from one y to the next, and of x. */
struct chart_line { const char *label, *colour; const double *x, *y; size_t n, x_stride, y_stride; bool thin, dots; };
struct chart {
	const char *title; const struct chart_line *line; size_t lines; bool from_zero;
	double low, high;               /* a good range, shown as a band as far as the axis reaches; both 0: none */
	double top;                     /* the axis reaches at least to it */
};

void chart_svg(struct buffer *out, const struct chart *c);

#endif
