/* Sharing the vector of all parameters out among ranks. */
#include <stdint.h>
#include "slices.h"

/* No memory holds a vector with which the product would not fit. */
int slice_owner(size_t at, size_t count, size_t floats, int ranks)
{
	return (uint64_t)(at + count / 2) * ranks / floats;
}
