/* Losses, weights by timestep and noise against sd-scripts' and diffusers' formulas. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/data/mask.h"
#include "../../libcommon/train/objective.h"
#include "subject.h"

/* The file's inputs, and the model's schedule for either prediction. */
struct losses {
	struct subject *s;
	struct safetensors *f;
	struct noise_schedule eps, v, zero_snr;
	int n;
	size_t each;                    /* values a sample */
	float *latent, *noise, *pred, *timestep, *weight;
};

static const char *const inputs[] = { "timestep", "latent", "noise", "pred", "weight", "mask", "offset_noise",
				      "ip_noise" };

static int step(const struct losses *l, int i)
{
	return l->timestep[i];
}

/* ---- layouts: the file's samples are [c,h,w], ours [h,w,c] ---- */

static struct noise_shape shape_of(const struct safetensor *t)
{
	return (struct noise_shape){ .h = t->shape[2], .w = t->shape[3], .c = t->shape[1] };
}

static void to_file(float *out, const float *x, const struct noise_shape *s)
{
	for (int c = 0; c < s->c; c++)
		for (int i = 0; i < s->h * s->w; i++)
			out[c * s->h * s->w + i] = x[i * s->c + c];
}

/* ---- one function a rule: numbers are those in the name ("min_snr.eps.gamma5": 5) ---- */

static void abar(struct losses *l, const double *number, float *out)
{
	for (int t = 0; t < l->eps.steps; t++)
		out[t] = l->eps.abar[t];
}

static void abar_zero_snr(struct losses *l, const double *number, float *out)
{
	for (int t = 0; t < l->zero_snr.steps; t++)
		out[t] = l->zero_snr.abar[t];
}

static void snr(struct losses *l, const double *number, float *out)
{
	for (int i = 0; i < l->n; i++)
		out[i] = noise_schedule_snr(&l->eps, step(l, i));
}

static void noisy(struct losses *l, const double *number, float *out)
{
	for (int i = 0; i < l->n; i++)
		noise_add(&l->eps, step(l, i), out + i * l->each, l->latent + i * l->each, l->noise + i * l->each,
			  l->each);
}

static void target_v(struct losses *l, const double *number, float *out)
{
	for (int i = 0; i < l->n; i++)
		noise_target(&l->v, step(l, i), out + i * l->each, l->latent + i * l->each, l->noise + i * l->each,
			     l->each);
}

static void debiased_eps(struct losses *l, const double *number, float *out)
{
	for (int i = 0; i < l->n; i++)
		out[i] = weight_debiased(&l->eps, step(l, i));
}

static void debiased_v(struct losses *l, const double *number, float *out)
{
	for (int i = 0; i < l->n; i++)
		out[i] = weight_debiased(&l->v, step(l, i));
}

static void min_snr_eps(struct losses *l, const double *number, float *out)
{
	for (int i = 0; i < l->n; i++)
		out[i] = weight_min_snr(&l->eps, step(l, i), *number);
}

static void min_snr_v(struct losses *l, const double *number, float *out)
{
	for (int i = 0; i < l->n; i++)
		out[i] = weight_min_snr(&l->v, step(l, i), *number);
}

static void scale_v(struct losses *l, const double *number, float *out)
{
	for (int i = 0; i < l->n; i++)
		out[i] = weight_scale_v(&l->v, step(l, i));
}

static void v_like(struct losses *l, const double *number, float *out)
{
	for (int i = 0; i < l->n; i++)
		out[i] = weight_v_like(&l->eps, step(l, i), *number);
}

static void bends(struct losses *l, enum huber_schedule kind, const double *number, float *out)
{
	for (int i = 0; i < l->n; i++)
		out[i] = huber_c(&l->eps, step(l, i), kind, number[0], number[1]);
}

static void c_constant(struct losses *l, const double *number, float *out)
{
	bends(l, HUBER_CONSTANT, number, out);
}

static void c_exponential(struct losses *l, const double *number, float *out)
{
	bends(l, HUBER_EXPONENTIAL, number, out);
}

static void c_snr(struct losses *l, const double *number, float *out)
{
	bends(l, HUBER_SNR, number, out);
}

/* ---- noise ---- */

