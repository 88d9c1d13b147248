/*
 * options_private.h - what options.c (command line and environment), options_origin.c (what was parsed, and where each
 * value came from), options_files.c (the files among the values), options_value.c (text to value and back),
 * options_toml.c (TOML to value), options_config.c and dataset_config.c (files), options_help.c, options_completion.c
 * and its shells (completion.h), unknown_names.c, foreign.c and gui_preset.c share.  Nobody else includes it.
 */
#ifndef CONFIG_OPTIONS_PRIVATE_H
#define CONFIG_OPTIONS_PRIVATE_H

#include "../base/memory.h"
#include "../base/names.h"
#include "../io/toml.h"
#include "options.h"

#define COMMAND_LINE "command line"
#define LAUNCH_LINE "launch line"
enum { KEY_SIZE = 80 };

/* Unknown names of one file or of the command line. */
struct unknown_name {
	char *name;
	const char *place;      /* "[[datasets]]"; may be NULL */
	int line;               /* 0: of a command line */
	const char *program;    /* the program that has such a name; may be NULL */
	char *advice;           /* what to write instead; may be NULL */
};
struct unknown_names { struct unknown_name *item; size_t count, capacity; };

struct parse {
	const struct tool *tool;
	size_t count;           /* options in the table */
	char **origin;          /* one an option; NULL: its default */
	bool *noted;            /* one for each known key: its note was printed */
	struct unknown_names unknown;   /* of the file that is being read */
	struct error first;     /* the first mistake in that file; reading goes on: unknown names are told first */
	struct buffer preset;   /* a preset of the kohya_ss GUI as TOML; empty: none was given */
};

/* The one of this process, with every option at its default; what was parsed before is forgotten. */
struct parse *parse_begin(const struct tool *tool);
bool option_same_name(const char *given, size_t n, const char *name);    /* _ for - too */
/* Finds an option by its name or key; NULL: there is none. */
const struct option *option_named(const struct tool *tool, const char *name, size_t n);

/* "max_train_steps" for the option "max-train-steps", or what .key says; NULL: not in config files. */
const char *option_key(const struct option *o, char buffer[KEY_SIZE]);
bool option_is_flag(const struct option *o);            /* takes no word behind it */
bool option_word_is_optional(const struct option *o);    /* "[STATE|auto]", but not "[N:]REGEX" */
bool option_takes_pairs(const struct option *o);        /* a list of "k=v": its key ends in _args */
bool option_has_value(const struct option *o);          /* is no OPTION_SECTION */

/* Sets the value from text.  `where` opens the message: "--rank", "run.toml:12: network_dim".  A list grows by one. */
int option_take(const struct option *o, const char *text, const char *where, struct error *e) MUST_CHECK;
void option_begin(const struct option *o);              /* its fallback, whatever bytes are there now */
void option_reset(const struct option *o);              /* back to its fallback */
void option_clear_list(const struct option *o);
void option_print_value(const struct option *o, struct buffer *out);    /* as TOML */
/* Where a value came from, before a message about it: "run.toml:12: vae", "--vae", "LORA_VAE"; malloced. */
char *option_place(const struct option *o, const char *origin);
void option_add_number(struct buffer *out, double x);   /* shortest text that reads back as x */
void option_add_quoted(struct buffer *out, const char *text);           /* as a text of TOML */
void option_expected(const struct option *o, struct buffer *out);       /* "a whole number from 1 to 4096" */

/* The same from TOML; arrays for lists and sizes. */
int option_take_toml(const struct option *o, const struct toml *t, const char *where, struct error *e) MUST_CHECK;
bool word_is_among(const char *word, const char *list);          /* "a|b|c", capitals do not matter; list may be NULL */
bool toml_means_unset(const struct option *o, const struct toml *t);
/* neutral: values ("a|b"), besides false, 0, "" and "none", that ask for nothing; may be NULL */
bool toml_asks_for_nothing(const struct toml *t, const char *neutral);
const struct toml *toml_dataset_tables(const struct toml *root);        /* [[datasets]]; NULL: none */

/* advice is taken over. */
void unknown_add(struct unknown_names *u, const char *name, const char *place, int line, const char *program,
		 char *advice);
void unknown_key(struct unknown_names *u, const struct tool *tool, const char *key, int line);
/* The key of this tool that is nearest to a wrong one; malloced, NULL: none is near. */
char *meant_key(const struct tool *tool, const char *wrong);
/* Fails with one message about all of them, and empties *u.  path NULL: a command line.  otherwise: the advice where no
 * known name is near. */
int unknown_fail(struct unknown_names *u, const char *path, const char *kind, const char *otherwise, struct error *e);
void unknown_free(struct unknown_names *u);

/* Warns of LORA_ variables that no tool reads. */
void options_check_environment(const struct tool *tool);

int options_read_config(struct parse *p, const char *path, struct error *e) MUST_CHECK;
/* --launch-line: keys that were typed as options of a launcher, which put them into a file of its own. */
int options_read_launch(struct parse *p, const char *path, struct error *e) MUST_CHECK;
/* Claims the files that options and operands name; EXIT_USAGE where one is read and written.
 * --config files are claimed as they are read. */
int options_claim_files(const struct parse *p, char **argv, int operands, struct error *e) MUST_CHECK;
void options_help(const struct tool *tool, bool all, struct buffer *out);
/* The options that every tool has: rows without values, for --help and completion.  The first two are for tools that
 * take a configuration. */
extern const struct option options_common[];
enum { COMMON_OF_CONFIG = 2 };
/* The completion of a shell for this tool.  "completion-bash": one of completion_names(); false: it is none. */
bool options_completion(const struct tool *tool, const char *name, struct buffer *out);
struct names completion_names(void);    /* "completion-bash, completion-zsh or ..." */

#endif
