/* The work of a step on a card: the workload's batch with most pixels, forward and back, and the optimizer, on the
 * counting backend. */
#include <stdlib.h>
#include "../../nn/counting.h"
#include "planner.h"

/* networks and adapter, as the run would make them */
static int build(const struct workload *w, struct run_networks *net, struct course *c, struct error *e)
{
	return networks_load_text(net, w->data->set.sample[0].variants, e) < 0 || networks_load_unet(net, e) < 0 ?
		-1 : networks_make_adapter(net, c, e);
}

static double pixels(const struct batch_shape *s)
{
	return (double)s->n * s->h * s->w;
}

/* Of equals the one with most activations.  That alone is not enough: with checkpointing a batch of half the pixels may
 * need more memory by its shape, where a large adapter's gradients lie in it too. */
static size_t busiest(const struct batch_shape *shapes, size_t count, size_t largest)
{
	size_t most = largest;

	for (size_t i = 0; i < count; i++)
		if (pixels(&shapes[i]) > pixels(&shapes[most]))
			most = i;
	return most;
}

static void count_step(const struct workload *w, struct train_settings *s, const struct run_networks *net,
		       struct course *c, struct plan *p)
{
	const struct batch_source from = { s, w->data, net, w->objective };
	struct order *order = data_order(w->data, s, w->common_batch, w->seed);
	struct batch_shape *shapes;
	const size_t count = data_shapes(w->data, order, &shapes);

	counting_begin(net->device);
	batch_count(&from, &shapes[busiest(shapes, count, p->largest)], p->ranks.leaves_most, c);
	p->work = counting_work(net->device);
	free(shapes);
	order_free(order);
}

int plan_work(const struct workload *w, struct plan *p, struct error *e)
{
	struct train_settings s = w->s;
	struct run_networks net = { .s = &s, .files = w->files, .be = &counting_backend, .way = p->way,
				    .device = counting_device_new(card_rates(s.card)) };
	struct ranks ranks = { .count = s.ranks };      /* the first of them */
	struct course course = { .s = &s, .ranks = &ranks, .seed = w->seed, .optimizer.settings = w->optimizer };
	const int was_quiet = is_quiet();
	int result;

	quiet(1);       /* the plan has said it */
	result = build(w, &net, &course, e);
	quiet(was_quiet);
	if (!result)
		count_step(w, &s, &net, &course, p);
	net.files = NULL;               /* the workload's */
	course_free(&course);
	networks_free(&net);
	return result;
}
