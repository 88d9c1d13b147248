/* The loops of nearest.c for any machine. */
#define NEAREST_LOOPS nearest_portable
#include "nearest_body.h"
