/*
 * staging.h - copies from host to device through two pinned buffers in turn: one is filled while the other is copied.
 *
 * A model is read from mapped files.  Copied straight from there, each page would be faulted in and pinned by the
 * driver one at a time.
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
