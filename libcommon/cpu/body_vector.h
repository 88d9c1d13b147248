/* body_vector.h - loads, stores, choices and elementary functions on a vec.  See body.h. */

static inline vec load(const float *p) { return *(const unaligned_vec *)p; }
static inline void store(float *p, vec v) { *(unaligned_vec *)p = v; }

/* The first n floats only, zeros beyond. */
static inline vec load_some(const float *p, size_t n)
{
	vec v = { 0 };

	if (n >= LANES)
		return load(p);
	memcpy(&v, p, n * sizeof(*p));
	return v;
}

static inline void store_some(float *p, vec v, size_t n)
{
	if (n >= LANES)
		store(p, v);
	else
		memcpy(p, &v, n * sizeof(*p));
}

static inline vec magnitude(vec x) { return (vec)((ivec)x & 0x7fffffff); }

static inline double sum_doubles(dvec a)
{
	double sum = 0;
	int i;

	for (i = 0; i < LANES / 2; i++)
		sum += a[i];
	return sum;
}

static inline float sum_lanes(vec a) { return sum_doubles(low_doubles(a) + high_doubles(a)); }

/* e^x to 1.1 ulp: x = n ln 2 + r, |r| <= 0.35, where the series' next term is below 1e-8.  Adding 1.5 * 2^23 leaves
 * n, rounded, in the low bits.  Too small gives 0 (n = -127 makes a power of two whose bits are all 0), too large
 * e^87, whose reciprocal is still normal. */
static inline vec exponential(vec x)
{
	const vec shift = all(12582912);
	vec bounded = at_most(at_least(x, -88), 87), n = mul_add(bounded, all(1.44269504f), shift), r, p;
	vec power = (vec)(((ivec)n << 23) + (127 << 23));

	n -= shift;
	r = mul_add(n, all(-0.693359375f), bounded);
	r = mul_add(n, all(2.12194440e-4f), r);
	p = mul_add(r, all(1.f / 5040), all(1.f / 720));
	p = mul_add(p, r, all(1.f / 120));
	p = mul_add(p, r, all(1.f / 24));
	p = mul_add(p, r, all(1.f / 6));
	p = mul_add(p, r, all(.5f));
	p = mul_add(r * r, p, r) + 1;
	return p * power;
}

static inline vec sigmoid(vec x) { return 1 / (1 + exponential(-x)); }

/* The normal distribution: returns its integral up to x; *bell = exp(-x*x/2).  For x < 0 the integral is bell t
 * Q(t), t = 1/(1 + 0.24 |x|); Q is the polynomial through the Chebyshev points of 0 <= |x| <= 14, relative error
 * 4e-9. */
static inline vec normal_integral(vec x, vec *bell)
{
	static const float q[10] = { 0.09574151729f, 0.09586732188f, 0.08885675304f, 0.08809751819f, 0.02726053434f,
				     0.1429796272f, -0.1459475787f, 0.20662138f, -0.1250756752f, 0.02559860342f };
	vec t = 1 / mul_add(magnitude(x), all(0.24f), all(1)), sum = all(q[9]), tail;
	int i;

#pragma GCC unroll 9
	for (i = 8; i >= 0; i--)
		sum = mul_add(sum, t, all(q[i]));
	*bell = exponential(-0.5f * x * x);
	tail = *bell * t * sum;
	return choose(x > all(0), 1 - tail, tail);
}
