/* LoRA: dW = scale up down.  With a kernel down is the convolution and up is 1x1; with a middle factor down is mid
 * times down. */
#include <math.h>
#include <stdlib.h>
#include "../base/memory.h"
#include "../base/product.h"
#include "lora.h"
#include "tucker.h"

enum { TUCKER, RS_LORA, T_LORA, T_LEAST, T_EXPONENT };  /* slots of the settings */

/* ---- shapes ---- */

static void set_form(struct module_form *f, const struct weight *w, int rank, bool four, bool mid)
{
	*f = (struct module_form){ .rank = rank };
	f->part[LORA_DOWN] = mid ? part_whole(rank, 1, 1, w->in, four) : part_whole(rank, w->kh, w->kw, w->in, four);
	f->part[LORA_DOWN].start = START_UNIFORM;
	f->part[LORA_UP] = part_whole(w->out, 1, 1, rank, four);
	f->part[LORA_UP].hastened = true;
	if (!mid)
		return;
	f->part[LORA_MID] = part_whole(rank, w->kh, w->kw, rank, true);
	f->part[LORA_MID].start = START_UNIFORM;
}

static void form(struct module_form *f, const struct weight *w, const struct kind_wish *wish)
{
	set_form(f, w, wish->rank, wish->convolution, wish->args->value[TUCKER] && w->kh * w->kw > 1);
	f->alpha = wish->alpha * (wish->args->value[RS_LORA] ? sqrt(wish->rank) : 1);
}

/* LoRA-FA (arXiv 2308.03303): only up is trained. */
static void form_fa(struct module_form *f, const struct weight *w, const struct kind_wish *wish)
{
	form(f, w, wish);
	f->part[LORA_DOWN].frozen = f->part[LORA_MID].frozen = true;
}

/* Each of the three words asks for the mask. */
static void leaves_out(const struct kind_args *args, struct branch_dropout *d)
{
	const double least = args->value[T_LEAST], exponent = args->value[T_EXPONENT];

	if (!args->value[T_LORA] && !least && !exponent)
		return;
	d->mask.least = least ? (int)least : 1;
	d->mask.exponent = exponent ? exponent : 1;
}

static bool read_form(struct module_form *f, const struct weight *w, const struct safetensor *const part[BRANCH_PARTS])
{
	const struct safetensor *down = part[LORA_DOWN];

	if (down->dims < 2 || down->shape[0] < 1 || down->shape[0] > KIND_MOST_RANK)
		return false;
	set_form(f, w, (int)down->shape[0], down->dims > 2, part[LORA_MID] != NULL);
	return true;
}

static int missing(const struct safetensor *const part[BRANCH_PARTS])
{
	return !part[LORA_DOWN] ? LORA_DOWN : !part[LORA_UP] ? LORA_UP : -1;
}

static bool guess(struct weight *w, const struct safetensor *const part[BRANCH_PARTS])
{
	const struct safetensor *down = part[LORA_DOWN], *up = part[LORA_UP],
				*kernel = part[LORA_MID] ? part[LORA_MID] : down;

	if (down->dims < 2 || up->dims < 2)
		return false;
	return weight_of_shape(w, up->shape[0], down->shape[1], kernel);
}

/* ---- forward and backward ---- */

/* What stands in the place of down: itself, or the product with the middle factor, in scratch. */
static struct tensor down_now(struct tape *t, const struct branch *b)
{
	struct tensor down = b->part[LORA_DOWN];

	if (!b->part[LORA_MID].n)
		return down;
	down.data = tucker_now(t, b, LORA_MID, LORA_DOWN);
	down.h = b->part[LORA_MID].h;
	down.w = b->part[LORA_MID].w;
	return down;
}

static void down_give(struct tape *t, const struct branch *b, struct tensor *down)
{
	if (b->part[LORA_MID].n)
		tape_scratch_give(t, down->data);
}

