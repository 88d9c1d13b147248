#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "plan.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/*
 * cpu: cpu_alloc(), big pages from two of them on.  Its scratch is some MiB a thread, grows with what it meets, and is not counted.
 * cuda: cuda/pool.h's pieces and slabs, the driver's pages behind both; cuda/internal.h's scratch, cuBLAS workspace and fixed things; the
 * context with the kernels' code.
 */
#define CUDA_CONTEXT (450 * MIB)        /* assumed: not yet measured on a card */

static const struct plan_device devices[] = {
	{ "cpu", { .align = 64, .own = 4 * MIB, .page = 2 * MIB } },
	{ "cuda", { .align = 256, .own = 32 * MIB, .page = 2 * MIB, .slab = 64 * MIB, .hosts = true }, .workspace = (64 + 32) * MIB + 16 * KIB,
	  .context = CUDA_CONTEXT },
};

const struct plan_device *plan_device(const char *name, struct error *e)
{
	size_t i;

	for (i = 0; i < sizeof(devices) / sizeof(*devices); i++)
		if (!strcmp(name, devices[i].name))
			return &devices[i];
	fail(e, EXIT_USAGE, "device '%s' is not known; choose cpu or cuda", name);
	return NULL;
}

void plan_free(struct plan *p)
{
	free(p->batch);
	*p = (struct plan){ 0 };
}

void plan_size(size_t bytes, char words[PLAN_SIZE])
{
	if (bytes < MIB)
		snprintf(words, PLAN_SIZE, "%.1f KiB", bytes / (double)KIB);
	else if (bytes < 1024 * MIB)
		snprintf(words, PLAN_SIZE, "%.1f MiB", bytes / (double)MIB);
	else
		snprintf(words, PLAN_SIZE, "%.2f GiB", bytes / (1024.0 * MIB));
}

int plan_parse_bytes(const char *text, size_t *bytes, struct error *e)
{
	static const struct { const char *name; double factor; } units[] = {
		{ "", 1 }, { "B", 1 }, { "KiB", 0x1p10 }, { "MiB", 0x1p20 }, { "GiB", 0x1p30 }, { "TiB", 0x1p40 }, { "K", 0x1p10 },
		{ "M", 0x1p20 }, { "G", 0x1p30 }, { "T", 0x1p40 }, { "KB", 1e3 }, { "MB", 1e6 }, { "GB", 1e9 }, { "TB", 1e12 },
	};
	char *unit;
	double x = strtod(text, &unit);
	size_t i;

	while (*unit == ' ')
		unit++;
	for (i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (unit != text && !strcasecmp(unit, units[i].name) && x > 0 && x * units[i].factor < 0x1p60) {
			*bytes = x * units[i].factor;
			return 0;
		}
	return fail(e, EXIT_USAGE, "'%s' is no amount of memory; write it as 12GiB or 11500MiB", text);
}
