/* A width as a product of two: lycoris/functional/general.py, factorization(). */
#include "split.h"

static struct split in_order(int a, int b)
{
	return a < b ? (struct split){ a, b } : (struct split){ b, a };
}

/* From 1 upwards, as long as the sum does not grow. */
struct split split_width(int n, int factor)
{
	int a = 1, b = n;

	if (factor > 0 && n % factor == 0)
		return in_order(factor, n / factor);
	while (a < b) {
		int next = a + 1;

		while (n % next)
			next++;
		if (next + n / next > n + 1 || (factor > 0 && next > factor))
			break;
		a = next;
		b = n / next;
	}
	return in_order(a, b);
}
