/*
 * staging.h - host to device through pinned memory: two buffers in turn, one filled while the other is on its way.
 *
 * A model is read from mapped files: copied straight from there, each page would be faulted in and pinned by the driver one at a time.
 */
#ifndef CUDA_STAGING_H
#define CUDA_STAGING_H

#include <cuda_runtime_api.h>
#include <stddef.h>

struct staging;

struct staging *staging_new(void);              /* NULL: no memory */
void staging_free(struct staging *s);           /* accepts NULL */
/* On return host may change; dst is written in the stream's order. */
cudaError_t staging_upload(struct staging *s, cudaStream_t st, void *dst, const void *host, size_t bytes);

#endif
