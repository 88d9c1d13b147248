/* Instruction sets of this processor, asked for once by cpuid, and the choice among them. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "cpu.h"
#include "names.h"

enum { KNOWN = 1, CRC32 = 2, SHA = 4, F16C = 8, AVX2 = 16, FMA = 32, AVX512 = 64 };
enum { VECTORS = F16C | AVX2 | FMA | AVX512 };

/* The best first. */
static const struct set { const char *name; int needs; } sets[] = {
	{ "avx512", F16C | AVX2 | FMA | AVX512 }, { "avx2", F16C | AVX2 | FMA }, { "portable", 0 },
};
enum { SETS = sizeof(sets) / sizeof(*sets) };

#ifdef __x86_64__
#include <cpuid.h>

static int ask(void)
{
	unsigned a, b, c, d, c1 = 0;
	int found = KNOWN;

	if (__get_cpuid(1, &a, &b, &c1, &d) && (c1 & bit_SSE4_2))
		found |= CRC32;
	/* avx by the builtin: it also asks whether the operating system saves the wide registers. */
	if ((c1 & bit_F16C) && __builtin_cpu_supports("avx"))
		found |= F16C;
	if (__builtin_cpu_supports("avx2"))
		found |= AVX2;
	if (__builtin_cpu_supports("fma"))
		found |= FMA;
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
	    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
		found |= AVX512;
	if ((c1 & bit_SSE4_1) && (c1 & bit_SSSE3) && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA))
		found |= SHA;
	return found;
}

#else

static int ask(void)
{
	return KNOWN;
}

#endif

/* NULL: LORA_CPU is not set, or names none. */
static const struct set *named(void)
{
	const char *name = getenv("LORA_CPU");

	for (const struct set *s = sets; name && s < sets + SETS; s++)
		if (!strcmp(s->name, name))
			return s;
	return NULL;
}

/* Remembered: in a virtual machine every cpuid traps, and one per checksum costs more than the checksum. */
static int has(int what)
{
	static atomic_int remembered;
	int found = atomic_load_explicit(&remembered, memory_order_relaxed);

	if (!found) {
		found = ask() & (named() ? ~VECTORS | named()->needs : ~0);
		atomic_store_explicit(&remembered, found, memory_order_relaxed);
	}
	return found & what;
}

const char *cpu_set(void)
{
	const struct set *s = sets;

	while (has(s->needs) != s->needs)
		s++;
	return s->name;
}

int cpu_set_check(struct error *e)
{
	const char *name = getenv("LORA_CPU");

	if (!name || !*name)
		return 0;
	if (!named())
		return fail(e, EXIT_USAGE, "LORA_CPU: '%.40s' is no instruction set; choose %s, or leave it out", name,
			    NAMES_OF(sets, ", ", " or ").text);
	if (has(named()->needs) != named()->needs)
		return fail(e, EXIT_USAGE, "LORA_CPU: this processor has no %s; leave it out", name);
	return 0;
}

bool cpu_has_crc32(void) { return has(CRC32); }
bool cpu_has_sha(void) { return has(SHA); }
bool cpu_has_f16c(void) { return has(F16C); }
bool cpu_has_avx2(void) { return has(AVX2); }
bool cpu_has_fma(void) { return has(FMA); }
bool cpu_has_avx512(void) { return has(AVX512); }