static struct weight filters(const struct tensor *down)
{
	return (struct weight){
		.data = down->data, .dtype = DTYPE_F32, .out = down->n, .in = down->c, .kh = down->h, .kw = down->w
	};
}

/* z [rows,rank] = x down^T, or conv(x, down) with down [rank,kh,kw,in], with dropout */
static void down_product(struct tape *t, float *z, const struct tensor *y, const struct tensor *x,
			 const struct branch *b, const struct adapted *a)
{
	struct tensor down = down_now(t, b);
	const struct weight w = filters(&down);

	if (a->shape)
		tape_backend(t)->conv2d(tape_device(t), f32(z), data_of(x), &w, NULL, a->shape);
	else
		tape_backend(t)->gemm(tape_device(t), 0, 1, tensor_rows(x), b->rank, x->c, 1, data_of(x), x->c,
				      f32(w.data), x->c, 0, f32(z), b->rank);
	down_give(t, b, &down);
	branch_leave_out(t, b, z, y->n, tensor_rows(y) / y->n);
}

/* What backward is of:  y += scale z up^T */
struct back {
	const struct tensor *y, *x; struct values dy;
	const struct branch *b; const struct part_grads *g; const struct adapted *a;
	float scale;
};

/* dup += scale dy^T z;  ddown = dz^T x or +=, of what stands in the place of down */
static void factor_grads(struct tape *t, const struct back *k, const float *z, const float *dz, float *ddown, int add)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	const struct tensor *down = &k->b->part[LORA_DOWN], *mid = &k->b->part[LORA_MID], *core = mid->n ? mid : down;
	const int rows = tensor_rows(k->y), r = k->b->rank, out = k->y->c, in = k->x->c;
	float *dup = k->g->at[LORA_UP];
	const int add_up = k->g->add[LORA_UP];

	if (!k->a->shape) {
		be->narrow_grads(d, &(struct stacked_grads){ { { dup, ddown, add_up, add, k->dy, data_of(k->x), z, dz,
								 rows, out, in, r, out, k->scale } }, 1 });
		return;
	}
	if (dup)
		be->gemm(d, 1, 0, out, r, rows, k->scale, k->dy, out, f32(z), r, add_up, f32(dup), r);
	if (ddown)
		be->conv2d_dw(d, ddown, data_of(k->x), f32(dz), r, in, core->h, core->w, k->a->shape, add);
}

static void parts_grads(struct tape *t, const struct back *k, const float *z, const float *dz)
{
	const struct part_grads *g = k->g;
	const struct tensor *mid = &k->b->part[LORA_MID];
	const bool both = mid->n && (g->at[LORA_DOWN] || g->at[LORA_MID]);
	float *product = both ? tape_scratch(t, (size_t)tensor_rows(mid) * k->x->c) : NULL;

	factor_grads(t, k, z, dz, mid->n ? product : g->at[LORA_DOWN], mid->n ? 0 : g->add[LORA_DOWN]);
	if (!both)
		return;
	tucker_back(t, product, k->b, g, LORA_MID, LORA_DOWN);
	tape_scratch_give(t, product);
}

/* backward of z = x down^T:  dx += dz down */
static void down_back(struct tape *t, const float *dz, const struct tensor *x, struct values dx, const struct branch *b,
		      const struct adapted *a)
{
	const struct backend *be = tape_backend(t);
	struct tensor down = down_now(t, b);
	const struct weight w = filters(&down);
	const int rows = tensor_rows(x), in = x->c, r = b->rank;

	if (a->shape)
		be->conv2d_dx(tape_device(t), dx, f32(dz), &w, a->shape, 1);
	else
		be->gemm(tape_device(t), 0, 0, rows, in, r, 1, f32(dz), r, f32(w.data), in, 1, dx, in);
	down_give(t, b, &down);
}

/* Whether z of forward waits beside y for backward: a thin product is far from a processor's peak, and computing it
 * again took 6 % of a small model's step.  With several branches on a layer there is one place and many z. */
