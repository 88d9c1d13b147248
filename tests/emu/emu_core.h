/*
 * emu_core.h - keywords, the indices of the running thread, barriers, shared memory, launches.
 */
#ifndef EMU_CORE_H
#define EMU_CORE_H

#include <cuda_runtime_api.h>
#include <vector_functions.h>
#include <functional>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <tuple>
#include <type_traits>

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __launch_bounds__
#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __shared__ EMU_ERROR_shared_memory_is_declared_with_SHARED
#ifndef __forceinline__
#define __forceinline__ inline __attribute__((always_inline))
#endif

namespace emu {

/* Where something is called; kernels get it by macros, so that a complaint names their line. */
struct site { const char *file; int line; };
#define EMU_HERE (::emu::site{ __FILE__, __LINE__ })

struct thread_id { uint3 tid; unsigned lane, warp, flat; };
extern thread_id cur;                           /* of the running fiber */
extern uint3 block_idx;
extern dim3 block_dim, grid_dim;

/* Says what is wrong, where, and in which thread of which kernel; ends the program with status 42. */
[[noreturn]] void fault(site s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- synchronisation: emu_fiber.cpp ---- */
void barrier(site s);
/* Each lane of `mask` leaves a record and stops.  The last one to come carries the operation out for all: record[lane]
 * is NULL for lanes that are not in the mask.  Lanes in different operations, or in the same on different lines, are a
 * fault.  NULL: __syncwarp. */
typedef void (*warp_operation)(void **record, unsigned mask);
void collective(const char *kind, site s, unsigned mask, void *record, warp_operation op);

/* ---- shared memory: emu_shared.cpp ---- */
void *shared_static(const void *key, size_t bytes, size_t align, site s);
void *shared_dynamic();
bool in_shared(const void *p, size_t bytes);
void cp_async(void *dst, const void *src, unsigned bytes, unsigned valid, site s);
void cp_async_commit();
void cp_async_wait(unsigned groups_left);

/* ---- launch: emu_launch.cpp ---- */
void check_argument(const void *pointer, const char *kernel, int number, site s);
cudaError_t launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared, cudaStream_t st,
		   std::function<void()> thread, site s, std::function<void()> check = nullptr);

template <class T> void check_argument(const T &v, const char *kernel, int number, site s)
{
	static_assert(std::is_trivially_copyable_v<T>, "a kernel's argument");
	if constexpr (std::is_pointer_v<T>)
		check_argument((const void *)v, kernel, number, s);
}

template <class... P> struct launcher {
	const char *name;
	void (*kernel)(P...);
	dim3 grid, block;
	size_t shared;
	cudaStream_t st;
	site s;

	void operator()(P... a) const
	{
		auto k = kernel;
		auto check = [name = name, s = s, a...] {
			int i = 0;

			(check_argument(a, name, i++, s), ...);
		};

		static_assert((sizeof(P) + ... + 0) <= 4096, "a kernel's arguments are 4 KB at most");
		check();
		launch(name, (const void *)k, grid, block, shared, st,
		       [k, t = std::tuple<P...>(a...)] { std::apply(k, t); }, s, check);
	}
};

template <class... P>
launcher<P...> launch_of(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, cudaStream_t st,
			 site s)
{
	return { name, kernel, grid, block, shared, st, s };
}

}

#define threadIdx (::emu::cur.tid)
#define blockIdx (::emu::block_idx)
#define blockDim (::emu::block_dim)
#define gridDim (::emu::grid_dim)

#define LAUNCH(kernel, grid, block, shared, stream, ...) \
	::emu::launch_of(#kernel, &kernel, (grid), (block), (shared), (stream), EMU_HERE)(__VA_ARGS__)
#define SHARED(type, name, ...) \
	typedef type name##_type __VA_ARGS__; \
	static char name##_key; \
	name##_type &name = *(name##_type *)::emu::shared_static(&name##_key, sizeof(name##_type), 16, EMU_HERE)
#define DYN_SHARED(type, name) type *name = (type *)::emu::shared_dynamic()

#define __syncthreads() ::emu::barrier(EMU_HERE)

#endif
