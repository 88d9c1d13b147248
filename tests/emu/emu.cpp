/* Options, chance, complaints, counts. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "emu_internal.h"

namespace emu {

emu_stats stats;
const char *kernel_name;
thread_id cur;
uint3 block_idx;
dim3 block_dim, grid_dim;

static uint64_t chance;
static cudaError_t last_error;

static long from_environment(const char *name, long otherwise)
{
	const char *v = getenv(name);

	return v && *v ? strtol(v, NULL, 0) : otherwise;
}

void write_stats()
{
	const char *path = getenv("EMU_STATS");
	FILE *f = path ? fopen(path, "a") : NULL;

	if (f) {
		fprintf(f, "%ld %ld %ld %ld\n", stats.launches, stats.products, stats.copies, stats.graphs);
		fclose(f);
	}
}

static options read_options()
{
	const long seed = from_environment("EMU_SEED", 0), fail = from_environment("EMU_FAIL", -1);

	if (getenv("EMU_STATS"))
		atexit(write_stats);
	chance = (uint64_t)seed * 0x9e3779b97f4a7c15u + 1;
	return { seed != 0, from_environment("EMU_PROTECT", 0) != 0, from_environment("EMU_DRY", 0) != 0,
		 (int)from_environment("EMU_MMA", 0), (size_t)from_environment("EMU_TOTAL_MB", 12288) << 20, fail, 0 };
}

options &opt()
{
	static options o = read_options();

	return o;
}

uint32_t draw()
{
	chance ^= chance << 13;
	chance ^= chance >> 7;
	chance ^= chance << 17;
	return (uint32_t)(chance >> 16);
}

void fault(site s, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("EMU FAULT: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n  at %s:%d\n", s.file, s.line);
	if (kernel_name)
		fprintf(stderr, "  in kernel %s, block (%u,%u,%u), thread (%u,%u,%u), lane %u of warp %u\n",
			kernel_name, block_idx.x, block_idx.y, block_idx.z, cur.tid.x, cur.tid.y, cur.tid.z, cur.lane,
			cur.warp);
	_exit(42);
}

cudaError_t failed(cudaError_t status)
{
	last_error = status;
	return status;
}

bool may_make()
{
	return stats.made++ != opt().fail_at;
}

}

using namespace emu;

extern "C" {

void emu_get_stats(struct emu_stats *s) { *s = stats; }
void emu_reset_peak(void) { stats.peak = stats.used; }
void emu_fail(long nth) { opt().fail_at = nth < 0 ? -1 : stats.made + nth; }
void emu_set_total(size_t bytes) { opt().total = bytes; }
void emu_set_blas(size_t bytes) { opt().blas = bytes; }
void emu_set_dry(int on) { opt().dry = on; }

cudaError_t cudaPeekAtLastError(void) { return last_error; }

cudaError_t cudaGetLastError(void)
{
	const cudaError_t status = last_error;

	last_error = cudaSuccess;
	return status;
}

static const struct { cudaError_t status; const char *name, *text; } errors[] = {
	{ cudaSuccess, "cudaSuccess", "no error" },
	{ cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument" },
	{ cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory" },
	{ cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument" },
	{ cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected" },
	{ cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal" },
	{ cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle" },
	{ cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function" },
	{ cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
	  "CUDA driver version is insufficient for CUDA runtime version" },
	{ cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice",
	  "no kernel image is available for execution on the device" },
	{ cudaErrorNotReady, "cudaErrorNotReady", "device not ready" },
	{ cudaErrorIllegalState, "cudaErrorIllegalState", "the operation cannot be performed in the present state" },
	{ cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
	  "operation not permitted when stream is capturing" },
	{ cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
	  "operation failed due to a previous error during capture" },
	{ cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
	  "operation would make the legacy stream depend on a capturing blocking stream" },
};

const char *cudaGetErrorName(cudaError_t status)
{
	for (auto &e : errors)
		if (e.status == status)
			return e.name;
	return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t status)
{
	for (auto &e : errors)
		if (e.status == status)
			return e.text;
	return "unrecognized error code";
}

/* ---- the card: what an RTX A5000 would say, were it smaller ---- */

enum { RUNTIME = 13000 };

cudaError_t cudaGetDeviceCount(int *n)
{
	*n = from_environment("EMU_DEVICES", 1);
	if (from_environment("EMU_DRIVER", RUNTIME) / 1000 < RUNTIME / 1000)
		return failed(cudaErrorInsufficientDriver);
	return *n ? cudaSuccess : failed(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int d) { return d ? failed(cudaErrorInvalidDevice) : cudaSuccess; }
cudaError_t cudaGetDevice(int *d) { *d = 0; return cudaSuccess; }

cudaError_t cudaDeviceGetPCIBusId(char *id, int bytes, int device)
{
	if (device || bytes < 13)
		return failed(cudaErrorInvalidValue);
	snprintf(id, bytes, "0000:%02lx:00.0", 0x65 + from_environment("CUDA_VISIBLE_DEVICES", 0));
	return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *v) { *v = from_environment("EMU_DRIVER", RUNTIME); return cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *v) { *v = RUNTIME; return cudaSuccess; }

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
	*p = {};
	strcpy(p->name, "NVIDIA Stand-in");
	return device ? failed(cudaErrorInvalidDevice) : cudaSuccess;
}

/* EMU_IMAGES=0: nothing was compiled for this card. */
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *)
{
	*a = {};
	return from_environment("EMU_IMAGES", 1) ? cudaSuccess : failed(cudaErrorNoKernelImageForDevice);
}

cudaError_t cudaDeviceGetAttribute(int *v, enum cudaDeviceAttr a, int device)
{
	const int capability = from_environment("EMU_CAPABILITY", 86);

	if (device)
		return failed(cudaErrorInvalidDevice);
	switch (a) {
	case cudaDevAttrComputeCapabilityMajor: *v = capability / 10; break;
	case cudaDevAttrComputeCapabilityMinor: *v = capability % 10; break;
	case cudaDevAttrMultiProcessorCount: *v = 28; break;
	case cudaDevAttrMaxSharedMemoryPerBlockOptin: *v = 99 << 10; break;
	default: return failed(cudaErrorInvalidValue);
	}
	return cudaSuccess;
}

}
