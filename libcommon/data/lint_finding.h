/*
 * lint_finding.h - the table of findings, and printing one as a line of JSON.  Private to lora-prep's --lint.
 */
#ifndef DATA_LINT_FINDING_H
#define DATA_LINT_FINDING_H

#include "../io/json.h"

enum finding {
	FINDING_UNREADABLE, FINDING_FORMAT, FINDING_DAMAGED, FINDING_BOMB, FINDING_SIZE, FINDING_MASK, FINDING_CAPTION,
	FINDING_BLACK_MASK, FINDING_NO_CAPTION, FINDING_EMPTY_CAPTION, FINDING_CLASS_CAPTION, FINDING_MORE_LINES,
	FINDING_LONG_CAPTION,
	FINDING_TAG_TYPO, FINDING_DUPLICATE, FINDING_NEAR_DUPLICATE, FINDING_ENLARGED, FINDING_STRIP, FINDING_CROP,
	FINDING_ANIMATED, FINDING_REMAINDER, FINDING_STEPS,
	FINDINGS
};

enum severity { SEVERITY_ERROR, SEVERITY_WARNING, SEVERITY_NOTE, SEVERITIES };

struct findings {
	int fd;                         /* -1: findings are only counted */
	size_t count[SEVERITIES];
	struct json_out json;
	struct error *e;
};

/* Prints a finding, with the advice from the table.  path NULL: it is of the whole set.
 * -1: it could not be written. */
int finding_say(struct findings *f, enum finding which, const char *path, const char *format, ...)
	PRINTF_LIKE(4, 5) MUST_CHECK;
/* The row whose code a skipped picture has in the report. */
enum finding finding_of_code(const char *code);
const char *finding_code(enum finding which);
const char *finding_severity(enum finding which);

#endif
