/* The table of inner loops (body.h), compiled for any machine. */
#include "internal.h"
#include "simd_portable.h"
#define KERNELS cpu_kernels_portable
#define KERNELS_NAME "portable"
#include "body.h"
