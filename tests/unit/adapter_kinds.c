/* Every row of kinds.c, on a linear layer, a 3x3 and a 1x1 convolution, with each of its settings: what it adds to a
 * layer is the dW of its rows in double, its gradients are that dW's, and a file of it is read again as it was.  With
 * lengths of inputs too, where they can be trained. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/adapter/adapter.h"
#include "../../libcommon/adapter/adapter_file.h"
#include "../../libcommon/adapter/lengths.h"
#include "../../libcommon/adapter/part_layout.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/philox.h"
#include "../../libcommon/nn/ops.h"
#include <cmocka.h>     /* last: it takes the name fail */

/* 12 is 3 by 4 and 8 is 2 by 4 to what splits a width; pictures are larger than a kernel, and not square */
enum { LAYERS = 3, OUT = 12, IN = 8, N = 2, H = 4, W = 5, PIXELS = H * W, MOST = OUT * IN * 9 };

/* Of the greatest value: sums of some hundred floats with 24 bits, and of products of up to three of them.  Differences
 * of OFT's inverse are quotients of 1e-3, whose third derivative is of the order of 1. */
#define TOLERANCE 1e-5
#define OF_GRADIENTS 1e-4

static const struct backend *const be = &cpu_backend;
static struct device *device;
static uint32_t draws;

static void draw(float *x, size_t n, float spread)
{
	random_normal(&(struct random){ 12, RANDOM_TEST, draws++, 0 }, x, n);
	for (size_t i = 0; i < n; i++)
		x[i] *= spread;
}

/* ---- a model of three layers ---- */

struct model {
	struct layer_list layers;
	struct linear linear[2];
	struct conv conv;
	float *host[LAYERS];            /* their weights in a file's order */
};

static void put_weight(struct weight *w, float **host, int k)
{
	*w = (struct weight){ .dtype = DTYPE_F32, .out = OUT, .in = IN, .kh = k, .kw = k };
	*host = xmalloc((size_t)OUT * IN * k * k * sizeof(float));
	draw(*host, (size_t)OUT * IN * k * k, 0.3f);
	assert_int_equal(be->prepare(device, w, *host), 0);
}

static void open_model(struct model *m)
{
	*m = (struct model){ 0 };
	put_weight(&m->linear[0].w, &m->host[0], 1);
	put_weight(&m->conv.w, &m->host[1], 3);
	put_weight(&m->linear[1].w, &m->host[2], 1);
	m->conv.stride = 1;
	layer_add(&m->layers, COMPONENT_UNET, LAYER_TRANSFORMER,
		  "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", &m->linear[0], NULL);
	layer_add(&m->layers, COMPONENT_UNET, LAYER_CONV_SET, "down_blocks.1.resnets.0.conv1", NULL, &m->conv);
	layer_add(&m->layers, COMPONENT_UNET, LAYER_CONV_SET, "down_blocks.1.resnets.0.conv_shortcut", &m->linear[1],
		  NULL);
	m->layers.layer[1].convolution = m->layers.layer[2].convolution = true;
}

static void close_model(struct model *m)
{
	be->unprepare(device, &m->linear[0].w);
	be->unprepare(device, &m->linear[1].w);
	be->unprepare(device, &m->conv.w);
	for (int i = 0; i < LAYERS; i++)
		free(m->host[i]);
	layer_list_free(&m->layers);
}

/* ---- dW in double ---- */

struct base { const float *host; };

static void read_base(const struct base_rows *b, size_t o, size_t j, size_t n, float *row)
{
	memcpy(row, ((const struct base *)b->from)->host + o * b->columns + j, n * sizeof(*row));
}

/* The factors' product is dW: each factor is a float, rounded once, so an element is off by two parts in 2^24 of what
 * its sum is made of. */
static void check_factors(const struct delta *d, const double *dw, size_t columns)
{
	struct delta_factors f;

	if (!delta_factors_rank(d)) {
		assert_true(d->kind->needs_base);
		return;
	}
	delta_factors(d, &f);
	for (size_t o = 0; o < OUT; o++)
		for (size_t j = 0; j < columns; j++) {
			double sum = 0, size = 0;

			for (size_t k = 0; k < f.rank; k++) {
				const double term = (double)f.up[o * f.rank + k] * f.down[k * columns + j];

				sum += term;
				size += fabs(term);
			}
			assert_true(fabs(sum - dw[o * columns + j]) <= size * 0x1p-22);
		}
	delta_factors_free(&f);
}

