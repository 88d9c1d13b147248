/* Quantised weights: what is stored, against each type's definition computed here in double, and NF4 against what
 * bitsandbytes stores; what the CPU computes with it, against the same numbers as floats, to the bit. */
#include "cpu_reference.h"
#include "../../libcommon/io/safetensors.h"
#include "../../libcommon/model/quantise.h"

static const enum dtype types[] = { DTYPE_I8, DTYPE_F8_E4M3, DTYPE_U8 };
enum { TYPES = 3 };

/* ---- the definitions ---- */

/* The distribution's value below which a share of it lies. */
static double normal_quantile(double share)
{
	double low = -9, high = 9;

	for (int i = 0; i < 100; i++) {
		const double middle = (low + high) / 2;
		*(0.5 * erfc(-middle / sqrt(2)) < share ? &low : &high) = middle;
	}
	return low;
}

/* QLoRA's: of shares evenly apart, eight from 0.5 to 0.9677083 and seven below it, through the largest. */
static double nf4(int code)
{
	const double last = 0.9677083, apart = code > 7 ? (last - 0.5) / 8 : (last - 0.5) / 7;
	const double share = 0.5 + (code - 7) * apart;

	return normal_quantile(share) / normal_quantile(last);
}

/* Sign, four bits of exponent with bias 7, three of fraction. */
static double e4m3(int code)
{
	const int exponent = code >> 3 & 15, fraction = code & 7;
	const double size = exponent ? ldexp(8 + fraction, exponent - 10) : ldexp(fraction, -9);

	return code & 0x80 ? -size : size;
}

static double code_value(enum dtype type, int code)
{
	return type == DTYPE_I8 ? (int8_t)code : type == DTYPE_U8 ? nf4(code) : e4m3(code);
}

static bool code_is_value(enum dtype type, int code)
{
	return type == DTYPE_I8 ? code != 128 : type == DTYPE_U8 ? code < 16 : (code & 0x7f) != 0x7f;
}

static int code_at(const uint8_t *bytes, enum dtype type, size_t i)
{
	return type == DTYPE_U8 ? bytes[i / 2] >> (i % 2 ? 0 : 4) & 15 : bytes[i];
}

static double scale_for(enum dtype type, double most)
{
	double scale = 0x1p-140;

	if (type != DTYPE_F8_E4M3)
		return type == DTYPE_I8 ? most / 127 : most;
	while (448 * scale < most)
		scale *= 2;
	return scale;
}

/* The numbers of a weight one by one. */
struct stored { struct weight w; uint8_t *bytes; const float *scale; size_t each; };

static struct stored stored(enum dtype type, int out, int in, int k, const float *x, struct quantise_loss *loss)
{
	struct stored s = { .w = { .dtype = type, .out = out, .in = in, .kh = k, .kw = k } };

	s.bytes = xmalloc(weight_bytes(&s.w));
	memset(s.bytes, 0xee, weight_bytes(&s.w));
	quantise(s.bytes, x, &s.w, loss);
	s.scale = (const float *)(s.bytes + weight_scales_at(&s.w));
	s.each = type == DTYPE_U8 ? 64 : (size_t)in * k * k;
	return s;
}

static double nearest_distance(enum dtype type, double x)
{
	double least = INFINITY;

	for (int code = 0; code < 256; code++)
		if (code_is_value(type, code) && fabs(x - code_value(type, code)) < least)
			least = fabs(x - code_value(type, code));
	return least;
}

/* ---- what is stored ---- */

static void nf4_values_are_quantiles(void **state)
{
	for (int i = 0; i < 16; i++)
		assert_float_equal(nf4_values[i], nf4(i), 1e-6);
}

