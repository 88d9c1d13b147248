/*
 * internal.h - the device, the table of inner loops, and the functions behind cpu_backend.  Private to cpu/.
 *
 * The inner loops are written once (body_*.h) and compiled for every instruction set that has a kernels_*.c.  The code
 * that calls them, here and in the other files, knows geometry and threads but no instruction.
 */
#ifndef CPU_INTERNAL_H
#define CPU_INTERNAL_H

#include "../backend.h"

/* Rows of some bytes each that are read later on: so many of them, `apart` bytes from one to the next. */
struct soon { const char *at; size_t apart; int rows, bytes; };

/* A product of one thread: c[m,n] = alpha a b + bias + beta c.  b is cut into panels of nr columns, each [k][nr],
 * the last one padded with what is never stored; or read where it lies, and then n is a multiple of nr.  Element (i,k)
 * of a is a[i * row + k * col]. */
struct block {
	int m, n, k;
	const float *a;
	size_t row, col;
	struct soon soon;               /* fetched meanwhile, into the second cache */
	const float *panels;            /* NULL: element (k,j) of b is b[k * ldb + j] */
	const float *b;
	size_t ldb;
	float *c;
	size_t ldc;
	float alpha, beta;              /* beta 0: c is not read */
	const float *bias;              /* [n] or NULL */
};

/* A block of AdamW8bit's moments. */
struct adam8_moments {
	uint8_t *code1, *code2;         /* [n] */
	float *absmax1, *absmax2;
	const float *map1, *map2;
};

/* Bytes of a number; of no quantised weight's. */
static inline size_t element_size(enum dtype dtype) { return dtype == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t); }

/* A norm as an affine function of each channel, [c] each: y = (x - mean) * scale + shift. */
struct affine { const float *mean, *scale, *shift; };

enum { MAX_TILE_COLS = 32, MAX_LANES = 16 };

struct kernels {
	const char *name;
	int nr;                         /* columns of a panel */
	int mr;                         /* rows of the innermost tile */

	void (*block)(const struct block *b);
	/* rows[0..nr), of which the first n count: k floats or halves each -> panel [k][nr]; ahead: bytes from a row
	 * to the next one, from which those that are read next are fetched */
	void (*pack_columns)(float *panel, const void *const *rows, enum dtype dtype, int n, int k, size_t ahead);
	/* rows[0..count): n floats or halves each, or NULL for zeros -> row 0..count) of every panel; panels lie
	 * `stride` floats apart; ahead: bytes from a row to the one that is read after these */
	void (*pack_rows)(float *panels, size_t stride, const void *const *rows, enum dtype dtype, int count, int n,
			  size_t ahead);
	void (*widen)(float *y, const void *x, enum dtype dtype, size_t n);
	/* y = codes at..at+n of a quantised weight; scale: the one of all of them, or, of NF4, all of the weight's */
	void (*dequantise)(float *y, const void *codes, enum dtype dtype, const float *scale, size_t at, size_t n);
	/* Winograd's transforms, see body_winograd.h */
	void (*winograd_input)(float *v, size_t stride, const float *const *pixels, int c);
	void (*winograd_filter)(float *u, const float *taps, size_t stride, size_t n);
	void (*winograd_output)(float *const *pixels, const float *m, size_t stride, int n, const float *bias, int add);

	void (*activation)(float *y, const float *x, size_t n, enum activation kind);
	void (*activation_back)(float *dx, const float *dy, const float *x, size_t n, enum activation kind, int add);
	void (*geglu)(float *y, const float *value, const float *gate, int c);
	void (*geglu_back)(float *dvalue, float *dgate, const float *dy, const float *value, const float *gate, int c,
			   int add);
	void (*axpby)(float *y, float a, const float *x, float b, size_t n);
	void (*add)(float *y, const float *x, const float *z, size_t n);
	void (*multiply)(float *y, const float *x, const float *z, size_t n);
	double (*sum_squares)(const float *x, size_t n);
	double (*sum_squared_difference)(const float *x, const float *z, size_t n);
	/* dx (+)= factor (x - z) */
	void (*scaled_difference)(float *dx, float factor, const float *x, const float *z, size_t n, int add);
	void (*adamw)(float *p, float *m, float *v, const float *grad, size_t n, const struct adamw_step *s);
	/* one block, n <= ADAM8_BLOCK */
	void (*adamw8bit)(float *p, const struct adam8_moments *q, const float *grad, size_t n,
			  const struct adamw_step *s);
	void (*lion)(float *p, float *m, const float *grad, size_t n, const struct adamw_step *s);
	double (*sum_magnitudes)(const float *x, size_t n);
	void (*axxpby)(float *y, float a, const float *x, float b, size_t n);
	void (*over_root)(float *y, float a, const float *x, const float *v, float eps, float b, size_t n);

