/*
 * prompts.h - prompt files: kohya's, a prompt a line, where lines that begin with # and empty ones are skipped; and tables by sd-scripts'
 * names of the same settings.
 */
#ifndef SAMPLE_PROMPTS_H
#define SAMPLE_PROMPTS_H

#include "prompt.h"

/* By the file's ending: lines, .toml ([prompt], [[prompt.subset]]) or .json (a list of objects or lines). */
int prompts_read(const char *path, struct prompt_list *list, struct error *e) MUST_CHECK;
int prompts_read_toml(const char *path, struct prompt_list *list, struct error *e) MUST_CHECK;
int prompts_read_json(const char *path, struct prompt_list *list, struct error *e) MUST_CHECK;

#endif
