/*
 * html.h - what our HTML pages share: one file without anything from elsewhere, light or dark as the reader has it.
 *
 * Owns the style, and what makes text safe.  Must not know what a page shows.
 */
#ifndef IO_HTML_H
#define IO_HTML_H

#include "../base/memory.h"

/* Everything up to the first heading, and the end. */
void html_begin(struct buffer *out, const char *title);
void html_end(struct buffer *out);
/* Text, or the value of an attribute between double quotes.  Controls, which HTML does not allow, and what turns the
 * direction of writing are escaped as for a terminal; newline and tab stay. */
void html_escaped(struct buffer *out, const char *text);

#endif
