/* body_elementwise.h - activations, sums and the optimizer's step.  See body.h. */

static inline vec activate(vec x, enum activation kind)
{
	vec bell;

	switch (kind) {
	case ACT_GELU: return x * normal_integral(x, &bell);
	case ACT_QUICK_GELU: return x * sigmoid(1.702f * x);
	default: return x * sigmoid(x);
	}
}

/* d(x s(a x))/dx = s (1 + a x (1 - s)).  1 - s = exp(-a x) s: a subtraction would lose digits that a x then
 * magnifies. */
static inline vec sigmoid_slope(vec x, float a)
{
	vec e = exponential(-a * x), s = 1 / (1 + e);

	return s * mul_add(a * x, e * s, all(1));
}

/* d(x Phi(x))/dx = Phi + x phi,  phi = bell / sqrt(2 pi) */
static inline vec gelu_slope(vec x)
{
	vec bell, integral = normal_integral(x, &bell);

	return mul_add(0.3989422804f * x, bell, integral);
}

static inline vec activation_slope(vec x, enum activation kind)
{
	switch (kind) {
	case ACT_GELU: return gelu_slope(x);
	case ACT_QUICK_GELU: return sigmoid_slope(x, 1.702f);
	default: return sigmoid_slope(x, 1);
	}
}

#define FOR_VECTORS(i, n) for (size_t i = 0; i < (n); i += LANES)

static inline __attribute__((always_inline)) void activate_all(float *y, const float *x, size_t n,
							       const enum activation kind)
{
	FOR_VECTORS(i, n)
		store_some(y + i, activate(load_some(x + i, n - i), kind), n - i);
}

static void activation(float *y, const float *x, size_t n, enum activation kind)
{
	switch (kind) {
	case ACT_SILU: activate_all(y, x, n, ACT_SILU); break;
	case ACT_GELU: activate_all(y, x, n, ACT_GELU); break;
	case ACT_QUICK_GELU: activate_all(y, x, n, ACT_QUICK_GELU); break;
	}
}

/* y = v or y += v */
static inline void put(float *y, vec v, size_t n, int add)
{
	store_some(y, add ? load_some(y, n) + v : v, n);
}

static void activation_back(float *dx, const float *dy, const float *x, size_t n, enum activation kind, int add)
{
	FOR_VECTORS(i, n)
		put(dx + i, load_some(dy + i, n - i) * activation_slope(load_some(x + i, n - i), kind), n - i, add);
}

static void geglu(float *y, const float *value, const float *gate, int c)
{
	FOR_VECTORS(i, (size_t)c)
		store_some(y + i, load_some(value + i, c - i) * activate(load_some(gate + i, c - i), ACT_GELU), c - i);
}

static void geglu_back(float *dvalue, float *dgate, const float *dy, const float *value, const float *gate, int c,
		       int add)
{
	FOR_VECTORS(i, (size_t)c) {
		size_t n = c - i;
		vec g = load_some(gate + i, n), d = load_some(dy + i, n), bell, integral = normal_integral(g, &bell);
		vec v = load_some(value + i, n);        /* before dvalue is written, which may be in its place */

		put(dvalue + i, d * g * integral, n, add);
		put(dgate + i, d * v * mul_add(0.3989422804f * g, bell, integral), n, add);
	}
}

static void axpby(float *y, float a, const float *x, float b, size_t n)
{
	FOR_VECTORS(i, n) {
		vec v = a * load_some(x + i, n - i);

		store_some(y + i, b != 0 ? v + b * load_some(y + i, n - i) : v, n - i);
	}
}

static void add_vectors(float *y, const float *x, const float *z, size_t n)
{
	FOR_VECTORS(i, n)
		store_some(y + i, load_some(x + i, n - i) + load_some(z + i, n - i), n - i);
}

static void multiply_vectors(float *y, const float *x, const float *z, size_t n)
{
	FOR_VECTORS(i, n)
		store_some(y + i, load_some(x + i, n - i) * load_some(z + i, n - i), n - i);
}

static void scale_vector(float *y, float factor, int n)
{
	FOR_VECTORS(i, (size_t)n)
		store_some(y + i, factor * load_some(y + i, n - i), n - i);
}

static inline void add_squares(struct sum *sum, size_t i, vec v)
{
	dvec low = low_doubles(v), high = high_doubles(v);

	sum_add(sum, i, low * low, high * high);
}

static double sum_squares(const float *x, size_t n)
{
	struct sum sum = { 0 };

	FOR_VECTORS(i, n)
		add_squares(&sum, i, load_some(x + i, n - i));
	return sum_total(&sum);
}

static double sum_squared_difference(const float *x, const float *z, size_t n)
{
	struct sum sum = { 0 };

	FOR_VECTORS(i, n)
		add_squares(&sum, i, load_some(x + i, n - i) - load_some(z + i, n - i));
	return sum_total(&sum);
}

static void scaled_difference(float *dx, float factor, const float *x, const float *z, size_t n, int add)
{
	FOR_VECTORS(i, n)
		put(dx + i, factor * (load_some(x + i, n - i) - load_some(z + i, n - i)), n - i, add);
}

static double dot(const float *x, const float *z, int n)
{
	struct sum sum = { 0 };

	FOR_VECTORS(i, (size_t)n) {
		vec a = load_some(x + i, n - i), b = load_some(z + i, n - i);

		sum_add(&sum, i, low_doubles(a) * low_doubles(b), high_doubles(a) * high_doubles(b));
	}
	return sum_total(&sum);
}

static void adamw(float *p, float *m, float *v, const float *grad, size_t n, const struct adamw_step *s)
{
	const float keep = 1 - (double)s->lr * s->decay, step = (double)s->lr / s->correction1,
		root2 = sqrt(s->correction2);
	const float share1 = 1 - s->beta1, share2 = 1 - s->beta2, beta2 = s->beta2;

	FOR_VECTORS(i, n) {
		size_t rest = n - i;
		vec g = s->grad_scale * load_some(grad + i, rest), m0 = load_some(m + i, rest);
		vec m1 = m0 + share1 * (g - m0), v1 = beta2 * load_some(v + i, rest) + share2 * g * g;

		store_some(m + i, m1, rest);
		store_some(v + i, v1, rest);
		store_some(p + i, keep * load_some(p + i, rest) - step * m1 / (root(v1) / root2 + s->eps), rest);
	}
}
