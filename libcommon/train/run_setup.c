#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "captions.h"
#include "plan/planner.h"
#include "settings/adapter.h"
#include "objective_settings.h"

static int read_seed(struct run *r, struct error *e)
{
	char *end;

	errno = 0;
	r->course.seed = strtoull(r->s->seed ? r->s->seed : "42", &end, 10);
	if (*end || errno || (r->s->seed && strchr(r->s->seed, '-')))
		return fail(e, EXIT_USAGE, "seed '%s' is no whole number from 0 to 2^64-1", r->s->seed);
	return 0;
}

int run_settings(struct run *r, struct error *e)
{
	struct optimizer_settings *o = &r->course.optimizer.settings;

	if (train_settings_finish(r->s, o, e) < 0)
		return -1;
	options_tell_idle(r->tool);
	if (read_seed(r, e) < 0)
		return -1;
	optimizer_advise(o, adapter_settings_lowest_rate(r->s), r->s->lr_scheduler);
	return 0;
}

/* Whether captions are read live is known once the latents are; then the text encoders are asked for. */
static unsigned parts_needed(const struct train_settings *s)
{
	const bool paints = s->sample_prompts && !s->replay_step, looks = s->check && s->vae;

	return PART(COMPONENT_UNET) | (paints || looks ? PART(COMPONENT_VAE) : 0) | (paints ? PARTS_TEXT : 0) | (run_trains_text(s) ? PARTS_TEXT : 0);
}

/* The VAE that paints; nothing else needs one, but --check looks whether it is there. */
const char *run_vae(const struct train_settings *s)
{
	return s->sample_prompts || s->check ? s->vae : NULL;
}

int run_prepare(struct run *r, const char *const *latents, size_t count, struct error *e)
{
	r->net.files = model_files_open_parts(r->s->model, r->s->model_config, run_vae(r->s), parts_needed(r->s), e);
	if (!r->net.files || run_prepare_data(r, latents, count, e) < 0 || run_check_origin(r, e) < 0)
		return -1;
	if (!option_is_set("max-timestep"))
		r->s->max_timestep = model_files_config(r->net.files)->schedule.train_steps;
	if (objective_init(&r->course.objective, r->s, model_files_config(r->net.files), r->course.seed, e) < 0)
		return -1;
	run_set_identity(r);
	return r->s->print_lr ? 0 : run_samples_open(r, e);
}

int run_open_device(struct run *r, struct error *e)
{
	r->net.be = backend_find(r->s->device, e);
	r->net.device = r->net.be ? r->net.be->open(e) : NULL;
	return r->net.device ? 0 : -1;
}

/* What the plan counts of a device's own is there already, so it is no longer in the room. */
size_t run_limit(const struct run *r)
{
	const size_t said = r->s->vram_bytes, room = r->net.device ? r->net.be->room(r->net.device) : 0;
	struct error e;
	const struct plan_device *own = room ? plan_device(r->net.be->name, &e) : NULL;
	const size_t there = own ? room + own->workspace + own->context : 0;

	return !said || (there && there < said) ? there : said;
}

int run_settle(struct run *r, struct error *e)
{
	const struct planned what = run_as_set(r);
	struct savings s;
	struct plan p;
	int result = 0;

	if (run_plan(r, &what, run_limit(r), NULL, &p, e) < 0)
		return -1;
	if (!plan_fits(&p)) {
		run_find_savings(r, &p, &s);
		result = run_refuse(r, &p, &s, e);
	}
	r->net.way = p.way;
	r->net.activation_bytes = p.batch[p.largest].bytes;
	r->net.planned_bytes = p.peak;
	plan_free(&p);
	return result;
}

/* Captions, and whether the text encoders run. */
static int open_captions(struct run *r, struct error *e)
{
	const bool cached = r->data.set.sample[0].variants > 0, trained = run_trains_text(r->s);

	if (cached && trained)
		note("the text encoders are trained, so the text outputs in the latents are not used; --network-train-unet-only uses them");
	return run_captions_open(r, !cached || trained, e);
}

int run_load(struct run *r, struct error *e)
{
	if (!r->data.stand_in && open_captions(r, e) < 0)
		return -1;
	if (run_load_text(r, e) < 0 || run_load_unet(r, e) < 0)
		return -1;
	return run_make_adapter(r, e);
}

int run_setup(struct run *r, struct error *e)
{
	if (run_settle(r, e) < 0 || run_load(r, e) < 0)
		return -1;
	return run_take_arena(r, e);
}
