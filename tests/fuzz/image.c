/* A picture that is accepted has pixels, and comes back the same from our PNG.  Made smaller while it is read, it is
 * accepted as well and no smaller than was asked. */
#include "fuzz.h"
#include "../../libcommon/io/image.h"

static void a_third(const void *context, int width, int height, int least[2])
{
	least[0] = (width + 2) / 3;
	least[1] = (height + 2) / 3;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	const struct image_options o = { .background = { 255, 0, 99 }, .keep_alpha = true, .max_pixels = 1 << 20 };
	struct image_options small = o;
	struct image image, again;
	struct image_info info;
	struct buffer png = { 0 };
	struct error e = { 0 };

	if (image_decode("input", bytes, n, &o, &image, &info, &e) < 0) {
		HOLDS(e.code == EXIT_INPUT && !image.rgb);
		return 0;
	}
	HOLDS(image.width > 0 && image.height > 0 && (uint64_t)image.width * image.height <= o.max_pixels);
	HOLDS(info.width == image.width && info.height == image.height && info.orientation >= 1 &&
	      info.orientation <= 8);
	png_encode(&png, &image, NULL, 0);
	HOLDS(image_decode("again", png.data, png.len, &o, &again, NULL, &e) == 0);
	HOLDS(again.width == image.width && again.height == image.height);
	HOLDS(!memcmp(again.rgb, image.rgb, (size_t)image.width * image.height * 3));
	image_free(&again);
	small.enough = a_third;
	HOLDS(image_decode("small", bytes, n, &small, &again, NULL, &e) == 0);
	HOLDS(again.width <= image.width && again.width >= (image.width + 2) / 3 &&
	      again.height >= (image.height + 2) / 3);
	HOLDS(!again.alpha == !image.alpha);
	image_free(&image);
	image_free(&again);
	buffer_free(&png);
	return 0;
}
