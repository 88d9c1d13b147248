/* The optimizers against the Python libraries' own ten steps,
 * and AdamW8bit against the transcription of bitsandbytes' kernel. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/adapter/lora.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/safetensors.h"
#include "../../libcommon/optimize/optimizer.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

enum { STEPS = 10, TENSORS = 4 };

/* ---- an adapter of a linear layer and a convolution, by hand ---- */

static const struct { const char *name; int n, h, w, c; } shapes[TENSORS] = {
	{ "down", 6, 1, 1, 40 }, { "up", 48, 1, 1, 6 }, { "conv", 4, 3, 3, 5 }, { "point", 7, 1, 1, 4 },
};

struct bench {
	struct adapter adapter;
	struct adapter_module module[2];
	struct layer layer[2];
	struct tensor *tensor[TENSORS];
	struct optimizer optimizer;
};

static struct safetensors *open_file(const char *path)
{
	struct error e;
	struct safetensors *f = safetensors_open(path, &e);

	if (!f)
		fail_msg("%s", e.text);
	return f;
}

/* [n,c,h,w] of the file to [n,h,w,c], and back */
static void turn(float *dst, const float *src, const struct tensor *t, bool back)
{
	int n, y, x, c;

	for (n = 0; n < t->n; n++)
		for (y = 0; y < t->h; y++)
			for (x = 0; x < t->w; x++)
				for (c = 0; c < t->c; c++) {
					size_t ours = ((size_t)(n * t->h + y) * t->w + x) * t->c + c;
					size_t theirs = ((size_t)(n * t->c + c) * t->h + y) * t->w + x;
					dst[back ? theirs : ours] = src[back ? ours : theirs];
				}
}

/* false: the file has no such tensor */
static bool read_tensor(const struct safetensors *f, const char *name, const struct tensor *t, float *dst)
{
	struct error e;
	float *x;

	if (!safetensors_find(f, name))
		return false;
	x = safetensors_floats(f, name, tensor_count(t), &e);
	assert_non_null(x);
	turn(dst, x, t, false);
	free(x);
	return true;
}

static const struct ranks alone = { .count = 1 };

static double the_rate(const void *arg, const struct adapter_module *m, int part)
{
	return *(const double *)arg;
}

static void make_tensor(struct bench *b, int i, struct tensor *t, size_t elements)
{
	size_t count;

	*t = (struct tensor){ .n = shapes[i].n, .h = shapes[i].h, .w = shapes[i].w, .c = shapes[i].c,
			      .home = HOME_OWNER, .wants_grad = true };
	if (elements)
		*t = (struct tensor){ .n = 1, .h = 1, .w = 1, .c = elements, .home = HOME_OWNER, .wants_grad = true };
	count = tensor_count(t);
	t->data = b->adapter.be->alloc(b->adapter.device, count * sizeof(float));
	t->grad = b->adapter.be->alloc(b->adapter.device, count * sizeof(float));
	b->adapter.be->zero(b->adapter.device, f32(t->data), count);
	b->tensor[i] = t;
}

/* elements: of the first tensor, 0: the shape above */
static int open_bench(struct bench *b, const struct optimizer_settings *s, double lr, size_t elements, struct error *e)
{
	int i;

	*b = (struct bench){ .adapter = { .module = b->module, .count = 2, .be = &cpu_backend,
					  .device = cpu_backend.open(e) } };
	assert_non_null(b->adapter.device);
	for (i = 0; i < 2; i++) {
		b->layer[i].conv = i ? (struct conv *)b : NULL;         /* only looked at, never into */
		b->module[i].layer = &b->layer[i];
		b->module[i].kind = &kind_lora;
		b->module[i].stem = i ? "two" : "one";
		make_tensor(b, 2 * i, &b->module[i].branch.part[LORA_DOWN], i ? 0 : elements);
		make_tensor(b, 2 * i + 1, &b->module[i].branch.part[LORA_UP], 0);
	}
	return optimizer_init(&b->optimizer, &b->adapter, s, &alone, the_rate, &lr, e);
}

static void close_bench(struct bench *b)
{
	optimizer_free(&b->optimizer);
	for (int i = 0; i < TENSORS; i++) {
		cpu_backend.release(b->adapter.device, b->tensor[i]->data);
		cpu_backend.release(b->adapter.device, b->tensor[i]->grad);
	}
	cpu_backend.close(b->adapter.device);
}

/* ---- ten steps ---- */