static void offset(struct losses *l, const double *number, float *out)
{
	const struct noise_shape s = shape_of(need(l->f, "latent"));
	float *latent = need_nhwc(l->f, "latent"), *noise = need_nhwc(l->f, "noise"),
		*normal = need_floats(l->f, "offset_noise");

	for (int i = 0; i < l->n; i++) {
		noise_offset(noise + i * l->each, latent + i * l->each, &s, number[0], number[1], normal + i * s.c);
		to_file(out + i * l->each, noise + i * l->each, &s);
	}
	free(latent);
	free(noise);
	free(normal);
}

static void disturbed(struct losses *l, const double *number, float *out)
{
	float *more = need_floats(l->f, "ip_noise");

	for (size_t i = 0; i < l->n * l->each; i++)
		more[i] = l->noise[i] + *number * more[i];
	for (int i = 0; i < l->n; i++)
		noise_add(&l->eps, step(l, i), out + i * l->each, l->latent + i * l->each, more + i * l->each, l->each);
	free(more);
}

static double listed(const char *list, int i)
{
	char *end = (char *)list + 1;
	double x = strtod(end, &end);

	while (i--)
		x = strtod(end + 1, &end);
	return x;
}

static void multires(struct losses *l, const double *number, float *out)
{
	const struct noise_shape s = shape_of(need(l->f, "multires.noise"));
	float *noise = need_nhwc(l->f, "multires.noise");
	const double discount = atof(need_metadata(l->f, "multires.discount"));
	int i = 0;

	for (struct noise_shape level = { 2, 2, 0 }; level.h > 1 && level.w > 1; i++) {
		char *name = xprintf("multires.level.%d", i);
		float *x = need_nhwc(l->f, name);
		const struct noise_shape there = shape_of(need(l->f, name));

		level = multires_level(&s, listed(need_metadata(l->f, "multires.r"), i), i);
		if (level.h != there.h || level.w != there.w)
			failed(l->s->tally, "%s is %dx%d, and ours %dx%d", name, there.h, there.w, level.h, level.w);
		else
			multires_add(noise, &s, x, &level, pow(discount, i));
		free(x);
		free(name);
	}
	noise_normalize(noise, (size_t)s.h * s.w * s.c);
	to_file(out, noise, &s);
	free(noise);
}

/* ---- losses, by the operation that training calls ---- */

struct call { struct losses *l; const float *target, *weight, *c, *mask; enum loss_kind kind; };

static struct tensor *loss_forward(struct tape *t, void *arg)
{
	struct call *m = arg;
	const struct safetensor *latent = need(m->l->f, "latent");
	const int n = m->l->n, c = latent->shape[1], h = latent->shape[2], w = latent->shape[3];
	struct loss_terms terms = { .kind = m->kind, .weight = tensor_from(t, n, 1, 1, 1, m->weight)->data };

	if (m->c)
		terms.c = tensor_from(t, n, 1, 1, 1, m->c)->data;
	if (m->mask)
		terms.mask = tensor_from(t, n, h, w, 1, m->mask)->data;
	return op_loss(t, tensor_from(t, n, h, w, c, m->l->pred), tensor_from(t, n, h, w, c, m->target), &terms);
}

static void run_loss(const struct call *m, float *out)
{
	struct workspace *work = &m->l->s->p.work;
	struct error e = { 0 };
	struct tensor *y = workspace_run(work, loss_forward, (void *)m, &e);

	if (!y)
		die(e.code, "%s", e.text);
	tensor_download(work->tape, y, out);
}

/* loss of each sample; gamma 0: without min SNR, negative: without the samples' own weight too */
static void loss(struct losses *l, bool v, double gamma, float *out)
{
	float *target = xmalloc(l->n * l->each * sizeof(float)), *weight = xmalloc(l->n * sizeof(float));

	for (int i = 0; i < l->n; i++) {
		const struct noise_schedule *s = v ? &l->v : &l->eps;
		noise_target(s, step(l, i), target + i * l->each, l->latent + i * l->each, l->noise + i * l->each,
			     l->each);
		weight[i] = gamma < 0 ? 1 : l->weight[i];
		if (gamma > 0)
			weight[i] *= weight_min_snr(s, step(l, i), gamma);
	}
	run_loss(&(struct call){ l, target, weight }, out);
	free(target);
	free(weight);
}

