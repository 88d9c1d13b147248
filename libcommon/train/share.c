/* What the ranks of a run tell each other. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/progress.h"
#include "../config/version.h"
#include "call.h"
#include "share.h"
#include "state.h"

void share_init(struct share *s, const struct optimizer *o)
{
	s->waited = xcalloc(s->ranks.count, sizeof(*s->waited));
	s->slice = optimizer_slices(o);
}

void share_free(struct share *s)
{
	free(s->slice);
	free(s->room);
	free(s->waited);
}

/* ---- the first meeting ---- */

/* As a rank says it: the words of its run, cut where they are very long. */
struct said { int code; char error[1000], version[32], identity[2048], settings[4096]; };

static void put_text(char *to, size_t most, const char *text)
{
	text_add(to, most, 0, "%s", text ? text : "");
}

/* The word of "seed=42 model=ab" that differs; its length in *n. */
static const char *word_at(const char *text, size_t at, size_t *n)
{
	while (at && text[at - 1] != ' ' && text[at - 1] != '\n')
		at--;
	*n = strcspn(text + at, " \n");
	return text + at;
}

static int other(int rank, const char *is, const char *first, struct error *e)
{
	size_t at = 0, n, m;
	const char *its, *own;

	while (is[at] && is[at] == first[at])
		at++;
	its = word_at(is, at, &n);
	own = word_at(first, at, &m);
	return fail(e, EXIT_USAGE, "rank %d has %.*s, rank 0 %.*s: they would not train the same adapter; "
				   "give all ranks the same program, settings, model and latents", rank,
		    n > 200 ? 200 : (int)n, its, m > 200 ? 200 : (int)m, own);
}

static int compare(int rank, const struct said *is, const struct said *first, struct error *e)
{
	if (strcmp(is->version, first->version))
		return other(rank, is->version, first->version, e);
	if (strcmp(is->identity, first->identity))
		return other(rank, is->identity, first->identity, e);
	return strcmp(is->settings, first->settings) ? other(rank, is->settings, first->settings, e) : 0;
}

int share_meeting(struct share *s, const struct share_facts *mine, struct error *e)
{
	struct said *all;
	int result = mine->result, r;

	if (s->ranks.count == 1)
		return result;
	all = xcalloc(s->ranks.count, sizeof(*all));
	all[s->ranks.rank].code = result < 0 ? e->code : 0;
	put_text(all[s->ranks.rank].error, sizeof(all->error), result < 0 ? e->text : "");
	put_text(all[s->ranks.rank].version, sizeof(all->version), "version=" LORA_VERSION);
	put_text(all[s->ranks.rank].identity, sizeof(all->identity), mine->identity);
	put_text(all[s->ranks.rank].settings, sizeof(all->settings), mine->settings);
	ranks_gather_each(&s->ranks, all, sizeof(*all));
	for (r = 0; r < s->ranks.count && !all[r].code; r++)
		;
	if (r < s->ranks.count) {
		result = fail(e, all[r].code, "%s", all[r].error);
		if (r > 0) {
			char *where = xprintf("rank %d", r);
			fail_at(e, where);
			free(where);
		}
	}
	for (r = 1; r < s->ranks.count && !result; r++)
		result = compare(r, &all[r], &all[0], e);
	free(all);
	s->agreed = result < 0;
	return result;
}

/* ---- a step ---- */

void share_leaves(const struct share *s, void *of_leaf, size_t each, uint32_t count)
{
	size_t *at = xcalloc(s->ranks.count + 1, sizeof(*at));
	const double began = seconds_now();

	for (int r = 0; r < s->ranks.count; r++)
		at[r + 1] = leaves_of_rank(count, s->ranks.count, r).end * each;
	ranks_gather(&s->ranks, of_leaf, at);
	s->waited[s->ranks.rank] = seconds_now() - began;
	free(at);
}

/* The sums that all ranks bring, in the order of their leaves. */
struct nodes {
	struct { struct leaves of; int rank; float *value; } *node;     /* value: of this rank's slice */
	size_t count, *at;              /* rank r brings at[r] up to at[r + 1] */
	bool *arrived;                  /* of each node, of each parameter */
};

static void list_nodes(struct nodes *n, int ranks, uint32_t leaves)
{
	n->node = xcalloc((size_t)leaves + 1, sizeof(*n->node));
	n->at = xcalloc(ranks + 1, sizeof(*n->at));
	for (int r = 0; r < ranks; r++) {
		struct leaves of = leaves_of_rank(leaves, ranks, r);

		while (of.first < of.end) {
			n->node[n->count].rank = r;
			n->node[n->count++].of = leaves_next_node(&of, leaves);
		}
		n->at[r + 1] = n->count;
	}
}

static void gather_arrived(const struct share *s, const struct leaf_sums *sums, struct nodes *n)
{
	const size_t each = sums->optimizer->count * sizeof(*n->arrived);
	size_t *at = xcalloc(s->ranks.count + 1, sizeof(*at));

	n->arrived = xcalloc(n->count + 1, each + 1);
	for (size_t i = 0; i < sums->depth; i++)
		memcpy(n->arrived + (n->at[s->ranks.rank] + i) * sums->optimizer->count, sums->waiting[i].arrived,
		       each);
	for (int r = 0; r <= s->ranks.count; r++)
		at[r] = n->at[r] * each;
	ranks_gather(&s->ranks, n->arrived, at);
	free(at);
}

