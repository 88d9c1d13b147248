/* kohya's scale_weight_norms: the norm of each module's update, and a limit to it. */
#include <math.h>
#include "../base/elementary.h"
#include "../nn/workspace.h"
#include "adapter.h"
#include "lengths.h"

struct measure { const struct adapter_module *m; double norm; };

static double whole_norm(struct tape *t, const struct adapter_module *m)
{
	const struct weight *w = layer_weight(m->layer);
	const size_t n = (size_t)w->out * w->kh * w->kw * w->in;
	float *dw = tape_scratch(t, n);
	double *sum = (double *)tape_scratch(t, 2), squares = 0;

	m->kind->branch.whole(t, dw, &m->branch, w);
	tape_backend(t)->sum_squares(tape_device(t), sum, &(struct trained){ .grad = dw, .n = n }, 1);
	tape_backend(t)->download(tape_device(t), &squares, sum, sizeof(squares));
	tape_scratch_give(t, (float *)sum);
	tape_scratch_give(t, dw);
	return sqrt(squares);
}

static struct tensor *measure(struct tape *t, void *arg)
{
	struct measure *to = arg;
	const struct adapter_module *m = to->m;
	struct tensor *nothing = tensor_new(t, 1, 1, 1, 1);

	to->norm = (m->kind->norm ? m->kind->norm(t, &m->branch) : whole_norm(t, m)) *
		fabs(kind_scale(m->kind, &m->form, m->alpha));
	return nothing;
}

/* Scales dW down; dW is a product of its parts, and each gets the same share. */
static void shrink(const struct adapter *a, struct adapter_module *m, double by)
{
	int n = 0;

	for (int i = 0; i < LENGTHS_PART; i++)
		n += m->form.part[i].n && !m->form.part[i].frozen;
	for (int i = 0; i < LENGTHS_PART; i++) {
		struct tensor *p = &m->branch.part[i];

		if (m->form.part[i].n && !m->form.part[i].frozen)
			a->be->axpby(a->device, f32(p->data), plain_pow(by, 1.0 / n), f32(p->data), 0, tensor_count(p));
	}
}

/* sd-scripts raises norms to at least max / 2 first,
 * which changes nothing: a module with a smaller norm is not scaled. */
struct norm_facts adapter_limit_norms(struct adapter *a, double max)
{
	struct workspace work = { .be = a->be, .device = a->device };
	struct norm_facts facts = { 0 };
	struct error unsaid;

	for (size_t i = 0; i < a->count; i++) {
		struct measure of = { .m = &a->module[i] };
		double kept;

		if (!workspace_run(&work, measure, &of, &unsaid))
			die(EXIT_MEMORY, "no device memory to measure the adapter's norms; use a smaller rank");
		kept = of.norm > max ? max : of.norm;
		facts.mean += kept / a->count;
		facts.greatest = fmax(facts.greatest, kept);
		if (!(of.norm > max))
			continue;
		shrink(a, &a->module[i], max / of.norm);
		facts.scaled++;
	}
	workspace_free(&work);
	return facts;
}
