#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "optimizer.h"

struct optimizer_kind {
	const char *name;
	int slots;
	void (*move)(const struct optimizer *o, struct parameter *p, double lr, float grad_scale);
};

static void adamw(const struct optimizer *o, struct parameter *p, double lr, float grad_scale)
{
	const struct optimizer_settings *s = &o->settings;
	struct adamw_step step = {
		.lr = lr, .beta1 = s->beta1, .beta2 = s->beta2, .eps = s->eps, .decay = s->decay,
		.correction1 = 1 - pow(s->beta1, p->steps), .correction2 = 1 - pow(s->beta2, p->steps),
		.grad_scale = grad_scale,
	};

	o->be->adamw(o->device, p->tensor->data, p->slot[0], p->slot[1], p->tensor->grad, p->count, &step);
}

static const struct optimizer_kind kinds[] = {
	{ "AdamW", 2, adamw },
};

static const struct optimizer_kind *find(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcasecmp(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}

bool optimizer_known(const char *name)
{
	return find(name) != NULL;
}

const char *optimizer_names(void)
{
	return "AdamW";
}

static int add_parameter(struct optimizer *o, struct tensor *t, const char *stem, const char *suffix, double lr, struct error *e)
{
	struct parameter *p = &o->parameter[o->count++];
	int i;

	*p = (struct parameter){ .tensor = t, .name = xprintf("%s.%s", stem, suffix), .count = tensor_count(t), .lr = lr };
	for (i = 0; i < find(o->settings.name)->slots; i++) {
		p->slot[i] = o->be->alloc(o->device, p->count * sizeof(float));
		if (!p->slot[i])
			return fail(e, EXIT_MEMORY, "no memory for the optimizer's state; choose a smaller network_dim");
		o->be->zero(o->device, p->slot[i], p->count);
	}
	return 0;
}

static int make_before(struct optimizer *o, struct error *e)
{
	size_t i, largest = 1;

	for (i = 0; i < o->count; i++)
		largest = o->parameter[i].count > largest ? o->parameter[i].count : largest;
	o->before = o->be->alloc(o->device, largest * sizeof(float));
	return o->before ? 0 : fail(e, EXIT_MEMORY, "no memory for the optimizer's state; choose a smaller network_dim");
}

int optimizer_init(struct optimizer *o, struct adapter *a, const struct optimizer_settings *s, rate_fn *rate, const void *arg,
		   struct error *e)
{
	size_t i;

	*o = (struct optimizer){ .settings = *s, .be = a->be, .device = a->device };
	if (!find(s->name))
		return fail(e, EXIT_USAGE, "optimizer '%s' is not known; choose %s", s->name, optimizer_names());
	o->parameter = xcalloc(2 * a->count, sizeof(*o->parameter));
	for (i = 0; i < a->count; i++) {
		struct adapter_module *m = &a->module[i];
		double lr = rate(arg, m);
		if (add_parameter(o, &m->lora.down, m->stem, "lora_down.weight", lr, e) < 0 ||
		    add_parameter(o, &m->lora.up, m->stem, "lora_up.weight", lr, e) < 0)
			return -1;
	}
	return make_before(o, e);
}

void optimizer_free(struct optimizer *o)
{
	size_t i;
	int k;

	for (i = 0; i < o->count; i++) {
		free(o->parameter[i].name);
		for (k = 0; k < OPTIMIZER_SLOTS; k++)
			o->be->release(o->device, o->parameter[i].slot[k]);
	}
	if (o->before)
		o->be->release(o->device, o->before);
	free(o->parameter);
	*o = (struct optimizer){ 0 };
}

double optimizer_grad_norm(const struct optimizer *o)
{
	double sum = 0;
	size_t i;

	for (i = 0; i < o->count; i++) {
		const struct parameter *p = &o->parameter[i];
		if (p->tensor->has_grad)
			sum += o->be->sum_squares(o->device, p->tensor->grad, p->count);
	}
	return sqrt(sum);
}

float clip_scale(double norm, double max)
{
	return max > 0 && max / (norm + 1e-6) < 1 ? max / (norm + 1e-6) : 1;
}

void optimizer_step(struct optimizer *o, double multiplier, float grad_scale)
{
	const struct optimizer_kind *kind = find(o->settings.name);
	size_t i;

	for (i = 0; i < o->count; i++) {
		struct parameter *p = &o->parameter[i];
		p->moved = 0;
		if (!p->tensor->has_grad)
			continue;
		p->steps++;
		o->be->copy(o->device, o->before, p->tensor->data, p->count);
		kind->move(o, p, p->lr * multiplier, grad_scale);
		o->be->axpby(o->device, o->before, 1, p->tensor->data, -1, p->count);
		p->moved = sqrt(o->be->sum_squares(o->device, o->before, p->count));
	}
	optimizer_forget(o);
}

void optimizer_forget(struct optimizer *o)
{
	size_t i;

	for (i = 0; i < o->count; i++)
		o->parameter[i].tensor->has_grad = false;
}
