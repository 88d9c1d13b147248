/*
 * label.h - draws a text into a box of a sheet, broken at spaces and line ends.
 *
 * Printable ASCII is drawn in the built-in font, with the same pixels everywhere.  Other text is drawn by Pango in the
 * system's fonts, where the library and all characters are there; else it is spelled in ASCII (spell.h).  Text that is
 * too long for its lines ends in "...".
 */
#ifndef SAMPLE_LABEL_H
#define SAMPLE_LABEL_H

#include "../io/image.h"

#define LABEL_LINE 10           /* pixels a line of the built-in font */

/* Draws text into `width` pixels and at most `lines` lines, clipped at the picture's edge.  on NULL: only measures it.
 * Returns the height in pixels. */
int label_draw(struct image *on, int x, int y, const char *text, int width, int lines, const uint8_t rgb[3]);

/* Draws ASCII in a 5x7 font on a 6x9 raster, other characters as '?', clipped at the picture's edge. */
void text_draw(struct image *on, int x, int y, const char *text, const uint8_t rgb[3]);

/* Like label_draw(), with Pango and in at most height pixels; 0: the library is not installed, or no font has some
 * character. */
int label_draw_system(struct image *on, int x, int y, const char *text, int width, int height, const uint8_t rgb[3]);

#endif
