/* How a run comes to be ready for its first step. */
#include "captions.h"
#include "plan/planner.h"
#include "settings/adapter.h"
#include "objective_settings.h"

/* Its rooms know those below them. */
void run_begin(struct run *r, struct train_settings *s, const struct tool *tool)
{
	*r = (struct run){
		.s = s, .tool = tool, .data.s = s, .net.s = s, .course.s = s,
		.witness = { .s = s, .tool = tool, .data = &r->data, .net = &r->net, .course = &r->course, .events.fd = -1 },
		.keeper = { .s = s, .tool = tool, .data = &r->data, .net = &r->net, .course = &r->course, .witness = &r->witness,
			    .lock = -1 },
	};
}

void run_free(struct run *r)
{
	witness_free(&r->witness);
	keeper_free(&r->keeper);
	course_free(&r->course);
	networks_free(&r->net);
	data_free(&r->data);
}

int run_settings(struct run *r, struct error *e)
{
	struct optimizer_settings *o = &r->course.optimizer.settings;

	if (train_settings_finish(r->s, o, e) < 0)
		return -1;
	options_tell_idle(r->tool);
	if (course_read_seed(&r->course, e) < 0)
		return -1;
	optimizer_advise(o, adapter_settings_lowest_rate(r->s), r->s->lr_scheduler);
	return 0;
}

int run_prepare(struct run *r, const char *const *latents, size_t count, struct error *e)
{
	struct model_files *files;
	bool unknown;

	if (networks_open_files(&r->net, e) < 0)
		return -1;
	files = r->net.files;
	if (data_open(&r->data, files, r->course.seed, latents, count, e) < 0)
		return -1;
	unknown = r->data.stand_in && !r->s->pictures;
	if (course_set_length(&r->course, unknown ? 0 : data_updates_per_epoch(&r->data), e) < 0)
		return -1;
	if (!r->s->print_lr && data_check_origin(&r->data, files, e) < 0)
		return -1;
	if (!option_is_set("max-timestep"))
		r->s->max_timestep = model_files_config(files)->schedule.train_steps;
	if (objective_init(&r->course.objective, r->s, model_files_config(files), r->course.seed, e) < 0)
		return -1;
	keeper_set_identity(&r->keeper);
	return r->s->print_lr ? 0 : witness_open_samples(&r->witness, e);
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
	const bool cached = r->data.set.sample[0].variants > 0, trained = trains_text(r->s);

	if (cached && trained)
		note("the text encoders are trained, so the text outputs in the latents are not used; --network-train-unet-only uses them");
	return run_captions_open(&r->data, r->net.files, !cached || trained, r->course.seed, r->course.total, e);
}

int run_load(struct run *r, struct error *e)
{
	if (!r->data.stand_in && open_captions(r, e) < 0)
		return -1;
	if (networks_load_text(&r->net, r->data.set.sample[0].variants, e) < 0 || networks_load_unet(&r->net, e) < 0)
		return -1;
	return networks_make_adapter(&r->net, &r->course, e);
}

int run_setup(struct run *r, struct error *e)
{
	if (run_settle(r, e) < 0 || run_load(r, e) < 0)
		return -1;
	return networks_take_arena(&r->net, e);
}
