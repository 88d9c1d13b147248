/* The tables of inner loops that this processor can run, and the one that is used. */
#include "../base/cpu.h"
#include "internal.h"

#ifdef __x86_64__
static bool has_avx2(void) { return cpu_has_avx2() && cpu_has_fma() && cpu_has_f16c(); }
#endif
static bool any_machine(void) { return true; }

/* The best first; names are base/cpu.h's. */
static const struct set { const struct kernels *kernels; bool (*here)(void); } sets[] = {
#ifdef __x86_64__
	{ &cpu_kernels_avx512, cpu_has_avx512 },
	{ &cpu_kernels_avx2, has_avx2 },
#endif
	{ &cpu_kernels_portable, any_machine },
};
enum { SETS = sizeof(sets) / sizeof(*sets) };

const struct kernels *cpu_set_at(int i)
{
	for (const struct set *s = sets; s < sets + SETS; s++)
		if (s->here() && i-- == 0)
			return s->kernels;
	return NULL;
}