static bool keeps(const struct branch *b, const struct adapted *a)
{
	return a->branch == b && !b->next && b->part[LORA_UP].wants_grad;
}

/* Where z of forward goes: beside y, or into scratch. */
static float *z_place(struct tape *t, struct tensor *y, const struct branch *b, const struct adapted *a)
{
	const size_t n = (size_t)tensor_rows(y) * b->rank;

	return tape_is_recording(t) && keeps(b, a) ? tensor_beside(t, y, n) : tape_scratch(t, n);
}

void lora_add(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b, const struct adapted *a,
	      float scale, const float *up_t)
{
	const struct backend *be = tape_backend(t);
	const int rows = tensor_rows(y), r = b->rank;
	float *z = z_place(t, y, b, a);

	down_product(t, z, y, x, b, a);
	if (up_t)
		be->gemm(tape_device(t), 0, 0, rows, y->c, r, scale, f32(z), r, f32(up_t), y->c, 1, data_of(y), y->c);
	else
		be->gemm(tape_device(t), 0, 1, rows, y->c, r, scale, f32(z), r, f32(b->part[LORA_UP].data), r, 1,
			 data_of(y), y->c);
	if (z != y->beside)
		tape_scratch_give(t, z);
}

/* y += s z up^T;  up [out,rank] */
static void forward(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
		    const struct adapted *a, const void *pass)
{
	lora_add(t, y, x, b, a, b->scale, NULL);
}

/* dz = scale dy up, in scratch that the caller gives back */
static float *up_back(struct tape *t, const struct back *k)
{
	const int rows = tensor_rows(k->y), out = k->y->c, r = k->b->rank;
	float *dz = tape_scratch(t, (size_t)rows * r);

	tape_backend(t)->gemm(tape_device(t), 0, 0, rows, r, out, k->scale, k->dy, out, f32(k->b->part[LORA_UP].data),
			      r, 0, f32(dz), r);
	branch_leave_out(t, k->b, dz, k->y->n, rows / k->y->n);
	return dz;
}

/* z of forward where it waits, or else once more; see may be NULL */
static void grads_back(struct tape *t, const struct back *k, const float *dz, const struct lora_see *see)
{
	const bool kept = k->y->beside && keeps(k->b, k->a), wanted = !kept && (k->g->at[LORA_UP] || see);
	float *z = wanted ? tape_scratch(t, (size_t)tensor_rows(k->y) * k->b->rank) : k->y->beside;

	if (wanted)
		down_product(t, z, k->y, k->x, k->b, k->a);
	parts_grads(t, k, z, dz);
	if (see)
		see->it(t, z, see->arg);
	if (wanted)
		tape_scratch_give(t, z);
}

void lora_add_back(struct tape *t, const struct tensor *y, struct values dy, const struct tensor *x, struct values dx,
		   const struct branch *b, const struct part_grads *g, const struct adapted *a, float scale,
		   const struct lora_see *see)
{
	const struct back k = { y, x, dy, b, g, a, scale };
	float *dz = up_back(t, &k);

	grads_back(t, &k, dz, see);
	if (dx.at)
		down_back(t, dz, x, dx, b, a);
	tape_scratch_give(t, dz);
}

static void backward(struct tape *t, const struct tensor *y, const struct tensor *x, struct values dx,
		     const struct branch *b, const struct part_grads *g, const struct adapted *a, const void *pass)
{
	lora_add_back(t, y, grad_of(y), x, dx, b, g, a, b->scale, NULL);
}

/* With a middle factor down is a product in scratch. */
static bool is_narrow(const struct branch *b)
{
	return !b->part[LORA_MID].n;
}

/* Dropout comes between the two products. */
static struct narrow narrow(struct tape *t, struct tensor *y, const struct tensor *x, const struct branch *b,
			    const struct adapted *a)
{
	const bool apart = branch_leaves_out(b);
	float *z = z_place(t, y, b, a);

	if (apart)
		down_product(t, z, y, x, b, a);
	return (struct narrow){ z, b->part[LORA_UP].data, b->rank, b->scale,
				.from = apart ? NULL : b->part[LORA_DOWN].data, .first = 1 };
}

