/* What all optimizers share: parameters and their state, the gradients' norm, a step. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/elementary.h"
#include "../base/memory.h"
#include "internal.h"

/* ---- making ---- */

static size_t slot_bytes(const struct slot *s)
{
	return (s->count * dtype_size(s->dtype) + sizeof(float) - 1) / sizeof(float) * sizeof(float);
}

static int no_memory(struct error *e)
{
	return fail(e, EXIT_MEMORY, "no memory for the optimizer's state; choose a smaller network_dim");
}

static int make_slots(struct optimizer *o, struct parameter *p, struct error *e)
{
	int i;

	optimizer_kind(o->settings.name)->set_slots(o, p);
	for (i = 0; i < OPTIMIZER_SLOTS && optimizer_owns(o, p); i++) {
		struct slot *s = &p->slot[i];
		if (!s->count)
			continue;
		s->data = o->be->alloc(o->device, slot_bytes(s));
		if (!s->data)
			return no_memory(e);
		o->be->zero(o->device, f32(s->data), slot_bytes(s) / sizeof(float));
	}
	return 0;
}

/* PyTorch keeps a convolution's weight as [out,in,kh,kw], we as [out,kh,kw,in]. */
static struct factored_shape shape_of(const struct tensor *t, bool convolution)
{
	return convolution ? (struct factored_shape){ t->n, t->h, t->w, t->c } :
		(struct factored_shape){ 1, t->n, t->c, 1 };
}

static void add_parameter(struct optimizer *o, struct adapter_module *m, int part, double lr)
{
	struct parameter *p = &o->parameter[o->count++];
	struct tensor *t = &m->branch.part[part];

	*p = (struct parameter){ .tensor = t, .name = xprintf("%s.%s", m->stem, adapter_part_suffix(m, part)),
				 .count = tensor_count(t), .at = o->floats, .lr = lr,
				 .hastened = m->form.part[part].hastened,
				 .shape = shape_of(t, m->layer->conv != NULL) };
	o->floats += p->count;
}

static void add_module(struct optimizer *o, struct adapter_module *m, rate_fn *rate, const void *arg)
{
	for (int i = 0; i < BRANCH_PARTS; i++)
		if (m->branch.part[i].wants_grad)
			add_parameter(o, m, i, rate(arg, m, i));
}

/* What several ranks need to exchange sums and weights. */
static int make_exchange(struct optimizer *o, struct error *e)
{
	const bool on_host = !o->ranks.joined || optimizer_averages(&o->settings);

	if (o->ranks.count < 2)
		return 0;
	if (on_host)                    /* a dry run only counts */
		o->staged = malloc(backend_is_dry(o->be) ? 1 : (o->floats + 1) * sizeof(*o->staged));
	if (o->ranks.joined)
		o->parcels = o->be->alloc(o->device, PARCEL_FLOATS * sizeof(*o->parcels));
	return (on_host && !o->staged) || (o->ranks.joined && !o->parcels) ? no_memory(e) : 0;
}

static int make_room(struct optimizer *o, struct error *e)
{
	size_t i, largest = 1;

	for (i = 0; i < o->count; i++)
		largest = o->parameter[i].count > largest ? o->parameter[i].count : largest;
	o->room = o->be->alloc(o->device, largest * sizeof(float));
	o->sums = o->be->alloc(o->device, 2 * (o->count + 1) * sizeof(*o->sums));
	o->row_sums = xcalloc(2 * (o->count + 1), sizeof(*o->row_sums));
	o->read = xcalloc(2 * (o->count + 1), sizeof(*o->read));
	o->arrived = xcalloc(o->count + 1, sizeof(*o->arrived));
	o->table = xcalloc(o->count + 1, sizeof(*o->table));
	return o->room && o->sums ? make_exchange(o, e) : no_memory(e);
}

static int make_maps(struct optimizer *o, const struct optimizer_kind *kind, struct error *e)
{
	float maps[2 * 256];

	if (!kind->set_maps)
		return 0;
	o->maps = o->be->alloc(o->device, sizeof(maps));
	if (!o->maps)
		return no_memory(e);
	kind->set_maps(maps);
	o->be->upload(o->device, o->maps, maps, sizeof(maps));
	return 0;
}

