/* The loops of nearest.c for any machine. */
#define WIDEN(p) __builtin_convertvector(*(const floats *)(p), doubles)
#define NARROW(x) __builtin_convertvector(x, floats)
#define NEAREST_LOOPS nearest_portable
#include "nearest_body.h"