/* Rows of very different sizes, blocks that go on in the next row, an odd number in all. */
static void numbers_are_the_nearest(void **state)
{
	enum { OUT = 5, IN = 47, N = OUT * IN };

	for (int t = 0; t < TYPES; t++) {
		struct quantise_loss loss;
		double off = 0, all = 0;
		float *x = randoms(20 + t, N);
		struct stored s;

		for (int i = 0; i < N; i++)
			x[i] *= powf(10, (float)(i / IN) - 3);
		s = stored(types[t], OUT, IN, 1, x, &loss);
		for (size_t at = 0; at < N; at += s.each) {
			const size_t end = at + s.each < N ? at + s.each : N;
			const double scale = s.scale[at / s.each];
			double most = 0;

			for (size_t i = at; i < end; i++)
				most = fmax(most, fabsf(x[i]));
			assert_float_equal(scale / scale_for(types[t], most), 1, 1e-6);
			for (size_t i = at; i < end; i++) {
				const double share = x[i] / scale;
				const double value = code_value(types[t], code_at(s.bytes, types[t], i));

				/* a tie of floats may be none of doubles */
				assert_true(fabs(share - value) <= nearest_distance(types[t], share) + 1e-4);
				off += (value - share) * (value - share) * scale * scale;
				all += (double)x[i] * x[i];
			}
		}
		assert_float_equal(quantise_error(&loss), sqrt(off / all), 1e-6);
		assert_true(loss.off > 0);
		guarded_free(x);
		free(s.bytes);
	}
}

/* What bitsandbytes stores of the same matrix: codes and scales, and the numbers that they stand for, to the bit. */
static void check_beside_bitsandbytes(const struct safetensors *f, const char *name, int out, int in, bool widened)
{
	const int n = out * in;
	char *weight = xprintf("%s.weight", name), *codes = xprintf("%s.codes", name);
	char *scales = xprintf("%s.absmax", name), *wide = xprintf("%s.dequantized", name);
	const uint8_t *want = safetensors_bytes(f, safetensors_find(f, codes));
	struct error e = { 0 };
	float *x = safetensors_floats(f, weight, n, &e), *scale = safetensors_floats(f, scales, (n + 63) / 64, &e);
	float *y = widened ? safetensors_floats(f, wide, n, &e) : NULL;
	struct quantise_loss loss;
	struct stored s;

	assert_string_equal(e.text, "");
	s = stored(DTYPE_U8, out, in, 1, x, &loss);
	assert_memory_equal(s.scale, scale, (n + 63) / 64 * sizeof(*scale));
	for (int i = 0; i < n; i++) {
		const int code = code_at(s.bytes, DTYPE_U8, i);

		assert_int_equal(code, code_at(want, DTYPE_U8, i));
		assert_true(!y || nf4_values[code] * s.scale[i / 64] == y[i]);
	}
	free(s.bytes);
	free(x);
	free(scale);
	free(y);
	free(weight);
	free(codes);
	free(scales);
	free(wide);
}

static void nf4_is_bitsandbytes(void **state)
{
	struct error e;
	struct safetensors *f = safetensors_open("tests/golden/nf4.safetensors", &e);

	assert_non_null(f);
	check_beside_bitsandbytes(f, "halves", 20, 96, false);
	check_beside_bitsandbytes(f, "floats", 9, 192, true);
	check_beside_bitsandbytes(f, "tail", 5, 47, false);
	check_beside_bitsandbytes(f, "ties", 2, 64, true);
	safetensors_close(f);
}

/* The least and the greatest of a scale, a tie, zeros alone, and one number for a scale. */
static void edges(void **state)
{
	const float x[4] = { 254, -254, 1, 3 }, none[4] = { 0 };
	struct quantise_loss loss;
	struct stored s = stored(DTYPE_I8, 1, 4, 1, x, &loss);
	double off;

	assert_memory_equal(s.bytes, ((int8_t[]){ 127, -127, 0, 2 }), 4);       /* to even */
	assert_true(loss.off == 2);
	free(s.bytes);
	for (int t = 0; t < TYPES; t++) {
		s = stored(types[t], 2, 2, 1, none, &loss);
		for (int i = 0; i < 4; i++)
			assert_true(fabs(code_value(types[t], code_at(s.bytes, types[t], i))) < 1e-9);
		assert_true(s.scale[0] == 0);
		assert_true(quantise_error(&loss) == 0);
		free(s.bytes);
		s = stored(types[t], 1, 1, 1, x, &loss);
		off = s.scale[0] * code_value(types[t], code_at(s.bytes, types[t], 0)) - 254;
		assert_true(fabs(off) <= (types[t] == DTYPE_F8_E4M3 ? 254 / 16. : 1e-4));
		free(s.bytes);
	}
}

