/*
 * The calls that nvcc's objects make beside the runtime's own: so they are linked as they are, and their kernels are
 * the PTX in them.
 *
 * Their declarations in crt/host_runtime.h come with code of nvcc's own, so it is not included.
 * To see it: cuobjdump -ptx OBJECT.  Line numbers are those of its text.
 */
#include <map>
#include <fatbinary_section.h>
#include "ptx.h"

namespace emu::ptx {

/* What is in one object file. */
struct module {
	const char *fat;
	std::map<std::string, kernel> kernels;  /* filled when the first of them is launched */
};

struct stub { const void *at; module *from; std::string name; };

/* Asked for before constructors of this file have run. */
static std::vector<stub> &stubs()
{
	static auto &all = *new std::vector<stub>;

	return all;
}

struct configuration { dim3 grid, block; size_t shared; void *stream; };
static auto &pushed = *new std::vector<configuration>;

/* A fat binary is a header, then entries of a header and data each.  Only what is read here has a name. */
struct fat_header { uint32_t magic; uint16_t version, header_bytes; uint64_t bytes; };
struct fat_entry { uint16_t kind, version; uint32_t header_bytes; uint64_t bytes; uint32_t packed_bytes, options_at; };
enum { FAT_MAGIC = 0xba55ed50, FAT_PTX = 1 };

static std::string text_of(const char *fat)
{
	fat_header h;
	fat_entry e;

	memcpy(&h, fat, sizeof(h));
	if (h.magic != FAT_MAGIC)
		not_understood("nvcc's object", 0, "its fat binary");
	for (size_t at = h.header_bytes; at < h.header_bytes + h.bytes; at += e.header_bytes + e.bytes) {
		memcpy(&e, fat + at, sizeof(e));
		if (e.kind == FAT_PTX && !e.packed_bytes)
			return std::string(fat + at + e.header_bytes, strnlen(fat + at + e.header_bytes, e.bytes));
	}
	not_understood("nvcc's object", 0, "it holds no PTX that is not packed: code=compute_80 and --no-compress");
}

static const kernel &kernel_of(const stub &s)
{
	module &m = *s.from;

	if (m.kernels.empty())
		for (const source &k : parse(text_of(m.fat)))
			m.kernels.emplace(k.name, decode(k));
	if (!m.kernels.count(s.name))
		not_understood(s.name, 0, "no such kernel in its object's PTX");
	return m.kernels.at(s.name);
}

static std::string packed(const kernel &k, void **arguments)
{
	std::string all(k.text.parameter_bytes, '\0');
	int n = 0;

	for (const variable &p : k.text.parameters)
		memcpy(&all[p.at], arguments[n++], p.bytes);
	return all;
}

static cudaError_t launch_stub(const stub &s, dim3 grid, dim3 block, void **arguments, size_t shared,
			       cudaStream_t stream)
{
	const kernel &k = kernel_of(s);
	const site here = { s.name.c_str(), 0 };
	const std::string parameters = packed(k, arguments);

	if ((size_t)block.x * block.y * block.z > k.text.most_threads)
		fault(here, "%u x %u x %u threads, __launch_bounds__(%u)", block.x, block.y, block.z,
		      k.text.most_threads);
	/* Threads are fibers; the first of a block runs all of them, in warps. */
	return launch(s.name.c_str(), s.at, grid, block, shared, stream, [&k, parameters, shared] {
		if (!cur.flat)
			run_block(k, parameters.data(), shared);
	}, here);
}

}

using namespace emu::ptx;

extern "C" {

void **__cudaRegisterFatBinary(void *wrapper)
{
	const __fatBinC_Wrapper_t *w = (const __fatBinC_Wrapper_t *)wrapper;

	return (void **)new module{ (const char *)w->data, {} };
}

void __cudaRegisterFatBinaryEnd(void **) {}
void __cudaUnregisterFatBinary(void **handle) { delete (module *)handle; }

void __cudaRegisterFunction(void **handle, const char *at, char *, const char *name, int, uint3 *, uint3 *, dim3 *,
			    dim3 *, int *)
{
	stubs().push_back({ at, (module *)handle, name });
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, struct CUstream_st *stream)
{
	pushed.push_back({ grid, block, shared, stream });
	return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream)
{
	const configuration c = pushed.back();

	pushed.pop_back();
	*grid = c.grid;
	*block = c.block;
	*shared = c.shared;
	*(void **)stream = c.stream;
	return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *at)
{
	*kernel = (cudaKernel_t)at;
	return cudaSuccess;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments, size_t shared,
			       cudaStream_t stream)
{
	for (const stub &s : stubs())
		if (s.at == (const void *)kernel)
			return launch_stub(s, grid, block, arguments, shared, stream);
	return cudaErrorInvalidDeviceFunction;
}

}