/* The memory is kept: in a new one every page would fault. */
static void make_room(struct share *s, size_t floats)
{
	if (floats <= s->room_floats)
		return;
	free(s->room);
	s->room = xmalloc(floats * sizeof(*s->room));
	s->room_floats = floats;
}

/* Each rank's sums go to the owners of their parts. */
static void exchange(struct share *s, const struct leaf_sums *sums, struct nodes *n)
{
	const int me = s->ranks.rank;
	const size_t first = s->slice[me], each = s->slice[me + 1] - first;
	struct piece *out = xcalloc(sums->depth * s->ranks.count + 1, sizeof(*out)),
		     *in = xcalloc(n->count + 1, sizeof(*in));
	size_t outs = 0, ins = 0, i;

	make_room(s, n->count * each);
	for (i = 0; i < n->count; i++) {
		const int r = n->node[i].rank;
		n->node[i].value = r == me ? sums->waiting[i - n->at[me]].value + first : s->room + i * each;
		if (r != me)
			in[ins++] = (struct piece){ r, n->node[i].value, each * sizeof(*s->room) };
	}
	for (int r = 0; r < s->ranks.count; r++)
		for (i = 0; i < sums->depth && r != me; i++) {
			out[outs++] = (struct piece){ r, sums->waiting[i].value + s->slice[r],
						      (s->slice[r + 1] - s->slice[r]) * sizeof(*s->room) };
		}
	ranks_move(&s->ranks, out, outs, in, ins);
	free(out);
	free(in);
}

static void add(float *to, const float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] += x[i];
}

/* The tree over the nodes of a parameter, n floats at `at` of the slice; NULL: no gradient arrived. */
static float *finish(const struct nodes *all, const bool *arrived, size_t stride, size_t at, size_t n,
		     uint32_t leaves)
{
	struct { struct leaves of; float *value; } stack[64];
	size_t depth = 0, i;

	for (i = 0; i < all->count; i++) {
		struct leaves of = all->node[i].of;
		float *x = arrived[i * stride] ? all->node[i].value + at : NULL;

		while (depth && leaves_join(stack[depth - 1].of, of, leaves)) {
			float *left = stack[--depth].value;
			if (left && x)
				add(left, x, n);
			x = left ? left : x;
			of.first = stack[depth].of.first;
		}
		stack[depth].of = of;
		stack[depth++].value = x;
	}
	return depth ? stack[0].value : NULL;
}

static bool arrived(const struct nodes *all, const struct optimizer *o, size_t parameter)
{
	for (size_t i = 0; i < all->count; i++)
		if (all->arrived[i * o->count + parameter])
			return true;
	return false;
}

/* The whole sums of this rank's parameters. */
static void finish_slice(const struct share *s, const struct nodes *all, const struct optimizer *o, struct tape *t,
			 uint32_t leaves)
{
	const size_t first = s->slice[s->ranks.rank];

	for (size_t i = 0; i < o->count; i++) {
		const struct parameter *p = &o->parameter[i];
		int had;

		if (!arrived(all, o, i))
			continue;
		p->tensor->has_grad = true;
		if (optimizer_owns(o, p))
			o->be->upload(o->device, floats_at(tape_grad(t, p->tensor, &had)),
				      finish(all, all->arrived + i, o->count, p->at - first, p->count, leaves),
				      p->count * sizeof(float));
	}
}

void share_gradients(struct share *s, const struct leaf_sums *sums, struct tape *t, uint32_t count)
{
	struct nodes all = { 0 };

	if (s->ranks.count == 1)
		return;
	list_nodes(&all, s->ranks.count, count);
	gather_arrived(s, sums, &all);
	exchange(s, sums, &all);
	finish_slice(s, &all, sums->optimizer, t, count);
	free(all.node);
	free(all.at);
	free(all.arrived);
}

void share_signals(const struct share *s)
{
	struct stop_signals *all = xcalloc(s->ranks.count, sizeof(*all));

	all[s->ranks.rank] = stop_signals();
	ranks_gather_each(&s->ranks, all, sizeof(*all));
	for (int r = 0; r < s->ranks.count; r++)
		stop_take_over(&all[r]);
	if (s->ranks.rank) {            /* rank 0 does what is asked for */
		save_wanted();
		sample_wanted();
	}
	ranks_gather_each(&s->ranks, s->waited, sizeof(*s->waited));
	free(all);
}

/* ---- while rank 0 is at work ---- */

int share_led(const struct share *s, struct course *c, int result)
{
	enum call call = result == EXIT_SAVED ? CALL_STOP : CALL_GO_ON;

	if (s->ranks.rank == 0) {
		call_all(&s->ranks, call);
		return result;
	}
	while ((call = call_all(&s->ranks, CALL_GO_ON)) != CALL_GO_ON && call != CALL_STOP)
		switch (call) {
		case CALL_GIVE_STATE: state_give(&c->optimizer); break;
		case CALL_TAKE_STATE: state_take(&c->optimizer); break;
		default: optimizer_give_average(&c->optimizer);
		}
	return call == CALL_STOP ? EXIT_SAVED : 0;
}
