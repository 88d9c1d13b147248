/*
 * kind.h - one row for each kind of adapter, and one for each way to give a weight lengths of its own.
 *
 * A module is some tensors, its parts, that make an update dW of a frozen weight W.  A kind says what the parts are
 * called, what shapes they have on a layer, how they begin, and what dW is: forward and backward on a device, and for
 * merging a rectangle at a time in double.  Everything else walks part[]: optimizers, states, averages, plans, files,
 * merging and inspecting know no kind.  One file a kind, and its row in kinds.c. Must not know the training loop.
 */
#ifndef ADAPTER_KIND_H
#define ADAPTER_KIND_H

#include "../io/json.h"
#include "../io/safetensors.h"
#include "../nn/branch.h"

#define KIND_MOST_RANK 65536

/* ---- parts ---- */

/* uniform: within 1 / sqrt(fan in), as torch's layers begin */
enum part_start { START_ZERO, START_ONE, START_UNIFORM, START_NORMAL };

/* One tensor of a module.  On a device it is [n,h,w,c], in a file [n,c,h,w] under the kind's suffix with the dimensions
 * told here. */
struct part_form {
	int n, h, w, c;                 /* n 0: this module has no such part */
	/* in a file; when reading, 1s at the end are not looked at, and a kernel may be flattened */
	int dims;
	int64_t shape[4];
	enum part_start start;
	float spread;                   /* START_NORMAL: its standard deviation */
	bool frozen;                    /* drawn once, never trained */
	bool hastened;                  /* LoRA+ multiplies its learning rate */
};

/* A module's parts by the kind's own numbers. */
struct module_form {
	int rank;                       /* what alpha is divided by; 0: it has none */
	double alpha;                   /* of a new module, as its file will say it */
	struct part_form part[BRANCH_PARTS];
	float number[BRANCH_NUMBERS];   /* the branch's */
};

/* [n, c*h*w] in a file */
struct part_form part_flat(int n, int h, int w, int c);
/* [n,c,h,w] in a file, or [n,c] */
struct part_form part_whole(int n, int h, int w, int c, bool four);
/* An out and an in of a layer, and the kernel of a tensor [.,.,kh,kw] (NULL, or two dimensions: 1x1).  false: too large
 * for one */
bool weight_of_shape(struct weight *w, int64_t out, int64_t in, const struct safetensor *kernel);
static inline size_t part_count(const struct part_form *p)
{
	return (size_t)p->n * p->h * p->w * p->c;
}

/* ---- settings ---- */

/* What network_args may say to a kind beside what every kind takes (conv_dim, rank_dropout, ...). */
enum { KIND_ARGS = 8 };
enum kind_arg_type { KIND_FLAG, KIND_WHOLE, KIND_NUMBER };
struct kind_arg {
	const char *name;               /* NULL ends the list.  Rows with the same slot are names of one setting. */
	enum kind_arg_type type;
	int slot;
	double least, most;             /* not of flags */
};
struct kind_args { double value[KIND_ARGS]; };

/* ---- the row ---- */

/* W in a file's order, [out][in,kh,kw], for kinds whose dW is made of it: n elements of row o from column j on. */
struct base_rows {
	void (*read)(const struct base_rows *b, size_t o, size_t j, size_t n, float *row);
	const void *from;
	size_t columns;
};

/* A rectangle of dW as [out][in,kh,kw], and where it is added: its element (i,j) at sum[i * step + j]. */
struct delta_tile { size_t row, rows, column, columns; double *sum; size_t step; };

/* A module of a file ready to be added: parts as floats in file order. */
struct delta {
	const struct adapter_kind *kind;
	const struct module_form *form;
	const struct weight *w;         /* out, in, kh, kw alone */
	float *part[BRANCH_PARTS];      /* malloced; NULL: not there */
	double scale;
	void *own;                      /* of the kind: what rows share; malloced in one piece */
};

/* dW = up down but for the rounding of both: up [out,rank], down [rank,in*kh*kw]; malloced. */
struct delta_factors { size_t rank; float *up, *down; };

/* dW = scale one (x) two: the blocks one[i][j] two.  Matrices of d->own, [rows][columns]. */
struct delta_kronecker { const double *one, *two; size_t rows[2], columns[2]; };

struct metadata_list;
struct kind_suffix { const char *text; int part; };

/* A new module, as the settings want it. */
struct kind_wish {
	int rank;
	double alpha;
	const struct kind_args *args;
	bool convolution;               /* of the model, be it 1x1 */
	bool lycoris;                   /* as LyCORIS would make it, where kohya's own network makes another */
};

/* A file's module whose form was read, and what the file says besides. */
struct kind_source {
	const struct safetensors *file;
	const char *name;               /* the module's, in the file */
	bool convolution;               /* of the model, be it 1x1 */
	double alpha;
	const json_t *config;           /* PEFT's, beside the file; NULL: there is none */
	const char *config_path;
};

