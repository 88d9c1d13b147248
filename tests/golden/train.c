/* train.c - one train_*.safetensors: every step of it from the adapter that it starts from. */
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/adapter/keys.h"
#include "../../libcommon/base/memory.h"
#include "train.h"

/* One train_*.safetensors: the adapter that it starts from, and everything that moves it. */
struct training {
	struct subject *s;
	char *label;                    /* "tiny-a train_unet" */
	const struct safetensors *f;
	struct recipe recipe;
	struct networks networks;
	struct adapter *adapter;
	struct optimizer optimizer;
	struct tape *tape;
	struct key_index *keys;         /* what the factors of the model's layers are called */
};

static char *prefix(const struct training *t, int step, int micro)
{
	char *p = xprintf("step%d.micro%d", step, micro), *latent = xprintf("%s.latent", p);
	bool micros = safetensors_find(t->f, latent) != NULL;

	free(latent);
	if (micros)
		return p;
	free(p);
	return xprintf("step%d", step);
}

static void compare_number(struct training *t, enum kind k, const char *where, const char *what, float got)
{
	char *name = xprintf("%s.%s", where, what);
	float *want = need_floats(t->f, name);
	struct spread spread = { 0 };

	spread_add(&spread, &got, want, 1);
	judge(t->s->tally, k, &spread, "%s %s", t->label, name);
	free(want);
	free(name);
}

/* ---- gradients and weights, as lora-train would write them into a file ---- */

struct written { struct safetensors_out *tensor; size_t count; const struct key_index *keys; };

/* The same name, or another dialect's name for the same factor of the same layer. */
static bool same_factor(const struct key_index *k, const char *a, const char *b)
{
	struct key_part one, two;
	const char *dialect;
	const long layer = key_index_find(k, a, &one, &dialect);

	return !strcmp(a, b) || (layer >= 0 && layer == key_index_find(k, b, &two, &dialect) && one.part == two.part &&
				 one.kind == two.kind);
}

static const float *written(const struct written *w, const char *name)
{
	for (size_t i = 0; i < w->count; i++)
		if (same_factor(w->keys, w->tensor[i].name, name))
			return w->tensor[i].data;
	return NULL;
}

/* Every GROUP.FACTOR of the file. */
static void spread_group(struct training *t, const char *group, const struct written *w, struct spread *unet,
			 struct spread *text)
{
	const size_t n = strlen(group);

	for (size_t i = 0; i < t->f->count; i++) {
		const struct safetensor *r = &t->f->tensor[i];
		const char *factor = r->name + n, *dialect;
		const float *got;
		float *want;

		if (strncmp(r->name, group, n))
			continue;
		looked_at(t->f, r);
		got = written(w, factor);
		if (!got) {
			failed(t->s->tally, "%s: the adapter has no %s", t->label, factor);
			continue;
		}
		want = need_floats(t->f, r->name);
		spread_add(adapter_key_component(factor, &dialect) == COMPONENT_UNET ? unet : text, got, want,
			   safetensor_elements(r));
		free(want);
	}
}

/* With the gradients in the place of the weights, so that both take one way into a file.
 * Where none arrived it is 0. */
static struct safetensors_out *write_gradients(struct training *t, size_t *count)
{
	const struct backend *be = t->adapter->be;
	struct optimizer *o = &t->optimizer;
	float **weights = xcalloc(o->count + 1, sizeof(*weights)), *none;
	struct safetensors_out *out;
	size_t largest = 1;

	for (size_t i = 0; i < o->count; i++)
		largest = o->parameter[i].count > largest ? o->parameter[i].count : largest;
	if (!(none = be->alloc(t->adapter->device, largest * sizeof(*none))))
		die(EXIT_MEMORY, "no memory for gradients");
	be->zero(t->adapter->device, f32(none), largest);
	for (size_t i = 0; i < o->count; i++) {
		struct tensor *x = o->parameter[i].tensor;
		weights[i] = x->data;
		x->data = x->has_grad ? x->grad : none;
	}
	*count = adapter_tensors(t->adapter, &out);
	for (size_t i = 0; i < o->count; i++)
		o->parameter[i].tensor->data = weights[i];
	be->release(t->adapter->device, none);
	free(weights);
	return out;
}

