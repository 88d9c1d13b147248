/* Lint: the table of findings, and printing one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/utf8.h"
#include "json_path.h"
#include "lint_finding.h"

#define TEXT_CAP 4000                   /* bytes; a line with escaped text and a path must stay under 64 KiB */

static const struct row {
	const char *code;
	enum severity severity;
	const char *advice;             /* NULL: the text brings its own */
} rows[FINDINGS] = {
	[FINDING_UNREADABLE] = { "unreadable", SEVERITY_ERROR, NULL },
	[FINDING_FORMAT] = { "format", SEVERITY_ERROR, NULL },
	[FINDING_DAMAGED] = { "damaged", SEVERITY_ERROR, NULL },
	[FINDING_BOMB] = { "bomb", SEVERITY_ERROR, NULL },
	[FINDING_SIZE] = { "size", SEVERITY_ERROR, NULL },
	[FINDING_MASK] = { "mask", SEVERITY_ERROR, NULL },
	[FINDING_CAPTION] = { "caption", SEVERITY_ERROR, NULL },
	[FINDING_BLACK_MASK] = { "black-mask", SEVERITY_WARNING, "make the mask anew, or remove the picture" },
	[FINDING_NO_CAPTION] = { "no-caption", SEVERITY_WARNING,
				 "write a .txt file beside it, or give --class-tokens" },
	[FINDING_EMPTY_CAPTION] = { "empty-caption", SEVERITY_WARNING, "write words into it, or remove it" },
	[FINDING_CLASS_CAPTION] = { "class-caption", SEVERITY_NOTE, "write a .txt file to say more" },
	[FINDING_MORE_LINES] = { "more-lines", SEVERITY_NOTE, "join them, or give --enable-wildcard" },
	[FINDING_LONG_CAPTION] = { "long-caption", SEVERITY_WARNING, "shorten it, or put the important words first" },
	[FINDING_TAG_TYPO] = { "tag-typo", SEVERITY_WARNING, "use one spelling" },
	[FINDING_DUPLICATE] = { "duplicate", SEVERITY_WARNING,
				"keep one, and raise its repeats if it should count more" },
	[FINDING_NEAR_DUPLICATE] = { "near-duplicate", SEVERITY_WARNING, "keep the better one unless both are wanted" },
	[FINDING_ENLARGED] = { "enlarged", SEVERITY_WARNING, "find a larger copy, or give --bucket-no-upscale" },
	[FINDING_STRIP] = { "strip", SEVERITY_WARNING, "crop it to what matters" },
	[FINDING_CROP] = { "crop", SEVERITY_WARNING,
			   "crop it yourself, or allow longer buckets with --max-bucket-reso" },
	[FINDING_ANIMATED] = { "animated", SEVERITY_NOTE, NULL },
	[FINDING_REMAINDER] = { "remainder", SEVERITY_NOTE, "add pictures of this shape, or take another batch size" },
	[FINDING_STEPS] = { "steps", SEVERITY_NOTE, NULL },
};

static const char *const severities[] = { "error", "warning", "note" };

const char *finding_code(enum finding which)
{
	return rows[which].code;
}

const char *finding_severity(enum finding which)
{
	return severities[rows[which].severity];
}

enum finding finding_of_code(const char *code)
{
	int i = 0;

	while (i < FINDINGS && strcmp(rows[i].code, code))
		i++;
	if (i == FINDINGS)
		die(EXIT_OTHER, "a picture skipped as %s, which is no finding", code);
	return i;
}

static char *shortened(char *text, size_t n)
{
	char *part = xprintf("%.*s ...", (int)utf8_cut(text, n, TEXT_CAP), text);

	free(text);
	return part;
}

int finding_say(struct findings *f, enum finding which, const char *path, const char *format, ...)
{
	const struct row *row = &rows[which];
	va_list list;
	char *text;
	int n;

	va_start(list, format);
	n = vasprintf(&text, format, list);
	va_end(list);
	if (n < 0)
		die(EXIT_MEMORY, "no memory for a finding");
	if (n > TEXT_CAP)
		text = shortened(text, (size_t)n);
	f->count[row->severity]++;
	json_begin(&f->json, NULL);
	json_text(&f->json, "event", "finding");
	json_text(&f->json, "severity", severities[row->severity]);
	json_text(&f->json, "code", row->code);
	if (path)
		json_path(&f->json, path);
	else
		json_none(&f->json, "path");
	if (row->advice) {
		char *whole = xprintf("%s; %s", text, row->advice);
		free(text);
		text = whole;
	}
	json_text(&f->json, "say", text);
	free(text);
	json_end(&f->json);
	return json_line(&f->json, f->fd, f->e) < 0 ? fail_at(f->e, "standard output") : 0;
}