struct adapter_kind {
	const char *name;               /* "LoHa" */
	const char *module;             /* kohya's network_module, "networks.loha"; NULL: none has it */
	const char *const *algos;       /* LyCORIS' algo, up to a NULL */
	/* up to a NULL; a part's first one is written.  What a file's tensor may end with, behind a dot where it does
	 * not begin with "_". */
	const struct kind_suffix *suffixes;
	const struct kind_arg *args;
	struct kind_args defaults;
	/* A kind with whose tensors a run of this one may begin, though it is told apart from it; NULL: none. */
	const struct adapter_kind *begins;
	/* Above 0: kohya's own network of it has one rank for every layer and the UNet alone, and this alpha where
	 * network_alpha says nothing. */
	double plain_alpha;
	const char *peft;               /* the peft_type of PEFT's configuration that says its alpha; NULL: none does */
	bool no_alpha;                  /* its files have none */
	bool any_rank;                  /* one above a layer's sides means whole matrices */
	bool value_dropout;             /* network_dropout means something to it */
	bool lengths;                   /* lengths around it can be trained (DoRA) */
	/* ---- shapes ---- */
	/* What is left out in training by its args; NULL: nothing beside the dropouts. */
	void (*leaves_out)(const struct kind_args *args, struct branch_dropout *d);
	/* NULL: new ones are not made.  A part that a module cannot be without, without elements: the wish does not fit
	 * the layer. */
	void (*form)(struct module_form *f, const struct weight *w, const struct kind_wish *wish);
	/* Of a module whose parts have these tensors (NULL: not in the file), which may be anything.  The form as the
	 * file should have it; false: these shapes are no module on that layer.  missing: a part without which there is
	 * none, or -1. */
	bool (*read)(struct module_form *f, const struct weight *w, const struct safetensor *const part[BRANCH_PARTS]);
	int (*missing)(const struct safetensor *const part[BRANCH_PARTS]);
	/* A method without a row that writes the same names, where these are its tensors; NULL, and a result of NULL:
	 * there is none. */
	const char *(*other)(const struct safetensor *const part[BRANCH_PARTS]);
	/* What else a module of a file is, by more than its shapes: number[] of the form.  NULL: nothing. */
	int (*settle)(struct module_form *f, const struct weight *w, const struct kind_source *s, struct error *e);
	/* What a file of it must say in its metadata, so that settle() finds it again; NULL: nothing. */
	void (*tell)(const struct module_form *f, struct metadata_list *list);
	/* How its modules are named when they are written, as adapter_stem() of keys.h wants it; NULL, and a result of
	 * NULL: as kohya's. */
	const char *(*dialect)(const struct module_form *f);
	/* Does a new adapter have a module on this layer of the UNet, where its set is wanted?  NULL: yes */
	bool (*takes)(const char *layer, bool convolution_set, const struct kind_wish *wish);
	/* out, in and kernel of a layer that such a module fits, where no model is at hand; false: none does */
	bool (*guess)(struct weight *w, const struct safetensor *const part[BRANCH_PARTS]);
	/* "4 blocks of 8x8": what lora-inspect says in place of a rank where there is none; NULL: nothing */
	void (*shape)(const struct module_form *f, char *text, size_t n);
	/* ---- the update ---- */
	double (*scale)(const struct module_form *f, double alpha);     /* NULL: alpha / rank */
	struct branch_kind branch;
	/* |dW / scale|, Frobenius'; NULL: of the whole dW */
	double (*norm)(struct tape *t, const struct branch *b);
	/* ---- on the host, in double ---- */
	void *(*delta_begin)(const struct delta *d);    /* NULL: rows share nothing */
	/* t->sum += the rectangle of scale dW.  Threads call it at once, for different ones.  An element's sum has one
	 * order, whatever rectangle it is in. */
	void (*add_delta)(const struct delta *d, const struct delta_tile *t, const struct base_rows *base);
	double (*delta_norm)(const struct delta *d);    /* |scale dW|; NULL: of all rows */
	bool needs_base;                /* dW cannot be known without W; else base may be NULL */
	/* dW as a product, exactly: the rank of it, which may be above that of dW, and the factors, whose memory is
	 * there.  NULL: dW is no product of matrices that its parts hold. */
	size_t (*factors_rank)(const struct delta *d);
	void (*factors)(const struct delta *d, struct delta_factors *f);
	/* dW as Kronecker's product, whose singular values are those of the two multiplied; NULL: it is none. */
	struct delta_kronecker (*kronecker)(const struct delta *d);
};

/* All of them, up to a NULL; the first is the one that is meant when nothing is said. */
extern const struct adapter_kind *const adapter_kinds[];
/* By network_module and, where that is LyCORIS', its algo; NULL: none. */
const struct adapter_kind *kind_by_module(const char *module);
const struct adapter_kind *kind_by_algo(const char *algo);
double kind_scale(const struct adapter_kind *k, const struct module_form *f, double alpha);
/* "lora_down", as messages call a part; malloced */
char *kind_part_name(const struct adapter_kind *k, int part);
const char *kind_part_suffix(const struct adapter_kind *k, int part);   /* as it is written: "lora_down.weight" */

/* The form of a module with these tensors, none of which is missing; false: they do not fit that layer */
bool kind_form_of_file(const struct adapter_kind *k, struct module_form *f, const struct weight *w,
		       const struct safetensor *const part[BRANCH_PARTS]);

/* ---- on the host ---- */
/* parts: floats in file order, which it takes.  delta_end() frees. */
void delta_begin(struct delta *d);
void delta_end(struct delta *d);
/* sum [rows][in,kh,kw] += scale dW's rows; base NULL: the kind needs none */
void delta_add_rows(const struct delta *d, size_t row, size_t rows, double *sum, const struct base_rows *base);
/* |scale dW|, Frobenius' */
double delta_norm(const struct delta *d);
double delta_norm_of_rows(const struct delta *d);       /* whatever the kind */
/* The rank that delta_factors() needs; 0: it cannot be done. */
size_t delta_factors_rank(const struct delta *d);
void delta_factors(const struct delta *d, struct delta_factors *f);
void delta_factors_free(struct delta_factors *f);

#endif
