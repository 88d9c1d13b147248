/*
 * prompts.h - reads prompt files: kohya's, with a prompt a line (empty lines and lines that begin with # are skipped),
 * and TOML or JSON with sd-scripts' names of the same settings.
 */
#ifndef SAMPLE_PROMPTS_H
#define SAMPLE_PROMPTS_H

#include "prompt.h"

/* Reads it by its extension: .toml ([prompt], [[prompt.subset]]), .json (a list of objects or lines), else lines. */
int prompts_read(const char *path, struct prompt_list *list, struct error *e) MUST_CHECK;
int prompts_read_toml(const char *path, struct prompt_list *list, struct error *e) MUST_CHECK;
int prompts_read_json(const char *path, struct prompt_list *list, struct error *e) MUST_CHECK;

#endif
