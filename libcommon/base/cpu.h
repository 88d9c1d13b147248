/*
 * cpu.h - which instruction sets this processor has beyond the baseline that we compile for, and which are used.
 *
 * Must not know any algorithm.  Whoever asks has portable code too, which gives the same result to the last bit.
 */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include <stdbool.h>
#include "error.h"

/* The vector instructions in use: "avx512", "avx2" or "portable".  The best that the processor has, or what LORA_CPU
 * names: then the functions below deny the others. */
const char *cpu_set(void);
/* LORA_CPU names no set, or one that this processor lacks: EXIT_USAGE. */
int cpu_set_check(struct error *e) MUST_CHECK;

bool cpu_has_crc32(void);       /* SSE4.2 */
bool cpu_has_sha(void);         /* SHA extensions, with the SSE4.1 that goes along */
bool cpu_has_f16c(void);        /* half-precision conversion on 256-bit registers that the system saves */
bool cpu_has_avx2(void);        /* with the wide registers that the system saves */
bool cpu_has_fma(void);         /* the same */
/* F, DQ, BW and VL, which come together since 2017; with 512-bit registers that the system saves */
bool cpu_has_avx512(void);

#endif
