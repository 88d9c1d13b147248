#include <stdlib.h>
#include <string.h>
#include "sheet.h"

#define GAP       8             /* pixels between cells */
#define LINE      10            /* pixels a line of text */
#define LINES     3             /* lines a label may take */
#define MIN_WIDTH 128           /* a column is at least this wide, so that a label can be read */

static const uint8_t paper[3] = { 24, 24, 28 }, ink[3] = { 220, 220, 220 };

static int max_side(const struct sheet_cell *cells, int count, bool width)
{
	int i, max = 1;

	for (i = 0; i < count; i++)
		if (cells[i].picture) {
			int side = width ? cells[i].picture->width : cells[i].picture->height;
			max = side > max ? side : max;
		}
	return max;
}

static void paste(struct image *on, int x, int y, const struct image *from, int factor)
{
	int i, j;

	for (j = 0; j < from->height * factor; j++)
		for (i = 0; i < from->width * factor; i++)
			memcpy(on->rgb + ((size_t)(y + j) * on->width + x + i) * 3,
			       from->rgb + ((size_t)(j / factor) * from->width + i / factor) * 3, 3);
}

/* Broken at spaces where possible. */
static void label(struct image *on, int x, int y, const char *text, int width)
{
	int line, columns = width / 6;

	for (line = 0; line < LINES && *text; line++) {
		size_t n = strlen(text), cut = n;
		char part[256];
		if (n > (size_t)columns) {
			for (cut = columns; cut > 0 && text[cut] != ' '; cut--)
				;
			cut = cut ? cut : (size_t)columns;
		}
		cut = cut < sizeof(part) - 1 ? cut : sizeof(part) - 1;
		memcpy(part, text, cut);
		part[cut] = 0;
		text_draw(on, x, y + line * LINE, part, ink);
		text += cut;
		text += strspn(text, " ");
	}
}

void sheet_make(struct image *out, const struct sheet_cell *cells, int rows, int columns, const char *const *row_label)
{
	int w = max_side(cells, rows * columns, true), h = max_side(cells, rows * columns, false), factor = (MIN_WIDTH + w - 1) / w;
	int left = GAP, top, r, c;
	int cell_w = w * factor + GAP, cell_h = h * factor + LINES * LINE + GAP;
	size_t i;

	factor = factor < 1 ? 1 : factor;
	top = GAP + (row_label ? LINE : 0);
	cell_h += row_label ? LINE : 0;
	*out = (struct image){ left + columns * cell_w, GAP + rows * cell_h, NULL, NULL };
	out->rgb = xmalloc((size_t)out->width * out->height * 3);
	for (i = 0; i < (size_t)out->width * out->height; i++)
		memcpy(out->rgb + 3 * i, paper, 3);
	for (r = 0; r < rows; r++) {
		if (row_label && row_label[r])
			text_draw(out, left, r * cell_h + GAP - 2, row_label[r], ink);
		for (c = 0; c < columns; c++) {
			const struct sheet_cell *cell = &cells[r * columns + c];
			int x = left + c * cell_w, y = top + r * cell_h;
			if (!cell->picture)
				continue;
			paste(out, x + (w - cell->picture->width) * factor / 2, y + (h - cell->picture->height) * factor / 2, cell->picture,
			      factor);
			if (cell->label)
				label(out, x, y + h * factor + 3, cell->label, w * factor);
		}
	}
}
