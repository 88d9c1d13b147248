#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
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

static const char *const inputs[] = { "timestep", "latent", "noise", "pred", "weight", "mask", "offset_noise", "ip_noise" };

static int step(const struct losses *l, int i)
{
	return l->timestep[i];
}

/* One function a rule: number is what follows the name ("min_snr.eps.gamma5": 5). */
static void abar(struct losses *l, double number, float *out)
{
	for (int t = 0; t < l->eps.steps; t++)
		out[t] = l->eps.abar[t];
}

static void abar_zero_snr(struct losses *l, double number, float *out)
{
	for (int t = 0; t < l->zero_snr.steps; t++)
		out[t] = l->zero_snr.abar[t];
}

static void snr(struct losses *l, double number, float *out)
{
	for (int i = 0; i < l->n; i++)
		out[i] = noise_schedule_snr(&l->eps, step(l, i));
}

static void noisy(struct losses *l, double number, float *out)
{
	for (int i = 0; i < l->n; i++)
		noise_add(&l->eps, step(l, i), out + i * l->each, l->latent + i * l->each, l->noise + i * l->each, l->each);
}

static void target_v(struct losses *l, double number, float *out)
{
	for (int i = 0; i < l->n; i++)
		noise_target(&l->v, step(l, i), out + i * l->each, l->latent + i * l->each, l->noise + i * l->each, l->each);
}

static void debiased_eps(struct losses *l, double number, float *out)
{
	for (int i = 0; i < l->n; i++)
		out[i] = weight_debiased(&l->eps, step(l, i));
}

static void debiased_v(struct losses *l, double number, float *out)
{
	for (int i = 0; i < l->n; i++)
		out[i] = weight_debiased(&l->v, step(l, i));
}

static void min_snr_eps(struct losses *l, double number, float *out)
{
	for (int i = 0; i < l->n; i++)
		out[i] = weight_min_snr(&l->eps, step(l, i), number);
}

static void min_snr_v(struct losses *l, double number, float *out)
{
	for (int i = 0; i < l->n; i++)
		out[i] = weight_min_snr(&l->v, step(l, i), number);
}

struct mse { struct losses *l; const float *target, *weight; };

static struct tensor *mse_forward(struct tape *t, void *arg)
{
	struct mse *m = arg;
	int n = m->l->n, c = m->l->each;

	return op_mse(t, tensor_from(t, n, 1, 1, c, m->l->pred), tensor_from(t, n, 1, 1, c, m->target),
		      tensor_from(t, n, 1, 1, 1, m->weight)->data);
}

/* by the operation that training calls */
static void mse(struct losses *l, const float *target, const float *weight, float *out)
{
	struct workspace *work = &l->s->p.work;
	struct error e = { 0 };
	struct tensor *y = workspace_run(work, mse_forward, &(struct mse){ l, target, weight }, &e);

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
		noise_target(s, step(l, i), target + i * l->each, l->latent + i * l->each, l->noise + i * l->each, l->each);
		weight[i] = gamma < 0 ? 1 : l->weight[i];
		if (gamma > 0)
			weight[i] *= weight_min_snr(s, step(l, i), gamma);
	}
	mse(l, target, weight, out);
	free(target);
	free(weight);
}

static void total(struct losses *l, bool v, double gamma, float *out)
{
	float *each = xmalloc(l->n * sizeof(float));
	double sum = 0;

	loss(l, v, gamma, each);
	for (int i = 0; i < l->n; i++)
		sum += each[i];
	*out = sum / l->n;
	free(each);
}

static void l2(struct losses *l, double number, float *out)             { loss(l, false, -1, out); }
static void l2_v(struct losses *l, double number, float *out)           { loss(l, true, -1, out); }
static void total_l2(struct losses *l, double number, float *out)       { total(l, false, 0, out); }
static void total_min_snr(struct losses *l, double number, float *out)  { total(l, false, number, out); }
static void total_v_min_snr(struct losses *l, double number, float *out) { total(l, true, number, out); }

static const struct rule {
	const char *name;
	bool number;                    /* the name goes on with one */
	void (*compute)(struct losses *l, double number, float *out);
} rules[] = {
	{ "alphas_cumprod", false, abar },
	{ "alphas_cumprod.zero_terminal_snr", false, abar_zero_snr },
	{ "snr", false, snr },
	{ "noisy", false, noisy },
	{ "target.v", false, target_v },
	{ "debiased.eps", false, debiased_eps },
	{ "debiased.v", false, debiased_v },
	{ "min_snr.eps.gamma", true, min_snr_eps },
	{ "min_snr.v.gamma", true, min_snr_v },
	{ "loss.l2", false, l2 },
	{ "loss.v.l2", false, l2_v },
	{ "total.l2", false, total_l2 },
	{ "total.l2.min_snr", true, total_min_snr },
	{ "total.v.min_snr", true, total_v_min_snr },
};

static const struct rule *find_rule(const char *name, double *number)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		size_t n = strlen(rules[i].name);
		char *end;
		if (strncmp(name, rules[i].name, n))
			continue;
		if (!rules[i].number && !name[n])
			return &rules[i];
		*number = strtod(name + n, &end);
		if (rules[i].number && end > name + n && !*end)
			return &rules[i];
	}
	return NULL;
}

static bool is_input(const char *name)
{
	for (size_t i = 0; i < sizeof(inputs) / sizeof(*inputs); i++)
		if (!strcmp(name, inputs[i]))
			return true;
	return false;
}

static void check(struct losses *l, const struct safetensor *r)
{
	double number = 0;
	const struct rule *rule = find_rule(r->name, &number);
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

	c.zero_terminal_snr = c.v_prediction = false;
	noise_schedule_init(&l->eps, &c);
	l->v = l->eps;
	l->v.v_prediction = true;
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
	safetensors_close(l.f);
}
