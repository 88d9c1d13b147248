/* What ranks exchange that share an optimizer's work: sums of parameters, weights, averages. */
#include <stdlib.h>
#include "../base/memory.h"
#include "internal.h"
#include "slices.h"

void optimizer_share_out(struct optimizer *o)
{
	for (size_t i = 0; i < o->count; i++) {
		struct parameter *p = &o->parameter[i];
		p->owner = slice_owner(p->at, p->count, o->floats, o->ranks.count);
	}
}

/* Rank r owns the parameters first[r] up to first[r + 1], which may be none. */
static size_t *first_of_ranks(const struct optimizer *o)
{
	size_t *first = xcalloc(o->ranks.count + 1, sizeof(*first)), i = 0;

	for (int r = 0; r < o->ranks.count; r++) {
		while (i < o->count && o->parameter[i].owner == r)
			i++;
		first[r + 1] = i;
	}
	return first;
}

size_t *optimizer_slices(const struct optimizer *o)
{
	size_t *at = first_of_ranks(o);

	for (int r = 0; r <= o->ranks.count; r++)
		at[r] = at[r] < o->count ? o->parameter[at[r]].at : o->floats;
	return at;
}

void optimizer_gather(const struct optimizer *o, void *of, size_t each)
{
	size_t *at;

	if (o->ranks.count < 2)
		return;
	at = first_of_ranks(o);
	for (int r = 0; r <= o->ranks.count; r++)
		at[r] *= each;
	ranks_gather(&o->ranks, of, at);
	free(at);
}

void optimizer_add_up(const struct optimizer *o, double factor, struct two_sums *to)
{
	optimizer_read_sums(o, 2);
	for (size_t i = 0; i < o->count; i++)
		if (o->parameter[i].tensor->has_grad) {
			to->numerator += factor * o->read[2 * i];
			to->magnitude += o->read[2 * i + 1];
		}
}

/* ---- weights ---- */

static void take_down(struct optimizer *o)
{
	for (size_t i = 0; i < o->count; i++) {
		const struct parameter *p = &o->parameter[i];
		if (optimizer_owns(o, p))
			o->be->download(o->device, o->staged + p->at, p->tensor->data, p->count * sizeof(float));
	}
}

static void exchange_staged(const struct optimizer *o)
{
	size_t *at = optimizer_slices(o);

	for (int r = 0; r <= o->ranks.count; r++)
		at[r] *= sizeof(float);
	ranks_gather(&o->ranks, o->staged, at);
	free(at);
}

static void put_up(struct optimizer *o)
{
	for (size_t i = 0; i < o->count; i++) {
		const struct parameter *p = &o->parameter[i];
		if (!optimizer_owns(o, p))
			o->be->upload(o->device, p->tensor->data, o->staged + p->at, p->count * sizeof(float));
	}
}

static void gather_by_host(struct optimizer *o)
{
	take_down(o);
	exchange_staged(o);
	put_up(o);
}

/* Each owner sends to all others: what a gather moves, of parts that differ in size and lie in a thousand places. */
static void gather_by_devices(const struct optimizer *o)
{
	struct rank_piece *out = xcalloc(o->count * o->ranks.count + 1, sizeof(*out)),
		     *in = xcalloc(o->count + 1, sizeof(*in));
	size_t outs = 0, ins = 0;

	for (size_t i = 0; i < o->count; i++) {
		const struct parameter *p = &o->parameter[i];
		const struct rank_piece piece = { p->owner, p->tensor->data, p->count * sizeof(float) };

		if (!optimizer_owns(o, p))
			in[ins++] = piece;
		for (int r = 0; r < o->ranks.count && optimizer_owns(o, p); r++)
			if (r != o->ranks.rank)
				out[outs++] = (struct rank_piece){ r, piece.bytes, piece.count };
	}
	o->be->pass(o->device, out, outs, in, ins);
	free(out);
	free(in);
}

void optimizer_gather_weights(struct optimizer *o)
{
	if (o->ranks.count < 2)
		return;
	if (o->ranks.joined)
		gather_by_devices(o);
	else
		gather_by_host(o);
}

/* Only those of this rank: the others have theirs from their own. */
static void average_own(struct optimizer *o)
{
	for (size_t i = 0; i < o->count; i++) {
		const struct parameter *p = &o->parameter[i];
		if (p->steps && optimizer_owns(o, p))
			optimizer_kind(o->settings.name)->average(o, p);
	}
}

void optimizer_average(struct optimizer *o)
{
	if (!o->kept)
		return;
	average_own(o);
	if (o->ranks.count > 1)
		gather_by_host(o);
}

/* The memory of the weights of this rank's own parameters in training: `room` is for one at a time. */
void optimizer_give_average(struct optimizer *o)
{
	for (size_t i = 0; i < o->count; i++) {
		const struct parameter *p = &o->parameter[i];
		const size_t bytes = p->count * sizeof(float);
		if (!optimizer_owns(o, p))
			continue;
		o->be->copy(o->device, o->room, p->tensor->data, p->count);
		if (p->steps)
			optimizer_kind(o->settings.name)->average(o, p);
		o->be->download(o->device, o->staged + p->at, p->tensor->data, bytes);
		o->be->copy(o->device, p->tensor->data, o->room, p->count);
	}
	exchange_staged(o);
}
