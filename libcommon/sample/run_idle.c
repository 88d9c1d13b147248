/* lora-sample: warnings of settings that change nothing in this run.  They are no errors: scripts pass general ones. */
#include "run_internal.h"

static bool all_jobs(const struct run *r, bool (*is)(const struct run *r, const struct job *j))
{
	for (size_t i = 0; i < r->jobs; i++)
		if (!is(r, &r->job[i]))
			return false;
	return r->jobs > 0;     /* of a stream nobody knows */
}

static bool job_unguided(const struct run *r, const struct job *j) { return j->cfg == 1; }
static bool job_has_negative(const struct run *r, const struct job *j) { return *j->negative; }
static bool job_draws_nothing(const struct run *r, const struct job *j) { return !sampler_adds_noise(j->sampler); }

static bool no_picture(const struct run *r) { return r->s->strength < 1 && !r->mask; }
static bool no_flow(const struct run *r)
{
	return r->s->flow_shift && r->pipeline.schedule.prediction != PREDICTION_FLOW;
}
static bool idle_negative(const struct run *r)
{
	return r->s->negative && *r->s->negative && all_jobs(r, job_unguided);
}
static bool unguided_zeros(const struct run *r) { return r->s->zero_negative && all_jobs(r, job_unguided); }
static bool no_zeros(const struct run *r)
{
	return r->s->zero_negative && all_jobs(r, job_has_negative) && !unguided_zeros(r);
}
/* A mask has noise of its own, and some samplers add some in each step. */
static bool noise_is_given(const struct run *r) { return r->noise && !r->mask && all_jobs(r, job_draws_nothing); }
static bool idle_seed(const struct run *r) { return noise_is_given(r) && option_is_set("seed"); }
static bool idle_rng(const struct run *r) { return noise_is_given(r) && option_is_set("rng"); }

static const struct { bool (*is_idle)(const struct run *r); const char *text; } rules[] = {
	{ no_picture, "--strength does nothing without --image and --mask" },
	{ no_flow, "--discrete-flow-shift does nothing: the model predicts no flow; where it does, say --flow-model" },
	{ idle_negative, "--negative does nothing with --cfg 1, which is no guidance" },
	{ unguided_zeros, "--zero-negative does nothing with --cfg 1, which is no guidance" },
	{ no_zeros, "--zero-negative does nothing: no negative prompt is empty" },
	{ idle_seed, "--seed does nothing beside --noise but name the pictures" },
	{ idle_rng, "--rng does nothing beside --noise" },
};

void sample_idle_tell(const struct run *r)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
		if (rules[i].is_idle(r))
			warning("%s", rules[i].text);
}
