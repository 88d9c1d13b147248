#include "adapter_internal.h"

float *adapter_floats(struct adapter *a, const float *host, size_t n)
{
	float *p = a->be->alloc(a->device, n * sizeof(float));

	if (p && host)
		a->be->upload(a->device, p, host, n * sizeof(float));
	else if (p)
		a->be->zero(a->device, p, n);
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