/* dw of W + dw with its columns or rows brought to the lengths. */
static void bring_to_lengths(const struct weight *w, const float *host, const float *lengths, bool columns, double *dw)
{
	const size_t taps = (size_t)w->kh * w->kw, n = OUT * IN * taps;
	double squares[OUT] = { 0 };

	for (size_t i = 0; i < n; i++)
		squares[columns ? i / taps % IN : i / taps / IN] += (host[i] + dw[i]) * (host[i] + dw[i]);
	for (size_t i = 0; i < n; i++) {
		const size_t k = columns ? i / taps % IN : i / taps / IN;

		dw[i] = (host[i] + dw[i]) * lengths[k] / sqrt(squares[k]) - host[i];
	}
}

/* dw [OUT,IN,kh,kw] of a module as its parts are now, with one number of one of them changed by so much; returns by how
 * much it was */
static double delta_of(const struct adapter_module *m, const float *host, int part, size_t at, float by, double *dw)
{
	const struct weight *w = layer_weight(m->layer);
	const size_t columns = (size_t)IN * w->kh * w->kw;
	struct delta d = {
		.kind = m->kind, .form = &m->form, .w = w, .scale = kind_scale(m->kind, &m->form, m->alpha)
	};
	const struct base_rows base = { read_base, &(struct base){ host }, columns };
	double changed = 0;

	for (int i = 0; i < BRANCH_PARTS; i++) {
		const struct tensor *t = &m->branch.part[i];
		float *device_order = xmalloc(tensor_count(t) * sizeof(float) + 1);

		if (m->form.part[i].n) {
			memcpy(device_order, t->data, tensor_count(t) * sizeof(float));
			if (i == part) {
				changed = device_order[at];
				device_order[at] += by;
				changed = device_order[at] - changed;
			}
			d.part[i] = xmalloc(tensor_count(t) * sizeof(float));
			part_to_file(d.part[i], device_order, &m->form.part[i]);
		}
		free(device_order);
	}
	delta_begin(&d);
	if (!m->kind->needs_base)       /* two ways to the same */
		assert_true(fabs(delta_norm(&d) - delta_norm_of_rows(&d)) <= 1e-12 * delta_norm_of_rows(&d));
	memset(dw, 0, OUT * columns * sizeof(*dw));
	delta_add_rows(&d, 0, OUT, dw, &base);
	check_factors(&d, dw, columns);
	if (d.part[LENGTHS_PART])
		bring_to_lengths(w, host, d.part[LENGTHS_PART], m->form.part[LENGTHS_PART].c == IN, dw);
	delta_end(&d);
	return changed;
}

/* ---- the same through the layer ---- */

/* Of every place of a kernel and every pixel that it sees: the index of the pixel, or -1 outside. */
static int pixel(int y, int x, int ky, int kx, int k)
{
	const int sy = y + ky - k / 2, sx = x + kx - k / 2;

	return sy < 0 || sy >= H || sx < 0 || sx >= W ? -1 : sy * W + sx;
}

/* y [N,pixels,OUT] = W x; or where dy is known g = dy^T x and dx = dy W.  All begin as zeros. */
static void reference(const struct weight *w, const double *weight, const float *x, const double *dy, double *y,
		      double *g, double *dx)
{
	const int k = w->kh;

	for (int n = 0; n < N; n++)
		for (int p = 0; p < PIXELS; p++)
			for (int tap = 0; tap < k * k; tap++) {
				const int from = pixel(p / W, p % W, tap / k, tap % k, k);

				for (int o = 0; o < OUT && from >= 0; o++)
					for (int i = 0; i < IN; i++) {
						const size_t at = ((size_t)o * IN + i) * k * k + tap;
						const size_t in = (n * PIXELS + from) * IN + i,
							     to = (n * PIXELS + p) * OUT + o;

						if (!dy) {
							y[to] += weight[at] * x[in];
							continue;
						}
						g[at] += dy[to] * x[in];
						dx[in] += dy[to] * weight[at];
					}
			}
}

static void assert_near(const char *what, const float *got, const double *want, size_t n, double tolerance)
{
	double greatest = 1e-3;

	for (size_t i = 0; i < n; i++)
		greatest = fmax(greatest, fabs(want[i]));
	for (size_t i = 0; i < n; i++)
		if (!(fabs(got[i] - want[i]) <= tolerance * greatest))
			fail_msg("%s: element %zu is %g, not %g", what, i, (double)got[i], want[i]);
}

static struct tensor *run_layer(struct tape *t, struct tensor *x, const struct layer *l)
{
	return l->conv ? op_conv(t, x, l->conv) : op_linear(t, x, l->linear);
}

