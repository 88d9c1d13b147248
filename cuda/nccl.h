/*
 * nccl.h - NCCL, NVIDIA's library that moves bytes from the memory of one card to that of another.
 *
 * It is opened at run time, and its sums are not used: their order is NCCL's, which changes with the number of cards.
 * Must not know what the bytes are, nor how the ranks came to meet.
 */
#ifndef CUDA_NCCL_H
#define CUDA_NCCL_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include "../libcommon/ranks/mover.h"

struct nccl;
enum { NCCL_MEETING = 128 };    /* bytes by which ranks meet */

struct nccl *nccl_open(const char *file);               /* NULL: it is not there, or too old */
void nccl_close(struct nccl *n);                        /* accepts NULL */
void nccl_version(const struct nccl *n, char *text, size_t most);       /* "NCCL 2.28.9" */
/* These three return NULL, or what went wrong. */
const char *nccl_meeting(const struct nccl *n, char *meeting);          /* of the first rank, for all */
const char *nccl_join(struct nccl *n, const char *meeting, const struct rank_place *mine);   /* all ranks */
/* Between two ranks pieces arrive in the order in which they are named.  Waits until all are done. */
const char *nccl_pass(struct nccl *n, cudaStream_t st, const struct rank_piece *out, size_t outs,
		      const struct rank_piece *in, size_t ins);

#endif
