/*
 * subject.h - what is under test (a loaded model), and the folder of reference files that say what it should give.
 */
#ifndef GOLDEN_SUBJECT_H
#define GOLDEN_SUBJECT_H

#include "../../libcommon/sample/paint.h"
#include "compare.h"

struct subject {
	const char *label;              /* first in every line: "tiny-a", "single-file/tiny-a" */
	const char *folder;             /* of reference files */
	const char *inputs;             /* the folder with text.safetensors and unet.safetensors; NULL: the same */
	struct tally *tally;
	struct pipeline p;              /* its vae has the decoder only: */
	struct vae *encoder;
};

/* ---- reference files ---- */
struct safetensors *open_reference(const char *folder, const char *name);      /* NULL: not there; dies on a bad one */
/* Names what nobody looked at: neither input nor compared.  s NULL: an input of other files. */
void close_reference(const struct subject *s, struct safetensors *f);          /* accepts NULL */
void looked_at(const struct safetensors *f, const struct safetensor *r);
/* What the layout promises and a file lacks ends the program: the fault is in the reference. */
const struct safetensor *need(const struct safetensors *f, const char *name);
float *need_floats(const struct safetensors *f, const char *name);
int32_t *need_ids(const struct safetensors *f, const char *name);
const char *need_metadata(const struct safetensors *f, const char *key);
float *need_nhwc(const struct safetensors *f, const char *name);                /* of a tensor [n,c,h,w] */

/* Uploads a reference tensor: [n,c,h,w] as a picture, [n,l,c] and [n,c] as tokens. */
struct tensor *upload_reference(struct tape *t, const struct safetensors *f, const char *name);

/* ---- inputs.c: what the networks of the model's family read ---- */
struct texts { struct chunk_batch batch; int32_t *ids[TEXT_ENCODERS]; };
bool family_reads(const struct subject *s, int condition);
/* PREFIXinput_ids_1 and on, for as many text encoders as there are; and texts that are tokenized here. */
void read_texts(const struct subject *s, const struct safetensors *f, const char *prefix, struct texts *x);
int encode_texts_padded(const struct subject *s, const char *const *text, int n, struct texts *x,
			struct error *e) MUST_CHECK;
void free_texts(struct texts *x);
/* What is not of a text: PREFIXtime_ids. */
struct conditioning read_given(const struct subject *s, const struct safetensors *f, const char *prefix);
int read_skip(const struct safetensors *f);             /* clip_skip in the metadata; 0: none */

/* Compares x with tensor `name` of want, which may have fewer samples;
 * nothing when want lacks it or the tape is dry. */
void compare_tensor(struct subject *s, enum kind k, struct tape *t, const struct tensor *x,
		    const struct safetensors *want, const char *name);

/* The states that `want` holds as PREFIX + module name: give probe_tensor as probe_fn, then list what never came by. */
struct probes {
	struct subject *s;
	enum kind kind;
	const struct safetensors *want;
	const char *prefix;
	bool seen[256];                 /* by index in want */
};
void probe_tensor(void *probes, struct tape *t, const char *module, struct tensor *x);
void probes_end(struct probes *p);

/* ---- subjects: one function a subject of the README ---- */
/* in: inputs; want: expected values (the same file, or a file that holds some of its names). */
void check_text(struct subject *s, const struct safetensors *in, const struct safetensors *want);
void check_vae(struct subject *s, const struct safetensors *in, const struct safetensors *want);
void check_unet(struct subject *s, const struct safetensors *in, const struct safetensors *want);
void check_sample(struct subject *s, const char *file);
void check_train(struct subject *s, const char *file);
void check_losses(struct subject *s);
void check_flow(struct subject *s);
void check_hole(struct subject *s);
void check_model(struct subject *s);                    /* all of the above that the folder has */

int subject_open(struct subject *s, const char *model, const char *config, const char *device,
		 struct error *e) MUST_CHECK;
void subject_close(struct subject *s);

/* ---- effect.c: a model's output with the adapters that hang on it, against tensors of an effect*.safetensors ---- */
struct effect {
	const struct safetensors *file;
	struct texts texts;             /* its captions */
};
int effect_open(struct effect *x, const struct subject *s, const struct safetensors *f, struct error *e) MUST_CHECK;
void effect_close(struct effect *x);
void effect_compare(const struct effect *x, struct subject *s, enum kind k, const char *want);
enum kind output_kind(const char *adapter);             /* by the precision that its file keeps */

/* A folder that holds captions.jsonl; one with effect.safetensors (an adapter in several dialects); one with
 * effect_*.safetensors (adapters of many kinds); single files. */
void check_tokens(struct tally *t, const char *folder);
void check_dialects(struct tally *t, const char *folder, const char *device);
void check_adapters(struct tally *t, const char *folder, const char *device);
void check_tables(struct tally *t, const char *folder);          /* tables.json of such a folder */
void check_single_files(struct tally *t, const char *folder, const char *device);

/* Calls fn (NULL: nothing) for every file of the folder that matches, in byte order; returns how many. */
int each_file(const char *folder, const char *pattern, void (*fn)(void *arg, const char *name), void *arg);
bool exists(const char *folder, const char *name);

#endif
