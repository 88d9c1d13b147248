/* Elementary functions of plain double arithmetic. */
#include <math.h>
#include "elementary.h"

/* ln 2 and pi / 2 in pieces: the first ones have so many zeros at the end that k times them is exact. */
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW  1.90821492927058770002e-10
#define QUARTER_1 1.57079632673412561417e+00
#define QUARTER_2 6.07710050630396597660e-11
#define QUARTER_3 2.02226624879595063154e-21
#define MOST_QUARTERS 1048576.0

/* c[0] + c[1] x + ... */
static double polynomial(const double *c, int n, double x)
{
	double sum = c[n - 1];

	for (int i = n - 2; i >= 0; i--)
		sum = sum * x + c[i];
	return sum;
}

/* x = k ln 2 + r, |r| <= 0.35; e^r = 1 + r + r^2 (1/2! + r/3! + ...), whose next term is below 1e-18. */
double plain_exp(double x)
{
	static const double c[] = { 1. / 2, 1. / 6, 1. / 24, 1. / 120, 1. / 720, 1. / 5040, 1. / 40320, 1. / 362880,
				    1. / 3628800, 1. / 39916800, 1. / 479001600, 1. / 6227020800 };
	double k, r;

	if (!(x < 709.79))
		return isnan(x) ? x : INFINITY;
	if (x < -746)
		return 0;
	k = floor(x * M_LOG2E + 0.5);
	r = (x - k * LN2_HIGH) - k * LN2_LOW;
	return ldexp(1 + (r + r * r * polynomial(c, sizeof(c) / sizeof(*c), r)), (int)k);
}

/* x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2).  With s = f / (2 + f), log(1 + f) = 2s + 2s (s^2/3 + s^4/5 + ...), and
 * 2s = f - f^2/2 + s f^2/2, which loses no digit of f. */
double plain_log(double x)
{
	static const double c[] = { 2. / 3, 2. / 5, 2. / 7, 2. / 9, 2. / 11, 2. / 13, 2. / 15, 2. / 17, 2. / 19,
				    2. / 21, 2. / 23 };
	double f, s, half, rest;
	int k;

	if (!(x > 0) || isinf(x))
		return x == 0 ? -INFINITY : x > 0 ? x : NAN;
	f = frexp(x, &k);
	if (f < M_SQRT1_2) {
		f *= 2;
		k--;
	}
	f -= 1;
	s = f / (2 + f);
	half = f * f / 2;
	rest = s * s * polynomial(c, sizeof(c) / sizeof(*c), s * s);
	return k * LN2_HIGH - ((half - (s * (half + rest) + k * LN2_LOW)) - f);
}

/* x = k pi/2 + *r, |*r| <= pi/4; returns k modulo 4 */
static int quarter_turns(double x, double *r)
{
	double k;

	*r = NAN;
	if (!isfinite(x))
		return 0;
	if (fabs(x) > MOST_QUARTERS)
		x = fmod(x, 2 * M_PI);
	k = floor(x * M_2_PI + 0.5);
	*r = ((x - k * QUARTER_1) - k * QUARTER_2) - k * QUARTER_3;
	return (int)k & 3;
}

static double sine(double r)
{
	static const double c[] = { -1. / 6, 1. / 120, -1. / 5040, 1. / 362880, -1. / 39916800, 1. / 6227020800,
				    -1. / 1307674368000, 1. / 355687428096000 };

	return r + r * (r * r * polynomial(c, sizeof(c) / sizeof(*c), r * r));
}

static double cosine(double r)
{
	static const double c[] = { 1. / 24, -1. / 720, 1. / 40320, -1. / 3628800, 1. / 479001600, -1. / 87178291200,
				    1. / 20922789888000 };
	const double z = r * r;

	return 1 - (z / 2 - z * z * polynomial(c, sizeof(c) / sizeof(*c), z));
}

static double of_quarter(int quarter, double r)
{
	const double y = quarter & 1 ? cosine(r) : sine(r);

	return quarter & 2 ? -y : y;
}

double plain_sin(double x)
{
	double r;
	const int k = quarter_turns(x, &r);

	return of_quarter(k, r);
}

double plain_cos(double x)
{
	double r;
	const int k = quarter_turns(x, &r);

	return of_quarter((k + 1) & 3, r);
}

static double whole_power(double x, int n)
{
	double y = 1;

	for (; n; n >>= 1, x *= x)
		if (n & 1)
			y *= x;
	return y;
}

double plain_pow(double x, double y)
{
	if (y == floor(y) && fabs(y) <= 64)
		return y < 0 ? 1 / whole_power(x, (int)-y) : whole_power(x, (int)y);
	if (x == 0)
		return y > 0 ? 0 : INFINITY;
	return plain_exp(y * plain_log(x));
}
