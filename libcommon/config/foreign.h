/*
 * foreign.h - recognises configuration files of other programs by their keys, names the program and refuses the file.
 *
 * To read half of such a file would be worse.  Must not know what a key of ours means.  Single keys for which other
 * programs have another name are in other_names.h.
 */
#ifndef CONFIG_FOREIGN_H
#define CONFIG_FOREIGN_H

#include "../base/memory.h"
#include "../io/toml.h"

/* Reads a configuration or a data set configuration.  NULL: *e (EXIT_USAGE) names the program, or says what is wrong.
 * preset: where it was a preset of the kohya_ss GUI, the same settings as TOML; may be NULL. */
struct toml *config_file_read(const char *path, struct buffer *preset, struct error *e) MUST_CHECK;

/* The message for a key of sd-scripts that belongs to another model.  NULL: the key is none of these. */
const char *foreign_option(const char *key);

#endif
