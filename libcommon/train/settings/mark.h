/*
 * mark.h - tells runs apart: the settings that make a run, the mark (a hash of these and of the identity), and the
 * difference between the settings of two runs.
 *
 * The rows of settings.c say which keys make no other run.  Settings are TOML, one `key = value` a line.  Must not know
 * where they come from.
 */
#ifndef TRAIN_SETTINGS_MARK_H
#define TRAIN_SETTINGS_MARK_H

enum { MARK_SIZE = 17 };

/* The lines of config that make the run, malloced: without keys that make no other run (its length, what the identity
 * holds already, what only describes files), and without defaults, so that a key of a later version makes no other run
 * either. */
char *mark_settings(const char *config, const char *defaults);
void run_mark(const char *identity, const char *settings, char mark[MARK_SIZE]);
/* The first difference, as "learning_rate = 0.001, this one 1e-05", malloced; NULL: they are the same. */
char *settings_difference(const char *was, const char *is);

#endif