static void compare_gradients(struct training *t, const char *how)
{
	struct spread unet = { 0 }, text = { 0 };
	struct written w = { .keys = t->keys };

	w.tensor = write_gradients(t, &w.count);
	spread_group(t, "grad.", &w, &unet, &text);
	if (unet.n)
		judge(t->s->tally, KIND_GRAD_UNET, &unet, "%s gradients of the UNet's adapters%s", t->label, how);
	if (text.n)
		judge(t->s->tally, t->s->p.config->family->texts == 1 ? KIND_GRAD_TEXT_ALONE : KIND_GRAD_TEXT, &text,
		      "%s gradients of the text adapters%s", t->label, how);
	adapter_tensors_free(w.tensor, w.count);
}

static void compare_weights(struct training *t)
{
	struct spread spread = { 0 };
	struct written w = { .keys = t->keys };

	w.count = adapter_tensors(t->adapter, &w.tensor);
	spread_group(t, "final.", &w, &spread, &spread);
	judge(t->s->tally, KIND_WEIGHTS, &spread, "%s weights after %d steps", t->label, t->recipe.steps);
	adapter_tensors_free(w.tensor, w.count);
}

/* ---- steps ---- */

static void run_micro(struct training *t, const char *where, bool compare)
{
	float *loss, sum = 0;
	struct batch b;

	read_batch(t->s, t->f, where, &b);
	loss = xcalloc(b.n, sizeof(*loss));
	adapter_training(t->adapter, 0, 0, b.timestep, b.n);
	tensor_download(t->tape, step_run(t->tape, &t->networks, &b, 1.0f / t->recipe.accumulate), loss);
	for (int i = 0; i < b.n; i++)
		sum += loss[i];
	if (compare)
		compare_number(t, KIND_LOSS, where, "loss", sum / b.n);
	free(loss);
	free_batch(&b);
}

static void run_micros(struct training *t, int step, bool compare)
{
	for (int m = 0; m < t->recipe.accumulate; m++) {
		char *where = prefix(t, step, m);
		run_micro(t, where, compare);
		free(where);
	}
}

static void check_rate(struct training *t, int step, double multiplier)
{
	double error = t->recipe.base * multiplier - t->recipe.rate[step];
	struct spread spread = { .error = error < 0 ? -error : error, .value = 1, .n = 1 };

	judge(t->s->tally, KIND_RATE, &spread, "%s step%d.lr", t->label, step);
}

static void run_step(struct training *t, int step)
{
	char *where = xprintf("step%d", step);
	double norm, multiplier = lr_multiplier(&t->recipe.schedule, step);

	run_micros(t, step, true);
	if (step == 0)
		compare_gradients(t, "");
	norm = optimizer_grad_norm(&t->optimizer);
	compare_number(t, KIND_GRAD_NORM, where, "grad_norm", norm);
	check_rate(t, step, multiplier);
	optimizer_step(&t->optimizer, multiplier, clip_scale(norm, t->recipe.max_grad_norm));
	free(where);
}

/* Step 0 again, keeping only the blocks' inputs and running each block twice. */
static void check_recomputed(struct training *t)
{
	tape_checkpointing(t->tape, true);
	run_micros(t, 0, false);
	compare_gradients(t, ", blocks run twice");
	optimizer_forget(&t->optimizer);
	tape_checkpointing(t->tape, false);
}

static void check_prediction(struct training *t)
{
	struct tensor *y;
	struct batch b;
	struct subject named = *t->s;

	if (!safetensors_find(t->f, "step0.pred"))
		return;
	named.label = t->label;
	read_batch(t->s, t->f, "step0", &b);
	tape_reset(t->tape);
	adapter_training(t->adapter, 0, 0, b.timestep, b.n);
	step_forward(t->tape, &t->networks, &b, &y);
	compare_tensor(&named, KIND_UNET, t->tape, y, t->f, "step0.pred");
	free_batch(&b);
}

/* ---- begin and end ---- */

