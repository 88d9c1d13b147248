/*
 * part_layout.h - the two layouts of a part: [n,c,h,w] in a file, [n,h,w,c] on a device.
 *
 * Private to adapter/.
 */
#ifndef ADAPTER_PART_LAYOUT_H
#define ADAPTER_PART_LAYOUT_H

#include "kind.h"

static inline void part_to_device(float *device, const float *file, const struct part_form *p)
{
	const size_t c = p->c, k = (size_t)p->h * p->w;

	for (size_t n = 0; n < (size_t)p->n; n++)
		for (size_t i = 0; i < c; i++)
			for (size_t j = 0; j < k; j++)
				device[(n * k + j) * c + i] = file[(n * c + i) * k + j];
}

static inline void part_to_file(float *file, const float *device, const struct part_form *p)
{
	const size_t c = p->c, k = (size_t)p->h * p->w;

	for (size_t n = 0; n < (size_t)p->n; n++)
		for (size_t i = 0; i < c; i++)
			for (size_t j = 0; j < k; j++)
				file[(n * c + i) * k + j] = device[(n * k + j) * c + i];
}

#endif
