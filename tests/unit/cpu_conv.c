/* The CPU's convolutions against double precision. */
#include "cpu_reference.h"

/* A sum of k products in float, in blocks of 256; see cpu_product.c.  Winograd's transforms stay within it: 1e-6
 * rms, thrice that at most. */
static double tolerance(int k) { return 1e-6 * (1 + sqrt(k) / 8); }

struct conv_case {
	int n, h, w, in, out, kh, kw, stride, pad, oh, ow;
	enum dtype dtype;
};

static const struct conv_case cases[] = {
	{ 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, DTYPE_F32 },
	{ 2, 5, 7, 3, 4, 3, 3, 1, 1, 5, 7, DTYPE_F32 },
	{ 1, 8, 6, 17, 33, 3, 3, 2, 1, 4, 3, DTYPE_F16 },
	{ 1, 9, 8, 5, 6, 3, 3, 2, 0, 4, 4, DTYPE_BF16 },         /* reads past the right edge: what lies there is 0 */
	{ 3, 4, 4, 9, 2, 3, 3, 2, 0, 2, 2, DTYPE_F32 },
	{ 1, 10, 11, 6, 5, 7, 5, 1, 3, 10, 11, DTYPE_F32 },
	{ 1, 12, 12, 4, 8, 4, 4, 3, 1, 4, 4, DTYPE_F16 },
	{ 2, 16, 16, 32, 40, 3, 3, 1, 1, 16, 16, DTYPE_F16 },
	/* one pixel a filter: a matrix, in panels where it has a multiple of 32 rows */
	{ 1, 9, 8, 40, 64, 1, 1, 1, 0, 9, 8, DTYPE_F16 }, { 2, 9, 8, 33, 7, 1, 1, 1, 0, 9, 8, DTYPE_BF16 },
	{ 1, 9, 8, 40, 32, 1, 1, 2, 0, 5, 4, DTYPE_F32 },
	/* Winograd's way: from 64 channels and 16 tiles on */
	{ 1, 16, 15, 72, 64, 3, 3, 1, 1, 16, 15, DTYPE_F32 }, { 2, 13, 10, 65, 130, 3, 3, 1, 1, 13, 10, DTYPE_F16 },
	{ 1, 18, 19, 150, 70, 3, 3, 1, 1, 18, 19, DTYPE_BF16 },
	/* in groups of tiles, where one thread has all 64 */
	{ 1, 32, 31, 66, 64, 3, 3, 1, 1, 32, 31, DTYPE_F32 },
};

/* Calls f(y index, x index, weight index) for every product of the convolution; weight in [out][kh][kw][in]. */
static void each_product(const struct conv_case *c, void (*f)(void *to, size_t y, size_t x, size_t w), void *to)
{
	for (int n = 0; n < c->n; n++)
		for (int oy = 0; oy < c->oh; oy++)
			for (int ox = 0; ox < c->ow; ox++)
				for (int ky = 0; ky < c->kh; ky++)
					for (int kx = 0; kx < c->kw; kx++) {
						int y = oy * c->stride - c->pad + ky, x = ox * c->stride - c->pad + kx;

						if (y < 0 || x < 0 || y >= c->h || x >= c->w)
							continue;
						for (int o = 0; o < c->out; o++)
							for (int i = 0; i < c->in; i++)
								f(to, (((size_t)n * c->oh + oy) * c->ow + ox) * c->out +
								  o, (((size_t)n * c->h + y) * c->w + x) * c->in + i,
								  (((size_t)o * c->kh + ky) * c->kw + kx) * c->in + i);
					}
}

struct conv_args {
	const struct conv_case *c;
	struct conv_shape shape;
	struct weight w;
	char *bytes;            /* of its file, from 1 on */
	const float *x, *dy, *bias;
	int add;
	const float *values;    /* the weight, [out][kh][kw][in] */
	double *to;
};

static void add_y(void *to, size_t y, size_t x, size_t w)
{
	const struct conv_args *p = to;

	p->to[y] += (double)p->x[x] * p->values[w];
}

static void add_dx(void *to, size_t y, size_t x, size_t w)
{
	const struct conv_args *p = to;

	p->to[x] += (double)p->dy[y] * p->values[w];
}