/* Bytes of the greatest step, either way. */
static size_t measure(struct training *t)
{
	char *where = prefix(t, 0, 0);
	struct tape *dry = tape_new_dry();
	struct batch b;
	size_t bytes;

	read_batch(t->s, t->f, where, &b);
	step_run(dry, &t->networks, &b, 1);
	tape_checkpointing(dry, true);
	step_run(dry, &t->networks, &b, 1);
	bytes = tape_peak(dry);
	optimizer_forget(&t->optimizer);        /* a dry run leaves word of gradients that are not there */
	free_batch(&b);
	tape_free(dry);
	free(where);
	return bytes;
}

static double base_rate(const void *recipe, const struct adapter_module *m, int part)
{
	return ((const struct recipe *)recipe)->base;
}

/* T-LoRA: with its defaults, as the file's own masks of ones and zeros [samples,rank] are. */
static int mask_ranks(struct training *t, struct error *e)
{
	const struct branch_dropout dropout = {
		.mask = { .least = 1, .exponent = 1, .timesteps = t->s->p.schedule.steps }
	};

	if (!safetensors_find(t->f, "step0.mask") || safetensors_find(t->f, "step0.masked_latent"))
		return 0;
	return adapter_leave_out(t->adapter, &dropout, e);
}

/* Does the mask that is in the file follow from its timesteps? */
static void check_masks(struct training *t)
{
	const struct rank_mask *m = &t->adapter->dropout.mask;

	for (int i = 0; i < t->recipe.steps && m->least; i++) {
		char *mask = xprintf("step%d.mask", i), *timestep = xprintf("step%d.timestep", i);
		const int samples = need(t->f, mask)->shape[0], rank = need(t->f, mask)->shape[1];
		float *want = need_floats(t->f, mask), *at = need_floats(t->f, timestep);
		bool same = true;

		for (int k = 0; k < samples * rank; k++)
			same &= want[k] == (k % rank < rank_at(m, rank, at[k / rank]));
		if (same)
			passed(t->s->tally, "%s %s exactly", t->label, mask);
		else
			failed(t->s->tally, "%s %s is another", t->label, mask);
		free(want);
		free(at);
		free(mask);
		free(timestep);
	}
}

static int training_open(struct training *t, struct error *e)
{
	struct pipeline *p = &t->s->p;
	char *path = path_join(t->s->folder, need_metadata(t->f, "initial"));

	t->networks = (struct networks){ .unet = p->unet, .text = &p->text, .skip = read_skip(t->f) };
	t->adapter = adapter_load(path, &p->layers, 1, true, p->be, p->device, e);
	free(path);
	if (!t->adapter || mask_ranks(t, e) < 0 ||
	    optimizer_init(&t->optimizer, t->adapter, &t->recipe.optimizer, &(struct ranks){ .count = 1 },
			   base_rate, &t->recipe, e) < 0)
		return -1;
	t->keys = key_index_new(&p->layers, &p->config->unet);
	t->tape = tape_new(p->be, p->device, measure(t), e);
	return t->tape ? 0 : -1;
}

static void run(struct training *t)
{
	check_initial(t->s, t->label, t->f);
	check_masks(t);
	check_prediction(t);
	check_recomputed(t);
	for (int i = 0; i < t->recipe.steps; i++)
		run_step(t, i);
	compare_weights(t);
}

void check_train(struct subject *s, const char *file)
{
	struct safetensors *f = open_reference(s->folder, file);
	struct training t = { .s = s, .f = f, .label = xprintf("%s %.*s", s->label, (int)strcspn(file, "."), file) };
	const char *other = safetensors_metadata(f, "input");
	struct error e = { 0 };

	read_recipe(f, &t.recipe);
	if (other && !safetensors_find(f, "step0.sigma") && !safetensors_find(f, "step0.masked_latent"))
		skipped(s->tally, "%s: not compared: its input is not a noisy latent alone: %s", t.label, other);
	else if (training_open(&t, &e) < 0)
		failed(s->tally, "%s: %s", t.label, e.text);
	else
		run(&t);
	key_index_free(t.keys);
	tape_free(t.tape);
	optimizer_free(&t.optimizer);
	adapter_free(t.adapter);
	free_recipe(&t.recipe);
	free(t.label);
	close_reference(other ? NULL : s, f);
}
