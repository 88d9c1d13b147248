/*
 * foreign.h - whose configuration is this?  Files of other programs are told apart by their keys, named and refused.
 *
 * Half-reading one is the worst answer.  Must not know what a key of ours means; single keys that other programs name otherwise are
 * in other_names.h.
 */
#ifndef CONFIG_FOREIGN_H
#define CONFIG_FOREIGN_H

#include "../base/memory.h"
#include "../io/toml.h"

/* Reads a configuration or a data set configuration.  NULL: *e (EXIT_USAGE) names the program, or says what is wrong.
 * preset: where it was a preset of the kohya_ss GUI, the same settings as TOML; may be NULL. */
struct toml *config_file_read(const char *path, struct buffer *preset, struct error *e) MUST_CHECK;

/* An option with this key is of sd-scripts for another model: what to say of it.  NULL: it is not. */
const char *foreign_option(const char *key);

#endif