static const struct trajectory { const char *name, *optimizer; double lr; const char *args[8]; } cases[] = {
	{ "adamw", "AdamW", 1e-3, { NULL } },
	{ "lion", "Lion", 1e-3, { "weight_decay=0.1" } },
	{ "adafactor", "Adafactor", 0, { NULL } },
	{ "adafactor_warmup", "Adafactor", 0, { "warmup_init=True", "weight_decay=0.1" } },
	{ "adafactor_lr", "Adafactor", 1e-3, { "relative_step=False", "scale_parameter=False", "beta1=0.9",
					       "weight_decay=0.1",
					       "clip_threshold=0.5", "decay_rate=-0.7", "eps=(1e-20, 1e-2)" } },
	{ "prodigy", "Prodigy", 1, { NULL } },
	{ "prodigy_more", "Prodigy", 1, { "weight_decay=0.1", "use_bias_correction=True", "d_coef=20", "d0=1e-6",
					  "growth_rate=1.5",
					  "betas=0.8,0.99" } },
	{ "prodigy_safe", "Prodigy", 1, { "safeguard_warmup=True", "d_coef=5" } },
	{ "prodigy_coupled", "Prodigy", 1, { "weight_decay=0.01", "decouple=False", "beta3=0.9", "d0=1e-5" } },
	{ "dadapt", "DAdaptAdam", 1, { NULL } },
	{ "dadapt_more", "DAdaptAdam", 1, { "decouple=True", "weight_decay=0.1", "use_bias_correction=True", "d0=1e-6",
					    "growth_rate=1.2",
					    "betas=0.8,0.99" } },
	{ "dadapt_coupled", "DAdaptAdam", 1, { "weight_decay=0.01" } },
	{ "schedulefree", "AdamWScheduleFree", 1e-2, { NULL } },
	{ "schedulefree_more", "AdamWScheduleFree", 1e-2, { "warmup_steps=4", "weight_decay=0.1", "r=1",
							    "weight_lr_power=1",
							    "betas=0.95,0.99" } },
};
static const double multipliers[STEPS] = { 0, 0.5, 1, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4 };

static void settings_of(const char *optimizer, const char *const *args, struct optimizer_settings *s)
{
	struct error e;

	optimizer_defaults(optimizer, s);
	for (; *args; args++)
		if (optimizer_argument(s, *args, &e) < 0)
			fail_msg("%s", e.text);
}

static void put_gradients(struct bench *b, const struct safetensors *f, int step, float scale)
{
	for (int i = 0; i < TENSORS; i++) {
		char *name = xprintf("step%d.grad.%s", step, shapes[i].name);
		b->tensor[i]->has_grad = read_tensor(f, name, b->tensor[i], b->tensor[i]->grad);
		for (size_t k = 0; k < tensor_count(b->tensor[i]); k++)
			b->tensor[i]->grad[k] *= scale;
		free(name);
	}
}

/* The libraries round each of their operations to floats, we some of them, and the estimate of d feeds that back: 1e-5
 * of the way from the start, and float's own rounding of the weight in each step, STEPS * 6e-8. */
static void assert_tensor(const struct safetensors *f, const char *name, const struct safetensors *start,
			  const struct tensor *t, int i)
{
	const size_t n = tensor_count(t);
	float *want = xmalloc(n * sizeof(*want)), *from = xmalloc(n * sizeof(*from));
	double way = 0, size = 0, off = 0;
	char *begin = xprintf("start.%s", shapes[i].name);

	if (!read_tensor(f, name, t, want) || !read_tensor(start, begin, t, from))
		fail_msg("%s is missing", name);
	for (size_t k = 0; k < n; k++) {
		way = fmax(way, fabs((double)want[k] - from[k]));
		size = fmax(size, fabs(want[k]));
		off = fmax(off, fabs((double)want[k] - t->data[k]));
	}
	if (!(off <= 1e-5 * way + STEPS * 6e-8 * size))
		fail_msg("%s is off by %g, after a way of %g, values up to %g", name, off, way, size);
	free(want);
	free(from);
	free(begin);
}

static void assert_step(const struct bench *b, const struct safetensors *f, const struct trajectory *c,
			const char *when)
{
	char *name = xprintf("%s.%s.d", c->name, when);
	const struct safetensor *d = safetensors_find(f, name);

	if (d) {
		double want;
		memcpy(&want, safetensors_bytes(f, d), sizeof(want));
		/* the libraries sum in floats */
		if (fabs(optimizer_d(&b->optimizer) / want - 1) > 2e-6)
			fail_msg("%s: d is %.9g, not %.9g", name, optimizer_d(&b->optimizer), want);
	}
	free(name);
	for (int i = 0; i < TENSORS; i++) {
		name = xprintf("%s.%s.%s", c->name, when, shapes[i].name);
		assert_tensor(f, name, f, b->tensor[i], i);
		free(name);
	}
}