static void check_gradients(const struct adapter_module *m, const float *host, const double *g, const char *what)
{
	static double more[MOST], less[MOST];
	const struct weight *w = layer_weight(m->layer);
	const size_t n = (size_t)OUT * IN * w->kh * w->kw;

	for (int i = 0; i < BRANCH_PARTS; i++) {
		const struct tensor *t = &m->branch.part[i];
		double *want = xcalloc(tensor_count(t) + 1, sizeof(*want));

		for (size_t k = 0; k < tensor_count(t) && t->wants_grad; k++) {
			const double up = delta_of(m, host, i, k, 1e-3f, more),
				     down = delta_of(m, host, i, k, -1e-3f, less);

			for (size_t j = 0; j < n; j++)
				want[k] += g[j] * (more[j] - less[j]) / (up - down);
		}
		if (t->wants_grad)
			assert_near(what, t->grad, want, tensor_count(t), OF_GRADIENTS);
		free(want);
	}
}

static void check_module(const struct adapter_module *m, const float *host, const char *what)
{
	static double dw[MOST], g[MOST], y[N * PIXELS * OUT], dy[N * PIXELS * OUT], all[MOST], dx[N * PIXELS * IN];
	static float x[N * PIXELS * IN], got[N * PIXELS * IN], target[N * PIXELS * OUT];
	const struct weight *w = layer_weight(m->layer);
	const size_t n = (size_t)OUT * IN * w->kh * w->kw;
	struct error e;
	struct tape *t = tape_new(be, device, 1 << 22, &e);
	struct tensor in = {
		.data = x, .grad = got, .n = N, .h = H, .w = W, .c = IN, .home = HOME_OWNER, .wants_grad = true
	};
	struct tensor *out, *loss;
	struct tensor goal = { .data = target, .n = N, .h = H, .w = W, .c = OUT };
	/* then the loss's slope is y - target */
	float weights[N] = { PIXELS * OUT / 2.0f, PIXELS * OUT / 2.0f };

	assert_non_null(t);
	draw(x, N * PIXELS * IN, 1);
	draw(target, N * PIXELS * OUT, 1);
	delta_of(m, host, -1, 0, 0, dw);
	for (size_t i = 0; i < n; i++)
		all[i] = host[i] + dw[i];
	memset(y, 0, sizeof(y));
	reference(w, all, x, NULL, y, NULL, NULL);
	out = run_layer(t, &in, m->layer);
	assert_near(what, out->data, y, N * PIXELS * OUT, TOLERANCE);
	for (size_t i = 0; i < N * PIXELS * OUT; i++)
		dy[i] = out->data[i] - target[i];
	memset(g, 0, sizeof(g));
	memset(dx, 0, sizeof(dx));
	reference(w, all, x, dy, NULL, g, dx);
	loss = op_loss(t, out, &goal, &(struct loss_terms){ .weight = weights });
	tape_backward(t, loss, 1);
	assert_near(what, got, dx, N * PIXELS * IN, TOLERANCE);
	check_gradients(m, host, g, what);
	tape_free(t);
}

/* ---- a file of it ---- */

static void check_form(const struct file_module *f, const struct adapter_module *m)
{
	struct weight guessed;
	struct module_form form;

	/* A kind whose files are another's is read as that one: then its names are. */
	for (int i = 0; i < BRANCH_PARTS && f->kind != m->kind; i++)
		if (m->form.part[i].n)
			assert_string_equal(kind_part_suffix(f->kind, i), kind_part_suffix(m->kind, i));
	assert_int_equal(f->form.rank, m->form.rank);
	for (int i = 0; i < LENGTHS_PART; i++) {
		const struct part_form *a = &f->form.part[i], *b = &m->form.part[i];

		assert_true(a->n == b->n && a->h == b->h && a->w == b->w && a->c == b->c && a->dims == b->dims);
		assert_memory_equal(a->shape, b->shape, sizeof(a->shape));
	}
	assert_true(!f->lengths == !m->form.part[LENGTHS_PART].n);
	assert_true(!f->lengths || f->by_input == (m->form.part[LENGTHS_PART].c == IN));
	assert_int_equal(f->kind->missing(f->part), -1);
	assert_true(f->kind->guess(&guessed, f->part));
	assert_true(kind_form_of_file(f->kind, &form, &guessed, f->part));
}

static void check_file(const struct adapter *a, const struct layer_list *layers)
{
	char path[] = "/tmp/test-kinds-XXXXXX";
	struct error e = { 0 };
	const int fd = mkstemp(path);
	struct adapter_file *f;

	close(fd);
	f = adapter_save(a, path, DTYPE_F32, NULL, 0, &e) < 0 ? NULL : adapter_file_open(path, layers, &e);
	if (!f)
		fail_msg("%s", e.text);
	assert_int_equal(f->count, a->count);
	for (size_t i = 0; i < a->count; i++)
		check_form(adapter_file_module(f, a->module[i].layer), &a->module[i]);
	adapter_file_close(f);
	unlink(path);
}

/* ---- all rows ---- */

