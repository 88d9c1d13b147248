/*
 * options_private.h - what options.c (command line and environment), options_origin.c (what was parsed, and where each value came from),
 * options_value.c (text to value and back), options_toml.c (TOML to value), options_config.c and dataset_config.c (files) and
 * options_help.c share.  Nobody else includes it.
 */
#ifndef CONFIG_OPTIONS_PRIVATE_H
#define CONFIG_OPTIONS_PRIVATE_H

#include "../base/memory.h"
#include "../io/toml.h"
#include "options.h"

#define COMMAND_LINE "command line"
enum { KEY_SIZE = 80 };

struct parse {
	const struct tool *tool;
	size_t count;           /* options in the table */
	char **origin;          /* one an option; NULL: its default */
	bool *noted;            /* one a known key: it has had its note */
};

/* The one of this process, with every option at its default; what was parsed before is forgotten. */
struct parse *parse_begin(const struct tool *tool);
bool option_same_name(const char *given, size_t n, const char *name);    /* _ for - too */
const struct option *option_named(const struct tool *tool, const char *name, size_t n);         /* or by its key; NULL: none */

/* "max_train_steps" for the option "max-train-steps", or what .key says; NULL: not in config files. */
const char *option_key(const struct option *o, char buffer[KEY_SIZE]);
const struct option *option_by_key(const struct tool *tool, const char *key);
bool option_is_flag(const struct option *o);            /* takes no word behind it */
bool option_has_value(const struct option *o);          /* is no heading and not of a later version */

/* Set the value from text.  where opens the message: "--rank", "run.toml:12: network_dim".  A list grows by one. */
int option_take(const struct option *o, const char *text, const char *where, struct error *e) MUST_CHECK;
void option_begin(const struct option *o);              /* its fallback, whatever bytes are there now */
void option_reset(const struct option *o);              /* back to its fallback */
void option_clear_list(const struct option *o);
void option_print_value(const struct option *o, struct buffer *out);    /* as TOML */
void option_add_number(struct buffer *out, double x);   /* shortest text that reads back as x */
void option_expected(const struct option *o, struct buffer *out);       /* "a whole number from 1 to 4096" */

/* The same from TOML; arrays for lists and sizes. */
int option_take_toml(const struct option *o, const struct toml *t, const char *where, struct error *e) MUST_CHECK;
bool toml_means_unset(const struct option *o, const struct toml *t);
/* neutral: values ("a|b"), besides false, 0, "" and "none", that ask for nothing; may be NULL */
bool toml_asks_for_nothing(const struct toml *t, const char *neutral);
const struct toml *toml_dataset_tables(const struct toml *root);        /* [[datasets]]; NULL: none */

int options_read_config(struct parse *p, const char *path, struct error *e) MUST_CHECK;
void options_help(const struct tool *tool, bool all, struct buffer *out);

#endif
