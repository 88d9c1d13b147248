/* Regular expressions of Perl's form, by PCRE2. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "pattern.h"

enum {
	LONGEST_PATTERN = 1000,
	MOST_STEPS = 100000,    /* of one match; names of layers have below a hundred characters */
};

struct pattern {
	pcre2_code *code;
	char *text, *where;
	enum exit_code exit;
};

static int refuse(const char *text, const struct pattern_form *form, int code, struct error *e)
{
	char why[120] = "";

	if (strlen(text) > LONGEST_PATTERN)
		return fail(e, form->code, "%s: '%.60s...' is longer than %d characters; correct it", form->where, text,
			    LONGEST_PATTERN);
	pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof(why));
	return fail(e, form->code, "%s: '%.200s' is no regular expression: %s; correct it", form->where, text, why);
}

struct pattern *pattern_new(const char *text, const struct pattern_form *form, struct error *e)
{
	char *whole = xprintf("%s%s%s", form->head ? form->head : "", text, form->tail ? form->tail : "");
	pcre2_code *compiled = NULL;
	struct pattern *p = NULL;
	PCRE2_SIZE at;
	int code = 0;

	if (strlen(text) <= LONGEST_PATTERN)
		compiled = pcre2_compile((PCRE2_SPTR)whole, PCRE2_ZERO_TERMINATED,
					 (form->anchored ? PCRE2_ANCHORED : 0) | PCRE2_UTF | PCRE2_UCP, &code, &at,
					 NULL);
	free(whole);
	if (!compiled) {
		refuse(text, form, code, e);
		return NULL;
	}
	p = xmalloc(sizeof(*p));
	*p = (struct pattern){ compiled, xstrdup(text), xstrdup(form->where), form->code };
	return p;
}

void pattern_free(struct pattern *p)
{
	if (!p)
		return;
	pcre2_code_free(p->code);
	free(p->text);
	free(p->where);
	free(p);
}

const char *pattern_text(const struct pattern *p)
{
	return p->text;
}

int pattern_fits(const struct pattern *p, const char *subject, struct error *e)
{
	pcre2_match_data *data = pcre2_match_data_create_from_pattern(p->code, NULL);
	pcre2_match_context *limits = pcre2_match_context_create(NULL);
	int found;

	if (!data || !limits)
		die(EXIT_MEMORY, "out of memory matching the pattern '%.200s'", p->text);
	pcre2_set_match_limit(limits, MOST_STEPS);
	found = pcre2_match(p->code, (PCRE2_SPTR)subject, PCRE2_ZERO_TERMINATED, 0, 0, data, limits);
	pcre2_match_data_free(data);
	pcre2_match_context_free(limits);
	if (found >= 0 || found == PCRE2_ERROR_NOMATCH)
		return found >= 0;
	return fail(e, p->exit, "%s: the pattern '%.200s' takes more than %d steps on '%.200s'; write it more simply",
		    p->where, p->text, MOST_STEPS, subject);
}
