/*
 * pattern.h - regular expressions of Perl's form from files and command lines, with a limit to what one may cost.
 *
 * Must not know what they are matched with.
 */
#ifndef IO_PATTERN_H
#define IO_PATTERN_H

#include <stdbool.h>
#include "../base/error.h"

struct pattern;

/* head and tail stand around the text, which is what messages show; where: what a message opens with.  anchored: it
 * matches from the subject's start on. */
struct pattern_form { const char *head, *tail, *where; bool anchored; enum exit_code code; };
struct pattern *pattern_new(const char *text, const struct pattern_form *form, struct error *e) MUST_CHECK;
void pattern_free(struct pattern *p);           /* accepts NULL */
const char *pattern_text(const struct pattern *p);
/* 1: it fits, 0: it does not, -1: it takes too many steps */
int pattern_fits(const struct pattern *p, const char *subject, struct error *e) MUST_CHECK;

#endif
