#include <string.h>
#include "caption.h"
#include "json_path.h"

void json_path(struct json_out *j, const char *path)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = strlen(path);
	struct buffer b = { 0 };

	json_text(j, "path", path);
	if (utf8_prefix(path, n) == n)
		return;
	for (size_t i = 0; i < n; i += 3) {
		unsigned char in[3] = { path[i], i + 1 < n ? path[i + 1] : 0, i + 2 < n ? path[i + 2] : 0 };
		char out[4] = { digits[in[0] >> 2], digits[(in[0] & 3) << 4 | in[1] >> 4],
				digits[(in[1] & 15) << 2 | in[2] >> 6], digits[in[2] & 63] };
		memset(out + (n - i < 3 ? n - i + 1 : 4), '=', n - i < 3 ? 3 - (n - i) : 0);
		buffer_add(&b, out, 4);
	}
	json_text(j, "path_b64", b.data);
	buffer_free(&b);
}
