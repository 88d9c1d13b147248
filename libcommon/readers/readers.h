/*
 * readers.h - what other programs make of an adapter file: how many of its modules they apply, drop or misread, and
 * why.
 *
 * Owns a row for each program: the names that it knows, the kinds that it applies, and what makes it refuse a file.
 * The rules are those of the programs' own code at the versions in lora-inspect(1); they look at names, shapes, alphas
 * and metadata, never at the weights.  Must not know devices or networks.
 */
#ifndef READERS_H
#define READERS_H

#include "../io/safetensors.h"
#include "../model/config.h"

enum verdict {
	VERDICT_APPLIED,        /* all of it, as it was meant */
	VERDICT_PARTIAL,        /* what is applied is right; something of the file is left over */
	VERDICT_WRONG,          /* applied with other numbers */
	VERDICT_SILENT,         /* nothing is applied, and nothing is said */
	VERDICT_REFUSED,
	VERDICT_NONE,           /* names only: what then becomes of them is not known */
};

struct reader;

struct reading {
	const struct reader *reader;
	enum verdict verdict;
	/* Weights and biases that are changed, and that the file is there to change.  sdcpp: names that are found. */
	size_t applied, in_file;
	size_t wrong;           /* of the applied: those with other numbers */
	char *why;              /* malloced; NULL: nothing to say */
};

/* "a1111"; NULL: there is no such row */
const struct reader *reader_named(const char *name);
/* Row i; NULL: there are no more. */
const struct reader *reader_at(size_t i);
const char *reader_name(const struct reader *r);        /* "a1111" */
const char *reader_title(const struct reader *r);       /* "A1111" */
const char *verdict_name(enum verdict v);               /* "applied"; NULL for VERDICT_NONE */
/* Would a person be disappointed? */
bool verdict_fails(enum verdict v);

/* An adapter file with the layers of the model that it is read into. */
struct readers_file;
/* model NULL: the released SDXL, whose shapes are then compared only where most of the file's modules have them.  The
 * tensors of f must outlive it. */
struct readers_file *readers_file_new(const struct safetensors *f, const struct model_config *model);
void readers_file_free(struct readers_file *f);
bool readers_file_is_foreign(const struct readers_file *f);      /* made for another family than the model's */
struct reading readers_read(const struct readers_file *f, const struct reader *r);

/* For who has just written the adapter at path, a file or a folder: a note that names the programs which would misread,
 * drop or refuse it, if any would.  It is read into a model of its own family. */
void readers_note(const char *path);

#endif
