/* Parsing A1111's brackets into parts with weights. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "prompt_weights.h"

#define ROUND 1.1
#define SQUARE (1 / 1.1)
/* The largest weight, of either sign.  With eighty digits it would be no finite float, nor would any picture. */
#define MOST 1e6f
#define DEEPEST 64                      /* open brackets; 1.1 to the power of this is 446 */

/* The open brackets: the index of the part with which each began; SIZE_MAX: too deep, ignored. */
struct open { size_t *first, count, capacity; };

struct reader { struct weighted_texts parts; struct open round, square; };

static void add_text(struct reader *r, const char *text, size_t n)
{
	GROW(r->parts.part, r->parts.count, r->parts.capacity);
	r->parts.part[r->parts.count++] = (struct weighted_text){ xstrndup(text, n), 1 };
}

static void open_bracket(struct reader *r, struct open *o)
{
	const bool deep = r->round.count + r->square.count >= DEEPEST;

	GROW(o->first, o->count, o->capacity);
	o->first[o->count++] = deep ? SIZE_MAX : r->parts.count;
}

static void close_bracket(struct reader *r, struct open *o, double weight)
{
	size_t i;

	for (i = o->first[--o->count]; i < r->parts.count; i++)
		r->parts.part[i].weight = fmaxf(-MOST, fminf(MOST, (float)(r->parts.part[i].weight * weight)));
}

/* ":1.3)" ends a bracket with its weight.  Returns its length, 0 where there is none. */
static size_t read_weight(const char *s, double *weight)
{
	const char *number = s + 1 + strspn(s + 1, " \t\n"), *digits = number + strspn(number, "+-"), *after;
	char *end;

	if (*s != ':' || !*digits || !strchr(".0123456789", *digits) || digits - number > 1)
		return 0;
	after = digits + strspn(digits, ".0123456789");
	*weight = strtod(number, &end);
	if (end != after || !isfinite(*weight))
		return 0;
	after += strspn(after, " \t\n");
	return *after == ')' ? after + 1 - s : 0;
}

/* Reads the character or bracket at s; returns its length. */
static size_t read_piece(struct reader *r, const char *s)
{
	double weight;
	size_t n;

	if (*s == '\\') {
		n = s[1] && strchr("()[]\\", s[1]) ? 2 : 1;
		add_text(r, s + 1, n - 1);
		return n;
	}
	if (*s == '(' || *s == '[') {
		open_bracket(r, *s == '(' ? &r->round : &r->square);
		return 1;
	}
	if (r->round.count && (n = read_weight(s, &weight))) {
		close_bracket(r, &r->round, weight);
		return n;
	}
	if ((*s == ')' && r->round.count) || (*s == ']' && r->square.count)) {
		close_bracket(r, *s == ')' ? &r->round : &r->square, *s == ')' ? ROUND : SQUARE);
		return 1;
	}
	n = 1 + (strchr(":)]", *s) ? 0 : strcspn(s + 1, "\\()[]:"));
	add_text(r, s, n);
	return n;
}

static void join_equals(struct weighted_texts *l)
{
	size_t i, kept = 0;

	for (i = 0; i < l->count; kept++) {
		const float weight = l->part[i].weight;
		struct buffer text = { 0 };

		do {                            /* a weight that is no number is not even its own equal */
			buffer_adds(&text, l->part[i].text);
			free(l->part[i].text);
		} while (++i < l->count && l->part[i].weight == weight);
		l->part[kept] = (struct weighted_text){ buffer_steal(&text), weight };
	}
	l->count = kept;
}

void prompt_weights_parse(const char *prompt, struct weighted_texts *list)
{
	struct reader r = { 0 };

	while (*prompt)
		prompt += read_piece(&r, prompt);
	while (r.round.count)           /* a bracket that is not closed reaches to the end */
		close_bracket(&r, &r.round, ROUND);
	while (r.square.count)
		close_bracket(&r, &r.square, SQUARE);
	if (!r.parts.count)
		add_text(&r, "", 0);
	join_equals(&r.parts);
	free(r.round.first);
	free(r.square.first);
	*list = r.parts;
}

void prompt_weights_free(struct weighted_texts *list)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		free(list->part[i].text);
	free(list->part);
	*list = (struct weighted_texts){ 0 };
}
