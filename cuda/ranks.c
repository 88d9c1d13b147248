/* The card among those of other ranks on the machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

#define LIBRARY "libnccl.so.2"

static bool no(char *why, size_t most, const char *what, const char *more)
{
	snprintf(why, most, "%s%s", what, more);
	return false;
}

bool cuda_invite(struct device *d, struct invitation *mine, bool first, char *why, size_t most)
{
	const char *file = getenv("LORA_NCCL"), *wrong;

	if (file && !strcmp(file, "off"))
		return no(why, most, "LORA_NCCL is off", "");
	file = file && *file ? file : LIBRARY;
	if (!d->nccl)
		d->nccl = nccl_open(file);
	if (!d->nccl)
		return no(why, most, file, " is not there, or older than 2.7");
	nccl_version(d->nccl, mine->engine, sizeof(mine->engine));
	if (cudaDeviceGetPCIBusId(mine->card, sizeof(mine->card), 0) != cudaSuccess) {
		cudaGetLastError();
		return no(why, most, "a card does not say where it is", "");
	}
	wrong = first ? nccl_meeting(d->nccl, mine->meeting) : NULL;
	return wrong ? no(why, most, "NCCL: ", wrong) : true;
}

/* Every rank sends its number to every other.  NCCL connects two cards when they first exchange something, and takes
 * memory for that; and there are machines whose cards write to the wrong place of each other. */
static const char *try_out(struct device *d, const struct rank_place *mine)
{
	const size_t bytes = mine->ranks * sizeof(int);
	struct rank_piece *out = calloc(mine->ranks, 2 * sizeof(*out)), *in = out + mine->ranks;
	int *number = calloc(mine->ranks, sizeof(*number)), *card = cuda_scratch(d, bytes), others = 0, r;
	const char *wrong = NULL;

	for (r = 0; out && number && r < mine->ranks; r++) {
		number[r] = r == mine->rank ? r : -1;
		if (r == mine->rank)
			continue;
		out[others] = (struct rank_piece){ r, card + mine->rank, sizeof(*card) };
		in[others++] = (struct rank_piece){ r, card + r, sizeof(*card) };
	}
	if (!others)
		wrong = "no memory";
	if (!wrong) {
		cuda_upload(d, card, number, bytes);
		wrong = nccl_pass(d->nccl, d->stream, out, others, in, others);
	}
	if (!wrong)
		cuda_download(d, number, card, bytes);
	for (r = 0; !wrong && r < mine->ranks; r++)
		wrong = number[r] == r ? NULL : "what one card sent did not arrive at another";
	free(out);
	free(number);
	return wrong;
}

bool cuda_join(struct device *d, const struct invitation *of_first, const struct rank_place *mine, char *why,
	       size_t most)
{
	const char *wrong = nccl_join(d->nccl, of_first->meeting, mine);

	wrong = wrong ? wrong : try_out(d, mine);
	return wrong ? no(why, most, "NCCL: ", wrong) : true;
}

void cuda_pass(struct device *d, const struct rank_piece *out, size_t outs, const struct rank_piece *in, size_t ins)
{
	const char *wrong = nccl_pass(d->nccl, d->stream, out, outs, in, ins);

	if (wrong)
		die(EXIT_MEMORY, "device cuda: NCCL: %s; a rank or its card may be lost: start again from the last "
				 "state, or with LORA_NCCL=off", wrong);
	cuda_ran(d, cudaSuccess, "exchange with other cards");
}
