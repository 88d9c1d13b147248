/* Device memory of an adapter's modules, and the constants that they share. */
#include <stdlib.h>
#include "../base/memory.h"
#include "adapter_internal.h"
#include "lora.h"

float *adapter_floats(struct adapter *a, const float *host, size_t n)
{
	float *p = a->be->alloc(a->device, n * sizeof(float));

	if (p && host)
		a->be->upload(a->device, p, host, n * sizeof(float));
	else if (p)
		a->be->zero(a->device, f32(p), n);
	return p;
}

int adapter_put_parameter(struct adapter *a, struct tensor *t, const float *host, bool trainable)
{
	t->home = HOME_OWNER;
	t->wants_grad = trainable;
	t->data = adapter_floats(a, host, tensor_count(t));
	if (!t->data || !trainable || a->borrow_grads)
		return t->data ? 0 : -1;
	t->grad = adapter_floats(a, NULL, tensor_count(t));
	return t->grad ? 0 : -1;
}

/* The identity, and a row of ones. */
int adapter_put_constants(struct adapter *a, struct error *e)
{
	int units = 1, widest = 1;
	size_t square, n;
	float *host;

	for (size_t i = 0; i < a->count; i++) {
		const struct adapter_module *m = &a->module[i];
		const int rank = m->kind == &kind_lora ? m->form.rank : 1, out = layer_weight(m->layer)->out,
			  in = layer_weight(m->layer)->in;

		units = rank > units ? rank : units;
		widest = out > widest ? out : widest;
		widest = in > widest ? in : widest;
	}
	square = (size_t)units * units;
	n = square > (size_t)widest ? square : (size_t)widest;
	host = xcalloc(n, sizeof(*host));
	for (int i = 0; i < units; i++)
		host[(size_t)i * units + i] = 1;
	a->constants.units = units;
	a->constants.unit = adapter_floats(a, host, square);
	for (int i = 0; i < widest; i++)
		host[i] = 1;
	a->constants.ones = adapter_floats(a, host, widest);
	free(host);
	return a->constants.unit && a->constants.ones ? 0 :
		fail(e, EXIT_MEMORY, "no device memory for DoRA; use a smaller rank");
}

int adapter_put_mask(struct adapter *a, struct error *e)
{
	struct rank_mask *m = &a->dropout.mask;
	float *host;

	m->most = 1;
	for (size_t i = 0; i < a->count; i++)
		m->most = a->module[i].form.rank > m->most ? a->module[i].form.rank : m->most;
	host = xcalloc((size_t)(m->most + 1) * m->most, sizeof(*host));
	for (int k = 0; k <= m->most; k++)
		for (int i = 0; i < k; i++)
			host[(size_t)k * m->most + i] = 1;
	m->first = adapter_floats(a, host, (size_t)(m->most + 1) * m->most);
	free(host);
	return m->first ? 0 : fail(e, EXIT_MEMORY, "no device memory for T-LoRA's mask; use a smaller rank");
}
