/*
 * other_names.h - what other trainers call our keys: OneTrainer, ai-toolkit, diffusers' scripts, SimpleTuner, diffusion-pipe, PEFT.
 *
 * One row a name.  Such a name is an error all the same, but the message leads to the key that works here.  What a key of ours is
 * knows known_keys.h.
 */
#ifndef CONFIG_OTHER_NAMES_H
#define CONFIG_OTHER_NAMES_H

#include <stddef.h>

struct other_name {
	const char *name;
	const char *ours;       /* the key that does it here; NULL: none is needed, .say has the reason */
	const char *program;    /* whose name it is, where only one has it; may be NULL */
	const char *say;        /* what to write or why not, in place of "did you mean"; may be NULL */
	const char *option;     /* what does it in a program that has no key for it, lora-sample's mostly; may be NULL */
};

const struct other_name *other_name(const char *name);          /* NULL: nobody we know says so */
const struct other_name *other_names(size_t *count);            /* sorted by name */

#endif