	/* sum[c] += x; squares[c] += x*x over rows */
	void (*channel_sums)(double *sum, double *squares, const float *x, int rows, int c);
	void (*norm_rows)(float *y, const float *x, const struct affine *a, int rows, int c, bool silu);
	/* sum[c] += g; dots[c] += g * (x - mean); g = dy, or dy silu'(norm(x)) */
	void (*norm_back_sums)(double *sum, double *dots, const float *dy, const float *x, const struct affine *a,
			       int rows, int c, bool silu);
	/* dx (+)= scale g - offset - (x - mean) slope; offset, slope [c] */
	void (*norm_back_rows)(float *dx, const float *dy, const float *x, const struct affine *a, const float *offset,
			       const float *slope, int rows, int c, bool silu, int add);
	void (*layer_norm_row)(float *y, float *stats, const float *x, const float *gain, const float *bias, int c,
			       float eps);
	void (*layer_norm_back_row)(float *dx, const float *dy, const float *x, const float *stats, const float *gain,
				    int c, int add);

	/* s = exp(s - max) with the greatest of *max and s as the new *max; *sum follows.  Returns what older sums
	 * are to be multiplied with.  n is a multiple of MAX_LANES: fill up with -INFINITY. */
	float (*softmax_row)(float *s, int n, float *max, float *sum);
	/* s: scores -> p = exp(s - lse);  dp -> ds = p (dp - delta) scale */
	void (*softmax_back_row)(float *s, float *dp, int n, float lse, float delta, float scale);
	double (*dot)(const float *x, const float *z, int n);
	void (*scale)(float *y, float factor, int n);
};

extern const struct kernels cpu_kernels_avx512, cpu_kernels_avx2, cpu_kernels_portable;

/* sets.c.  The table of instruction set i of those that base/cpu.h has, the best first; NULL: there are no more.  All
 * give the same bytes. */
const struct kernels *cpu_set_at(int i);

struct scratch { void *data; size_t size; };

struct pool;

struct device {
	const struct kernels *k;
	int threads;
	struct pool *pool;              /* NULL: the caller alone */
	struct scratch *scratch;        /* [threads + 1]; the last belongs to the caller of a backend function */
};

/* Scratch memory of one thread, reused from call to call; contents undefined.  It grows as needed, so that after the
 * first step nothing is allocated. */
void *thread_scratch(struct device *d, int thread, size_t bytes);
void *caller_scratch(struct device *d, size_t bytes);
/* count floats of it, then a 64-byte boundary */
float *carve(char **at, size_t count);
static inline size_t floats(size_t count) { return (count * sizeof(float) + 63) / 64 * 64; }

/* Calls f for every task in 0..tasks-1, on all threads at once, each task on one.  A loop whose work, counted in
 * multiplications or the like, is below WORTH_THREADS is done by the caller alone.  One caller at a time. */
typedef void task_fn(struct device *d, const void *arg, int task, int thread);
void run_tasks(struct device *d, int tasks, double work, task_fn *f, const void *arg);
#define WORTH_THREADS 30000.0
/* The same, and no task begins before those with lower numbers have begun: it may wait for them. */
void run_in_order(struct device *d, int tasks, double work, task_fn *f, const void *arg);
/* Returns when *at, which such tasks increase, is at least that. */
void await_value(const _Atomic int *at, int least);
struct pool *pool_new(int threads);             /* NULL: no memory */
void pool_free(struct pool *p);                 /* accepts NULL */

/* Elements of a task in elementwise loops, and of a partial sum. */
enum { CHUNK = 8192 };
static inline size_t chunk_length(size_t n, size_t at) { return n - at < CHUNK ? n - at : CHUNK; }
static inline int chunks_of(size_t n) { return (n + CHUNK - 1) / CHUNK; }
/* Rows of c elements that make up about a chunk. */
static inline int rows_of_chunk(int c) { return c < CHUNK ? CHUNK / c : 1; }

static inline int smaller(int a, int b) { return a < b ? a : b; }

