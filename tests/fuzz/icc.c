/* A colour profile in front of pixels of any kind: it is applied to each pixel or taken as sRGB.
 * The first byte is the kind. */
#include "fuzz.h"
#include "../../libcommon/io/image_internal.h"

enum { WIDTH = 19, GUARD = 77 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	const enum pixels kind = n ? bytes[0] % (PIXELS_CMYK + 1) : PIXELS_RGB;
	const int depth = n && bytes[0] & 128 ? 16 : 8;
	const size_t row_bytes = (size_t)WIDTH * channels_of(kind) * depth / 8;
	struct colour *c = n ? colour_open(bytes + 1, n - 1, kind, depth) : NULL;
	uint8_t *row, rgb[WIDTH * 3 + 1], again[WIDTH * 3];

	if (!c)
		return 0;
	row = xmalloc(row_bytes);
	for (size_t i = 0; i < row_bytes; i++)
		row[i] = (uint8_t)(i * 37);
	rgb[WIDTH * 3] = GUARD;
	colour_row(c, row, rgb, WIDTH);
	HOLDS(rgb[WIDTH * 3] == GUARD);
	colour_row(c, row, again, WIDTH);
	HOLDS(!memcmp(rgb, again, sizeof(again)));
	free(row);
	colour_close(c);
	return 0;
}