/* The averaged weights are the library's, and what was in training comes back bit for bit. */
static void assert_average(struct bench *b, const struct safetensors *f, const struct trajectory *c)
{
	struct error e;
	float before[TENSORS];
	char *name = xprintf("%s.average.down", c->name);
	bool has = safetensors_find(f, name) != NULL;

	for (int i = 0; i < TENSORS; i++)
		before[i] = b->tensor[i]->data[0];
	assert_int_equal(optimizer_keep(&b->optimizer, &e), 0);
	optimizer_average(&b->optimizer);
	if (has) {
		assert_step(b, f, c, "average");
		assert_true(b->tensor[0]->data[0] != before[0]);
	}
	optimizer_resume_training(&b->optimizer);
	for (int i = 0; i < TENSORS; i++)
		assert_memory_equal(&b->tensor[i]->data[0], &before[i], sizeof(float));
	free(name);
}

/* A gradient that is scaled by `scale` here and by 1 / scale in the step is the same gradient. */
static void run_trajectory(const struct safetensors *f, const struct trajectory *c, float scale)
{
	struct optimizer_settings s;
	struct bench b;
	struct error e;
	char when[16], *name;

	settings_of(c->optimizer, c->args, &s);
	assert_int_equal(open_bench(&b, &s, c->lr, 0, &e), 0);
	for (int i = 0; i < TENSORS; i++) {
		name = xprintf("start.%s", shapes[i].name);
		assert_true(read_tensor(f, name, b.tensor[i], b.tensor[i]->data));
		free(name);
	}
	for (int step = 0; step < STEPS; step++) {
		put_gradients(&b, f, step, scale);
		optimizer_step(&b.optimizer, multipliers[step], 1 / scale);
		snprintf(when, sizeof(when), "step%d", step);
		if (step == 0 || step == 1 || step == 4 || step == 9)
			assert_step(&b, f, c, when);
	}
	assert_average(&b, f, c);
	close_bench(&b);
}

static void ten_steps_are_the_libraries(void **state)
{
	struct safetensors *f = open_file("tests/golden/optimizers.safetensors");

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		run_trajectory(f, &cases[i], 1);
		run_trajectory(f, &cases[i], 4);
	}
	safetensors_close(f);
}

/* ---- moments in bytes ---- */

static float *floats_of(const struct safetensors *f, const char *name, size_t n)
{
	struct error e;
	float *x = safetensors_floats(f, name, n, &e);

	if (!x)
		fail_msg("%s", e.text);
	return x;
}

static void assert_maps(const struct bench *b, const struct safetensors *f)
{
	float *one = floats_of(f, "map.signed", 256), *two = floats_of(f, "map.unsigned", 256);

	assert_memory_equal(b->optimizer.maps, one, 256 * sizeof(*one));
	assert_memory_equal(b->optimizer.maps + 256, two, 256 * sizeof(*two));
	free(one);
	free(two);
}

/* Codes off by one, of blocks that hold anything; more than one is a failure at once. */
static size_t codes_off(const struct safetensors *f, int step, int which, const uint8_t *code, const float *absmax,
			size_t n)
{
	char *codes = xprintf("step%d.code%d", step, which), *scales = xprintf("step%d.absmax%d", step, which);
	const uint8_t *want = safetensors_bytes(f, safetensors_find(f, codes));
	float *most = floats_of(f, scales, (n + 255) / 256);
	size_t off = 0, i;

	for (i = 0; i < n; i++) {
		if (i % 256 == 0 && !(fabs(absmax[i / 256] - most[i / 256]) <= 1e-5 * most[i / 256]))
			fail_msg("%s[%zu] is %.9g, not %.9g", scales, i / 256, absmax[i / 256], most[i / 256]);
		if (most[i / 256] == 0)
			assert_int_equal(code[i], which == 1 ? 127 : 0);
		else if (code[i] != want[i] && abs(code[i] - want[i]) > 1)
			fail_msg("%s[%zu] is %d, not %d", codes, i, code[i], want[i]);
		else
			off += code[i] != want[i];
	}
	free(codes);
	free(scales);
	free(most);
	return off;
}

