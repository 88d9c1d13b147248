/* A grid, block after block. */
#include <numeric>
#include <vector>
#include "emu_internal.h"

namespace emu {

enum { USUAL_SHARED = 48 << 10, MOST_SHARED = 99 << 10 };

struct allowance { const void *kernel; size_t shared; };
static auto &allowances = *new std::vector<allowance>;

static size_t shared_allowed(const void *kernel)
{
	for (auto &a : allowances)
		if (a.kernel == kernel)
			return a.shared;
	return USUAL_SHARED;
}

/* Blocks in order, or at random in the order start, start + step, ... */
static void run_grid(const char *name, dim3 grid, dim3 block, size_t shared, const std::function<void()> &thread)
{
	const size_t blocks = (size_t)grid.x * grid.y * grid.z;
	const int threads = block.x * block.y * block.z;
	size_t start = 0, step = 1;

	if (opt().random && blocks > 1) {
		start = draw() % blocks;
		do
			step = 1 + draw() % blocks;
		while (std::gcd(step, blocks) != 1);
	}
	kernel_name = name;
	grid_dim = grid;
	block_dim = block;
	stats.launches++;
	stats.blocks += blocks;
	stats.threads += blocks * threads;
	fibers_launched();
	for (size_t i = 0; i < blocks; i++) {
		const size_t at = (start + i * step) % blocks;
		int set = 0;

		ON_TSAN(set = i & 1;)
		block_idx = make_uint3(at % grid.x, at / grid.x % grid.y, at / grid.x / grid.y);
		shared_reset(set, shared);
		run_block(threads, set, thread);
	}
	fibers_done();
	kernel_name = NULL;
}

cudaError_t launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared, cudaStream_t st,
		   std::function<void()> thread, site, std::function<void()> check)
{
	const size_t threads = (size_t)block.x * block.y * block.z;

	check_stream(st);
	if (!threads || threads > MOST_THREADS || block.z > 64 || !grid.x || !grid.y || !grid.z ||
	    grid.x > 0x7fffffff ||
	    grid.y > 65535 || grid.z > 65535)
		return failed(cudaErrorInvalidConfiguration);
	if (shared > shared_allowed(kernel))
		return failed(cudaErrorInvalidValue);
	if (!opt().dry)
		return enqueue(st, [=, thread = std::move(thread)] { run_grid(name, grid, block, shared, thread); },
			       std::move(check));
	tally(st, &emu_stats::launches);
	return enqueue(st, nullptr, std::move(check));
}

}

using namespace emu;

extern "C" cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute attribute, int value)
{
	if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || value > MOST_SHARED)
		return failed(cudaErrorInvalidValue);
	for (auto &a : allowances)
		if (a.kernel == kernel) {
			a.shared = value;
			return cudaSuccess;
		}
	allowances.push_back({ kernel, (size_t)value });
	return cudaSuccess;
}
