/* Labels of a sheet: the choice of the font, and text in the built-in font. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "label.h"
#include "spell.h"

#define COLUMN 6                /* pixels a character of the built-in font */

static bool is_built_in(const char *text)
{
	for (; *text; text++)
		if ((*text < ' ' || *text > '~') && *text != '\n')
			return false;
	return true;
}

/* The length of the text that fits on a line of `columns` characters, without the space or line end dropped there. */
static size_t line_of(const char *text, size_t columns)
{
	size_t n = strcspn(text, "\n"), cut = columns;

	if (n <= columns)
		return n;
	while (cut && text[cut] != ' ')
		cut--;
	return cut ? cut : columns;
}

static const char *next_line(const char *text, size_t columns)
{
	text += line_of(text, columns);
	return *text == '\n' ? text + 1 : text + strspn(text, " ");
}

static void draw_line(struct image *on, int x, int y, const char *text, size_t columns, bool more, const uint8_t rgb[3])
{
	size_t n = line_of(text, columns), room = more && n + 3 > columns ? (columns > 3 ? columns - 3 : 0) : n;
	char *part = xprintf("%.*s%s", (int)(room < n ? room : n), text, more ? "..." : "");

	text_draw(on, x, y, part, rgb);
	free(part);
}

static int draw_built_in(struct image *on, int x, int y, const char *text, int width, int lines, const uint8_t rgb[3])
{
	size_t columns = width > COLUMN ? width / COLUMN : 1;
	int line;

	for (line = 0; line < lines && *text; line++) {
		const char *rest = next_line(text, columns);

		if (on)
			draw_line(on, x, y + line * LABEL_LINE, text, columns, line + 1 == lines && *rest, rgb);
		text = rest;
	}
	return line * LABEL_LINE;
}

int label_draw(struct image *on, int x, int y, const char *text, int width, int lines, const uint8_t rgb[3])
{
	char *spelled;
	int height;

	if (is_built_in(text))
		return draw_built_in(on, x, y, text, width, lines, rgb);
	height = label_draw_system(on, x, y, text, width, lines * LABEL_LINE, rgb);
	if (height)
		return height;
	spelled = spell(text);
	height = draw_built_in(on, x, y, spelled, width, lines, rgb);
	free(spelled);
	return height;
}