static size_t parameters_off(const struct safetensors *f, int step, const float *p, size_t n, double tolerance)
{
	char *name = xprintf("step%d.param", step);
	float *want = floats_of(f, name, n);
	size_t off = 0;

	for (size_t i = 0; i < n; i++)
		off += !(fabs((double)p[i] - want[i]) <= tolerance);
	free(name);
	free(want);
	return off;
}

static void five_steps_of_8_bit(void **state)
{
	enum { N = 10000 };
	struct safetensors *f = open_file("tests/golden/adam8bit.safetensors");
	static const char *const no_args[] = { NULL };
	struct optimizer_settings s;
	struct bench b;
	struct error e;
	float *x = floats_of(f, "param0", N);

	settings_of("AdamW8bit", no_args, &s);
	assert_int_equal(open_bench(&b, &s, 1e-3, N, &e), 0);
	assert_maps(&b, f);
	memcpy(b.tensor[0]->data, x, N * sizeof(*x));
	for (int step = 1; step <= 5; step++) {
		const struct slot *slot = b.optimizer.parameter[0].slot;
		char *name = xprintf("step%d.grad", step);
		float *g = floats_of(f, name, N);
		size_t codes;

		memcpy(b.tensor[0]->grad, g, N * sizeof(*g));
		b.tensor[0]->has_grad = true;
		optimizer_step(&b.optimizer, 1, 1);
		codes = codes_off(f, step, 1, slot[0].data, slot[2].data, N) +
			codes_off(f, step, 2, slot[1].data, slot[3].data, N);
		/* tolerances: tests/golden/README.md */
		assert_true(codes <= 2 * N / 1000);
		if (step == 1)
			assert_int_equal(parameters_off(f, step, b.tensor[0]->data, N, 1e-7), 0);
		else
			assert_true(parameters_off(f, step, b.tensor[0]->data, N, 1e-5) <= N / 1000);
		free(name);
		free(g);
	}
	/* fewer than 4096 elements: floats */
	assert_int_equal(b.optimizer.parameter[1].slot[0].dtype, DTYPE_F32);
	assert_int_equal(b.optimizer.parameter[0].slot[0].dtype, DTYPE_U8);
	close_bench(&b);
	safetensors_close(f);
	free(x);
}

/* ---- names and arguments ---- */

static void names(void **state)
{
	static const char *const found[][2] = {
		{ "adamw", "AdamW" }, { "ADAMW8BIT", "AdamW8bit" }, { "pagedadamw8bit", "AdamW8bit" },
		{ "PagedAdamW", "AdamW" }, { "lion", "Lion" }, { "AdaFactor", "Adafactor" }, { "prodigy", "Prodigy" },
		{ "prodigyopt.Prodigy", "Prodigy" }, { "DAdaptation", "DAdaptAdam" }, { "dadaptadam", "DAdaptAdam" },
		{ "adamwschedulefree", "AdamWScheduleFree" },
	};

	quiet(1);
	for (size_t i = 0; i < sizeof(found) / sizeof(*found); i++)
		assert_string_equal(optimizer_find(found[i][0]), found[i][1]);
	assert_null(optimizer_find("SGDNesterov"));
	assert_null(optimizer_find(""));
	for (size_t i = 0; i < sizeof(found) / sizeof(*found); i++)
		assert_non_null(strstr(optimizer_names().text, found[i][1]));
}

static void wrong_arguments(void **state)
{
	static const char *const wrong[][3] = {
		{ "AdamW", "momentum=0.9", "betas, eps, weight_decay" },
		{ "Prodigy", "d_coeff=2", "d_coef, growth_rate" },
		{ "Lion", "eps=1e-8", "betas, weight_decay" },
		{ "AdamW", "weight_decay", "not known" },
		{ "AdamW", "weight_decay=-1", "from 0 to 100" },
		{ "AdamW", "weight_decay=nan", "from 0 to 100" },
		{ "AdamW", "weight_decay=", "no number" },
		{ "AdamW", "eps=1e-8x", "no number" },
		/* 0/0 where a gradient is 0, as lora_down's in the first step */
		{ "AdamW", "eps=0", "from 1e-30" },
		{ "AdamW", "betas=0.9", "two numbers" },
		{ "AdamW", "betas=0.9,1", "below 1" },
		{ "AdamW", "betas=(0.9,0.99", NULL },
		{ "AdamW", "betas=0.9,0.99,0.5", "two numbers" },
		{ "AdamWScheduleFree", "betas=0,0.99", "from 0.01" },
		{ "Prodigy", "growth_rate=0.5", "from 1 to inf" },
		{ "Prodigy", "decouple=yes", "True nor False" },
		{ "Prodigy", "d0=0", "from 1e-12" },
		{ "Prodigy", "beta3=1", "below 1" },
		{ "Adafactor", "eps=1e-30", "two numbers" },
		{ "Adafactor", "decay_rate=0.8", "to 0" },
		{ "Adafactor", "relative_step=maybe", "True nor False" },
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct optimizer_settings s;
		struct error e;

		optimizer_defaults(wrong[i][0], &s);
		if (!wrong[i][2]) {
			assert_int_equal(optimizer_argument(&s, wrong[i][1], &e), 0);
			continue;
		}
		assert_int_equal(optimizer_argument(&s, wrong[i][1], &e), -1);
		assert_int_equal(e.code, EXIT_USAGE);
		if (!strstr(e.text, wrong[i][2]))
			fail_msg("%s: %s", wrong[i][1], e.text);
	}
}

