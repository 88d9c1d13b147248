/*
 * tally.h - what a mode that writes an adapter says of it: a line of --report for each module, and one line at the end.
 *
 * Must not know the modes.
 */
#ifndef MERGE_TALLY_H
#define MERGE_TALLY_H

#include "../io/publish.h"
#include "../model/layers.h"

struct tally {
	const struct unet_config *blocks;
	struct publish *report;         /* NULL: none is wanted */
	size_t modules, copied;
	int least, most;                /* ranks of the others; most 0: none has one */
	double update, lost;            /* sums of squares */
	bool unknown;                   /* of some the update is not known */
	double worst;                   /* relative error of a module, the greatest; and whose: malloced */
	char *worst_module;
};

struct tally_line {
	const struct layer *layer;
	int rank;
	double alpha;
	size_t adapters;                /* that it is made of */
	bool copied;                    /* its tensors are an input's, byte for byte */
	double update, lost;            /* norms of dW and of what was not written of it; NAN: nobody knows */
};

/* blocks: as in struct adapter_file; it must outlive t */
int tally_begin(struct tally *t, const char *report, const struct unet_config *blocks, struct error *e) MUST_CHECK;
int tally_module(struct tally *t, const struct tally_line *l, struct error *e) MUST_CHECK;
/* After the output was saved as out. */
int tally_end(struct tally *t, const char *out, struct error *e) MUST_CHECK;
/* In any case, at the very end. */
void tally_free(struct tally *t);

#endif
