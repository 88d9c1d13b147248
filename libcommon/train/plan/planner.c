/* Counting the memory of a workload by building it on the dry backend, and finding the plan_way with which it fits. */
#include <stdlib.h>
#include "../../base/thread.h"
#include "planner.h"

/* A workload on the dry backend: settings that may be changed meanwhile, networks, course, an order of its own. */
struct dry {
	const struct workload *work;
	struct ranks ranks;             /* this is the first of them */
	struct train_settings s;
	struct run_networks net;
	struct course course;
	struct order *order;
};

static struct batch_source source(const struct dry *dry)
{
	return (struct batch_source){ &dry->s, dry->work->data, &dry->net, dry->work->objective };
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* ---- memory for the whole run: networks, adapter, optimizer ---- */

/* asked for since the last time */
static size_t more(const struct dry *dry, size_t *before)
{
	const size_t now = dry_device_bytes(dry->net.device).asked, added = now - *before;

	*before = now;
	return added;
}

static size_t aligned(const struct plan *p, size_t bytes)
{
	const size_t align = p->device->rules.align;

	return (bytes + align - 1) / align * align;
}

/* trained: what has a gradient; else all that belongs to an adapter's modules */
static size_t module_bytes(const struct plan *p, const struct branch *b, bool trained)
{
	size_t sum = trained || !b->fixed_count ? 0 : aligned(p, b->fixed_count * sizeof(float));
	int i;

	for (i = 0; i < BRANCH_PARTS; i++)
		if (tensor_count(&b->part[i]) && (b->part[i].wants_grad || !trained))
			sum += aligned(p, tensor_count(&b->part[i]) * sizeof(float));
	return sum;
}

static size_t adapter_bytes(const struct plan *p, const struct adapter *a, bool trained)
{
	size_t i, sum = 0;

	for (i = 0; i < a->count; i++)
		sum += module_bytes(p, &a->module[i].branch, trained);
	return sum;
}

/* Any of several ranks must have room for the largest slice of the optimizer's state.  Rank 0 saves that of all. */
static void count_ranks(const struct course *c, struct plan *p)
{
	const struct optimizer *o = &c->optimizer;
	const int ranks = c->ranks->count;
	const bool on_host = ranks > 1 && !c->ranks->joined;
	size_t *slice = optimizer_slices(o), most = 0;

	for (int r = 0; r < ranks; r++) {
		const size_t bytes = optimizer_state_bytes(o, r);
		most = larger(most, bytes);
		p->state += bytes;
	}
	p->bytes[PLAN_OPTIMIZER] += most - optimizer_state_bytes(o, 0);
	p->state += p->bytes[PLAN_OPTIMIZER] - most;
	p->ranks = ranks_plan(slice, leaves_a_step(c->s), ranks);
	p->sums = c->sums.capacity * p->ranks.floats * sizeof(float);
	if (o->staged)
		p->sums += p->ranks.floats * sizeof(float);
	if (on_host)            /* parts of the sums that come from others */
		p->sums += p->ranks.nodes * p->ranks.slice * sizeof(float);
	free(slice);
}

/* Counts adapter, optimizer, averages and sums of gradients.  The optimizer's part is what remains.  An average that
 * the optimizer makes exists while an adapter is saved. */
static int count_adapter(struct dry *dry, struct plan *p, size_t *before, struct error *e)
{
	size_t i, trained;

	if (networks_make_adapter(&dry->net, &dry->course, e) < 0 || optimizer_keep(&dry->course.optimizer, e) < 0)
		return -1;
	trained = adapter_bytes(p, dry->net.adapter, true);
	for (i = 0; i < dry->net.bases; i++)
		p->bytes[PLAN_BASE] += adapter_bytes(p, dry->net.base[i], false);
	p->bytes[PLAN_ADAPTER] = adapter_bytes(p, dry->net.adapter, false);
	p->bytes[PLAN_AVERAGE] = dry->s.ema_decay || dry->course.optimizer.kept ? trained : 0;
	p->bytes[PLAN_OPTIMIZER] = more(dry, before) - p->bytes[PLAN_BASE] - p->bytes[PLAN_ADAPTER] -
				   p->bytes[PLAN_AVERAGE];
	count_ranks(&dry->course, p);
	return 0;
}

static int count_lasting(struct dry *dry, struct plan *p, struct error *e)
{
	size_t before = 0;

	if (networks_load_text(&dry->net, dry->work->data->set.sample[0].variants, e) < 0)
		return -1;
	p->bytes[PLAN_TEXT] = more(dry, &before);
	if (networks_load_unet(&dry->net, e) < 0)
		return -1;
	p->bytes[PLAN_UNET] = more(dry, &before);
	if (count_adapter(dry, p, &before, e) < 0)
		return -1;
	p->host = dry_device_bytes(dry->net.device).host;
	return 0;
}

/* ---- memory that is used in turns: the arena of a step, of validation, a sample picture with its own networks ---- */

static size_t keep_bucket(const struct dry *dry, struct batch_shape *shapes, size_t count, const int *only)
{
	size_t i, kept = 0;

	for (i = 0; i < count; i++) {
		const int *bucket = dry->work->data->set.sample[shapes[i].sample].bucket;
		if (bucket[0] == only[0] && bucket[1] == only[1])
			shapes[kept++] = shapes[i];
	}
	return kept;
}

static void count_batches(struct dry *dry, const int *only, struct plan *p)
{
	const struct batch_source from = source(dry);
	struct batch_shape *shapes;
	size_t i;

	p->batches = data_shapes(dry->work->data, dry->order, &shapes);
	if (only)
		p->batches = keep_bucket(dry, shapes, p->batches, only);
	p->batch = xcalloc(p->batches, sizeof(*p->batch));
	batch_measure(&from, shapes, p->batches);
	optimizer_forget(&dry->course.optimizer);
	for (i = 0; i < p->batches; i++) {
		const int *bucket = dry->work->data->set.sample[shapes[i].sample].bucket;
		p->batch[i] = (struct plan_batch){ bucket[0], bucket[1], shapes[i].n, shapes[i].bytes };
		if (shapes[i].bytes > p->batch[p->largest].bytes)
			p->largest = i;
		p->blocks = shapes[i].blocks;
	}
	free(shapes);
}

static int count_pictures(struct dry *dry, struct plan *p, struct error *e)
{
	struct device *lasting = dry->net.device;
	size_t activations = 0;
	int result;

	if (!dry->work->samples || !dry->s.sample_prompts)
		return 0;
	dry->net.device = dry_device_new(&p->device->rules);
	result = samples_need(dry->work->samples, &dry->net, &activations, e);
	p->pictures = dry_device_bytes(dry->net.device).taken + activations;
	dry->net.be->close(dry->net.device);
	dry->net.device = lasting;
	return result;
}

static int count_turns(struct dry *dry, const int *only, struct plan *p, struct error *e)
{
	const struct batch_source from = source(dry);
	size_t most;

	count_batches(dry, only, p);
	p->validation = validation_need(&from);
	if (count_pictures(dry, p, e) < 0)
		return -1;
	most = larger(p->batch[p->largest].bytes, larger(p->validation, p->pictures));
	p->bytes[PLAN_ACTIVATIONS] = aligned(p, most);
	dry->net.be->alloc(dry->net.device, most);
	return 0;
}

/* ---- what is host memory, where that is the device's ---- */

/* All samples have what the first one has; a text that several share is there once.  Stand-ins for buckets are no
 * pictures. */
static size_t data_bytes(const struct run_data *d)
{
	const struct latent_sample *first = &d->set.sample[0];
	size_t i, sum = 0, text = 0;

	for (int k = 0; k < CONDITIONS; k++)
		text += condition_size(&first->text, k);
	for (i = 0; i < d->set.count && (!d->stand_in || d->s->pictures); i++) {
		const struct latent_sample *s = &d->set.sample[i];
		const size_t cells = (size_t)s->h * s->w, sides = first->flip_mean ? 2 : 1;
		sum += sides * cells * (2 * s->c + (s->masked ? 1 : 0) + (size_t)s->holes * (1 + 2 * s->c));
		sum += text * s->text.rows;
	}
	return sum * sizeof(float);
}

/* Files are written from copies: of the adapter, and of all that a state holds. */
static size_t saving_bytes(const struct train_settings *s, const struct plan *p, size_t trained)
{
	const bool state = s->save_state || s->save_state_at_end || s->save_every_minutes;

	return state ? trained + p->state + (s->ema_decay ? trained : 0) : trained;
}

/* What the largest convolutions take: those of 3x3 pixels at each level, from all channels that up blocks join. */
static size_t convolution_bytes(const struct dry *dry, const struct plan *p)
{
	const struct model_config *c = model_files_config(dry->net.files);
	const struct plan_batch *b = &p->batch[p->largest];
	size_t most = 0;

	for (int i = 0; i < c->unet.levels; i++) {
		const int side = c->vae.factor << i, above = i + 1 < c->unet.levels;
		const int h = (b->height + side - 1) / side, w = (b->width + side - 1) / side;
		const struct weight filters = { .out = c->unet.channels[i], .kh = 3, .kw = 3,
						.in = c->unet.channels[i] + c->unet.channels[i + above] };
		const struct conv_shape s = { b->n, h, w, h, w, .stride = 1, .pad = 1 };

		most = larger(most, p->device->convolution(&filters, &s, threads_default()));
	}
	return most;
}

/* What products of the adapter take beside the layers'. */
static size_t product_bytes(const struct dry *dry, const struct plan *p)
{
	const struct adapter *a = dry->net.adapter;
	size_t rank = 0, turned = 0;

	for (size_t i = 0; i < a->count; i++) {
		const struct linear *layer = a->module[i].layer->linear;
		const size_t mine = a->module[i].branch.rank;

		rank = larger(rank, mine);
		turned = larger(turned, layer ? mine * layer->w.out : 0);
	}
	return p->device->products((int)rank, turned, threads_default());
}

static void count_host(const struct dry *dry, struct plan *p)
{
	const struct plan_device *d = p->device;

	p->bytes[PLAN_GRADIENTS] = p->sums;
	p->bytes[PLAN_DATA] = data_bytes(dry->work->data);
	p->bytes[PLAN_SAVING] = larger(saving_bytes(&dry->s, p, adapter_bytes(p, dry->net.adapter, true)), d->saved);
	p->bytes[PLAN_WORKSPACE] = larger(product_bytes(dry, p), convolution_bytes(dry, p));
}

static void add_up(const struct dry *dry, struct plan *p)
{
	const struct dry_bytes all = dry_device_bytes(dry->net.device);
	int i;

	p->bytes[PLAN_WORKSPACE] = p->device->workspace;
	p->bytes[PLAN_CONTEXT] = p->device->context;
	if (p->device->is_host)
		count_host(dry, p);
	p->bytes[PLAN_ROUNDING] = all.taken - all.asked;
	for (i = 0; i < PLAN_CLASSES; i++)
		p->peak += p->bytes[i];
}

/* ---- the workload on the dry backend ---- */

static void dry_free(struct dry *dry)
{
	dry->net.files = NULL;          /* the workload's */
	course_free(&dry->course);
	networks_free(&dry->net);
	order_free(dry->order);
}

int plan_count(const struct workload *w, const struct plan_way *way, const int *only, struct plan *p, struct error *e)
{
	struct dry dry = { .work = w, .ranks.count = w->s.ranks, .s = w->s };
	const int was_quiet = is_quiet();
	int result;

	*p = (struct plan){ .device = plan_device(w->s.device, e), .way = *way };
	if (!p->device)
		return -1;
	dry.net = (struct run_networks){ .s = &dry.s, .files = w->files, .be = &dry_backend, .way = *way };
	dry.net.device = dry_device_new(&p->device->rules);
	dry.course = (struct course){ .s = &dry.s, .ranks = &dry.ranks, .seed = w->seed,
				      .optimizer.settings = w->optimizer };
	dry.ranks.joined = w->s.ranks > 1 && w->joined && !p->device->is_host;
	quiet(1);       /* the run itself says what is to be said */
	dry.order = data_order(w->data, &dry.s, w->common_batch, w->seed);
	result = count_lasting(&dry, p, e) < 0 ? -1 : count_turns(&dry, only, p, e);
	quiet(was_quiet);
	if (!result)
		add_up(&dry, p);
	dry_free(&dry);
	if (result < 0)
		plan_free(p);
	return result;
}

/* ---- choosing a plan_way ---- */

/* Counts once more, in another way. */
static int count_again(const struct workload *w, const struct plan_way *way, const int *only, struct plan *p,
		       struct error *e)
{
	const size_t limit = p->limit;

