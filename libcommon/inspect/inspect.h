/*
 * inspect.h - lora-inspect: tells what a file is, by its content, and whether it is intact.
 *
 * Owns what is printed about adapters, checkpoints, image and latent tars, training states, event files and pictures.
 * Runs no network but the text encoders, for --tokens.
 */
#ifndef INSPECT_H
#define INSPECT_H

#include <stdbool.h>
#include "../base/error.h"

struct inspect_options {
	bool json;                      /* one object a file instead of text for people */
	bool keys, norms, metadata;
	bool spectrum;                  /* adapters: singular values and effective ranks */
	/* as for model_files_open(): what an adapter does is measured on its weights; NULL: on none */
	const char *model, *model_config;
	const char *tokens;             /* words, a file of words, or "auto"; NULL: not asked */
	const char *html;               /* the page to write, of all facts, instead of text; NULL: none */
	const char *diff;               /* another file; NULL: none */
	bool verify;                    /* every byte: structure, checksums, hashes, finiteness */
	bool quick;                     /* headers only */
	unsigned will_it_load;          /* bit i: what reader_at(i) (readers/readers.h) makes of it */
};

/* Writes the TOML of the run that made an adapter or a state to stdout.  -1: there is none (*e). */
int inspect_config(const char *path, struct error *e) MUST_CHECK;

/* Prints the facts to stdout.  -1: damaged, or of no known kind (*e; in JSON the object says so too). */
int inspect_file(const char *path, const struct inspect_options *o, struct error *e) MUST_CHECK;

#endif
