/*
 * known_keys.h - every configuration key that this family of tools, kohya's scripts or their neighbours use.
 *
 * One row a key.  A key in no row is an error with the nearest name; what a row says decides the rest.
 */
#ifndef CONFIG_KNOWN_KEYS_H
#define CONFIG_KNOWN_KEYS_H

#include <stdbool.h>
#include <stddef.h>

enum key_class {
	KEY_OURS,               /* an option of at least one of the six tools (each tool takes what is in its own table) */
	KEY_IGNORED,            /* means nothing here (xformers, data-loader workers ...): accepted, noted once */
	KEY_RESIDUE,            /* of other programs' GUIs: accepted, noted once */
	KEY_REFUSED,            /* kohya has it, we do not: refused with the reason in .say */
};

struct known_key {
	const char *name;
	enum key_class class;
	const char *say;        /* what this program does instead, or why not; KEY_OURS: noted when used, mostly NULL */
	const char *alias;      /* KEY_OURS: another of our keys that it sets (kohya's spelling); NULL: its own */
	const char *neutral;    /* values ("a|b"), besides false, 0, "" and "none", that ask for nothing; may be NULL */
};

const struct known_key *known_key(const char *name);            /* NULL: nobody knows it */
bool known_key_is_flag(const struct known_key *k);              /* on a command line it takes no value */
const struct known_key *known_keys(size_t *count);              /* sorted by name */

#endif
