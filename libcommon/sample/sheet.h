/*
 * sheet.h - draws several pictures on one sheet: rows with a name, cells with a label.
 *
 * A sheet that is too wide, or has more than eight columns, goes on below: columns 1 to k of all rows, then k + 1 to 2
 * k of all rows.
 */
#ifndef SAMPLE_SHEET_H
#define SAMPLE_SHEET_H

#include <stdbool.h>
#include "../io/image.h"

#define SHEET_WIDTH 4136        /* most pixels, unless a picture is wider: room for four pictures of 1024 */
#define SHEET_SIDE  65535       /* most pixels of a sheet's side: lora-prep and other programs read no larger ones */

/* label under the picture, lines end in \n; NULL: none */
struct sheet_cell { const struct image *picture; const char *label; };

/* cells: [rows][columns]; a cell without picture stays empty.  together: groups of so many columns are not separated
 * where they fit; 0 and 1: no groups.  row_label: [rows], may be NULL. */
struct sheet {
	const struct sheet_cell *cells;
	size_t rows, columns, together;
	const char *const *row_label;
};

/* Draws the sheet.  Small pictures are enlarged by a whole factor (nearest) until a label fits. */
void sheet_make(struct image *out, const struct sheet *s);

/* Asked before painting: would pictures of w x h make a sheet of at most SHEET_SIDE, however long the labels? */
bool sheet_fits(const struct sheet *s, int w, int h);

#endif
