/*
 * sheet.h - several pictures on one labelled sheet: rows with a name, columns with a caption.
 */
#ifndef SAMPLE_SHEET_H
#define SAMPLE_SHEET_H

#include "../io/image.h"

struct sheet_cell { const struct image *picture; const char *label; };  /* label under the picture; NULL: none */

/* cells [rows][columns]; a cell without picture stays empty.  row_label [rows] (NULL: none).  Small pictures are enlarged by a whole
 * factor (nearest) until a label fits. */
void sheet_make(struct image *out, const struct sheet_cell *cells, int rows, int columns, const char *const *row_label);

/* ASCII text in a 5x7 font on a 6x9 raster; other characters as '?'.  Clipped at the picture's edge. */
void text_draw(struct image *on, int x, int y, const char *text, const uint8_t rgb[3]);

#endif
