/*
 * known_keys.h - every configuration key of our tools, of kohya's scripts and of their neighbours, one row each.
 *
 * A key without a row is an error, which names the nearest key.  The row's class decides what happens to any other.
 */
#ifndef CONFIG_KNOWN_KEYS_H
#define CONFIG_KNOWN_KEYS_H

#include <stdbool.h>
#include <stddef.h>

enum key_class {
	KEY_OURS,               /* an option of at least one of the tools (each tool takes those of its own table) */
	KEY_IGNORED,            /* has no meaning here (xformers, data-loader workers ...): accepted, noted once */
	KEY_RESIDUE,            /* a key of another program's GUI: accepted, noted once */
	KEY_REFUSED,            /* kohya has it, we do not: refused with the reason in .say */
};

struct known_key {
	const char *name;
	enum key_class class;
	const char *say;        /* what is done instead, or why not; KEY_OURS: a note on its use, mostly NULL */
	const char *alias;      /* KEY_OURS: another of our keys that it sets (kohya's spelling); NULL: its own */
	const char *neutral;    /* values ("a|b"), besides false, 0, "" and "none", that ask for nothing; may be NULL */
};

const struct known_key *known_key(const char *name);            /* NULL: there is no such row */
bool known_key_is_flag(const struct known_key *k);              /* on a command line it takes no value */
const struct known_key *known_keys(size_t *count);              /* sorted by name */

#endif