static void mean(const struct losses *l, const float *each, float *out)
{
	double sum = 0;

	for (int i = 0; i < l->n; i++)
		sum += each[i];
	*out = sum / l->n;
}

static void total(struct losses *l, bool v, double gamma, float *out)
{
	float *each = xmalloc(l->n * sizeof(float));

	loss(l, v, gamma, each);
	mean(l, each, out);
	free(each);
}

static float *ones(int n)
{
	float *x = xmalloc(n * sizeof(*x));

	for (int i = 0; i < n; i++)
		x[i] = 1;
	return x;
}

static void bent(struct losses *l, enum loss_kind kind, enum huber_schedule schedule, const double *number, float *out)
{
	float *c = xmalloc(l->n * sizeof(*c)), *weight = ones(l->n);

	bends(l, schedule, number, c);
	run_loss(&(struct call){ l, l->noise, weight, c, .kind = kind }, out);
	free(c);
	free(weight);
}

#define BENT(name, kind, schedule) \
	static void name(struct losses *l, const double *number, float *out) { bent(l, kind, schedule, number, out); }
BENT(huber_constant, LOSS_HUBER, HUBER_CONSTANT)
BENT(huber_exponential, LOSS_HUBER, HUBER_EXPONENTIAL)
BENT(huber_snr, LOSS_HUBER, HUBER_SNR)
BENT(smooth_constant, LOSS_SMOOTH_L1, HUBER_CONSTANT)
BENT(smooth_exponential, LOSS_SMOOTH_L1, HUBER_EXPONENTIAL)
BENT(smooth_snr, LOSS_SMOOTH_L1, HUBER_SNR)

static void l1(struct losses *l, const double *number, float *out)
{
	float *weight = ones(l->n);

	run_loss(&(struct call){ l, l->noise, weight, .kind = LOSS_L1 }, out);
	free(weight);
}

/* sd-scripts' defaults: c 0.1, scale 1 */
static void total_huber(struct losses *l, const double *number, float *out)
{
	float *c = xmalloc(l->n * sizeof(*c)), *each = xmalloc(l->n * sizeof(*each));

	bends(l, HUBER_SNR, (const double[]){ 0.1, 1 }, c);
	run_loss(&(struct call){ l, l->noise, l->weight, c, .kind = LOSS_HUBER }, each);
	mean(l, each, out);
	free(c);
	free(each);
}

static void masked(struct losses *l, const double *number, float *out)
{
	const struct safetensor *t = need(l->f, "mask");
	const struct noise_shape s = shape_of(need(l->f, "latent"));
	float *mask = need_floats(l->f, "mask"), *small = xmalloc(l->n * s.h * s.w * sizeof(float)),
		*weight = ones(l->n);
	struct losses turned = *l;

	for (int i = 0; i < l->n; i++)
		mask_shrink(small + i * s.h * s.w, s.w, s.h, mask + i * t->shape[2] * t->shape[3], t->shape[3],
			    t->shape[2]);
	turned.pred = need_nhwc(l->f, "pred");
	turned.noise = need_nhwc(l->f, "noise");
	run_loss(&(struct call){ &turned, turned.noise, weight, .mask = small }, out);
	free(turned.pred);
	free(turned.noise);
	free(mask);
	free(small);
	free(weight);
}

static void l2(struct losses *l, const double *number, float *out)             { loss(l, false, -1, out); }
static void l2_v(struct losses *l, const double *number, float *out)           { loss(l, true, -1, out); }
static void total_l2(struct losses *l, const double *number, float *out)       { total(l, false, 0, out); }
static void total_min_snr(struct losses *l, const double *number, float *out)  { total(l, false, *number, out); }
static void total_v_min_snr(struct losses *l, const double *number, float *out) { total(l, true, *number, out); }

#define NUMBERS 2