/* Prodigy and D-Adaptation find one step size for everything. */
static int check_one_rate(const struct optimizer *o, struct error *e)
{
	size_t i;

	for (i = 1; i < o->count; i++)
		if (o->parameter[i].lr != o->parameter[0].lr)
			return fail(e, EXIT_USAGE, "optimizer_type %s takes one learning rate for everything, '%s' has "
						   "%g and '%s' %g; leave unet_lr, text_encoder_lr and other rates out",
				    o->settings.name, o->parameter[0].name, o->parameter[0].lr, o->parameter[i].name,
				    o->parameter[i].lr);
	return 0;
}

int optimizer_init(struct optimizer *o, struct adapter *a, const struct optimizer_settings *s,
		   const struct ranks *ranks, rate_fn *rate, const void *arg, struct error *e)
{
	const struct optimizer_kind *kind = optimizer_kind(s->name);
	size_t i;

	*o = (struct optimizer){ .ranks = *ranks, .settings = *s, .be = a->be, .device = a->device };
	if (!kind)
		return fail(e, EXIT_USAGE, "optimizer '%s' is not known; choose %s", s->name, optimizer_names().text);
	o->parameter = xcalloc(BRANCH_PARTS * a->count, sizeof(*o->parameter));
	for (i = 0; i < a->count; i++)
		add_module(o, &a->module[i], rate, arg);
	optimizer_share_out(o);
	for (i = 0; i < o->count; i++)
		if (make_slots(o, &o->parameter[i], e) < 0)
			return -1;
	if (kind->finds_d) {
		o->scalar[0] = s->d0;
		if (check_one_rate(o, e) < 0)
			return -1;
	}
	return make_room(o, e) < 0 ? -1 : make_maps(o, kind, e);
}

void optimizer_free(struct optimizer *o)
{
	size_t i;
	int k;

	if (o->kept)
		optimizer_resume_training(o);
	for (i = 0; i < o->count; i++) {
		free(o->parameter[i].name);
		for (k = 0; k < OPTIMIZER_SLOTS; k++)
			o->be->release(o->device, o->parameter[i].slot[k].data);
	}
	if (o->be) {
		o->be->release(o->device, o->room);
		o->be->release(o->device, o->sums);
		o->be->release(o->device, o->maps);
		o->be->release(o->device, o->parcels);
	}
	free(o->row_sums);
	free(o->read);
	free(o->arrived);
	free(o->table);
	free(o->staged);
	free(o->parameter);
	*o = (struct optimizer){ 0 };
}

/* ---- stepping ---- */

static void fill_table(struct optimizer *o)
{
	o->moving = 0;
	for (size_t i = 0; i < o->count; i++) {
		struct parameter *p = &o->parameter[i];
		struct trained *row = &o->table[o->moving];

		if (!p->tensor->has_grad || !optimizer_owns(o, p))
			continue;
		*row = (struct trained){ .p = p->tensor->data, .grad = p->tensor->grad, .n = p->count,
					 .shape = p->shape };
		for (int k = 0; k < OPTIMIZER_SLOTS; k++)
			row->state[k] = p->slot[k].data;
		o->arrived[o->moving++] = p;
	}
}

void optimizer_read_sums(const struct optimizer *o, int each)
{
	const size_t bytes = each * sizeof(*o->read);

	o->be->download(o->device, o->row_sums, o->sums, o->moving * bytes);
	for (int i = 0; i < o->moving; i++)
		memcpy(o->read + (o->arrived[i] - o->parameter) * each, o->row_sums + i * each, bytes);
	optimizer_gather(o, o->read, bytes);
}

double optimizer_grad_norm(struct optimizer *o)
{
	double sum = 0;

	fill_table(o);
	o->be->sum_squares(o->device, o->sums, o->table, o->moving);
	optimizer_read_sums(o, 1);
	for (size_t i = 0; i < o->count; i++)
		if (o->parameter[i].tensor->has_grad)
			sum += o->read[i];
	return sqrt(sum);
}

