/*
 * prompt.h - a prompt with its settings, parsed from kohya's form: the prompt and " --x value" options
 * (lora-sample(1)).
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
	char *where;                    /* "g.txt:2", for messages; malloced; NULL: the command line */
};

struct prompt_list { struct prompt *prompt; size_t count, capacity; };

/* Parses a line and appends its prompt. */
int prompt_parse(const char *where, const char *text, struct prompt_list *list, struct error *e) MUST_CHECK;
/* The same for a line of a file, with or without its end; empty lines and comments add nothing.  Changes text. */
int prompt_parse_line(const char *name, int line, char *text, struct prompt_list *list, struct error *e) MUST_CHECK;
/* Sets one setting by the name of its option ("w", "n"); value is text. */
int prompt_set(const char *where, const char *option, const char *value, struct prompt *p, struct error *e) MUST_CHECK;
/* Takes A1111's <lora:NAME:WEIGHT> and <lyco:...> out of a text, each with a warning: text encoders would read them as
 * words, and A1111 would read in the picture that they were applied. */
void prompt_leave_adapters(const char *where, char *text);
void prompt_free(struct prompt *p);       /* what it owns */
void prompts_free(struct prompt_list *list);

#endif
