/*
 * internal.h - the sheet, a list of facts about a file, and the inspectors, which fill it in.
 *
 * Private to inspect/.
 */
#ifndef INSPECT_INTERNAL_H
#define INSPECT_INTERNAL_H

#include "../io/json.h"
#include "../io/safetensors.h"
#include "../model/config.h"
#include "inspect.h"

/* The facts in both forms: members of a JSON object, and lines "  label        value" for people, broken at 80
 * columns. */
struct sheet {
	const struct inspect_options *options;
	const char *path;
	struct json_out json;
	struct buffer text;
	struct error unfit;             /* --will-it-load, --diff: what does not befit the file, which may be sound */
	bool tensors;                   /* a safetensors file */
	bool adapter, unknown;          /* tensors that are an adapter's, or nobody knows whose */
	bool judged, compared;          /* --will-it-load and --diff are of such a file */
};

/* Adds a fact; label NULL: to the JSON alone. */
void sheet_text(struct sheet *s, const char *key, const char *label, const char *value);
void sheet_int(struct sheet *s, const char *key, const char *label, int64_t value);
/* Adds a line for people alone. */
void sheet_line(struct sheet *s, const char *label, const char *format, ...) PRINTF_LIKE(3, 4);
/* Adds an unbroken line: keys, norms, metadata. */
void sheet_row(struct sheet *s, const char *format, ...) PRINTF_LIKE(2, 3);
char *thousands(uint64_t n);                    /* "6,938,040,682", malloced */

/* --keys and --metadata of a safetensors file. */
void sheet_keys(struct sheet *s, const struct safetensors *f);
void sheet_metadata(struct sheet *s, const struct safetensors *f);
const char *dtypes_of(const struct safetensors *f);     /* "F16", "mixed", "none" */

uint64_t count_nonfinite(const struct safetensors *f, const struct safetensor *t);
/* With --verify: NaN or infinity anywhere, or a modelspec.hash_sha256 that does not match, is an error. */
int verify_values(struct sheet *s, const struct safetensors *f, struct error *e) MUST_CHECK;
int verify_modelspec(struct sheet *s, const struct safetensors *f, struct error *e) MUST_CHECK;

struct adapter_file;
struct model_files;
bool is_adapter(const struct safetensors *f);
int inspect_adapter(struct sheet *s, struct safetensors *f, struct error *e) MUST_CHECK;
/* --norms and --spectrum.  base: the model whose layers a was opened with, NULL: none. */
int sheet_measures(struct sheet *s, const struct adapter_file *a, const struct model_files *base,
		   struct error *e) MUST_CHECK;
/* --tokens.  base: the model, with its text encoders. */
int sheet_tokens(struct sheet *s, const struct safetensors *f, const struct model_files *base,
		 struct error *e) MUST_CHECK;
/* --diff: what another file has, lacks and does otherwise. */
int sheet_diff(struct sheet *s, struct safetensors *f, struct error *e) MUST_CHECK;
/* --html: the page of an object as --json prints it. */
int page_write(const char *path, const struct buffer *json, struct error *e) MUST_CHECK;
/* States, single-file checkpoints, and other safetensors. */
int inspect_tensors(struct sheet *s, const struct safetensors *f, struct error *e) MUST_CHECK;
/* --will-it-load, into a model of these sizes; NULL: as readers_file_new() takes it.  a: its modules; NULL: it is not
 * sound, or of no kind that is known. */
void will_it_load(struct sheet *s, const struct safetensors *f, const struct adapter_file *a,
		  const struct model_config *model);
int inspect_folder(struct sheet *s, struct error *e) MUST_CHECK;
int inspect_tar(struct sheet *s, struct error *e) MUST_CHECK;
int inspect_list(struct sheet *s, struct error *e) MUST_CHECK;              /* of parts of a data set */
int inspect_picture(struct sheet *s, struct error *e) MUST_CHECK;
int inspect_events(struct sheet *s, struct error *e) MUST_CHECK;

#endif
