/*
 * adapter_layout.h - the two layouts of lora_down: [rank,in,kh,kw] in a file, [rank,kh,kw,in] on a device.
 *
 * Private to adapter*.c.
 */
#ifndef ADAPTER_LAYOUT_H
#define ADAPTER_LAYOUT_H

#include <stddef.h>
#include "../backend.h"

static inline void down_to_device(float *device, const float *file, int rank, const struct weight *w)
{
	size_t in = w->in, k = (size_t)w->kh * w->kw;

	for (size_t r = 0; r < (size_t)rank; r++)
		for (size_t i = 0; i < in; i++)
			for (size_t j = 0; j < k; j++)
				device[(r * k + j) * in + i] = file[(r * in + i) * k + j];
}

static inline void down_to_file(float *file, const float *device, int rank, const struct weight *w)
{
	size_t in = w->in, k = (size_t)w->kh * w->kw;

	for (size_t r = 0; r < (size_t)rank; r++)
		for (size_t i = 0; i < in; i++)
			for (size_t j = 0; j < k; j++)
				file[(r * in + i) * k + j] = device[(r * k + j) * in + i];
}

#endif
