/* How a run comes to be ready for its first step. */
#include "captions.h"
#include "kohya_metadata.h"
#include "objective_settings.h"
#include "run.h"
#include "settings/adapter.h"

/* Its rooms know those below them. */
void run_begin(struct run *r, struct train_settings *s, const struct tool *tool)
{
	s->ranks = s->ranks ? s->ranks : 1;
	*r = (struct run){
		.s = s, .tool = tool, .data.s = s, .net.s = s, .course = { .s = s, .ranks = &r->share.ranks },
		.witness = { .s = s, .tool = tool, .data = &r->data, .net = &r->net, .course = &r->course,
			     .log.events.fd = -1 },
		.keeper = { .s = s, .tool = tool, .data = &r->data, .net = &r->net, .course = &r->course,
			    .witness = &r->witness, .lock = -1 },
		.share.ranks = { .count = 1, .here = 1 },
	};
}

void run_free(struct run *r)
{
	share_free(&r->share);
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
	if (kohya_metadata_check(e) < 0)
		return -1;
	if (course_read_seed(&r->course, e) < 0)
		return -1;
	optimizer_advise(o, adapter_settings_lowest_rate(r->s), r->s->lr_scheduler);
	return 0;
}

/* As in sd-scripts epochs win over steps.  Without latents nobody knows how many steps they are.  A default may stand
 * in a file of all settings. */
static void tell_idle_steps(const struct run *r)
{
	const struct train_settings *s = r->s;
	const bool meant = !option_is_default(option_by_key(r->tool, "max_train_steps")) ||
		option_is_typed("max-train-steps");

	if (!s->max_epochs || !meant || r->course.total == s->max_steps)
		return;
	if (r->course.total)
		note("max_train_steps = %ld does nothing: max_train_epochs = %ld is %ld steps; leave one out",
		     s->max_steps, s->max_epochs, r->course.total);
	else
		note("max_train_steps = %ld does nothing: max_train_epochs = %ld says how long the run is; "
		     "leave one out", s->max_steps, s->max_epochs);
}

int run_prepare(struct run *r, const char *const *latents, size_t count, struct error *e)
{
	struct model_files *files;
	bool unknown;

	if (data_look(latents, count, e) < 0 || networks_open_files(&r->net, e) < 0)
		return -1;
	files = r->net.files;
	if (data_open(&r->data, files, r->course.seed, latents, count, e) < 0)
		return -1;
	unknown = r->data.stand_in && !r->s->pictures;
	if (course_set_length(&r->course, unknown ? 0 : data_updates_per_epoch(&r->data), e) < 0)
		return -1;
	tell_idle_steps(r);
	if (!r->s->print_lr && data_check_origin(&r->data, files, e) < 0)
		return -1;
	if (!option_is_set("max-timestep"))
		r->s->max_timestep = model_files_config(files)->schedule.train_steps;
	if (objective_init(&r->course.objective, r->s, model_files_config(files), r->course.seed, e) < 0)
		return -1;
	keeper_set_identity(&r->keeper);
	return r->s->print_lr ? 0 : witness_open_samples(&r->witness, e);
}

/* Captions, and whether the text encoders run. */
static int open_captions(struct run *r, struct error *e)
{
	const bool cached = r->data.set.sample[0].variants > 0, trained = trains_text(r->s);

	if (cached && trained)
		note("the text encoders are trained, so the text outputs in the latents are not used; "
		     "--network-train-unet-only uses them");
	return captions_open(&r->data, r->net.files, !cached || trained, r->course.seed, r->course.total, e);
}

int run_load(struct run *r, struct error *e)
{
	if (!r->data.stand_in && open_captions(r, e) < 0)
		return -1;
	if (networks_load_text(&r->net, r->data.set.sample[0].variants, e) < 0 || networks_load_unet(&r->net, e) < 0)
		return -1;
	if (networks_make_adapter(&r->net, &r->course, e) < 0)
		return -1;
	share_init(&r->share, &r->course.optimizer);
	return 0;
}