static void check_adapter(struct model *model, const struct adapter_spec *spec, const char *what)
{
	struct error e = { 0 };
	struct adapter *a = adapter_create(&model->layers, spec, be, device, &e);

	if (!a)
		fail_msg("%s: %s", what, e.text);
	for (size_t i = 0; i < a->count; i++)
		for (int k = 0; k < BRANCH_PARTS; k++)
			if (a->module[i].form.part[k].n)
				draw(a->module[i].branch.part[k].data, tensor_count(&a->module[i].branch.part[k]),
				     0.4f);
	for (size_t i = 0; i < a->count; i++)
		check_module(&a->module[i], model->host[a->module[i].layer - model->layers.layer], what);
	check_file(a, &model->layers);
	adapter_free(a);
}

/* Nothing of its own set, then each setting alone, then all. */
static void check_kind(const struct adapter_kind *kind, int rank, bool lycoris)
{
	struct adapter_spec spec = { .unet = true,
				     .kind = kind,
				     .args = kind->defaults,
				     .rank = rank,
				     .alpha = 1.5,
				     .conv_rank = rank,
				     .conv_alpha = 0.5,
				     .seed = 1,
				     .lycoris = lycoris };
	struct kind_args all = kind->defaults;
	struct model model;
	char what[80];

	open_model(&model);
	for (const struct kind_arg *a = kind->args;; a++) {
		snprintf(what, sizeof(what), "%s of rank %d, %s", kind->name, rank, a->name ? a->name : "all");
		spec.args = a->name ? kind->defaults : all;
		if (a->name)
			spec.args.value[a->slot] = all.value[a->slot] = a->type == KIND_FLAG	? 1
									: a->type == KIND_WHOLE ? 4
												: 0.1;
		check_adapter(&model, &spec, what);
		if (!a->name)
			break;
	}
	spec.args = kind->defaults;
	check_adapter(&model, &spec, kind->name);
	close_model(&model);
}

/* Around each kind that takes lengths, with each of its settings that goes with them; a LoRA's gradient takes a row's
 * length for a constant (tests/unit/dora.c). */
static void check_lengths_around(const struct adapter_kind *kind, int rank, enum dora_axis axis)
{
	const bool lora = kind == adapter_kinds[0];
	struct adapter_spec spec = { .unet = true, .kind = kind, .args = kind->defaults, .rank = rank, .alpha = 1.5,
				     .conv_rank = rank, .conv_alpha = 0.5, .seed = 1, .dora = axis };
	struct model model;
	char what[80];

	open_model(&model);
	for (const struct kind_arg *a = lora ? NULL : kind->args;; a++) {
		const char *name = a ? a->name : NULL;

		snprintf(what, sizeof(what), "%s of rank %d with lengths of %ss, %s", kind->name, rank,
			 dora_axis_name(axis), name ? name : "plain");
		spec.args = kind->defaults;
		if (name)
			spec.args.value[a->slot] = a->type == KIND_FLAG ? 1 : 4;
		check_adapter(&model, &spec, what);
		if (!name)
			break;
	}
	close_model(&model);
}

static void lengths_around_each(void **state)
{
	for (size_t i = 0; adapter_kinds[i]; i++)
		for (int rank = 1; rank <= 2 && adapter_kinds[i]->lengths; rank++) {
			check_lengths_around(adapter_kinds[i], rank, DORA_INPUT);
			if (i)
				check_lengths_around(adapter_kinds[i], rank, DORA_OUTPUT);
		}
}

static void each_is_what_its_rows_say(void **state)
{
	for (size_t i = 0; adapter_kinds[i]; i++)
		for (int rank = 1; rank <= 2 && adapter_kinds[i]->form; rank++)
			for (int lycoris = 0; lycoris < 2; lycoris++)
				check_kind(adapter_kinds[i], rank, lycoris);
}

/* LyCORIS stores the rank as alpha then, which the tensors do not show. */
static void whole_matrices_take_no_scale(void **state)
{
	const struct adapter_kind *lokr = kind_by_algo("lokr");
	const struct weight w = { .out = OUT, .in = IN, .kh = 1, .kw = 1 };
	struct module_form form;

	for (int rank = 1; rank < 3; rank++) {
		lokr->form(&form, &w, &(struct kind_wish){ .rank = rank, .alpha = 0.5, .args = &lokr->defaults });
		assert_true(kind_scale(lokr, &form, 8) == (rank < 2 ? 8 : 1));
		assert_true(form.alpha == (rank < 2 ? 0.5 : rank));
	}
}

static int set_up(void **state)
{
	struct error e;

	device = be->open(&e);
	return device ? 0 : -1;
}

static int tear_down(void **state)
{
	be->close(device);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_what_its_rows_say), cmocka_unit_test(lengths_around_each),
		cmocka_unit_test(whole_matrices_take_no_scale),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
