/*
 * emu_ptx.h - dev.cuh's wrappers of single PTX instructions, after the fragment tables of the PTX ISA.
 */
#ifndef EMU_PTX_H
#define EMU_PTX_H

#include "emu_core.h"

namespace emu {

enum mma_kind { MMA_F16, MMA_BF16, MMA_TF32 };

/* d[16,8] += a b, each lane with its own fragments */
struct mma_record { float *d; const uint32_t *a, *b; };
void mma(mma_kind kind, float *d, const uint32_t *a, const uint32_t *b, site s);
/* for all 32 records at once, as collective() calls it */
warp_operation mma_of_warp(mma_kind kind);

/* n 8x8 matrices; lane i gives the address of row i%8 of matrix i/8 */
void ldmatrix(uint32_t *r, const void *row, int n, bool transposed, site s);

uint32_t round_to_tf32(float x);

}

#define mma_f16(d, a, b) ::emu::mma(::emu::MMA_F16, d, a, b, EMU_HERE)
#define mma_bf16(d, a, b) ::emu::mma(::emu::MMA_BF16, d, a, b, EMU_HERE)
#define mma_tf32(d, a, b) ::emu::mma(::emu::MMA_TF32, d, a, b, EMU_HERE)
#define to_tf32(x) ::emu::round_to_tf32(x)
#define ldsm_x4(r, row) ::emu::ldmatrix(r, row, 4, false, EMU_HERE)
#define ldsm_x4_t(r, row) ::emu::ldmatrix(r, row, 4, true, EMU_HERE)
#define cp_async16(dst, src, ok) ::emu::cp_async(dst, src, 16, (ok) ? 16 : 0, EMU_HERE)
#define cp_async_commit() ::emu::cp_async_commit()
#define cp_async_wait(n) ::emu::cp_async_wait(n)

#endif
