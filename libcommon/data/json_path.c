/* Paths in JSON, with base64 for bytes that are not UTF-8. */
#include <string.h>
#include "../base/base64.h"
#include "caption.h"
#include "json_path.h"

void json_path(struct json_out *j, const char *path)
{
	size_t n = strlen(path);
	struct buffer b = { 0 };

	json_text(j, "path", path);
	if (utf8_prefix(path, n) == n)
		return;
	buffer_add_base64(&b, path, n);
	json_text(j, "path_b64", b.data);
	buffer_free(&b);
}
