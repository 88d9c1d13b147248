/* Instruction sets of this processor, asked for once by cpuid. */
#include <stdatomic.h>
#include "cpu.h"

#ifdef __x86_64__
#include <cpuid.h>

enum { KNOWN = 1, CRC32 = 2, SHA = 4, F16C = 8, AVX2 = 16, FMA = 32, AVX512 = 64 };

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

/* Remembered: in a virtual machine every cpuid traps, and one per checksum costs more than the checksum. */
static bool has(int what)
{
	static atomic_int remembered;
	int found = atomic_load_explicit(&remembered, memory_order_relaxed);

	if (!found) {
		found = ask();
		atomic_store_explicit(&remembered, found, memory_order_relaxed);
	}
	return found & what;
}

bool cpu_has_crc32(void) { return has(CRC32); }
bool cpu_has_sha(void) { return has(SHA); }
bool cpu_has_f16c(void) { return has(F16C); }
bool cpu_has_avx2(void) { return has(AVX2); }
bool cpu_has_fma(void) { return has(FMA); }
bool cpu_has_avx512(void) { return has(AVX512); }

#else

bool cpu_has_crc32(void) { return false; }
bool cpu_has_sha(void) { return false; }
bool cpu_has_f16c(void) { return false; }
bool cpu_has_avx2(void) { return false; }
bool cpu_has_fma(void) { return false; }
bool cpu_has_avx512(void) { return false; }

#endif
