/* The layout of a sheet of pictures with labels, and its drawing. */
#include <stdlib.h>
#include <string.h>
#include "label.h"
#include "sheet.h"

#define GAP         8           /* pixels between cells */
#define BELOW       3           /* pixels between a picture and its label */
#define LABEL_LINES 12          /* lines a cell's label may take, */
#define ROW_LINES   4           /* and a row's */
#define MOST_BESIDE 8           /* columns: more are not seen at once */
#define MIN_WIDTH   128         /* a column is at least this wide, so that a label can be read */

static const uint8_t paper[3] = { 24, 24, 28 }, ink[3] = { 220, 220, 220 };

/* The layout, in pixels.  A band is all rows of the columns that stand beside each other. */
struct layout {
	int factor, w, h;               /* enlargement; the room of an enlarged picture */
	size_t beside, bands;           /* columns a band; bands */
	int row_label, label;           /* heights: 0 where there are none */
	int width;
	size_t height;
};

static int max_int(int a, int b)
{
	return a > b ? a : b;
}

/* The columns of a band: as many as fit, in bands of similar length. */
static size_t columns_beside(const struct sheet *s, int w)
{
	const int room = (SHEET_WIDTH - GAP) / (w + GAP);
	size_t fit = max_int(room < MOST_BESIDE ? room : MOST_BESIDE, 1),
	       group = s->together && s->together <= fit ? s->together : 1;
	size_t most = fit - fit % group,
	       bands = (s->columns + most - 1) / most, beside = (s->columns + bands - 1) / bands;

	return beside + (group - beside % group) % group;
}

static size_t row_height(const struct layout *l)
{
	return (size_t)l->row_label + l->h + l->label + GAP;
}

/* The layout without the heights of labels.  w, h: the size of the largest picture. */
static struct layout layout_of(const struct sheet *s, int w, int h)
{
	struct layout l = { .factor = max_int((MIN_WIDTH + w - 1) / w, 1) };

	l.w = w * l.factor;
	l.h = h * l.factor;
	l.beside = columns_beside(s, l.w);
	l.bands = (s->columns + l.beside - 1) / l.beside;
	l.width = GAP + (int)l.beside * (l.w + GAP);
	return l;
}

static void layout_labels(struct layout *l, const struct sheet *s, int row_label, int label)
{
	l->row_label = row_label;
	l->label = label ? label + BELOW : 0;
	l->height = GAP + l->bands * s->rows * row_height(l);
}

static int row_label_height(const struct sheet *s, const struct layout *l)
{
	int height = 0;

	for (size_t r = 0; s->row_label && r < s->rows; r++)
		if (s->row_label[r])
			height = max_int(height, label_draw(NULL, 0, 0, s->row_label[r], l->width - 2 * GAP, ROW_LINES,
							    ink));
	return height;
}

static int label_height(const struct sheet *s, const struct layout *l)
{
	int height = 0;

	for (size_t i = 0; i < s->rows * s->columns; i++)
		if (s->cells[i].picture && s->cells[i].label)
			height = max_int(height, label_draw(NULL, 0, 0, s->cells[i].label, l->w, LABEL_LINES, ink));
	return height;
}

bool sheet_fits(const struct sheet *s, int w, int h)
{
	struct layout l = layout_of(s, w, h);

	layout_labels(&l, s, s->row_label ? ROW_LINES * LABEL_LINE : 0, LABEL_LINES * LABEL_LINE);
	return l.width <= SHEET_SIDE && l.height <= SHEET_SIDE;
}

/* ---- drawing ---- */

static void paste(struct image *on, int x, int y, const struct image *from, int factor)
{
	int i, j;

	for (j = 0; j < from->height * factor; j++)
		for (i = 0; i < from->width * factor; i++)
			memcpy(on->rgb + ((size_t)(y + j) * on->width + x + i) * 3,
			       from->rgb + ((size_t)(j / factor) * from->width + i / factor) * 3, 3);
}

static void draw_cell(struct image *on, const struct layout *l, int x, int y, const struct sheet_cell *cell)
{
	const struct image *p = cell->picture;

	if (!p)
		return;
	paste(on, x + (l->w - p->width * l->factor) / 2, y + (l->h - p->height * l->factor) / 2, p, l->factor);
	if (cell->label)
		label_draw(on, x, y + l->h + BELOW, cell->label, l->w, LABEL_LINES, ink);
}

static void draw_row(struct image *on, const struct layout *l, const struct sheet *s, size_t band, size_t row)
{
	size_t first = band * l->beside, end = first + l->beside < s->columns ? first + l->beside : s->columns, c;
	int y = GAP + (int)((band * s->rows + row) * row_height(l));

	if (s->row_label && s->row_label[row])
		label_draw(on, GAP, y - 2, s->row_label[row], l->width - 2 * GAP, ROW_LINES, ink);
	for (c = first; c < end; c++)
		draw_cell(on, l, GAP + (int)(c - first) * (l->w + GAP), y + l->row_label,
			  &s->cells[row * s->columns + c]);
}

static void largest(const struct sheet *s, int *w, int *h)
{
	*w = *h = 1;
	for (size_t i = 0; i < s->rows * s->columns; i++)
		if (s->cells[i].picture) {
			*w = max_int(*w, s->cells[i].picture->width);
			*h = max_int(*h, s->cells[i].picture->height);
		}
}

void sheet_make(struct image *out, const struct sheet *s)
{
	struct layout l;
	int w, h;
	size_t i;

	largest(s, &w, &h);
	l = layout_of(s, w, h);
	layout_labels(&l, s, row_label_height(s, &l), label_height(s, &l));
	*out = (struct image){ l.width, (int)l.height, NULL, NULL };
	out->rgb = xmalloc((size_t)out->width * out->height * 3);
	for (i = 0; i < (size_t)out->width * out->height; i++)
		memcpy(out->rgb + 3 * i, paper, 3);
	for (i = 0; i < l.bands * s->rows; i++)
		draw_row(out, &l, s, i / s->rows, i % s->rows);
}
