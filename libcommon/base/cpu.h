/*
 * cpu.h - which instruction sets this processor has beyond the baseline that we compile for.
 *
 * Must not know any algorithm.  Whoever asks has portable code too, which gives the same result.
 */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include <stdbool.h>

bool cpu_has_crc32(void);       /* SSE4.2 */
bool cpu_has_sha(void);         /* SHA extensions, with the SSE4.1 that goes along */
bool cpu_has_f16c(void);        /* half-precision conversion on 256-bit registers that the system saves */
bool cpu_has_avx2(void);        /* with the wide registers that the system saves */
bool cpu_has_fma(void);         /* the same */
/* F, DQ, BW and VL: of every processor with 512-bit registers since 2017; with those that the system saves */
bool cpu_has_avx512(void);

#endif
