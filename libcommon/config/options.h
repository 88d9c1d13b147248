/*
 * options.h - options of the command line and of configuration files, from one table per tool.
 *
 * A row of the table gives the parser, the default, the help text and the configuration key of an option.
 *
 * Owns precedence (defaults < --config files in order < LORA_* < --launch-line < command line), where each value came
 * from, and the wording of every usage error.  Must not know what an option means.
 *
 *     struct settings s;
 *     const struct option table[] = {
 *             { "rank", 'r', OPTION_INT, &s.rank, "N", "rank, or dimension", .fallback = "16", .min = 1, .max = 4096 },
 *             { 0 } };
 *     struct tool tool = { "lora-x", "[options] FILE...", "one sentence", table };
 *     int n = options_parse(&tool, argc, argv);       // exits by itself: 0 after --help, 2 after a mistake
 *
 * Long options accept _ for - and --name=value, and an option is also found under its config key.  A list whose key
 * ends in _args takes several words (--network_args a=1 b=2).  An argument written "[...]" may be left out and is then
 * "auto"; a following word is taken for it unless it begins with - or ends in .tar.  The config key of an option is its
 * name with _ for -, unless .key says otherwise; .key = "" keeps it out of config files.  The environment variable is
 * LORA_ and the key in capitals.
 */
#ifndef CONFIG_OPTIONS_H
#define CONFIG_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include "../base/error.h"

enum option_kind {
	OPTION_FLAG,            /* bool; --no-NAME and `name = false` switch it off */
	OPTION_SWITCH,          /* enum option_switch: a flag that may also be told to decide for itself, --NAME auto */
	OPTION_INT,             /* long, min..max, or one of .choices */
	OPTION_NUMBER,          /* double, min..max; accepts 1e-4 */
	OPTION_STRING,          /* const char *; "" in a config means unset (NULL) */
	OPTION_CHOICE,          /* const char *, one of .choices ("a|b|c") */
	OPTION_LIST,            /* struct text_list *: may be given several times; arrays in TOML */
	OPTION_SIZE,            /* long[2]: "N" (both) or "W,H" */
	OPTION_SECTION,         /* a heading in --help; only .help */
};

/* How the run uses a file or folder that a value names.  options_parse() claims it (io/claims.h), so that no output is
 * an input. */
enum option_file {
	FILE_NONE,
	FILE_READ,              /* read; of a folder, a model's, a tokenizer's or an adapter's files */
	FILE_READ_WHOLE,        /* read; of a folder, all that is in it */
	FILE_READ_WEIGHTED,     /* FILE:0.8 */
	FILE_LISTED,            /* a folder of pictures or the like: the tool claims those that it finds */
	FILE_WRITTEN,
	FILE_WRITTEN_IN,        /* a folder that files are written in, of several options maybe */
};

enum option_switch { SWITCH_OFF, SWITCH_ON, SWITCH_AUTO };

struct text_list { const char **item; size_t count; };

/* A value that other programs accept and this one refuses, with what is said. */
struct option_refusal { const char *value, *say; };

/* Whether another value makes another run, and which files show the value. */
enum option_identity {
	IDENTITY_RUN,           /* another run; adapters and states show it */
	IDENTITY_SHOWN,         /* the same run (its length, words about it), or the identity says it in other words */
	IDENTITY_ADAPTER,       /* the same run; only adapters show it */
	IDENTITY_ELSEWHERE,     /* the same run: where, when and on what it is made; no file shows it */
};

struct option {
	const char *name;
	char letter;
	enum option_kind kind;
	void *value;
	const char *argument;   /* word for the value in --help */
	const char *help;
	const char *fallback;   /* the default as text; NULL: unset (0, false, NULL, empty) */
	const char *choices;
	/* What a shell completes where .choices and .file do not say it: values, ends of files' names and / for
	 * folders, as "auto|*.tar".  Nothing is checked against it. */
	const char *completes;
	double min, max;        /* both 0: no limits */
	bool above_min;         /* OPTION_NUMBER: min itself does not fit */
	const char *key;
	bool advanced;          /* listed by --help=all only */
	/* '' on the command line is a value, which the option's reader checks; otherwise '' unsets the option */
	bool keeps_empty;
	enum option_file file;
	const char *writes;     /* a kind of io/kind.h: no file of another is written over; NULL: whatever was there */
	/* OPTION_STRING: values to refuse, ended by { 0 }; reported before any mistake in another option's value */
	const struct option_refusal *refused;
	/* The other option without which this one does nothing: `KEY`, or `KEY = "A" or "B"`.  Behind a | are options
	 * that are enough too, but that the message does not name. */
	const char *needs;
	/* for the tool, not for the parser */
	enum option_identity identity;
	/* Files show it only where it is not the default, so that those of older versions keep their bytes. */
	bool sparse;
	const char *ss_key;     /* the key of kohya's metadata that says it; NULL: none does, or in other words */
};

struct tool {
	const char *name, *synopsis, *purpose;
	const struct option *table;
	bool takes_config;      /* accepts --config, LORA_* and --print-config */
	enum option_file operands;
	const char *exits;      /* extra text for --help=all, may be NULL */
	const char *completes;  /* of the operands, as an option's */
	const char *modes;      /* "into|add": the words of which the first operand is one; NULL: none */
};

/* Fills the values; moves operands to argv[0..n), returns n.  Handles --help[=WHAT], --version, --quiet, --print-config
 * and --config itself.  Strings point into argv or into memory kept until exit. */
int options_parse(const struct tool *tool, int argc, char **argv);

/* Where an option's value came from, after options_parse(): "default", "command line", "LORA_RANK", "run.toml:12".
 * NULL: there is no such option. */
const char *option_origin(const char *name);
bool option_is_set(const char *name);           /* by anything but the default */
bool option_is_typed(const char *name);         /* on the command line, or on that of a launcher */
/* Puts "run.toml:12: vae: ", "--vae: " or "LORA_VAE: " before a message about a file or folder that an option named,
 * "run.toml:9: " before one that opens with a key, "--" where that was typed; returns e. */
const struct error *options_explain(struct error *e);
/* Sets every option of a table to its default.  For another table than the parsed one, whose origins stay. */
void options_defaults(const struct tool *tool);
/* The options as valid TOML, one `key = value  # origin` a line, for --print-config; without origins, for metadata. */
struct buffer;
void options_print(const struct tool *tool, struct buffer *out, bool origins);
/* Does the value equal the default, whether or not it was given? */
bool option_is_default(const struct option *o);
/* The option's key in configuration files; NULL: it has none. */
const char *option_file_key(const struct option *o, char buffer[80]);
/* The place of a value, counted from 0, among .choices that have it. */
int choice_index(const char *choices, const char *value);
const struct option *option_by_key(const struct tool *tool, const char *key);           /* NULL: none */
/* false, 0, "", no text, an empty list */
bool option_is_off(const struct option *o);
/* What the option .needs is on, or it needs nothing. */
bool option_is_heard(const struct tool *tool, const struct option *o);
/* EXIT_USAGE for the first option that was typed and is not heard. */
int options_refuse_idle(const struct tool *tool, struct error *e) MUST_CHECK;
/* Prints a note for each value that changes nothing because the option that it .needs is off.  Defaults are not noted:
 * kohya's GUI writes all of them into every file. */
void options_tell_idle(const struct tool *tool);

#endif