float clip_scale(double norm, double max)
{
	return max > 0 && max / (norm + 1e-6) < 1 ? max / (norm + 1e-6) : 1;
}

double optimizer_common_lr(const struct optimizer *o, double multiplier)
{
	return o->count ? o->parameter[0].lr * multiplier : 0;
}

struct adamw_step *adamw_steps(const struct optimizer *o, double multiplier, float grad_scale)
{
	const struct optimizer_settings *s = &o->settings;
	struct adamw_step *steps = xcalloc(o->moving + 1, sizeof(*steps));

	for (int i = 0; i < o->moving; i++)
		steps[i] = (struct adamw_step){
			.lr = o->arrived[i]->lr * multiplier, .beta1 = s->beta1, .beta2 = s->beta2, .eps = s->eps,
			.decay = s->decay, .correction1 = 1 - plain_pow(s->beta1, o->arrived[i]->steps),
			.correction2 = 1 - plain_pow(s->beta2, o->arrived[i]->steps), .grad_scale = grad_scale,
		};
	return steps;
}

void optimizer_keep_first(const struct optimizer *o, int slot, long steps)
{
	for (int i = 0; i < o->moving; i++)
		if (o->arrived[i]->steps == steps)
			o->be->copy(o->device, o->table[i].state[slot], o->table[i].p, o->table[i].n);
}

void optimizer_step(struct optimizer *o, double multiplier, float grad_scale)
{
	const struct optimizer_kind *kind = optimizer_kind(o->settings.name);
	bool moves;

	fill_table(o);
	moves = !kind->begin || kind->begin(o, multiplier, grad_scale);
	for (size_t i = 0; i < o->count; i++)
		o->parameter[i].steps += moves && o->parameter[i].tensor->has_grad;
	if (moves)
		kind->move(o, multiplier, grad_scale);
	optimizer_read_sums(o, 1);
	for (size_t i = 0; i < o->count; i++)
		o->parameter[i].moved = moves && o->parameter[i].tensor->has_grad ? sqrt(o->read[i]) : 0;
	optimizer_forget(o);
}

void optimizer_forget(struct optimizer *o)
{
	size_t i;

	for (i = 0; i < o->count; i++)
		o->parameter[i].tensor->has_grad = false;
}

/* ---- weights and figures for the caller ---- */

int optimizer_keep(struct optimizer *o, struct error *e)
{
	size_t i;

	if (!optimizer_averages(&o->settings) || o->kept)
		return 0;
	o->kept = xcalloc(o->count + 1, sizeof(*o->kept));
	for (i = 0; i < o->count; i++) {
		const struct parameter *p = &o->parameter[i];
		o->kept[i] = o->be->alloc(o->device, p->count * sizeof(float));
		if (!o->kept[i]) {
			optimizer_resume_training(o);
			return fail(e, EXIT_MEMORY, "no memory for the averaged weights; "
						    "choose a smaller network_dim or another optimizer_type");
		}
		o->be->copy(o->device, o->kept[i], p->tensor->data, p->count);
	}
	return 0;
}

void optimizer_resume_training(struct optimizer *o)
{
	size_t i;

	for (i = 0; o->kept && i < o->count; i++) {
		if (o->kept[i])
			o->be->copy(o->device, o->parameter[i].tensor->data, o->kept[i], o->parameter[i].count);
		o->be->release(o->device, o->kept[i]);
	}
	free(o->kept);
	o->kept = NULL;
}

size_t optimizer_state_bytes(const struct optimizer *o, int rank)
{
	size_t sum = 0;

	for (size_t i = 0; i < o->count; i++)
		for (int k = 0; k < OPTIMIZER_SLOTS && o->parameter[i].owner == rank; k++)
			sum += slot_bytes(&o->parameter[i].slot[k]);
	return sum;
}

int optimizer_scalars(const struct optimizer *o)
{
	return optimizer_kind(o->settings.name)->scalars;
}

double optimizer_d(const struct optimizer *o)
{
	return optimizer_kind(o->settings.name)->finds_d ? o->scalar[0] : 0;
}