/* Every number of E4M3 comes out of a file of that type as it went in, whatever stands beside it. */
static void e4m3_stays_what_it_is(void **state)
{
	for (int most = 1; most < 0x7f; most++) {
		float x[256];
		struct quantise_loss loss;
		struct stored s;

		for (int i = 0; i <= 2 * most + 1; i++)
			x[i] = e4m3(i > most ? 0x80 + i - most - 1 : i);
		s = stored(DTYPE_F8_E4M3, 1, 2 * most + 2, 1, x, &loss);
		assert_true(loss.off == 0);
		for (int i = 0; i <= 2 * most + 1; i++)
			assert_true(e4m3(s.bytes[i]) * s.scale[0] == x[i]);
		free(s.bytes);
	}
}

/* One number that is none spoils those of its scale, and no others. */
static void what_is_not_finite_shows(void **state)
{
	static const float bad[] = { NAN, INFINITY, -INFINITY };
	struct error e;

	for (int t = 0; t < TYPES; t++)
		for (int b = 0; b < 3; b++) {
			struct device *d = cpu_backend.open(&e);
			float *x = randoms(30, 192), y[192];
			struct quantise_loss loss;
			struct stored s;

			x[100] = bad[b];
			s = stored(types[t], 3, 64, 1, x, &loss);
			assert_int_equal(cpu_backend.prepare(d, &s.w, s.bytes), 0);
			cpu_backend.embedding(d, y, &s.w, (int32_t[]){ 0, 1, 2 }, 3);
			for (int i = 0; i < 192; i++)
				assert_int_equal(!!isnan(y[i]), i / 64 == 1);
			assert_true(isnan(quantise_error(&loss)));
			cpu_backend.unprepare(d, &s.w);
			cpu_backend.close(d);
			guarded_free(x);
			free(s.bytes);
		}
}

static void words(void **state)
{
	assert_int_equal(quantise_type("int8"), DTYPE_I8);
	assert_int_equal(quantise_type("fp8"), DTYPE_F8_E4M3);
	assert_int_equal(quantise_type("nf4"), DTYPE_U8);
	assert_int_equal(quantise_type("fp16"), DTYPE_F32);
}

/* ---- what is computed with it ---- */

/* A layer as a convolution; kernel 0: as a linear layer */
struct shape { int n, h, w, in, out, kernel, stride, pad, oh, ow; };

struct layer_args { const struct shape *s; const struct weight *w; const float *x, *dy; };

static void run_layer(struct device *d, struct output *out, const void *arg)
{
	const struct layer_args *a = arg;
	const struct shape *s = a->s;
	const struct conv_shape c = { s->n, s->h, s->w, s->oh, s->ow, s->stride, s->pad };
	int32_t *row = xmalloc(s->out * sizeof(*row));
	struct weight flat = *a->w;

	flat.in *= flat.kh * flat.kw;
	flat.kh = flat.kw = 1;
	for (int i = 0; i < s->out; i++)
		row[i] = s->out - 1 - i;
	cpu_backend.embedding(d, out[2].data, &flat, row, s->out);
	free(row);
	if (s->kernel) {
		cpu_backend.conv2d(d, f32(out[0].data), f32(a->x), a->w, NULL, &c);
		cpu_backend.conv2d_dx(d, f32(out[1].data), f32(a->dy), a->w, &c, 1);
	} else {
		cpu_backend.linear(d, f32(out[0].data), f32(a->x), a->w, NULL, s->n, NULL);
		cpu_backend.linear_dx(d, f32(out[1].data), f32(a->dy), a->w, s->n, 1, NULL);
	}
}

