/* The orientation from a picture's Exif block. */
#include <string.h>
#include "image_internal.h"

#define TAG_ORIENTATION 0x0112
enum { TYPE_SHORT = 3, TYPE_LONG = 4 };

struct exif {
	const uint8_t *bytes;           /* from the byte order mark on */
	size_t n;
	bool big;
};

/* Every offset in Exif comes from outside: reading beyond the end gives 0, which no field that is used here can be. */
static unsigned get16(const struct exif *x, size_t at)
{
	if (at > x->n || x->n - at < 2)
		return 0;
	return x->big ? x->bytes[at] << 8 | x->bytes[at + 1] : x->bytes[at + 1] << 8 | x->bytes[at];
}

static uint32_t get32(const struct exif *x, size_t at)
{
	uint32_t first = get16(x, at), second = get16(x, at + 2);

	return x->big ? first << 16 | second : second << 16 | first;
}

/* Some writers say LONG where the standard wants SHORT. */
static int value_of(const struct exif *x, size_t entry)
{
	const unsigned type = get16(x, entry + 2);
	const uint32_t v = type == TYPE_SHORT ? get16(x, entry + 8) : type == TYPE_LONG ? get32(x, entry + 8) : 1;

	return v >= 1 && v <= 8 ? (int)v : 1;
}

int exif_orientation(const uint8_t *bytes, size_t n)
{
	struct exif x = { bytes, n, false };
	size_t directory;
	unsigned entries;

	if (n >= 6 && !memcmp(bytes, "Exif\0\0", 6)) {
		x.bytes += 6;
		x.n -= 6;
	}
	if (x.n < 8)
		return 1;
	x.big = x.bytes[0] == 'M';
	if (memcmp(x.bytes, x.big ? "MM" : "II", 2) || get16(&x, 2) != 42)
		return 1;
	directory = get32(&x, 4);
	entries = get16(&x, directory);
	for (unsigned i = 0; i < entries; i++) {
		size_t entry = directory + 2 + 12 * (size_t)i;
		if (entry + 12 > x.n)
			return 1;
		if (get16(&x, entry) == TAG_ORIENTATION)
			return value_of(&x, entry);
	}
	return 1;
}
