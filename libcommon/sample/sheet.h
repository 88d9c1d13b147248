/*
 * sheet.h - several pictures on one labelled sheet: rows with a name, cells with a caption.
 *
 * What is too wide, or more than eight columns, is continued below: columns 1 to k of all rows, then k + 1 to 2 k of all rows.
 */
#ifndef SAMPLE_SHEET_H
#define SAMPLE_SHEET_H

#include <stdbool.h>
#include "../io/image.h"

#define SHEET_WIDTH 4136        /* pixels, but for a wider picture: four of SDXL's squares beside each other */
#define SHEET_SIDE  65535       /* the highest sheet: what lora-prep and other programs read */

struct sheet_cell { const struct image *picture; const char *label; };  /* label under the picture, lines end in \n; NULL: none */

/* cells [rows][columns]; a cell without picture stays empty.  together: so many columns stay beside each other where they fit, 0 and 1:
 * none in particular.  row_label [rows] (NULL: none). */
struct sheet {
	const struct sheet_cell *cells;
	size_t rows, columns, together;
	const char *const *row_label;
};

/* Small pictures are enlarged by a whole factor (nearest) until a label fits. */
void sheet_make(struct image *out, const struct sheet *s);

/* Before anything is painted: whether pictures of w x h make a sheet of at most SHEET_SIDE, however long the labels. */
bool sheet_fits(const struct sheet *s, int w, int h);

#endif
