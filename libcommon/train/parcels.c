/* Exchanging the sums of a step between devices that are joined. */
#include <stdlib.h>
#include "../base/memory.h"
#include "parcels.h"

void parcel_cut(struct parcel *p, const struct optimizer *o, int rank, struct cursor *c, size_t most)
{
	size_t at = 0;

	p->count = 0;
	for (; c->parameter < o->count && o->parameter[c->parameter].owner <= rank && at < most; c->parameter++) {
		const struct parameter *of = &o->parameter[c->parameter];
		const size_t left = of->count - c->from, floats = left < most - at ? left : most - at;

		if (of->owner < rank)
			continue;
		GROW(p->segment, p->count, p->capacity);
		p->segment[p->count++] = (struct segment){ c->parameter, c->from, floats, at };
		at += (floats + PARCEL_ALIGN - 1) / PARCEL_ALIGN * PARCEL_ALIGN;
		c->from = floats < left ? c->from + floats : 0;
		if (c->from)
			break;
	}
}

/* Of a turn: each rank's parcel, the slots of memory in which nodes lie, what is sent and received. */
struct turn {
	const struct optimizer *o;
	const struct leaf_sums *sums;
	const struct nodes *n;
	struct parcel *parcel;          /* of each rank */
	float **slot;                   /* of each node: this rank's parcel; NULL: in the gradients */
	size_t slots, most;             /* taken; floats of each */
	struct { struct rank_piece *piece; size_t count, capacity; } out, in;
};

static float *take_slot(struct turn *t)
{
	return t->o->parcels + t->slots++ * t->most;
}

/* Any rank's need: what others send, and its own sums that wait in host memory, for each rank. */
static size_t most_slots(const struct nodes *n, int ranks)
{
	size_t most = 1;

	for (int r = 0; r < ranks; r++) {
		const size_t own = n->at[r + 1] - n->at[r], slots = n->count - own + (own ? own - 1 : 0) * ranks;
		most = slots > most ? slots : most;
	}
	return most;
}

static const struct parameter *parameter_of(const struct turn *t, const struct segment *s)
{
	return &t->o->parameter[s->parameter];
}

/* Is this node of this rank in the gradients? */
static bool stays(const struct turn *t, size_t node)
{
	return t->sums->last_stays && node + 1 == t->n->at[t->o->ranks.rank + 1];
}

/* A parcel of a node of this rank's that waits in host memory. */
static float *bring_up(struct turn *t, size_t node, const struct parcel *p)
{
	const struct leaf_sum *sum = &t->sums->waiting[node - t->n->at[t->o->ranks.rank]];
	float *slot = take_slot(t);

	for (size_t i = 0; i < p->count; i++) {
		const struct segment *s = &p->segment[i];
		if (node_arrived(t->n, node, s->parameter))
			t->o->be->upload(t->o->device, slot + s->at,
					 sum->value + parameter_of(t, s)->at + s->from, s->floats * sizeof(float));
	}
	return slot;
}

static float *place_of(const struct turn *t, const struct segment *s, float *slot)
{
	return slot ? slot + s->at : parameter_of(t, s)->tensor->grad + s->from;
}

/* Names what is sent to a rank of its parcel, or received of this rank's. */
static void name(struct turn *t, size_t node, const struct parcel *p, float *slot, int rank, bool sends)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct segment *s = &p->segment[i];
		const struct rank_piece piece = { rank, place_of(t, s, slot), s->floats * sizeof(float) };

		if (!node_arrived(t->n, node, s->parameter))
			continue;
		if (sends) {
			GROW(t->out.piece, t->out.count, t->out.capacity);
			t->out.piece[t->out.count++] = piece;
		} else {
			GROW(t->in.piece, t->in.count, t->in.capacity);
			t->in.piece[t->in.count++] = piece;
		}
	}
}

/* Both sides name nodes in their order, and a node's segments in theirs. */
static void name_node(struct turn *t, size_t node)
{
	const int me = t->o->ranks.rank, rank = t->n->node[node].rank;

	t->slot[node] = NULL;
	if (rank != me) {
		t->slot[node] = take_slot(t);
		name(t, node, &t->parcel[me], t->slot[node], rank, false);
		return;
	}
	for (int r = 0; r < t->o->ranks.count; r++) {
		float *slot = stays(t, node) ? NULL : bring_up(t, node, &t->parcel[r]);

		if (r == me)
			t->slot[node] = slot;
		else
			name(t, node, &t->parcel[r], slot, r, true);
	}
}

static void add(const struct optimizer *o, float *to, const float *x, size_t floats)
{
	o->be->axpby(o->device, f32(to), 1, f32(x), 1, floats);
}

static void finish_parcel(const struct turn *t, struct tape *tape)
{
	const struct parcel *p = &t->parcel[t->o->ranks.rank];
	float **value = xcalloc(t->n->count + 1, sizeof(*value));

	for (size_t i = 0; i < p->count; i++) {
		const struct segment *s = &p->segment[i];
		struct tensor *of = parameter_of(t, s)->tensor;
		float *sum, *grad;
		int had;

		if (!of->has_grad)
			continue;
		for (size_t k = 0; k < t->n->count; k++)
			value[k] = node_arrived(t->n, k, s->parameter) ? place_of(t, s, t->slot[k]) : NULL;
		sum = nodes_add(t->n, value, s->floats, add, t->o);
		grad = floats_at(tape_grad(tape, of, &had)) + s->from;
		if (sum != grad)
			t->o->be->copy(t->o->device, grad, sum, s->floats);
	}
	free(value);
}

/* false: nobody has anything left */
static bool cut_parcels(struct turn *t, struct cursor *c)
{
	bool any = false;

	for (int r = 0; r < t->o->ranks.count; r++) {
		parcel_cut(&t->parcel[r], t->o, r, &c[r], t->most);
		any |= t->parcel[r].count > 0;
	}
	return any;
}

void parcels_exchange(const struct leaf_sums *sums, const struct nodes *n, struct tape *tape)
{
	const struct optimizer *o = sums->optimizer;
	struct cursor *c = xcalloc(o->ranks.count, sizeof(*c));
	struct turn t = { .o = o, .sums = sums, .n = n };

	t.most = PARCEL_FLOATS / most_slots(n, o->ranks.count) / PARCEL_ALIGN * PARCEL_ALIGN;
	t.parcel = xcalloc(o->ranks.count, sizeof(*t.parcel));
	t.slot = xcalloc(n->count + 1, sizeof(*t.slot));
	while (cut_parcels(&t, c)) {
		t.slots = t.out.count = t.in.count = 0;
		for (size_t i = 0; i < n->count; i++)
			name_node(&t, i);
		o->be->pass(o->device, t.out.piece, t.out.count, t.in.piece, t.in.count);
		finish_parcel(&t, tape);
	}
	for (int r = 0; r < o->ranks.count; r++)
		free(t.parcel[r].segment);
	free(t.parcel);
	free(t.slot);
	free(t.out.piece);
	free(t.in.piece);
	free(c);
}
