/*
 * prompt.h - what to paint: a prompt with its settings, as kohya's lines write it: the prompt and " --x value" options (lora-sample(1)).
 */
#ifndef SAMPLE_PROMPT_H
#define SAMPLE_PROMPT_H

#include <stddef.h>
#include <stdint.h>
#include "../base/error.h"

struct prompt {
	char *text, *negative, *sampler;        /* malloced; negative and sampler NULL: the defaults */
	long width, height, steps;      /* 0: the default */
	double cfg;                     /* negative number: the default */
	uint64_t seed; int has_seed;
	int line;                       /* in the file; 0: the command line */
};

struct prompt_list { struct prompt *prompt; size_t count, capacity; };

/* Appends a line's prompt.  name:line is for messages. */
int prompt_parse(const char *name, int line, const char *text, struct prompt_list *list, struct error *e) MUST_CHECK;
/* The same of a file's line, which may end in a line's end; empty ones and comments add nothing.  text is changed. */
int prompt_parse_line(const char *name, int line, char *text, struct prompt_list *list, struct error *e) MUST_CHECK;
/* One setting by the name of its option ("w", "n"); value is text. */
int prompt_set(const char *name, int line, const char *option, const char *value, struct prompt *p, struct error *e) MUST_CHECK;
void prompts_free(struct prompt_list *list);

#endif