static void texts(void **state)
{
	static const struct { const char *name, *args[4], *text; } wanted[] = {
		{ "AdamW", { NULL }, "torch.optim.adamw.AdamW(betas=(0.9, 0.999),eps=1e-08,weight_decay=0.01)" },
		{ "Lion", { "betas = [0.95, 0.98]", "weight_decay=0.5" },
		  "lion_pytorch.lion_pytorch.Lion(betas=(0.95, 0.98),weight_decay=0.5)" },
		{ "Adafactor", { "beta1=None", "relative_step=False" },
		  "transformers.optimization.Adafactor(eps=(1e-30, 0.001),clip_threshold=1,decay_rate=-0.8,beta1=None,"
		  "weight_decay=0,scale_parameter=True,relative_step=False,warmup_init=False)" },
		{ "Prodigy", { "growth_rate=1.02" },
		  "prodigyopt.prodigy.Prodigy(betas=(0.9, 0.999),beta3=None,eps=1e-08,weight_decay=0,decouple=True,"
		  "use_bias_correction=False,safeguard_warmup=False,d0=1e-06,d_coef=1,growth_rate=1.02)" },
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		struct optimizer_settings s;
		char *text;

		settings_of(wanted[i].name, wanted[i].args, &s);
		text = optimizer_text(&s);
		assert_string_equal(text, wanted[i].text);
		free(text);
	}
}

static double two_rates(const void *arg, const struct adapter_module *m, int part)
{
	return m->layer->conv ? 1 : 0.5;
}

static void one_rate_for_those_that_find_their_own(void **state)
{
	static const char *const no_args[] = { NULL };
	struct optimizer_settings s;
	struct bench b;
	struct error e;

	settings_of("Prodigy", no_args, &s);
	assert_int_equal(open_bench(&b, &s, 1, 0, &e), 0);
	optimizer_free(&b.optimizer);
	assert_int_equal(optimizer_init(&b.optimizer, &b.adapter, &s, &alone, two_rates, NULL, &e), -1);
	assert_int_equal(e.code, EXIT_USAGE);
	assert_non_null(strstr(e.text, "one learning rate"));
	close_bench(&b);
}

static void rates_to_print(void **state)
{
	struct optimizer_settings s;

	optimizer_defaults("AdamW", &s);
	assert_true(optimizer_lr(&s, 0.5, 0.5, 3) == 0.25);
	optimizer_defaults("Adafactor", &s);
	assert_true(optimizer_lr(&s, 0.5, 0.5, 3) == 1e-2);
	assert_true(fabs(optimizer_lr(&s, 0.5, 0.5, 40000) - 0.005) < 1e-12);
	s.warmup_init = true;
	assert_true(fabs(optimizer_lr(&s, 0.5, 0.5, 3) - 3e-6) < 1e-15);
	optimizer_defaults("AdamWScheduleFree", &s);
	s.warmup_steps = 4;
	assert_true(optimizer_lr(&s, 0.5, 0.1, 1) == 0.125);
	assert_true(optimizer_lr(&s, 0.5, 0.1, 9) == 0.5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ten_steps_are_the_libraries),
		cmocka_unit_test(five_steps_of_8_bit),
		cmocka_unit_test(names),
		cmocka_unit_test(wrong_arguments),
		cmocka_unit_test(texts),
		cmocka_unit_test(one_rate_for_those_that_find_their_own),
		cmocka_unit_test(rates_to_print),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
