/* The objective from the settings, with checks against the model and notes. */
#include <string.h>
#include "objective_settings.h"
#include "settings/choices.h"

static void tell(const struct train_settings *s, const struct schedule_config *model, const struct schedule_config *c)
{
	const bool weighted = s->debiased || s->min_snr_gamma || s->scale_v_like_noise || s->v_like;

	if (c->prediction == PREDICTION_V && !s->v_prediction)
		note("the model's scheduler says that it predicts v; "
		     "so does this run (sd-scripts needs v_parameterization for it)");
	if (s->v_prediction && model->prediction != PREDICTION_V)
		note("v_parameterization: the model's scheduler says that it predicts noise; "
		     "it is trained to predict v");
	if (c->zero_terminal_snr && c->prediction != PREDICTION_V)
		warning("zero_terminal_snr without v_parameterization: "
			"nothing can be learnt about noise from pure noise");
	if (c->prediction != PREDICTION_FLOW &&
	    (option_is_set("timestep-sampling") || option_is_set("discrete-flow-shift") ||
	     option_is_set("logit-mean") || option_is_set("logit-std")))
		note("timestep_sampling, discrete_flow_shift, logit_mean and logit_std are for a flow; "
		     "without flow_model they do nothing");
	if (c->zero_terminal_snr && weighted)
		note("weights by SNR are those of the schedule before zero_terminal_snr, as in sd-scripts");
}

/* kohya's GUI writes 1000 into every file. */
#define MAX_AS_USUAL 1000

static int check_timesteps(const struct train_settings *s, int steps, struct error *e)
{
	const bool usual = s->max_timestep == MAX_AS_USUAL;

	if (s->max_timestep > steps && !usual)
		return fail(e, EXIT_USAGE, "max_timestep %ld: the model has %d timesteps; lower it, or leave it out",
			    s->max_timestep, steps);
	if (s->min_timestep >= s->max_timestep || s->min_timestep >= steps)
		return fail(e, EXIT_USAGE, "min_timestep %ld and max_timestep %ld leave no timestep of the model's %d; "
					   "lower min_timestep", s->min_timestep, s->max_timestep, steps);
	if (usual && steps != MAX_AS_USUAL)
		note("max_timestep %d: the model has %d timesteps, %s", MAX_AS_USUAL, steps,
		     steps < MAX_AS_USUAL ? "all are drawn" :
		     "those from there on are not trained; leave it out for all");
	return 0;
}

/* sd-scripts' "sigma" draws among 1000 places, evenly with the usual weighting_scheme; here any place is drawn. */
static const struct { bool logit_normal, shifted; } flow_draws[] = {
	[FLOW_SIGMA] = { false, true }, [FLOW_UNIFORM] = { false, false }, [FLOW_SIGMOID] = { true, false },
	[FLOW_SHIFT] = { true, true },
};

/* What goes by the noise of a timestep has no meaning along a flow. */
static int check_flow(const struct train_settings *s, struct error *e)
{
	const struct { bool on; const char *key; } off[] = {
		{ s->v_prediction, "v_parameterization" }, { s->zero_terminal_snr, "zero_terminal_snr" },
		{ s->min_snr_gamma != 0, "min_snr_gamma" }, { s->debiased, "debiased_estimation_loss" },
		{ s->scale_v_like_noise, "scale_v_pred_loss_like_noise_pred" }, { s->v_like != 0, "v_pred_like_loss" },
		{ s->min_timestep != 0, "min_timestep" }, { s->max_timestep != MAX_AS_USUAL, "max_timestep" },
		{ *s->loss_type != 'l' && !strcmp(s->huber_schedule, "snr"), "huber_schedule = \"snr\"" },
	};

	for (size_t i = 0; i < sizeof(off) / sizeof(*off); i++)
		if (off[i].on)
			return fail(e, EXIT_USAGE, "%s goes by the noise of timesteps, which a flow has not; "
						   "leave it out with flow_model", off[i].key);
	return 0;
}

static int check(const struct train_settings *s, const struct schedule_config *c, struct error *e)
{
	if (s->adaptive_noise_scale && !s->noise_offset)
		return fail(e, EXIT_USAGE,
			    "adaptive_noise_scale changes noise_offset, which is 0; set noise_offset too");
	if (s->scale_v_like_noise && c->prediction != PREDICTION_V)
		return fail(e, EXIT_USAGE, "scale_v_pred_loss_like_noise_pred is for v prediction; "
					   "set v_parameterization = true or leave it out");
	if (s->v_like && c->prediction == PREDICTION_V)
		return fail(e, EXIT_USAGE, "v_pred_like_loss makes the loss of noise prediction like that of v, "
					   "which is trained already; leave it out");
	return c->prediction == PREDICTION_FLOW ? check_flow(s, e) : check_timesteps(s, c->train_steps, e);
}

int objective_init(struct objective *o, const struct train_settings *s, const struct model_config *model, uint64_t seed,
		   struct error *e)
{
	const enum flow_draw draw =
		s->timestep_sampling ? choice_index(FLOW_DRAW_NAMES, s->timestep_sampling) : FLOW_SIGMA;
	struct schedule_config c = model->schedule;

	if (s->v_prediction && c.prediction != PREDICTION_FLOW)
		c.prediction = PREDICTION_V;
	c.zero_terminal_snr |= s->zero_terminal_snr;
	if (check(s, &c, e) < 0)
		return -1;
	tell(s, &model->schedule, &c);
	*o = (struct objective){
		.min_timestep = s->min_timestep,
		.max_timestep = s->max_timestep < c.train_steps ? s->max_timestep : c.train_steps,
		.logit_normal = flow_draws[draw].logit_normal,
		.logit_mean = s->logit_mean, .logit_std = s->logit_std,
		.shift = flow_draws[draw].shifted ? c.shift : 1,
		.debiased = s->debiased, .scale_v_like_noise = s->scale_v_like_noise,
		.min_snr_gamma = s->min_snr_gamma, .v_like = s->v_like,
		.noise = { s->noise_offset, s->adaptive_noise_scale, s->noise_offset_random, s->multires_iterations,
			   s->multires_discount,
			   s->ip_noise_gamma, s->ip_noise_random },
		.loss = choice_index(LOSS_NAMES, s->loss_type),
		.huber_schedule = choice_index(HUBER_SCHEDULE_NAMES, s->huber_schedule),
		.huber_c = s->huber_c, .huber_scale = s->huber_scale,
		.scaling_factor = model->vae.scaling_factor,
		.seed = seed,
	};
	noise_schedule_init(&o->schedule, &c);
	c.zero_terminal_snr = false;
	noise_schedule_init(&o->plain, &c);
	return 0;
}