static const struct rule {
	const char *name;               /* # stands for a number */
	void (*compute)(struct losses *l, const double *number, float *out);
} rules[] = {
	{ "alphas_cumprod", abar },
	{ "alphas_cumprod.zero_terminal_snr", abar_zero_snr },
	{ "snr", snr },
	{ "noisy", noisy },
	{ "noisy.ip_gamma_#", disturbed },
	{ "noise.offset_#", offset },
	{ "noise.offset_#_adaptive_#", offset },
	{ "multires.result", multires },
	{ "target.v", target_v },
	{ "debiased.eps", debiased_eps },
	{ "debiased.v", debiased_v },
	{ "min_snr.eps.gamma#", min_snr_eps },
	{ "min_snr.v.gamma#", min_snr_v },
	{ "scale_v_like_noise", scale_v },
	{ "v_pred_like_loss.factor.k#", v_like },
	{ "huber_c.constant.c#.scale#", c_constant },
	{ "huber_c.exponential.c#.scale#", c_exponential },
	{ "huber_c.snr.c#.scale#", c_snr },
	{ "loss.l2", l2 },
	{ "loss.l2.masked", masked },
	{ "loss.v.l2", l2_v },
	{ "loss.l1", l1 },
	{ "loss.huber.constant.c#.scale#", huber_constant },
	{ "loss.huber.exponential.c#.scale#", huber_exponential },
	{ "loss.huber.snr.c#.scale#", huber_snr },
	{ "loss.smooth_l1.constant.c#.scale#", smooth_constant },
	{ "loss.smooth_l1.exponential.c#.scale#", smooth_exponential },
	{ "loss.smooth_l1.snr.c#.scale#", smooth_snr },
	{ "total.l2", total_l2 },
	{ "total.l2.min_snr#", total_min_snr },
	{ "total.v.min_snr#", total_v_min_snr },
	{ "total.huber_snr", total_huber },
};

static bool matches(const char *pattern, const char *name, double *number)
{
	char *end;

	for (; *pattern; pattern++) {
		if (*pattern != '#') {
			if (*name++ != *pattern)
				return false;
			continue;
		}
		*number++ = strtod(name, &end);
		if (end == name)
			return false;
		name = end;
	}
	return !*name;
}

static const struct rule *find_rule(const char *name, double *number)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		memset(number, 0, NUMBERS * sizeof(*number));
		if (matches(rules[i].name, name, number))
			return &rules[i];
	}
	return NULL;
}

static bool is_input(const char *name)
{
	if (!strcmp(name, "multires.noise") || !strncmp(name, "multires.level.", 15))
		return true;
	for (size_t i = 0; i < sizeof(inputs) / sizeof(*inputs); i++)
		if (!strcmp(name, inputs[i]))
			return true;
	return false;
}

static void check(struct losses *l, const struct safetensor *r)
{
	double number[NUMBERS];
	const struct rule *rule = find_rule(r->name, number);
	size_t n = safetensor_elements(r);
	struct spread spread = { 0 };
	float *got, *want;

	if (!rule) {
		skipped(l->s->tally, "%s losses %s: no such rule yet", l->s->label, r->name);
		return;
	}
	got = xcalloc(n, sizeof(*got));
	want = need_floats(l->f, r->name);
	rule->compute(l, number, got);
	spread_add(&spread, got, want, n);
	judge(l->s->tally, KIND_LOSSES, &spread, "%s losses %s", l->s->label, r->name);
	free(got);
	free(want);
}

static void open_losses(struct losses *l)
{
	struct schedule_config c = l->s->p.config->schedule;

	c.zero_terminal_snr = false;
	c.prediction = PREDICTION_EPSILON;
	noise_schedule_init(&l->eps, &c);
	l->v = l->eps;
	l->v.prediction = PREDICTION_V;
	c.zero_terminal_snr = true;
	noise_schedule_init(&l->zero_snr, &c);
	l->n = need(l->f, "latent")->shape[0];
	l->each = safetensor_elements(need(l->f, "latent")) / l->n;
	l->latent = need_floats(l->f, "latent");
	l->noise = need_floats(l->f, "noise");
	l->pred = need_floats(l->f, "pred");
	l->timestep = need_floats(l->f, "timestep");
	l->weight = need_floats(l->f, "weight");
}

void check_losses(struct subject *s)
{
	struct losses l = { .s = s, .f = open_reference(s->folder, "losses.safetensors") };

	if (!l.f)
		return;
	open_losses(&l);
	for (size_t i = 0; i < l.f->count; i++)
		if (!is_input(l.f->tensor[i].name))
			check(&l, &l.f->tensor[i]);
	noise_schedule_free(&l.eps);            /* v shares it */
	noise_schedule_free(&l.zero_snr);
	free(l.latent);
	free(l.noise);
	free(l.pred);
	free(l.timestep);
	free(l.weight);
	close_reference(s, l.f);
}