static struct narrow narrow_dx(struct tape *t, const struct tensor *y, const struct branch *b)
{
	const struct back k = { .y = y, .dy = grad_of(y), .b = b, .scale = b->scale };
	const bool apart = branch_leaves_out(b);
	float *dz = apart ? up_back(t, &k) : tape_scratch(t, (size_t)tensor_rows(y) * b->rank);

	return (struct narrow){ dz, b->part[LORA_DOWN].data, b->rank, 1, .from = apart ? NULL : b->part[LORA_UP].data,
				.first = b->scale };
}

static void narrow_grads(struct tape *t, const struct tensor *y, const struct tensor *x, const float *dz,
			 const struct branch *b, const struct part_grads *g, const struct adapted *a)
{
	const struct back k = { y, x, grad_of(y), b, g, a, b->scale };

	grads_back(t, &k, dz, NULL);
}

/* dw = up down: what lengths around it are measured with */
static void whole(struct tape *t, float *dw, const struct branch *b, const struct weight *w)
{
	struct tensor down = down_now(t, b);
	const int fan = w->kh * w->kw * w->in;

	tape_backend(t)->gemm(tape_device(t), 0, 0, w->out, fan, b->rank, 1, f32(b->part[LORA_UP].data), b->rank,
			      f32(down.data), fan, 0, f32(dw), fan);
	down_give(t, b, &down);
}

/* |up down|^2 is the sum of (up^T up) * (down down^T), element by element: two small matrices in place of a large
 * one. */
static double norm(struct tape *t, const struct branch *b)
{
	const struct backend *be = tape_backend(t);
	struct device *d = tape_device(t);
	struct tensor down = down_now(t, b);
	const struct tensor *up = &b->part[LORA_UP];
	const int r = b->rank, in = tensor_count(&down) / r, out = tensor_count(up) / r;
	const size_t square = (size_t)r * r;
	float *gram = tape_scratch(t, 2 * square), *host = xcalloc(2 * square, sizeof(*host));
	double sum = 0;

	be->gemm(d, 1, 0, r, r, out, 1, f32(up->data), r, f32(up->data), r, 0, f32(gram), r);
	be->gemm(d, 0, 1, r, r, in, 1, f32(down.data), in, f32(down.data), in, 0, f32(gram + square), r);
	be->download(d, host, gram, 2 * square * sizeof(*host));
	for (size_t i = 0; i < square; i++)
		sum += (double)host[i] * host[square + i];
	free(host);
	tape_scratch_give(t, gram);
	down_give(t, b, &down);
	return sqrt(fmax(sum, 0));
}

/* ---- on the host ---- */

/* mid times down */
static void *delta_core(const struct delta *d)
{
	const int r = d->form->rank, taps = d->w->kh * d->w->kw;
	double *own;

	if (!d->part[LORA_MID])
		return NULL;
	own = xmalloc((size_t)r * d->w->in * taps * sizeof(*own));
	tucker_rows(own, d->part[LORA_MID], d->part[LORA_DOWN], r, d->w->in, taps);
	return own;
}

/* up, and down or its product with the middle factor */
static struct matrix left_factor(const struct delta *d)
{
	return (struct matrix){ .floats = d->part[LORA_UP], .row = d->form->rank, .column = 1 };
}

static struct matrix right_factor(const struct delta *d)
{
	return (struct matrix){ .floats = d->own ? NULL : d->part[LORA_DOWN], .doubles = d->own,
				.row = (size_t)d->w->in * d->w->kh * d->w->kw, .column = 1 };
}

static void add_delta(const struct delta *d, const struct delta_tile *t, const struct base_rows *base)
{
	const struct matrix up = left_factor(d), down = right_factor(d), a = matrix_from(&up, t->row, 0),
			    b = matrix_from(&down, 0, t->column);

	product_add(t->sum, t->step, d->scale, &a, &b, t->rows, t->columns, d->form->rank);
}

