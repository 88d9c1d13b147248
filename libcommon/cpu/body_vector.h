/* body_vector.h - loads, stores, choices and elementary functions on a vec.  See body.h. */

static inline vec load(const float *p) { return *(const unaligned_vec *)p; }
static inline void store(float *p, vec v) { *(unaligned_vec *)p = v; }

#ifndef HAS_MASKS
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
#endif

/* The first n of a vec, zeros beyond. */
static inline vec keep_some(vec v, size_t n)
{
	vec kept = { 0 };

	if (n >= LANES)
		return v;
	memcpy(&kept, &v, n * sizeof(float));
	return kept;
}

static inline vec magnitude(vec x) { return (vec)((ivec)x & 0x7fffffff); }

/* A sum over a vector of any length: element i is added in place i % 8, in the order of i, then places 0 and 4, 1 and 5
 * and so on, then these four in order.  So every instruction set gives the same bytes. */
enum { PLACES = 8, SUM_PARTS = 2 * PLACES / LANES };
struct sum { dvec part[SUM_PARTS]; };

/* The doubles of elements i.. of a vec; i is a multiple of LANES. */
static inline void sum_add(struct sum *s, size_t i, dvec low, dvec high)
{
	const size_t first = SUM_PARTS > 2 ? i / (LANES / 2) % SUM_PARTS : 0;

	s->part[first] += low;
	s->part[(first + 1) % SUM_PARTS] += high;
}

static inline double sum_total(const struct sum *s)
{
	double place[PLACES], sum = 0;

	memcpy(place, s->part, sizeof(place));
	for (int i = 0; i < PLACES / 2; i++)
		sum += place[i] + place[i + PLACES / 2];
	return sum;
}

/* The same of floats, of which only the last sums are doubles. */
static inline float octet_total(const octet *s)
{
	float place[PLACES];
	double sum = 0;

	memcpy(place, s, sizeof(place));
	for (int i = 0; i < PLACES / 2; i++)
		sum += (double)place[i] + place[i + PLACES / 2];
	return sum;
}

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
