/*
 * label.h - a text in a box of a sheet, broken at spaces and line ends.
 *
 * Printable ASCII is drawn in the built-in font, the same pixels everywhere.  Any other text is drawn by Pango in the system's fonts where
 * both have all of it, else spelled in ASCII (spell.h).  What is too long for its lines ends in "...".
 */
#ifndef SAMPLE_LABEL_H
#define SAMPLE_LABEL_H

#include "../io/image.h"

#define LABEL_LINE 10           /* pixels a line of the built-in font */

/* Draws into width pixels and at most so many lines, clipped at the picture's edge; on NULL: only measured.  Returns the height, pixels. */
int label_draw(struct image *on, int x, int y, const char *text, int width, int lines, const uint8_t rgb[3]);

/* ASCII text in a 5x7 font on a 6x9 raster; other characters as '?'.  Clipped at the picture's edge. */
void text_draw(struct image *on, int x, int y, const char *text, const uint8_t rgb[3]);

/* The same as label_draw() by Pango, in at most height pixels; 0: the library is not there, or its fonts lack a character. */
int label_draw_system(struct image *on, int x, int y, const char *text, int width, int height, const uint8_t rgb[3]);

#endif