static double norm_of_factors(const struct delta *d)
{
	const struct matrix up = left_factor(d), down = right_factor(d);

	return fabs(d->scale) * product_norm(&up, &down, d->w->out, down.row, d->form->rank);
}

static size_t factors_rank(const struct delta *d)
{
	return d->form->rank;
}

/* down, or mid times down, and up with the scale */
static void factors(const struct delta *d, struct delta_factors *f)
{
	const size_t down = f->rank * d->w->in * d->w->kh * d->w->kw, up = f->rank * d->w->out;
	const double *core = d->own;

	for (size_t i = 0; i < down; i++)
		f->down[i] = core ? (float)core[i] : d->part[LORA_DOWN][i];
	for (size_t i = 0; i < up; i++)
		f->up[i] = (float)(d->scale * d->part[LORA_UP][i]);
}

static const char *const algos[] = { "lora", "locon", NULL }, *const no_algos[] = { NULL };

static const struct kind_suffix suffixes[] = {
	{ "lora_down.weight", LORA_DOWN },
	{ "lora_up.weight", LORA_UP },
	{ "lora_mid.weight", LORA_MID },
	{ "lora_A.default.weight", LORA_DOWN },
	{ "lora_B.default.weight", LORA_UP },
	{ "lora_A.weight", LORA_DOWN },
	{ "lora_B.weight", LORA_UP },
	{ "lora_linear_layer.down.weight", LORA_DOWN },
	{ "lora_linear_layer.up.weight", LORA_UP },
	{ "lora.down.weight", LORA_DOWN },
	{ "lora.up.weight", LORA_UP },
	{ "_lora.down.weight", LORA_DOWN },     /* behind the layer's name without a dot: diffusers' processors */
	{ "_lora.up.weight", LORA_UP },
	{ "lora_A.default_0.weight", LORA_DOWN },       /* diffusers' name for an adapter without one */
	{ "lora_B.default_0.weight", LORA_UP },
	{ NULL, 0 }
};

static const struct kind_arg args[] = {
	{ "use_tucker", KIND_FLAG, TUCKER },
	{ "use_cp", KIND_FLAG, TUCKER },
	{ "use_conv_cp", KIND_FLAG, TUCKER },
	{ "rs_lora", KIND_FLAG, RS_LORA },
	{ "use_rslora", KIND_FLAG, RS_LORA },           /* as PEFT calls it */
	{ "tlora", KIND_FLAG, T_LORA },
	{ "tlora_min_rank", KIND_WHOLE, T_LEAST, 1, KIND_MOST_RANK },
	{ "tlora_alpha", KIND_NUMBER, T_EXPONENT, 1e-3, 1e3 },
	{ 0 }
};

#define LORA_ROW \
	.peft = "LORA", \
	.suffixes = suffixes, .args = args, .value_dropout = true, .leaves_out = leaves_out, .read = read_form, \
	.missing = missing, .guess = guess, \
	.branch = { .forward = forward, .backward = backward, .is_narrow = is_narrow, .narrow = narrow, \
		    .narrow_dx = narrow_dx, .narrow_grads = narrow_grads, .up = LORA_UP, .down = LORA_DOWN, \
		    .whole = whole }, \
	.norm = norm, .delta_begin = delta_core, .add_delta = add_delta, .delta_norm = norm_of_factors, \
	.factors_rank = factors_rank, .factors = factors

const struct adapter_kind kind_lora = {
	.name = "LoRA", .module = "networks.lora", .algos = algos, .lengths = true, .form = form, LORA_ROW,
};

/* Its files are a LoRA's, and read as that. */
const struct adapter_kind kind_lora_fa = {
	.name = "LoRA-FA",
	.module = "networks.lora_fa",
	.algos = no_algos,
	.begins = &kind_lora,
	.form = form_fa,
	LORA_ROW,
};
