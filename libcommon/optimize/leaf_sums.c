/* Adding the gradients of a step's leaves. */
#include <stdlib.h>
#include "../base/memory.h"
#include "leaf_sums.h"

int leaf_sums_init(struct leaf_sums *s, const struct optimizer *o, uint32_t leaves, int ranks, struct error *e)
{
	const size_t capacity = leaves_waiting(leaves, ranks);

	*s = (struct leaf_sums){ .optimizer = o, .whole_waits = ranks > 1 };
	s->waiting = xcalloc(capacity + 1, sizeof(*s->waiting));
	for (; s->capacity < capacity; s->capacity++) {
		struct leaf_sum *w = &s->waiting[s->capacity];
		/* a dry run only counts */
		w->value = malloc(backend_is_dry(o->be) ? 1 : (o->floats + 1) * sizeof(float));
		if (!w->value)
			return fail(e, EXIT_MEMORY, "no memory for %zu sums of gradients; choose a smaller network_dim "
						    "or gradient_accumulation_steps", capacity);
		w->arrived = xcalloc(o->count + 1, sizeof(*w->arrived));
	}
	return 0;
}

void leaf_sums_free(struct leaf_sums *s)
{
	size_t i;

	for (i = 0; i < s->capacity; i++) {
		free(s->waiting[i].value);
		free(s->waiting[i].arrived);
	}
	free(s->waiting);
	*s = (struct leaf_sums){ 0 };
}

/* Adds a left half to the gradients in the parameters.  It is read into the memory that the optimizer has for the
 * largest parameter, which no step of it uses yet. */
static void add_left(const struct optimizer *o, struct tape *t, const struct leaf_sum *left)
{
	size_t i;

	for (i = 0; i < o->count; i++) {
		const struct parameter *p = &o->parameter[i];
		float *grad;
		int add;
		if (!left->arrived[i])
			continue;
		grad = floats_at(tape_grad(t, p->tensor, &add));
		o->be->upload(o->device, add ? o->room : grad, left->value + p->at, p->count * sizeof(float));
		if (add)
			o->be->axpby(o->device, f32(grad), 1, f32(o->room), 1, p->count);
	}
}

static void put(const struct optimizer *o, struct leaf_sum *to, bool stays)
{
	size_t i;

	for (i = 0; i < o->count; i++) {
		const struct parameter *p = &o->parameter[i];
		to->arrived[i] = p->tensor->has_grad;
		if (to->arrived[i] && !stays)
			o->be->download(o->device, to->value + p->at, p->tensor->grad, p->count * sizeof(float));
	}
}

void leaf_sums_begin(struct leaf_sums *s)
{
	s->depth = 0;
	s->last_stays = false;
}

void leaf_sums_add(struct leaf_sums *s, struct tape *t, uint32_t leaf, uint32_t count)
{
	const struct ranks *r = &s->optimizer->ranks;
	struct leaves of = { leaf, leaf + 1 };

	while (s->depth && leaves_join(s->waiting[s->depth - 1].of, of, count)) {
		add_left(s->optimizer, t, &s->waiting[--s->depth]);
		of.first = s->waiting[s->depth].of.first;
	}
	if (of.first == 0 && of.end == count && !s->whole_waits)
		return;
	s->last_stays = r->joined && leaf + 1 == leaves_of_rank(count, r->count, r->rank).end;
	s->waiting[s->depth].of = of;
	put(s->optimizer, &s->waiting[s->depth++], s->last_stays);
}