static void add_dw(void *to, size_t y, size_t x, size_t w)
{
	const struct conv_args *p = to;

	p->to[w] += (double)p->dy[y] * p->x[x];
}

static void run_conv(struct device *d, struct output *out, const void *arg)
{
	const struct conv_args *p = arg;
	struct weight w = p->w;

	assert_int_equal(cpu_backend.prepare(d, &w, p->bytes + 1), 0);
	cpu_backend.conv2d(d, f32(out->data), f32(p->x), &w, p->bias, &p->shape);
	cpu_backend.unprepare(d, &w);
}

static void run_conv_dx(struct device *d, struct output *out, const void *arg)
{
	const struct conv_args *p = arg;
	struct weight w = p->w;

	assert_int_equal(cpu_backend.prepare(d, &w, p->bytes + 1), 0);
	cpu_backend.conv2d_dx(d, f32(out->data), f32(p->dy), &w, &p->shape, p->add);
	cpu_backend.unprepare(d, &w);
}

static void run_conv_dw(struct device *d, struct output *out, const void *arg)
{
	const struct conv_args *p = arg;

	cpu_backend.conv2d_dw(d, out->data, f32(p->x), f32(p->dy), p->c->out, p->c->in, p->c->kh, p->c->kw, &p->shape,
			      p->add);
}

/* A weight, the bytes of its file from 1 on, [out][in][kh][kw], and *values, [out][kh][kw][in], by hand. */
static char *make_weight(const struct conv_case *c, struct weight *w, float **values)
{
	const int taps = c->kh * c->kw;
	const size_t n = (size_t)c->out * c->in * taps, size = dtype_size(c->dtype);
	float *file = randoms(11, n);
	char *bytes = xmalloc(n * size + 1);

	*w = (struct weight){ .dtype = c->dtype, .out = c->out, .in = c->in, .kh = c->kh, .kw = c->kw };
	assert_int_equal(from_float(bytes + 1, c->dtype, file, n), 0);
	assert_int_equal(to_float(file, bytes + 1, c->dtype, n), 0);
	*values = guarded(n);
	for (int o = 0; o < c->out; o++)
		for (int i = 0; i < c->in; i++)
			for (int t = 0; t < taps; t++)
				(*values)[((size_t)o * taps + t) * c->in + i] = file[((size_t)o * c->in + i) * taps +
					t];
	guarded_free(file);
	return bytes;
}

static void check(struct conv_args *p, size_t n, int depth, const double *start,
		  void (*add)(void *, size_t, size_t, size_t), void (*run)(struct device *, struct output *,
									   const void *))
{
	float *before = guarded(n);
	struct output out = { .n = n, .before = start ? before : NULL, .expect = doubles(n),
			      .tolerance = tolerance(depth) };

	for (size_t i = 0; start && i < n; i++)
		out.expect[i] = before[i] = start[i];
	p->add = start && run != run_conv;
	p->to = out.expect;
	if (run == run_conv)
		for (size_t i = 0; i < n; i++)
			out.expect[i] = p->bias ? p->bias[i % p->c->out] : 0;
	each_product(p->c, add, p);
	every_way(&out, 1, run, p);
	free(out.expect);
	guarded_free(before);
}

static void convolutions_agree_with_double(void **state)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct conv_case *c = &cases[i];
		const int taps = c->kh * c->kw;
		const size_t nx = (size_t)c->n * c->h * c->w * c->in, ny = (size_t)c->n * c->oh * c->ow * c->out,
			nw = (size_t)c->out * taps * c->in;
		float *x = randoms(12, nx), *dy = randoms(13, ny), *bias = randoms(14, c->out), *values;
		double *start = doubles(nx + ny + nw);
		struct conv_args p = { .c = c, .shape = { c->n, c->h, c->w, c->oh, c->ow, c->stride, c->pad }, .x = x,
				       .dy = dy };

		for (size_t k = 0; k < nx + ny + nw; k++)
			start[k] = (double)(k % 17) / 8 - 1;
		p.bytes = make_weight(c, &p.w, &values);
		p.values = values;
		check(&p, ny, taps * c->in, NULL, add_y, run_conv);
		p.bias = bias;
		check(&p, ny, taps * c->in, NULL, add_y, run_conv);
		check(&p, nx, taps * c->out, NULL, add_dx, run_conv_dx);
		check(&p, nx, taps * c->out, start, add_dx, run_conv_dx);
		check(&p, nw, c->n * c->oh * c->ow, NULL, add_dw, run_conv_dw);
		check(&p, nw, c->n * c->oh * c->ow, start, add_dw, run_conv_dw);
		free(p.bytes);
		guarded_free(x);
		guarded_free(dy);
		guarded_free(bias);
		guarded_free(values);
		free(start);
	}
}