/* The same numbers as floats: codes times scales, as the types say; NF4's of the table, whose test is above. */
static float *values_of(const struct stored *s)
{
	const size_t n = weight_count(&s->w);
	float *x = guarded(n);

	for (size_t i = 0; i < n; i++) {
		const int code = code_at(s->bytes, s->w.dtype, i);
		const float value = s->w.dtype == DTYPE_U8 ? nf4_values[code] : (float)code_value(s->w.dtype, code);

		x[i] = value * s->scale[i / s->each];
	}
	return x;
}

static void expect_floats(struct device *d, struct output *out, const struct layer_args *a)
{
	for (int i = 0; i < 3; i++) {
		out[i].data = guarded(out[i].n);
		refill(&out[i]);
	}
	run_layer(d, out, a);
	for (int i = 0; i < 3; i++) {
		out[i].expect = doubles(out[i].n);
		for (size_t k = 0; k < out[i].n; k++)
			out[i].expect[k] = out[i].data[k];
		guarded_free(out[i].data);
	}
}

static void check_layer(const struct shape *s, enum dtype type)
{
	const int k = s->kernel ? s->kernel : 1;
	const size_t nx = (size_t)s->n * s->h * s->w * s->in, ny = (size_t)s->n * s->oh * s->ow * s->out;
	const size_t nw = (size_t)s->out * s->in * k * k;
	float *w = randoms(40, nw), *x = randoms(41, nx), *dy = randoms(42, ny), *before = randoms(43, nx), *values;
	struct output out[3] = { { .n = ny }, { .n = nx, .before = before }, { .n = nw } };
	struct quantise_loss loss;
	struct stored q = stored(type, s->out, s->in, k, w, &loss);
	struct weight wide = q.w;
	struct error e;
	struct device *d = cpu_backend.open(&e);

	values = values_of(&q);
	wide.dtype = DTYPE_F32;
	wide.data = values;
	expect_floats(d, out, &(struct layer_args){ s, &wide, x, dy });
	assert_int_equal(cpu_backend.prepare(d, &q.w, q.bytes), 0);
	every_way(out, 3, run_layer, &(struct layer_args){ s, &q.w, x, dy });
	cpu_backend.unprepare(d, &q.w);
	cpu_backend.close(d);
	for (int i = 0; i < 3; i++)
		free(out[i].expect);
	free(q.bytes);
	guarded_free(w);
	guarded_free(x);
	guarded_free(dy);
	guarded_free(before);
	guarded_free(values);
}

/* Linear layers of one row and of many, narrower than a vector, deeper than what is packed at once; convolutions of
 * every stride and kernel, by Winograd's algorithm too. */
static void layers_compute_as_with_floats(void **state)
{
	static const struct shape shapes[] = {
		{ 1, 1, 1, 1, 1, 0, 1, 0, 1, 1 }, { 1, 1, 1, 320, 100, 0, 1, 0, 1, 1 },
		{ 4, 1, 1, 33, 7, 0, 1, 0, 1, 1 }, { 77, 1, 1, 64, 130, 0, 1, 0, 1, 1 },
		{ 301, 1, 1, 257, 19, 0, 1, 0, 1, 1 }, { 60, 1, 1, 1100, 300, 0, 1, 0, 1, 1 },
		{ 2, 7, 5, 6, 9, 3, 1, 1, 7, 5 }, { 1, 9, 8, 16, 11, 3, 2, 1, 5, 4 },
		{ 1, 6, 6, 24, 40, 1, 1, 0, 6, 6 }, { 1, 17, 16, 64, 72, 3, 1, 1, 17, 16 },
		{ 1, 16, 18, 80, 64, 3, 1, 1, 16, 18 },
	};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
		for (int t = 0; t < TYPES; t++)
			check_layer(&shapes[i], types[t]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nf4_values_are_quantiles), cmocka_unit_test(numbers_are_the_nearest),
		cmocka_unit_test(nf4_is_bitsandbytes),
		cmocka_unit_test(edges), cmocka_unit_test(e4m3_stays_what_it_is),
		cmocka_unit_test(what_is_not_finite_shows), cmocka_unit_test(words),
		cmocka_unit_test(layers_compute_as_with_floats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
