/* Joins names. */
#include "memory.h"
#include "names.h"

struct names names_joined(const char *const *first, size_t stride, size_t count, const char *between, const char *last)
{
	struct names n = { "" };
	size_t at = 0;

	for (size_t i = 0; i < count; i++) {
		const char *name = *(const char *const *)((const char *)first + i * stride);

		at = text_add(n.text, sizeof(n.text), at, "%s%s", !i ? "" : i + 1 < count ? between : last, name);
	}
	return n;
}
