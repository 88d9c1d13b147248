/* Labels in the system's fonts, with Pango and cairo.  They are opened when a label needs them: they load some twenty
 * libraries. */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include "../base/library.h"
#include "../base/utf8.h"
#include "label.h"

/* From the public interfaces of cairo 1, Pango 1 and GObject 2. */
struct surface;
struct cairo;
struct layout;
struct font;
enum { MASK_OF_8_BITS = 2, WORD_OR_CHARACTER = 2, AT_THE_END = 3, UNITS = 1024 /* a pixel */ };

struct pango {
	struct surface *(*surface)(int, int, int);
	void (*flush)(struct surface *);
	unsigned char *(*pixels)(struct surface *);
	int (*stride)(struct surface *);
	void (*free_surface)(struct surface *);
	struct cairo *(*cairo)(struct surface *);
	void (*free_cairo)(struct cairo *);
	struct layout *(*layout)(struct cairo *);
	void (*show)(struct cairo *, struct layout *);
	void (*text)(struct layout *, const char *, int);
	void (*width)(struct layout *, int);
	void (*height)(struct layout *, int);
	void (*wrap)(struct layout *, int);
	void (*ellipsis)(struct layout *, int);
	void (*use_font)(struct layout *, const struct font *);
	void (*size)(struct layout *, int *, int *);
	int (*unknown)(struct layout *);
	struct font *(*font)(const char *);
	void (*free_font)(struct font *);
	void (*unref)(void *);
};

static const struct library_function functions[] = {
#define FUNCTION(field, name) { name, offsetof(struct pango, field) }
	FUNCTION(surface, "cairo_image_surface_create"),
	FUNCTION(flush, "cairo_surface_flush"),
	FUNCTION(pixels, "cairo_image_surface_get_data"),
	FUNCTION(stride, "cairo_image_surface_get_stride"),
	FUNCTION(free_surface, "cairo_surface_destroy"),
	FUNCTION(cairo, "cairo_create"),
	FUNCTION(free_cairo, "cairo_destroy"),
	FUNCTION(layout, "pango_cairo_create_layout"),
	FUNCTION(show, "pango_cairo_show_layout"),
	FUNCTION(text, "pango_layout_set_text"),
	FUNCTION(width, "pango_layout_set_width"),
	FUNCTION(height, "pango_layout_set_height"),
	FUNCTION(wrap, "pango_layout_set_wrap"),
	FUNCTION(ellipsis, "pango_layout_set_ellipsize"),
	FUNCTION(use_font, "pango_layout_set_font_description"),
	FUNCTION(size, "pango_layout_get_pixel_size"),
	FUNCTION(unknown, "pango_layout_get_unknown_glyphs_count"),
	FUNCTION(font, "pango_font_description_from_string"),
	FUNCTION(free_font, "pango_font_description_free"),
	FUNCTION(unref, "g_object_unref"),
};

static struct layout *lay_out(const struct pango *p, struct cairo *c, const char *text, int width, int height)
{
	struct layout *l = p->layout(c);
	struct font *f = p->font("Sans 11px");

	p->use_font(l, f);
	p->free_font(f);
	p->width(l, width * UNITS);
	p->height(l, height * UNITS);
	p->wrap(l, WORD_OR_CHARACTER);
	p->ellipsis(l, AT_THE_END);
	p->text(l, text, -1);
	return l;
}

static void blend(struct image *on, int x, int y, const struct pango *p, struct surface *mask, int width, int height,
		  const uint8_t rgb[3])
{
	const unsigned char *from = p->pixels(mask);

	for (int j = 0; j < height; j++)
		for (int i = 0; i < width; i++) {
			int a = from[(size_t)j * p->stride(mask) + i];
			uint8_t *to = on->rgb + ((size_t)(y + j) * on->width + x + i) * 3;

			if (x + i < 0 || x + i >= on->width || y + j < 0 || y + j >= on->height)
				continue;
			for (int k = 0; k < 3; k++)
				to[k] += (rgb[k] - to[k]) * a / 255;
		}
}

int label_draw_system(struct image *on, int x, int y, const char *text, int width, int height, const uint8_t rgb[3])
{
	struct pango p;
	struct surface *mask;
	struct cairo *c;
	struct layout *l;
	int w = 0, h = 0;

	if (utf8_valid(text, strlen(text)) != strlen(text) ||
	    !library_open("libpangocairo-1.0.so.0", functions, sizeof(functions) / sizeof(*functions), &p))
		return 0;
	mask = p.surface(MASK_OF_8_BITS, width, height);
	c = p.cairo(mask);
	l = lay_out(&p, c, text, width, height);
	if (!p.unknown(l))
		p.size(l, &w, &h);
	if (h && on) {
		p.show(c, l);
		p.flush(mask);
		blend(on, x, y, &p, mask, width, height, rgb);
	}
	p.unref(l);
	p.free_cairo(c);
	p.free_surface(mask);
	return h < height ? h : height;
}
