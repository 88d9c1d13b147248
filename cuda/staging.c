/* Copies to the device through two pinned buffers. */
#include <stdlib.h>
#include <string.h>
#include "staging.h"

enum { BUFFERS = 2, BUFFER_BYTES = 4 << 20 };

struct staging {
	char *pinned[BUFFERS];
	cudaEvent_t read[BUFFERS];      /* the copy out of it has ended */
	int next;
};

struct staging *staging_new(void)
{
	struct staging *s = calloc(1, sizeof(*s));
	int i;

	for (i = 0; s && i < BUFFERS; i++)
		if (cudaHostAlloc((void **)&s->pinned[i], BUFFER_BYTES, cudaHostAllocDefault) != cudaSuccess ||
		    cudaEventCreateWithFlags(&s->read[i], cudaEventDisableTiming) != cudaSuccess) {
			cudaGetLastError();
			staging_free(s);
			return NULL;
		}
	return s;
}

void staging_free(struct staging *s)
{
	int i;

	for (i = 0; s && i < BUFFERS; i++) {
		if (s->read[i])
			cudaEventDestroy(s->read[i]);
		if (s->pinned[i])
			cudaFreeHost(s->pinned[i]);
	}
	free(s);
}

static cudaError_t upload_part(struct staging *s, cudaStream_t st, char *dst, const char *host, size_t bytes)
{
	int i = s->next;
	cudaError_t status = cudaEventSynchronize(s->read[i]);

	s->next = (i + 1) % BUFFERS;
	if (status != cudaSuccess)
		return status;
	memcpy(s->pinned[i], host, bytes);
	status = cudaMemcpyAsync(dst, s->pinned[i], bytes, cudaMemcpyHostToDevice, st);
	return status == cudaSuccess ? cudaEventRecord(s->read[i], st) : status;
}

cudaError_t staging_upload(struct staging *s, cudaStream_t st, void *dst, const void *host, size_t bytes)
{
	cudaError_t status = cudaSuccess;
	size_t at, part;

	for (at = 0; at < bytes && status == cudaSuccess; at += part) {
		part = bytes - at < BUFFER_BYTES ? bytes - at : BUFFER_BYTES;
		status = upload_part(s, st, (char *)dst + at, (const char *)host + at, part);
	}
	return status;
}
