/* HEIC and AVIF through libheif, where it is: a picture that is accepted has the pixels that its sizes say. */
#include "fuzz.h"
#include "../../libcommon/io/image.h"

/* What a codec of libheif's forgets of a damaged picture is its own: dav1d does, 40 bytes.  Ours is looked for. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libdav1d\nleak:libde265\nleak:libaom\nleak:libx265\n";
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	const struct image_options o = { .keep_alpha = true, .max_pixels = 1 << 20, .libheif = true };
	uint64_t sum = 0;
	size_t n_values;
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
	n_values = (size_t)image.width * image.height * 3;
	for (size_t i = 0; i < n_values; i++)    /* each is there to be read */
		sum += image.rgb[i];
	HOLDS(sum <= n_values * 255);
	image_free(&image);
	return 0;
}
