/* A batch of train_*.safetensors, and the settings of its run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/json.h"
#include "../../libcommon/model/flow.h"
#include "train.h"

static char *full(const char *prefix, const char *name)
{
	return xprintf("%s.%s", prefix, name);
}

static float *floats(const struct safetensors *f, const char *prefix, const char *name)
{
	char *key = full(prefix, name);
	float *x = need_nhwc(f, key);

	free(key);
	return x;
}

static float *floats_if(const struct safetensors *f, const char *prefix, const char *name)
{
	char *key = full(prefix, name);
	const bool there = safetensors_find(f, key) != NULL;

	free(key);
	return there ? floats(f, prefix, name) : NULL;
}

/* target: the noise, which becomes the target.  sigma: of a flow. */
static void mix(const struct subject *s, const float *sigma, int timestep, const float *latent, float *target,
		float *noisy, size_t n)
{
	if (!sigma) {
		noise_add(&s->p.schedule, timestep, noisy, latent, target, n);
		return;
	}
	flow_add(*sigma, noisy, latent, target, n);
	flow_target(target, latent, target, n);
}

/* Of an inpainting model: mask and masked latent, channel beside channel; else NULL. */
static float *read_beside(const struct safetensors *f, const char *prefix, const struct batch *b)
{
	float *mask = floats_if(f, prefix, "mask"), *latent = floats_if(f, prefix, "masked_latent"), *out = NULL, *to;

	if (mask && latent) {
		out = to = xmalloc((size_t)b->n * b->h * b->w * (1 + b->c) * sizeof(*out));
		for (size_t i = 0; i < (size_t)b->n * b->h * b->w; i++) {
			*to++ = mask[i];
			for (int c = 0; c < b->c; c++)
				*to++ = latent[i * b->c + c];
		}
	}
	free(mask);
	free(latent);
	return out;
}

void read_batch(const struct subject *s, const struct safetensors *f, const char *prefix, struct batch *b)
{
	char *key = full(prefix, "latent"), *dot = full(prefix, "");
	const int64_t *shape = need(f, key)->shape;
	float *latent = need_nhwc(f, key), *sigma;
	struct texts texts;
	size_t each;

	*b = (struct batch){ .n = shape[0], .c = shape[1], .h = shape[2], .w = shape[3],
			     .length = s->p.config->text[0].length };
	each = (size_t)b->h * b->w * b->c;
	b->target = floats(f, prefix, "noise");
	b->timestep = floats(f, prefix, "timestep");
	b->beside = read_beside(f, prefix, b);
	b->weight = floats(f, prefix, "weight");
	b->given = read_given(s, f, dot);
	read_texts(s, f, dot, &texts);
	memcpy(b->ids, texts.ids, sizeof(b->ids));
	b->noisy = xmalloc(b->n * each * sizeof(float));
	sigma = floats_if(f, prefix, "sigma");
	for (int i = 0; i < b->n; i++)
		mix(s, sigma ? &sigma[i] : NULL, b->timestep[i], latent + i * each, b->target + i * each,
		    b->noisy + i * each, each);
	free(sigma);
	free(latent);
	free(key);
	free(dot);
}

void free_batch(struct batch *b)
{
	free(b->target);
	free(b->beside);
	free(b->timestep);
	free(b->weight);
	conditioning_free(&b->given);
	for (int i = 0; i < TEXT_ENCODERS; i++)
		free(b->ids[i]);
	free(b->noisy);
}

/* ---- metadata ---- */

static double number(const struct safetensors *f, const char *key)
{
	return atof(need_metadata(f, key));
}

static void read_rates(const struct safetensors *f, struct recipe *r)
{
	const char *text = need_metadata(f, "lr");
	struct error e = { 0 };
	json_t *list = json_parse(f->path, text, strlen(text), &e);

	if (!list || (int)json_array_size(list) != r->steps)
		die(EXIT_INPUT, "%s: lr is no list of %d rates", f->path, r->steps);
	r->rate = xmalloc(r->steps * sizeof(*r->rate));
	for (int i = 0; i < r->steps; i++)
		r->rate[i] = json_number_value(json_array_get(list, i));
	json_decref(list);
}

/* "cosine, 2 warm-up steps, total 6", or only a name.
 * The base rate is not written down: it follows from the first rate that is not 0. */
static void read_schedule(const struct safetensors *f, struct recipe *r)
{
	r->schedule = (struct lr_schedule){ .name = r->name, .total = r->steps, .cycles = 1, .power = 1 };
	if (sscanf(need_metadata(f, "lr_scheduler"), "%31[^,], %ld warm-up steps, total %ld", r->name,
		   &r->schedule.warmup, &r->schedule.total) < 1 || !lr_schedule_known(r->name))
		die(EXIT_INPUT, "%s: no such schedule: %s", f->path, need_metadata(f, "lr_scheduler"));
	for (int i = 0; i < r->steps && r->base == 0; i++)
		if (lr_multiplier(&r->schedule, i) > 0)
			r->base = r->rate[i] / lr_multiplier(&r->schedule, i);
}

void read_recipe(const struct safetensors *f, struct recipe *r)
{
	*r = (struct recipe){ .steps = number(f, "steps"), .accumulate = number(f, "gradient_accumulation_steps"),
			      .max_grad_norm = number(f, "max_grad_norm") };
	r->optimizer = (struct optimizer_settings){ .name = "AdamW", .eps = number(f, "eps"),
						    .decay = number(f, "weight_decay") };
	if (strcmp(need_metadata(f, "optimizer"), "torch.optim.AdamW") ||
	    sscanf(need_metadata(f, "betas"), "%lf %lf", &r->optimizer.beta1, &r->optimizer.beta2) != 2)
		die(EXIT_INPUT, "%s: another optimizer than AdamW, or no betas", f->path);
	read_rates(f, r);
	read_schedule(f, r);
}

void free_recipe(struct recipe *r)
{
	free(r->rate);
}
