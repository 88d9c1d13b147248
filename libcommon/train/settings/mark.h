/*
 * mark.h - which run: the settings that make it, a mark of both these and its identity, and what two runs differ in.
 *
 * Which keys make no other run is said by their rows (settings.c).  Must not know where settings come from; they are TOML of one
 * `key = value` a line.
 */
#ifndef TRAIN_SETTINGS_MARK_H
#define TRAIN_SETTINGS_MARK_H

enum { MARK_SIZE = 17 };

/* The lines of config without those that make no other run (its length, what the identity tells in other words, what files say of
 * themselves) and without lines of defaults, so that a key which a later version brings makes none either.  Malloced. */
char *mark_settings(const char *config, const char *defaults);
void run_mark(const char *identity, const char *settings, char mark[MARK_SIZE]);
/* "learning_rate = 0.001, this one 1e-05", the first of them, malloced; NULL: they are the same. */
char *settings_difference(const char *was, const char *is);

#endif
