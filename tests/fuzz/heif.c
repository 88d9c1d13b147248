/* HEIC and AVIF through libheif, where it is: a picture that is accepted has the pixels that its sizes say. */
#include "fuzz.h"
#include "../../libcommon/io/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	const struct image_options o = { .keep_alpha = true, .max_pixels = 1 << 20, .libheif = true };
	static volatile uint8_t sum;
	struct image image;
	struct error e = { 0 };
	const char *other = NULL;

	if (image_type(bytes, n, &other) || !other)      /* tests/fuzz/image.c has the other types */
		return 0;
	if (image_decode("input", bytes, n, &o, &image, NULL, &e) < 0) {
		HOLDS(e.code == EXIT_INPUT && !image.rgb);
		return 0;
	}
	HOLDS(image.width > 0 && image.height > 0 && (uint64_t)image.width * image.height <= o.max_pixels);
	for (size_t i = 0; i < (size_t)image.width * image.height * 3; i++)
		sum ^= image.rgb[i];
	image_free(&image);
	return 0;
}
