/*
 * completion.h - what a shell offers behind an option, as the shells' writers (completion_bash.c, _zsh.c, _fish.c) need
 * it.
 *
 * Owns what a row of an option's table means to somebody who presses TAB.  A completion is text that a tool prints of
 * itself, so it lists no option that is not there.
 */
#ifndef CONFIG_COMPLETION_H
#define CONFIG_COMPLETION_H

#include "options_private.h"

enum offered_files { OFFER_NO_FILES, OFFER_FOLDERS, OFFER_FILES };

/* Folders are offered with files: the wanted one may lie there. */
struct offered {
	struct buffer words;            /* "l2 l1 huber"; never NULL */
	struct buffer ends;             /* ".toml .json": what files' names end with; empty: any files */
	enum offered_files files;
};

struct offered offered_behind(const struct option *o);
struct offered offered_operands(const struct tool *tool);
struct offered offered_modes(const struct tool *tool);
void offered_free(struct offered *w);

/* "model", or "no-bucket" of what is on by default: as --help says it; malloced */
char *completed_name(const struct option *o);

enum completed_word {
	WORD_NONE,              /* a flag */
	WORD_ATTACHED,          /* --help=all */
	WORD_OPTIONAL,          /* --resume auto */
	WORD_NEEDED,
};
enum completed_word completed_word(const struct option *o);

/* For each option that there is: those of the table, then those of every tool. */
typedef void completed_row(const struct tool *tool, const struct option *o, struct buffer *out);
void completed_each(const struct tool *tool, completed_row *add, struct buffer *out);

void completion_bash(const struct tool *tool, struct buffer *out);
void completion_zsh(const struct tool *tool, struct buffer *out);
void completion_fish(const struct tool *tool, struct buffer *out);

#endif
