/* The exponential moving average of the parameters. */
#include <math.h>
#include <stdlib.h>
#include "../base/memory.h"
#include "ema.h"

int ema_init(struct ema *m, const struct optimizer *o, double decay, struct error *e)
{
	size_t i;

	*m = (struct ema){ .optimizer = o, .decay = decay };
	if (!decay)
		return 0;
	m->value = xcalloc(o->count, sizeof(*m->value));
	m->table = xcalloc(o->count, sizeof(*m->table));
	for (i = 0; i < o->count; i++) {
		const struct parameter *p = &o->parameter[i];
		m->value[i] = o->be->alloc(o->device, p->count * sizeof(float));
		if (!m->value[i])
			return fail(e, EXIT_MEMORY, "no memory for the average of the adapter; "
						    "choose a smaller network_dim, or ema_decay = 0");
		o->be->copy(o->device, m->value[i], p->tensor->data, p->count);
	}
	return 0;
}

void ema_free(struct ema *m)
{
	size_t i;

	for (i = 0; m->value && i < m->optimizer->count; i++)
		m->optimizer->be->release(m->optimizer->device, m->value[i]);
	free(m->value);
	free(m->table);
	*m = (struct ema){ 0 };
}

void ema_update(struct ema *m, long updates)
{
	const double decay = fmin(m->decay, (1.0 + updates) / (10.0 + updates));
	const struct optimizer *o = m->optimizer;

	if (!m->value)
		return;
	for (size_t i = 0; i < o->count; i++) {
		const struct parameter *p = &o->parameter[i];

		m->table[i] = (struct trained){ .p = m->value[i], .grad = p->tensor->data, .n = p->count };
	}
	o->be->axpby_all(o->device, 1 - decay, decay, m->table, o->count);
}

void ema_swap(struct ema *m)
{
	size_t i;

	for (i = 0; m->value && i < m->optimizer->count; i++) {
		struct tensor *t = m->optimizer->parameter[i].tensor;
		float *x = t->data;
		t->data = m->value[i];
		m->value[i] = x;
	}
}