	plan_free(p);
	if (plan_count(w, way, only, p, e) < 0)
		return -1;
	p->limit = limit;
	return 0;
}

/* Finds the fewest checkpoints that fit, by the bucket that takes most memory; *p is then counted for all of `only`. */
static int fewest_checkpoints(const struct workload *w, const int *only, struct plan *p, struct error *e)
{
	const int bucket[2] = { p->batch[p->largest].width, p->batch[p->largest].height };
	const size_t limit = p->limit;
	struct plan_way way = p->way;
	size_t low = 0, high = p->blocks;       /* low does not fit */

	while (high - low > 1) {
		struct plan one;
		way.checkpoints = (low + high) / 2;
		if (plan_count(w, &way, bucket, &one, e) < 0)
			return -1;
		one.limit = limit;
		*(plan_fits(&one) ? &high : &low) = way.checkpoints;
		plan_free(&one);
	}
	for (way.checkpoints = high; ; way.checkpoints++) {     /* most often another bucket is no larger then */
		if (count_again(w, &way, only, p, e) < 0)
			return -1;
		if (plan_fits(p) || way.checkpoints == p->blocks)
			return 0;
	}
}

/* The limit to choose by.  A device that says its own room has kept something back already. */
static size_t careful(const struct workload *w, const struct plan_device *d, size_t limit)
{
	const size_t said = w->s.vram_bytes;

	return said > d->kept_back && said - d->kept_back < limit ? said - d->kept_back : limit;
}

static int choose(const struct workload *w, const struct plan_device *device, size_t limit, const int *only,
		  struct plan *p, struct error *e)
{
	const enum option_switch checkpointing = w->s.checkpoints;
	const bool streams = train_offloads(&w->s);
	struct plan_way way = { .checkpoints = checkpointing == SWITCH_ON ? SIZE_MAX : 0,
				.on_host = streams ? ON_HOST_WEIGHTS : ON_HOST_NONE };

	/* Without a limit "as little as can be" is all that true can mean. */
	if (device->rules.hosts && !streams && !limit && checkpointing == SWITCH_ON)
		way.on_host = ON_HOST_TEXT;
	if (plan_count(w, &way, only, p, e) < 0)
		return -1;
	p->limit = limit;
	if (device->rules.hosts && !streams && !plan_fits(p))
		way.on_host = ON_HOST_TEXT;
	if (way.on_host != p->way.on_host && count_again(w, &way, only, p, e) < 0)
		return -1;
	if (plan_fits(p) || checkpointing != SWITCH_AUTO)
		return 0;
	way.cheap_again = true;
	if (count_again(w, &way, only, p, e) < 0)
		return -1;
	return plan_fits(p) ? 0 : fewest_checkpoints(w, only, p, e);
}

int plan_make(const struct workload *w, size_t limit, const int *only, struct plan *p, struct error *e)
{
	const struct plan_device *device = plan_device(w->s.device, e);

	if (!device || choose(w, device, careful(w, device, limit), only, p, e) < 0)
		return -1;
	p->limit = limit;
	return 0;
}
