/* Reads a seed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "seed.h"

bool seed_parse(const char *text, uint64_t *seed)
{
	char *end;

	errno = 0;
	*seed = strtoull(text, &end, 10);
	return end != text && !*end && !errno && !strchr(text, '-');
}

int seed_read(const char *name, const char *text, uint64_t *seed, struct error *e)
{
	if (!text || seed_parse(text, seed))
		return 0;
	return fail(e, EXIT_USAGE, "%s '%s' is no whole number from 0 to 2^64-1", name, text);
}
