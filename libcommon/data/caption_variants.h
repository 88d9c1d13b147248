/*
 * caption_variants.h - a caption as one visit of training reads it: tags shuffled, fixed in place or dropped, wildcards
 * drawn, whole captions dropped.
 *
 * A visit is one use of a sample in a step.  Owns the options and the order in which they apply, which is kohya's.
 * Every draw is a pure function of (seed, step, item), so a resumed run reads the same words.  Must not know tokens,
 * encoders or where captions come from.
 */
#ifndef DATA_CAPTION_VARIANTS_H
#define DATA_CAPTION_VARIANTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "../base/error.h"

struct caption_options {
	bool shuffle, wildcard;
	bool weighted;                  /* brackets weigh words; a sample's own options cannot set it */
	long keep_tokens;
	const char *keep_separator;     /* NULL: keep_tokens applies */
	const char *separator;          /* between tags; NULL: a comma */
	const char *second_separator;   /* NULL: none */
	double dropout, tag_dropout;    /* rates */
	long dropout_every_epochs;      /* 0: never */
	long warmup_min;
	double warmup_steps;            /* below 1: a share of the run */
	json_t *source;                 /* keeps the texts of caption_options_override() */
};

/* The rows of these that lora-prep's --lint needs too. */
#define CAPTION_SEPARATOR_ROWS(o) \
	{ "keep-tokens-separator", 0, OPTION_STRING, &(o)->keep_separator, "TEXT", \
	  "tags before it (and behind a second) stay", .advanced = true, .keeps_empty = true }, \
	{ "caption-separator", 0, OPTION_STRING, &(o)->separator, "TEXT", "between tags (a comma)", \
	  .advanced = true, .keeps_empty = true }, \
	{ "secondary-separator", 0, OPTION_STRING, &(o)->second_separator, "TEXT", "between words that stay together", \
	  .advanced = true, .keeps_empty = true }

/* Rows of an option table, for lora-encode and lora-train alike. */
#define CAPTION_OPTION_ROWS(o) \
	{ "shuffle-caption", 0, OPTION_FLAG, &(o)->shuffle, NULL, "draw the order of a caption's tags anew", \
	  .advanced = true }, \
	{ "keep-tokens", 0, OPTION_INT, &(o)->keep_tokens, "N", "first tags that stay in place", .fallback = "0", \
	  .max = 1e6, .advanced = true }, \
	CAPTION_SEPARATOR_ROWS(o), \
	{ "caption-dropout-rate", 0, OPTION_NUMBER, &(o)->dropout, "P", "how often a caption is left out", \
	  .fallback = "0", .max = 1, .advanced = true }, \
	{ "caption-dropout-every-n-epochs", 0, OPTION_INT, &(o)->dropout_every_epochs, "N", \
	  "every N-th epoch has no captions; 0: none", .fallback = "0", .max = 1e6, .advanced = true }, \
	{ "caption-tag-dropout-rate", 0, OPTION_NUMBER, &(o)->tag_dropout, "P", "how often a tag is left out", \
	  .fallback = "0", .max = 1, .advanced = true }, \
	{ "token-warmup-min", 0, OPTION_INT, &(o)->warmup_min, "N", "tags at the first step", \
	  .fallback = "1", .max = 1e6, .advanced = true }, \
	{ "token-warmup-step", 0, OPTION_NUMBER, &(o)->warmup_steps, "N|RATIO", \
	  "step at which every tag is there; 0: at once", .fallback = "0", .max = 1e9, .advanced = true }, \
	{ "enable-wildcard", 0, OPTION_FLAG, &(o)->wildcard, NULL, "draw one line, and one of {a|b}", \
	  .advanced = true }, \
	{ "weighted-captions", 0, OPTION_FLAG, &(o)->weighted, NULL, "(words:1.2) and [words] weigh words", \
	  .advanced = true }

/* *base with the options of a sample's own json on top ({"shuffle_caption": true, ...}; NULL or absent: none). */
int caption_options_override(const struct caption_options *base, const json_t *own, const char *where,
			     struct caption_options *out, struct error *e) MUST_CHECK;
void caption_options_free(struct caption_options *o);

/* Those that decide which variants a caption has, and are on, as an object for caption_options_override(); new. */
json_t *caption_options_making(const struct caption_options *o);
/* The first of those that is on in o, and in the other is not so; NULL: there is none. */
const char *caption_options_other(const struct caption_options *o, const struct caption_options *than);

bool caption_options_vary(const struct caption_options *o);     /* does a caption differ from visit to visit? */
bool caption_options_drop(const struct caption_options *o);     /* is it dropped on some visits? */
/* Refuses separators that are empty or not UTF-8: the latter would make captions that are not. */
int caption_options_check(const struct caption_options *o, struct error *e) MUST_CHECK;

struct caption_visit {
	uint64_t seed;
	uint32_t epoch, step, item;     /* epoch and step from 0 */
	long total;                     /* steps of the run, for a warm-up that is a share */
};

/* The caption of a visit, malloced; "" where it is dropped.  Draw 0 of (seed, RANDOM_CAPTION, step, item) is not used
 * here: with cached text it picks the variant. */
char *caption_of_visit(const struct caption_options *o, const char *caption, const struct caption_visit *v);
/* The same, never dropped. */
char *caption_variant(const struct caption_options *o, const char *caption, const struct caption_visit *v);
bool caption_left_out(const struct caption_options *o, const struct caption_visit *v);

#endif
