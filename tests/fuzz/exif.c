/* Always an orientation; the leading "Exif\0\0" and bytes behind make no difference. */
#include "fuzz.h"
#include "../../libcommon/io/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	int found = exif_orientation(bytes, n);
	struct buffer b = { 0 };

	HOLDS(found >= 1 && found <= 8);
	buffer_add(&b, "Exif\0\0", 6);
	buffer_add(&b, bytes, n);
	HOLDS((n >= 6 && !memcmp(bytes, "Exif\0\0", 6)) || exif_orientation((const uint8_t *)b.data, b.len) == found);
	buffer_free(&b);
	return 0;
}
