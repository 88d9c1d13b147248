/*
 * prompts.h - what to paint: a prompt with its settings, and kohya's prompt files.
 *
 * A line is the prompt and " --x value" options (docs: lora-sample(1)); lines that begin with # and empty lines are skipped.  A file
 * whose name ends in .toml or .json holds tables instead, by sd-scripts' names of the same settings.
 */
#ifndef SAMPLE_PROMPTS_H
#define SAMPLE_PROMPTS_H

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
int prompts_read_line(const char *name, int line, char *text, struct prompt_list *list, struct error *e) MUST_CHECK;
/* By the file's ending: lines, .toml ([prompt], [[prompt.subset]]) or .json (a list of objects or lines). */
int prompts_read(const char *path, struct prompt_list *list, struct error *e) MUST_CHECK;
/* One setting by the name of its option ("w", "n"); value is text. */
int prompt_set(const char *name, int line, const char *option, const char *value, struct prompt *p, struct error *e) MUST_CHECK;
int prompts_read_toml(const char *path, struct prompt_list *list, struct error *e) MUST_CHECK;
int prompts_read_json(const char *path, struct prompt_list *list, struct error *e) MUST_CHECK;
void prompts_free(struct prompt_list *list);

#endif
