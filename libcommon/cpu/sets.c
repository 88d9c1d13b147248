/* Which instruction sets this processor has, and which of them is used. */
#include <stdlib.h>
#include <string.h>
#include "../base/cpu.h"
#include "../base/names.h"
#include "internal.h"

static bool has_avx2(void) { return cpu_has_avx2() && cpu_has_fma() && cpu_has_f16c(); }
static bool any_machine(void) { return true; }

/* The best first. */
static const struct set { const char *name; const struct kernels *kernels; bool (*here)(void); } sets[] = {
#ifdef __x86_64__
	{ "avx512", &cpu_kernels_avx512, cpu_has_avx512 },
	{ "avx2", &cpu_kernels_avx2, has_avx2 },
#endif
	{ "portable", &cpu_kernels_portable, any_machine },
};
enum { SETS = sizeof(sets) / sizeof(*sets) };

const struct kernels *cpu_set_at(int i)
{
	for (const struct set *s = sets; s < sets + SETS; s++)
		if (s->here() && i-- == 0)
			return s->kernels;
	return NULL;
}

const struct kernels *cpu_set(struct error *e)
{
	const char *name = getenv("LORA_CPU");

	if (!name || !*name)
		return cpu_set_at(0);
	for (const struct set *s = sets; s < sets + SETS; s++)
		if (!strcmp(s->name, name)) {
			if (s->here())
				return s->kernels;
			fail(e, EXIT_USAGE, "LORA_CPU: this processor has no %s; leave it out", name);
			return NULL;
		}
	fail(e, EXIT_USAGE, "LORA_CPU: '%.40s' is no instruction set known here; choose %s, or leave it out", name,
	     NAMES_OF(sets, ", ", " or ").text);
	return NULL;
}
