/*
 * other_names.h - other trainers' names for our keys, one row each: OneTrainer, ai-toolkit, diffusers' scripts,
 * SimpleTuner, diffusion-pipe, PEFT.
 *
 * Such a name is an error, and the message names the key that works here.  Keys of ours are in known_keys.h.
 */
#ifndef CONFIG_OTHER_NAMES_H
#define CONFIG_OTHER_NAMES_H

#include <stddef.h>

struct other_name {
	const char *name;
	const char *ours;       /* the key that does it here; NULL: none is needed, .say has the reason */
	const char *program;    /* the program that has this name, where it is the only one; may be NULL */
	const char *say;        /* what to write or why not, in place of "did you mean"; may be NULL */
	/* the option for it in a tool that has no key for it, mostly lora-sample; may be NULL */
	const char *option;
};

const struct other_name *other_name(const char *name);          /* NULL: there is no such row */
const struct other_name *other_names(size_t *count);            /* sorted by name */

#endif