/* A NaN in one pixel reaches the outputs under its filter and no others. */
static void nan_reaches_its_neighbours(void **state)
{
	struct error e;
	struct device *d = cpu_backend.open(&e);
	const struct conv_case c = { 1, 12, 12, 40, 24, 3, 3, 1, 1, 12, 12, DTYPE_F32 };
	const struct conv_shape s = { 1, 12, 12, 12, 12, 1, 1 };
	float *x = randoms(15, 144 * 40), *y = guarded(144 * 24), *values;
	struct weight w;
	char *bytes;

	bytes = make_weight(&c, &w, &values);
	assert_int_equal(cpu_backend.prepare(d, &w, bytes + 1), 0);
	x[(5 * 12 + 6) * 40 + 3] = NAN;
	cpu_backend.conv2d(d, f32(y), f32(x), &w, NULL, &s);
	for (int i = 0; i < 144; i++)
		if (abs(i / 12 - 5) <= 1 && abs(i % 12 - 6) <= 1)
			assert_true(isnan(y[i * 24]) && isnan(y[i * 24 + 23]));
	assert_false(isnan(y[0]));
	assert_false(isnan(y[143 * 24]));
	cpu_backend.unprepare(d, &w);
	cpu_backend.close(d);
	free(bytes);
	guarded_free(x);
	guarded_free(y);
	guarded_free(values);
}

/* What the backend says that a convolution takes for itself is what it then has. */
static void scratch_is_what_was_said(void **state)
{
	/* by products; in stages; in groups */
	static const struct { int in, out, side, stride; } shapes[] = { { 64, 64, 20, 2 }, { 384, 96, 20, 1 },
									 { 64, 96, 64, 1 }, { 96, 64, 64, 1 } };

	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		const int side = shapes[i].side, o = side / shapes[i].stride, in = shapes[i].in, out = shapes[i].out;
		const struct conv_shape s = { 1, side, side, o, o, shapes[i].stride, 1 };
		struct weight w = { .dtype = DTYPE_F32, .out = out, .in = in, .kh = 3, .kw = 3 };
		float *x = guarded((size_t)side * side * in), *y = guarded((size_t)o * o * out);
		size_t most = 0;

		w.data = xcalloc((size_t)out * in * 9, sizeof(float));
		for (int back = 0; back < 2; back++) {
			struct error e;
			struct device *d;
			size_t held = 0;

			threads_use(2);
			d = cpu_backend.open(&e);
			assert_non_null(d);
			if (back)
				cpu_backend.conv2d_dx(d, f32(x), f32(y), &w, &s, 0);
			else
				cpu_backend.conv2d(d, f32(y), f32(x), &w, NULL, &s);
			/* a thread may have had no task */
			held = d->scratch[2].size + 2 * (d->scratch[0].size > d->scratch[1].size ? d->scratch[0].size :
							 d->scratch[1].size);
			most = held > most ? held : most;
			cpu_backend.close(d);
		}
		if (shapes[i].stride == 1)
			assert_int_equal(cpu_conv2d_scratch(&w, &s, 2), most);
		else
			assert_int_equal(cpu_conv2d_scratch(&w, &s, 2), 0);
		guarded_free(x);
		guarded_free(y);
		free(w.data);
	}
	threads_use(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(convolutions_agree_with_double),
					    cmocka_unit_test(nan_reaches_its_neighbours),
					    cmocka_unit_test(scratch_is_what_was_said) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
