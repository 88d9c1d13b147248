/* The CPU's table of functions. */
#include "internal.h"

const struct backend cpu_backend = {
	.name = "cpu",
#define OP(type, name, parameters) .name = cpu_##name,
#include "../backend_ops.def"
};
