/* Amounts of memory as text ("5.88 GiB"), and parsed from text. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include "bytes.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

void bytes_words(size_t bytes, char words[BYTES_SIZE])
{
	if (bytes < MIB)
		snprintf(words, BYTES_SIZE, "%.1f KiB", bytes / (double)KIB);
	else if (bytes < 1024 * MIB)
		snprintf(words, BYTES_SIZE, "%.1f MiB", bytes / (double)MIB);
	else
		snprintf(words, BYTES_SIZE, "%.2f GiB", bytes / (1024.0 * MIB));
}

int bytes_parse(const char *text, size_t *bytes, struct error *e)
{
	static const struct { const char *name; double factor; } units[] = {
		{ "", 1 }, { "B", 1 }, { "KiB", 0x1p10 }, { "MiB", 0x1p20 }, { "GiB", 0x1p30 }, { "TiB", 0x1p40 },
		{ "K", 0x1p10 }, { "M", 0x1p20 }, { "G", 0x1p30 }, { "T", 0x1p40 }, { "KB", 1e3 }, { "MB", 1e6 },
		{ "GB", 1e9 }, { "TB", 1e12 },
	};
	char *unit;
	double x = strtod(text, &unit);
	size_t i;

	while (*unit == ' ')
		unit++;
	if (unit != text && !*unit && x > 0 && x < MIB)
		return fail(e, EXIT_USAGE, "'%s' is that many bytes; write it as %sGiB or %sMiB", text, text, text);
	for (i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (unit != text && !strcasecmp(unit, units[i].name) && x > 0 && x * units[i].factor < 0x1p60) {
			*bytes = x * units[i].factor;
			return 0;
		}
	return fail(e, EXIT_USAGE, "'%s' is no amount of memory; write it as 12GiB or 11500MiB", text);
}
