/* body_optimizer.h - the inner loops of the optimizers, AdamW's excepted.  See body.h. */

static void lion(float *p, float *m, const float *grad, size_t n, const struct adamw_step *s)
{
	const float keep = 1 - (double)s->lr * s->decay, beta1 = s->beta1, share1 = 1 - s->beta1, beta2 = s->beta2,
		share2 = 1 - s->beta2;

	FOR_VECTORS(i, n) {
		size_t rest = n - i;
		vec g = s->grad_scale * load_some(grad + i, rest), m0 = load_some(m + i, rest),
			way = beta1 * m0 + share1 * g;
		vec sign = choose(way > all(0), all(1), choose(way < all(0), all(-1), all(0)));

		store_some(p + i, keep * load_some(p + i, rest) - s->lr * sign, rest);
		store_some(m + i, beta2 * m0 + share2 * g, rest);
	}
}

static double sum_magnitudes(const float *x, size_t n)
{
	struct sum sum = { 0 };

	FOR_VECTORS(i, n) {
		vec v = magnitude(load_some(x + i, n - i));

		sum_add(&sum, i, low_doubles(v), high_doubles(v));
	}
	return sum_total(&sum);
}

static void axxpby(float *y, float a, const float *x, float b, size_t n)
{
	FOR_VECTORS(i, n) {
		vec v = load_some(x + i, n - i), square = a * (v * v);

		store_some(y + i, b != 0 ? square + b * load_some(y + i, n - i) : square, n - i);
	}
}

static void over_root(float *y, float a, const float *x, const float *v, float eps, float b, size_t n)
{
	FOR_VECTORS(i, n) {
		vec below = root(load_some(v + i, n - i)) + eps, q = a * load_some(x + i, n - i) / below;

		store_some(y + i, b != 0 ? q + b * load_some(y + i, n - i) : q, n - i);
	}
}

/* The entry of an ascending map that is nearest to x. */
static inline int nearest_entry(const float *map, float x)
{
	int i = 0, bit;

	for (bit = 128; bit; bit >>= 1)
		i += map[i + bit] <= x ? bit : 0;
	return i < 255 && x - map[i] > map[i + 1] - x ? i + 1 : i;
}

/* x to codes; returns the absmax */
static inline float encode_block(uint8_t *code, const float *x, size_t n, const float *map)
{
	float absmax = 0;
	size_t i;

	for (i = 0; i < n; i++)
		absmax = fabsf(x[i]) > absmax ? fabsf(x[i]) : absmax;
	for (i = 0; i < n; i++) {
		int c = nearest_entry(map, absmax > 0 ? x[i] / absmax : 0);

		code[i] = x[i] < 0 && map[c] >= 0 ? c - 1 : c;
	}
	return absmax;
}

static void adamw8bit(float *p, const struct adam8_moments *q, const float *grad, size_t n, const struct adamw_step *s)
{
	const double root2 = sqrt(s->correction2);
	const float keep = 1 - (double)s->lr * s->decay, step = s->lr * root2 / s->correction1, eps = root2 * s->eps;
	const float beta1 = s->beta1, share1 = 1 - s->beta1, beta2 = s->beta2, share2 = 1 - s->beta2;
	float m[ADAM8_BLOCK], v[ADAM8_BLOCK];
	size_t i;

	for (i = 0; i < n; i++) {
		m[i] = q->map1[q->code1[i]] * *q->absmax1;
		v[i] = q->map2[q->code2[i]] * *q->absmax2;
	}
	for (i = 0; i < n; i += LANES) {
		size_t rest = n - i;
		vec g = s->grad_scale * load_some(grad + i, rest);
		vec m1 = beta1 * load_some(m + i, rest) + share1 * g,
			v1 = beta2 * load_some(v + i, rest) + share2 * g * g;

		store_some(m + i, m1, rest);
		store_some(v + i, v1, rest);
		store_some(p + i, keep * (load_some(p + i, rest) - step * (m1 / (root(v1) + eps))), rest);
	}
	*q->absmax1 = encode_block(q->code1, m, n, q->map1);
	*q->absmax2 = encode_block(q->code2, v, n, q->map2);
}
