/*
 * internal.h - an adapter's tensors sorted by a reader's own names, and the tables by which one judges them.
 *
 * Private to readers/.
 */
#ifndef READERS_INTERNAL_H
#define READERS_INTERNAL_H

#include "../base/map.h"
#include "../base/memory.h"
#include "../model/family.h"
#include "readers.h"

/* ---- the model's places ---- */

enum place_kind { PLACE_LINEAR, PLACE_CONV, PLACE_NORM, PLACE_TABLE /* embeddings */ };

/* A module of the model that has a weight. */
struct place {
	enum component component;
	enum place_kind kind;
	char *name, *sgm;               /* diffusers' and, of the UNet, the single file's */
	int dims;
	int64_t shape[4];
	bool layer;                     /* of a text encoder: attention or MLP */
};

/* What the file does to a place, whatever a reader makes of it. */
enum { MEANT_WEIGHT = 1, MEANT_BIAS = 2 };

struct readers_file {
	const struct safetensors *file;
	const struct family *family;
	struct unet_config unet;
	struct place *place;
	size_t count, capacity;
	unsigned char *meant;           /* of each place */
	long *lengths_of;               /* of each tensor: the place whose DoRA's lengths it has; -1: none */
	/* The scale that the header or a PEFT configuration states of it, for want of an alpha; NaN: neither does. */
	double *stated;
	bool *beside;                   /* of each place: a file beside this one states it */
	bool has_metadata;              /* lora_adapter_metadata */
	size_t in_file;
	bool sized;                     /* the places' shapes are those of the model that the file is for */
	bool released;                  /* and they are SDXL's own */
	const char *made_for;           /* adapter_made_for() */
	bool foreign;                   /* that is another family: where names fit, sizes do not */
};

/* ---- names ---- */

enum blocks { BY_SGM, BY_DIFFUSERS };
enum scope { ALL_PLACES, TEXT_LAYERS };

/* How a reader calls the places of a component: prefix, then the name with `separator` for its dots. */
struct naming {
	const char *prefix;
	enum component component;
	enum blocks blocks;
	char separator;
	enum scope scope;
	const char *(*change)(const char *name, char *room, size_t bytes);      /* of the name, before; NULL: none */
	const char *without[6];         /* names that begin so are not known */
};

struct names;
struct names *names_new(const struct readers_file *f, const struct naming *rows);       /* ends at a NULL prefix */
/* The names of what contains places instead: "lora_unet_input_blocks_4_1". */
struct names *names_of_containers(const struct readers_file *f, const struct naming *rows);
long names_find(const struct names *n, const char *name, size_t length);                /* a place; -1: none */
void names_free(struct names *n);

/* ---- what a reader found ---- */

#define BUNDLE_ROOM 24

/* The tensors of a place.  part: what ends their names. */
struct bundle {
	size_t count;
	struct { const char *part; const struct safetensor *tensor; } item[BUNDLE_ROOM];
};
void bundle_add(struct bundle *b, const char *part, const struct safetensor *t);
const struct safetensor *bundle_find(const struct bundle *b, const char *part);         /* NULL: not there */

/* Reasons are counted by their text; the first tensor that shows one is its example. */
struct reason { const char *text, *example; size_t count; };

struct attempt {
	const struct readers_file *f;
	struct bundle *bundle;          /* of each place */
	unsigned char *got;             /* of each place: MEANT_... that is applied, and: */
#define GOT_WRONG 4
	size_t left;                    /* tensors that it leaves aside */
	struct reason reason[12];
	size_t reasons;
	bool refused;
	const char *refused_why, *refused_at;
};

void attempt_reason(struct attempt *a, const char *text, const char *example);
void attempt_left(struct attempt *a, const char *text, const struct safetensor *t);
/* The first refusal counts. */
void attempt_refuse(struct attempt *a, const char *why, const char *at);
/* Where sizes of another model's end the load. */
void attempt_refuse_foreign(struct attempt *a);

/* ---- kinds ---- */

#define RULE_PARTS 8

/* A kind of module, as a reader knows it: it takes one that has every part of `signs`, fails where one of `needs` is
 * missing, and leaves aside what is not in `uses` either. */
struct rule {
	const char *signs[RULE_PARTS], *needs[RULE_PARTS], *uses[RULE_PARTS];
	unsigned flags;
};
enum {
	RULE_LAYERS = 1,        /* refuses the file where the place is no linear layer and no convolution */
	RULE_LINEAR = 2,        /* fails at kernels */
	RULE_LENGTHS_IN = 4,    /* dora_scale of inputs is right, of outputs is not */
	RULE_BIAS = 8,          /* changes a bias alone, beside any other rule */
	RULE_FACTORS = 16,      /* lora_up and lora_down: their shapes must make the place's */
	RULE_WHOLE = 32,        /* diff, w_norm: their shape is the place's */
	RULE_ROUNDS = 64,       /* computes in the file's own type: wrong by more than a percent in BF16 */
	RULE_FAILS = 128,       /* an error, caught, module by module */
	RULE_LIMIT = 256,       /* OFT's alpha taken for the limit itself, not for that of an output */
};

/* How a reader judges a place's tensors. */
struct judge {
	const struct rule *rules;               /* ends at one without signs; the first that fits counts */
	const char *nothing_fits;               /* why it then refuses the file; NULL: the place is left aside */
	bool misfit_refuses;                    /* a shape that does not fit: the file, or the module alone */
	const char *misfit;
};
void judge_place(struct attempt *a, const struct judge *j, size_t place);
/* All places that have tensors. */
void judge_places(struct attempt *a, const struct judge *j);

/* ---- parts ---- */

enum part_role { ROLE_NONE, ROLE_WEIGHT, ROLE_BIAS, ROLE_SCALE, ROLE_DORA };
/* What a tensor's ending is for, and where its module's name stops. */
enum part_role part_role(const char *name, size_t *stem);
enum part_role part_role_alone(const char *part);
/* alpha's value, or NaN: no such tensor, or not one number */
double part_number(const struct safetensors *f, const struct safetensor *t);
/* dora_scale: a length for each output? */
bool lengths_of_outputs(const struct safetensor *t);

/* ---- the readers ---- */

struct reader {
	const char *name, *title;
	bool names_only;
	bool knows_metadata;            /* takes scales from lora_adapter_metadata */
	bool left_is_partial;           /* tensors that it has no use for make the file a partly read one */
	void (*read)(struct attempt *a);
};
void diffusers_judge_metadata(struct attempt *a);        /* after its names: refuses what PEFT refuses */
extern const struct reader reader_a1111, reader_comfy, reader_invoke, reader_diffusers, reader_sdcpp, reader_kohya;

#endif
