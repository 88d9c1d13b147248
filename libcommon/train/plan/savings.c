/* What-if: cheaper settings, and the memory that each would take. */
#include <string.h>
#include "planner.h"

/*
 * Cheaper settings, in the order of what they cost: time alone; the batch in micro-batches; sample pictures; the
 * optimizer's precision; the model in host memory; then what is learnt.  Each function changes one setting by one
 * step, and returns whether it could.
 */
static bool checkpoint(struct workload *w)
{
	const bool more = w->s.checkpoints != SWITCH_ON;

	w->s.checkpoints = SWITCH_ON;
	return more;
}

static bool halve_batch(struct workload *w)
{
	if (w->s.batch_size == 1 || leaves_a_step(&w->s) > MOST_LEAVES / 2)
		return false;
	w->s.batch_size = (w->s.batch_size + 1) / 2;
	w->s.accumulate *= 2;
	w->common_batch = true;
	return true;
}

static bool paint_nothing(struct workload *w)
{
	const bool painted = w->s.sample_prompts != NULL;

	w->s.sample_prompts = NULL;
	return painted;
}

static bool eight_bits(struct workload *w)
{
	if (strcmp(w->optimizer.name, "AdamW"))
		return false;
	w->s.optimizer = "AdamW8bit";
	optimizer_defaults("AdamW8bit", &w->optimizer);
	return true;
}

/* On a card: the host's memory, and the time of the link. */
static bool stream(struct workload *w)
{
	struct error unsaid;
	const struct plan_device *d = plan_device(w->s.device, &unsaid);

	if (!d || d->is_host || train_offloads(&w->s))
		return false;
	w->s.offload = "weights";
	return true;
}

static bool leave_text(struct workload *w)
{
	const bool trained = trains_text(&w->s) && !w->s.text_only;

	if (trained)
		w->s.unet_only = true;
	return trained;
}

/* Halves the rank and its alpha, so that the update keeps its scale.  Where blocks or a file give the ranks, there is
 * none to change. */
static bool halve_rank(struct workload *w)
{
	if (w->s.rank < 8 || w->s.blocks.dims || w->s.network_weights)
		return false;
	w->s.rank /= 2;
	w->s.alpha /= 2;
	return true;
}

static bool (*const steps[])(struct workload *w) = {
	checkpoint, halve_batch, paint_nothing, eight_bits, stream, leave_text, halve_rank,
};
enum { STEPS = sizeof(steps) / sizeof(*steps) };

/* Counts the memory with the changed settings.  all: in every bucket, not only in the one that takes most now.
 * Settings that do not go together save nothing. */
static void count_saving(const struct plan *now, bool all, struct saving *s)
{
	const struct plan_batch *b = &now->batch[now->largest];
	const int bucket[2] = { b->width, b->height };
	struct plan p;
	struct error e;

	s->peak = SIZE_MAX;
	s->fits = false;
	if (plan_make(&s->what, now->limit, all ? NULL : bucket, &p, &e) < 0)
		return;
	s->peak = p.peak;
	s->fits = plan_fits(&p);
	plan_free(&p);
}

/* Repeats one kind of change until the run fits, or no further change is possible.  false: it saves nothing. */
static bool repeat(const struct plan *now, size_t kind, bool all, struct saving *s)
{
	const size_t before = s->peak;
	bool any = false;

	while (!s->fits && steps[kind](&s->what)) {
		any = true;
		count_saving(now, all, s);
	}
	return any && s->peak < before;
}

static void go_together(const struct plan *now, bool all, struct saving *s)
{
	size_t i;

	for (i = 0; i < STEPS && !s->fits; i++) {
		struct saving next = *s;
		if (repeat(now, i, all, &next))
			*s = next;
	}
}

void plan_find_savings(const struct workload *w, const struct plan *p, struct savings *s)
{
	size_t i;

	*s = (struct savings){ 0 };
	s->together.what = *w;
	s->together.peak = p->peak;
	if (w->s.checkpoints == SWITCH_AUTO)    /* that has come to the same already */
		s->together.what.s.checkpoints = SWITCH_ON;
	for (i = 0; i < STEPS; i++) {
		s->one[s->count] = s->together;
		s->count += repeat(p, i, false, &s->one[s->count]);
	}
	go_together(p, false, &s->together);
	if (s->together.fits) {         /* with other settings another bucket may take most */
		count_saving(p, true, &s->together);
		go_together(p, true, &s->together);
	}
}

/* ---- as text ---- */

char *saving_words(const struct train_settings *a, const struct train_settings *b)
{
	struct buffer out = { 0 };

	if (a->checkpoints == SWITCH_OFF && b->checkpoints)
		buffer_adds(&out, " --gradient-checkpointing");
	if (a->batch_size != b->batch_size)
		buffer_addf(&out, " --train-batch-size %ld --gradient-accumulation-steps %ld", b->batch_size,
			    b->accumulate);
	if (a->sample_prompts != b->sample_prompts)
		buffer_adds(&out, " no sample_prompts");
	if (strcmp(a->optimizer, b->optimizer))
		buffer_addf(&out, " --optimizer-type %s", b->optimizer);
	if (train_offloads(a) != train_offloads(b))
		buffer_adds(&out, " --offload weights");
	if (a->unet_only != b->unet_only)
		buffer_adds(&out, " --network-train-unet-only");
	if (a->rank != b->rank)
		buffer_addf(&out, " --network-dim %ld --network-alpha %g", b->rank, b->alpha);
	return out.len ? buffer_steal(&out) : xstrdup("");
}

void saving_settings(const struct train_settings *a, const struct train_settings *b, struct json_out *j)
{
	if (a->checkpoints == SWITCH_OFF && b->checkpoints)
		json_bool(j, "gradient_checkpointing", true);
	if (a->batch_size != b->batch_size) {
		json_int(j, "train_batch_size", b->batch_size);
		json_int(j, "gradient_accumulation_steps", b->accumulate);
	}
	if (a->sample_prompts != b->sample_prompts)
		json_text(j, "sample_prompts", "");
	if (strcmp(a->optimizer, b->optimizer))
		json_text(j, "optimizer_type", b->optimizer);
	if (train_offloads(a) != train_offloads(b))
		json_text(j, "offload", "weights");
	if (a->unet_only != b->unet_only)
		json_bool(j, "network_train_unet_only", true);
	if (a->rank != b->rank) {
		json_int(j, "network_dim", b->rank);
		json_number(j, "network_alpha", b->alpha);
	}
}
