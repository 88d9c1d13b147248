/* What the ranks of a run tell each other. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/progress.h"
#include "../config/version.h"
#include "call.h"
#include "parcels.h"
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

/* The memory is kept: in a new one every page would fault. */
static void make_room(struct share *s, size_t floats)
{
	if (floats <= s->room_floats)
		return;
	free(s->room);
	s->room = xmalloc(floats * sizeof(*s->room));
	s->room_floats = floats;
}

/* Each rank's sums go to the owners of their parts.  part: of each node, this rank's slice of it. */
static void exchange(struct share *s, const struct leaf_sums *sums, const struct nodes *n, float **part)
{
	const int me = s->ranks.rank;
	const size_t first = s->slice[me], each = s->slice[me + 1] - first;
	struct rank_piece *out = xcalloc(sums->depth * s->ranks.count + 1, sizeof(*out)),
		     *in = xcalloc(n->count + 1, sizeof(*in));
	size_t outs = 0, ins = 0, i;

	make_room(s, n->count * each);
	for (i = 0; i < n->count; i++) {
		const int r = n->node[i].rank;
		part[i] = r == me ? sums->waiting[i - n->at[me]].value + first : s->room + i * each;
		if (r != me)
			in[ins++] = (struct rank_piece){ r, part[i], each * sizeof(*s->room) };
	}
	for (int r = 0; r < s->ranks.count; r++)
		for (i = 0; i < sums->depth && r != me; i++) {
			out[outs++] = (struct rank_piece){ r, sums->waiting[i].value + s->slice[r],
						      (s->slice[r + 1] - s->slice[r]) * sizeof(*s->room) };
		}
	ranks_move(&s->ranks, out, outs, in, ins);
	free(out);
	free(in);
}

static void add(const struct optimizer *o, float *to, const float *x, size_t floats)
{
	for (size_t i = 0; i < floats; i++)
		to[i] += x[i];
}

/* The whole sums of this rank's parameters. */
static void finish_slice(const struct share *s, const struct nodes *n, float *const *part, const struct optimizer *o,
			 struct tape *t)
{
	float **value = xcalloc(n->count + 1, sizeof(*value));

	for (size_t i = 0; i < o->count; i++) {
		const struct parameter *p = &o->parameter[i];
		int had;

		if (!p->tensor->has_grad || !optimizer_owns(o, p))
			continue;
		for (size_t k = 0; k < n->count; k++)
			value[k] = node_arrived(n, k, i) ? part[k] + p->at - s->slice[s->ranks.rank] : NULL;
		o->be->upload(o->device, floats_at(tape_grad(t, p->tensor, &had)),
			      nodes_add(n, value, p->count, add, o), p->count * sizeof(float));
	}
	free(value);
}

static void share_by_host(struct share *s, const struct leaf_sums *sums, const struct nodes *n, struct tape *t)
{
	float **part = xcalloc(n->count + 1, sizeof(*part));

	exchange(s, sums, n, part);
	finish_slice(s, n, part, sums->optimizer, t);
	free(part);
}

void share_gradients(struct share *s, const struct leaf_sums *sums, struct tape *t, uint32_t count)
{
	const struct optimizer *o = sums->optimizer;
	struct nodes n;

	if (s->ranks.count == 1)
		return;
	nodes_gather(&n, sums, count);
	for (size_t i = 0; i < o->count; i++)
		o->parameter[i].tensor->has_grad = any_node_arrived(&n, i);
	if (s->ranks.joined)
		parcels_exchange(sums, &n, t);
	else
		share_by_host(s, sums, &n, t);
	nodes_free(&n);
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