/* Part of a loop over rows: [first, last) of task `task`. */
struct rows { int first, last; };
static inline struct rows rows_of_task(int task, int rows, int c)
{
	int each = rows_of_chunk(c), first = task * each;

	return (struct rows){ first, rows - first < each ? rows : first + each };
}
static inline int row_tasks(int rows, int c) { return (rows + rows_of_chunk(c) - 1) / rows_of_chunk(c); }

/* ---- the matrix product that linear layers and convolutions share ---- */
struct left {
	const float *data;              /* element (i,k) at data[i * row + k * col]; or */
	size_t row, col;
	/* a gatherer: writes elements (i.., k..) row by row, ld floats apart */
	void (*gather)(const struct left *a, float *dst, size_t ld, int i, int rows, int k, int count);
	const struct conv_shape *shape;
	int channels, kh, kw;
};

struct right {
	const void *data;
	enum dtype dtype;
	const struct weight *weight;    /* that it is, if quantised; else NULL */
	int panel;                      /* that weight's; then first is 0, and there is no row() */
	size_t ld;
	/* element (k,j) is number first + j * ld + k, else first + k * ld + j, or j behind what row() says */
	bool transposed;
	size_t first;
	/* the number with which row k of the matrix begins, below 0: zeros */
	ptrdiff_t (*row)(const struct right *b, int k);
	const struct conv_shape *shape;
	int channels, kh, kw;
	int ky, kx;
};

struct product {
	int m, n, k;
	struct left a;
	struct right b;
	float alpha, beta;
	const float *bias;
	float *c;
	size_t ldc;
	/* Another product that is added to c, of as many rows and columns; NULL: none */
	const struct product *more;
};
void multiply(struct device *d, const struct product *p);
struct right right_of(const struct weight *w, size_t ld);
/* y = numbers at..at+n of a weight [out][kh][kw][in], all of one of its rows */
void widen_weight(const struct kernels *k, float *y, const struct weight *w, size_t at, size_t n);
/* Pack a right matrix [depth,n] into panels: element (k,j) at x[j * ld + k], or at x[k * ld + j]. */
void pack_transposed(const struct kernels *k, float *panels, const float *x, size_t ld, int n, int depth);
void pack_matrix(const struct kernels *k, float *panels, const float *x, size_t ld, int n, int depth);
size_t panel_floats(const struct kernels *k, int n, int depth);
/* Pack columns j..j+n of rows k..k+depth of b, widened to float. */
void pack_right(const struct kernels *kern, const struct right *b, float *panels, int j, int n, int k, int depth);

/* ---- Winograd's algorithm, for the convolutions where it is faster ---- */
bool winograd_pays(const struct weight *w, const struct conv_shape *s);
void winograd_conv2d(struct device *d, float *y, const float *x, const struct weight *w, const float *bias,
		     const struct conv_shape *s);
void winograd_conv2d_dx(struct device *d, float *dx, const float *dy, const struct weight *w,
			const struct conv_shape *s, int add);
size_t winograd_scratch(const struct weight *w, const struct conv_shape *s, int threads);

/* ---- a loop over all chunks of the parameters in a table ---- */
/* One chunk of a row, for a rule to work on.  Addresses in `of` are the chunk's; AdamW8bit's codes and blocks, which
 * are no floats, are found in `row` at `at`. */
struct chunk {
	const struct kernels *k;
	struct trained of;
	const struct trained *row;
	size_t at;
	const void *step, *common;      /* of the row; of all */
	float *room[3];                 /* [CHUNK] each: the thread's own */
};
typedef void rule_fn(const struct chunk *c, double *sum);
struct table {
	const struct trained *t;
	int count;
	rule_fn *rule;
	const void *steps;              /* one of each row, of that size; or NULL */
	size_t step_size;
	const void *common;             /* one of all rows */
	double work;                    /* of an element, see run_tasks() */
	int sums;                       /* that a rule sets */
};
/* sum [count,sums]: partial sums, one a chunk, added up in order */
void run_table(struct device *d, const struct table *t, double *sum);
/* For a rule that moves p: to be called before, and the squares of what it changed by. */
void remember(const struct chunk *c);           /* in room[0] */
double squares_moved(const struct chunk *c);

/* ---- the loss of squares without a mask ---- */
void squares_loss(struct device *d, float *loss, const float *x, const float *target, const struct loss_terms *s);
void squares_loss_back(struct device *d, float *dx, const float *dloss, const float *x, const float *target,
		       const struct loss_terms *s, int add);

/* ---- behind cpu_backend ---- */
#define OP(type, name, parameters) type cpu_##name parameters;
#include "../backend_ops.def"

#endif
