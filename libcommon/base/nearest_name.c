/* The nearest of several names, by an edit distance that counts a swap of two neighbours as one mistake. */
#include <stdint.h>
#include <string.h>
#include "map.h"

enum { LONGEST = 63 };

static char folded(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c + ('a' - 'A');
	return c == '-' ? '_' : c;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Optimal string alignment over three rows: the one being filled and the two before it. */
static size_t distance(const char *a, size_t m, const char *b, size_t n)
{
	size_t rows[3][LONGEST + 1], *before = rows[0], *last = rows[1], *row = rows[2], *spare;

	for (size_t j = 0; j <= n; j++)
		last[j] = j;
	for (size_t i = 1; i <= m; i++) {
		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			char x = folded(a[i - 1]), y = folded(b[j - 1]);

			row[j] = least(least(last[j], row[j - 1]) + 1, last[j - 1] + (x != y));
			if (i > 1 && j > 1 && x == folded(b[j - 2]) && y == folded(a[i - 2]))
				row[j] = least(row[j], before[j - 2] + 1);
		}
		spare = before;
		before = last;
		last = row;
		row = spare;
	}
	return last[n];
}

const char *nearest_name(const char *wrong, const char *const *names, size_t count)
{
	size_t length = strlen(wrong), best = (length + 2) / 3 + 1;
	const char *nearest = NULL;

	if (length > LONGEST)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t n = strlen(names[i]), d;

		if (n > LONGEST || n + best < length || length + best < n)
			continue;
		d = distance(wrong, length, names[i], n);
		if (d < best && d < n && d < length) {
			best = d;
			nearest = names[i];
		}
	}
	return nearest;
}
