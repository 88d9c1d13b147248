/*
 * dev.cuh - the device dialect: everything that differs between nvcc and the stand-in of tests/emu is in this file.
 *
 * Kernels are plain CUDA C++ with LAUNCH, SHARED and DYN_SHARED instead of <<<>>> and __shared__, and the wrappers
 * below instead of inline assembler.  The rules for a kernel:
 *   - No <<<, __shared__, asm or #ifdef __CUDACC__ anywhere but here.
 *   - Blocks are whole warps.  Work is masked: no thread returns before a barrier or a warp operation.
 *   - __syncthreads() in uniform control flow only, and one before shared memory is used again.
 *   - What another block wrote is read in another launch.  Sums in two passes of fixed order; no float atomics.
 *   - Element offsets are size_t; int only within a tile.
 *   - More than 48 KB of shared memory only after the launcher set the attribute; 99 KB at most.
 *   - A launcher checks what its vector accesses assume, and falls back where it does not hold.
 */
#ifndef CUDA_DEV_CUH
#define CUDA_DEV_CUH

#ifdef __CUDACC__

#include <cuda_runtime.h>
#include <cuda_fp16.h>
#include <cuda_bf16.h>
#include <stdint.h>

/* LAUNCH((kernel<T>), grid, block, dynamic shared bytes, stream, arguments...);
 * parentheses only where the name holds a comma */
#define LAUNCH(kernel, grid, block, shared, stream, ...) (kernel)<<<(grid), (block), (shared), (stream)>>>(__VA_ARGS__)
#define SHARED(type, name, ...) __shared__ __align__(16) type name __VA_ARGS__
#define DYN_SHARED(type, name) \
	extern __shared__ __align__(16) unsigned char dynamic_shared[]; \
	type *name = reinterpret_cast<type *>(dynamic_shared)
#define DEV static __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define PRAGMA(x) _Pragma(#x)
#define UNROLL_BY(n) PRAGMA(unroll n)

/* d[16,8] += a[16,16] b[16,8]; fragments as the PTX ISA lays out mma.m16n8k16 */
DEV void mma_f16(float *d, const uint32_t *a, const uint32_t *b)
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
		     "{%0,%1,%2,%3};\n"
		     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

DEV void mma_bf16(float *d, const uint32_t *a, const uint32_t *b)
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
		     "{%0,%1,%2,%3};\n"
		     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* d[16,8] += a[16,8] b[8,8] of tf32 (see to_tf32).  With g = lane/4, t = lane%4:
 * a: (g,t) (g+8,t) (g,t+4) (g+8,t+4);  b: (k=t,n=g) (k=t+4,n=g);  d: (g,2t) (g,2t+1) (g+8,2t) (g+8,2t+1) */
DEV void mma_tf32(float *d, const uint32_t *a, const uint32_t *b)
{
	asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
		     "{%0,%1,%2,%3};\n"
		     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* The nearest number of 10 fraction bits, ties away from 0.  The tensor cores read that many of a float, and would
 * truncate it. */
DEV uint32_t to_tf32(float x)
{
	uint32_t u;

	asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(u) : "f"(x));
	return u;
}

/* 2^x to 2 ulp, 0 where that is below the normal numbers; exp2f spends three instructions more on those */
DEV float exp2_approx(float x)
{
	float y;

	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
}

/* four 8x8 matrices of 16 bit; lane i gives the address of row i%8 of matrix i/8, 16-byte aligned, in shared memory */
DEV void ldsm_x4(uint32_t *r, const void *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
		     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
		     : "r"((uint32_t)__cvta_generic_to_shared(row)) : "memory");
}

DEV void ldsm_x4_t(uint32_t *r, const void *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
		     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
		     : "r"((uint32_t)__cvta_generic_to_shared(row)) : "memory");
}

/* 16 bytes from global to shared memory, both aligned; zeros where !ok (src must still be a valid address) */
DEV void cp_async16(void *dst, const void *src, bool ok)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n"
		     :: "r"((uint32_t)__cvta_generic_to_shared(dst)), "l"(src), "r"(ok ? 16 : 0) : "memory");
}

DEV void cp_async_commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
#define cp_async_wait(n) asm volatile("cp.async.wait_group %0;\n" :: "n"(n) : "memory")

#else

#include "emu.h"
#include "emu_ptx.h"
#define DEV static inline
#define UNROLL
#define UNROLL_BY(n)

DEV float exp2_approx(float x) { return exp2f(x); }

#endif

DEV float warp_sum(float v)
{
	UNROLL for (int o = 16; o; o >>= 1)
		v += __shfl_xor_sync(0xffffffffu, v, o);
	return v;
}

DEV double warp_sum(double v)
{
	UNROLL for (int o = 16; o; o >>= 1)
		v += __shfl_xor_sync(0xffffffffu, v, o);
	return v;
}

DEV float warp_max(float v)
{
	UNROLL for (int o = 16; o; o >>= 1)
		v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, o));
	return v;
}

/* Sum over a block of whole warps, at most 1024 threads; every thread gets it.
 * tmp: 32 values in shared memory, free again on return. */
template <class T> DEV T block_sum(T v, T *tmp)
{
	T s = 0;

	v = warp_sum(v);
	if (threadIdx.x % 32 == 0)
		tmp[threadIdx.x / 32] = v;
	__syncthreads();
	for (unsigned i = 0; i < blockDim.x / 32; i++)
		s += tmp[i];
	__syncthreads();
	return s;
}

DEV float block_max(float v, float *tmp)
{
	v = warp_max(v);
	if (threadIdx.x % 32 == 0)
		tmp[threadIdx.x / 32] = v;
	__syncthreads();
	v = tmp[0];
	for (unsigned i = 1; i < blockDim.x / 32; i++)
		v = fmaxf(v, tmp[i]);
	__syncthreads();
	return v;
}

#endif
