/* Finding every tensor of a component in its files, by name and shape. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "family.h"
#include "single_file_names.h"
#include "source_internal.h"

static bool find_in(const struct model_files *m, const struct part *p, const char *name, struct found *f)
{
	for (size_t i = p->first; i < p->first + p->count; i++) {
		f->tensor = safetensors_find(m->file[i].s, name);
		f->file = i;
		if (f->tensor)
			return true;
	}
	return false;
}

/* Diffusers' names before its release 0.18. */
static const char *const old_attention[][2] = {
	{ ".to_q.", ".query." }, { ".to_k.", ".key." }, { ".to_v.", ".value." }, { ".to_out.0.", ".proj_attn." },
};

static bool find_old_attention(const struct model_files *m, const struct part *p, const char *name, struct found *f)
{
	char old[2 * TENSOR_NAME_ROOM];

	for (int i = 0; i < 4; i++) {
		const char *at = strstr(name, old_attention[i][0]);

		if (!at)
			continue;
		snprintf(old, sizeof(old), "%s%.*s%s%s", p->prefix, (int)(at - name), name, old_attention[i][1],
			 at + strlen(old_attention[i][0]));
		return find_in(m, p, old, f);
	}
	return false;
}

/* wanted: the name that the file should have, for messages. */
static bool locate_diffusers(const struct model_files *m, const struct part *p, enum component c, const char *name,
			     struct found *f,
			     char wanted[2 * TENSOR_NAME_ROOM])
{
	*f = (struct found){ .parts = 1 };
	snprintf(wanted, 2 * TENSOR_NAME_ROOM, "%s%s", p->prefix, name);
	if (find_in(m, p, wanted, f))
		return true;
	if (strncmp(name, "text_model.", 11) == 0)      /* transformers 5 leaves it out */
		return find_in(m, p, name + 11, f);
	return c == COMPONENT_VAE && find_old_attention(m, p, name, f);
}

static bool locate_single(const struct model_files *m, const struct part *p, enum component c, const char *name,
			  struct found *f,
			  char wanted[2 * TENSOR_NAME_ROOM])
{
	struct single_name s;
	char other[2 * TENSOR_NAME_ROOM];

	if (!single_name_of(&m->config, c, name, &s))
		die(EXIT_OTHER, "bug: '%s' has no name in a single file", name);
	*f = (struct found){ .part = s.part, .parts = s.parts, .transposed = s.transposed };
	snprintf(wanted, 2 * TENSOR_NAME_ROOM, "%s%s", p->prefix, s.name);
	if (find_in(m, p, wanted, f))
		return true;
	if (!s.transposed)
		return false;
	f->transposed = false;          /* under diffusers' own name the projection is not turned */
	snprintf(other, sizeof(other), "%s%s", p->prefix, name);
	return find_in(m, p, other, f);
}

static const char *files_name(const struct model_files *m, const struct part *p)
{
	return m->file[p->first].s->path;
}

/* what: the first thing that is wrong. */
static int not_this_model(const struct model_files *m, const struct part *p, const char *what, struct error *e)
{
	const char *guess = source_guess(m->file[p->first].s);
	bool alone = p->naming == NAMING_SINGLE_FILE && *p->prefix;

	return fail(e, EXIT_INPUT, "%s: %s%s%s; %s", files_name(m, p), what, alone && guess ? "; this is " : "",
		    alone && guess ? guess : "",
		    p->advice);
}

static bool shape_fits(const struct known_tensor *k, const struct found *f, int64_t shape[4])
{
	const struct safetensor *t = f->tensor;

	memcpy(shape, k->shape, sizeof(k->shape));
	if (f->transposed) {
		shape[0] = k->shape[1];
		shape[1] = k->shape[0];
	}
	shape[0] *= f->parts;
	if (k->square && t->dims == 4 && t->shape[2] == 1 && t->shape[3] == 1)
		return t->shape[0] == shape[0] && t->shape[1] == shape[1];
	return t->dims == k->dims && memcmp(t->shape, shape, sizeof(shape[0]) * k->dims) == 0;
}

static int check_tensor(const struct model_files *m, const struct part *p, const struct known_tensor *k,
			const struct found *f,
			struct error *e)
{
	const struct safetensor *t = f->tensor;
	int64_t shape[4];
	char what[800], is[SHAPE_ROOM], wanted[SHAPE_ROOM];

	if (!shape_fits(k, f, shape)) {
		snprintf(what, sizeof(what), "tensor '%.*s' is [%s] where [%s] is expected", TENSOR_NAME_ROOM, t->name,
			 shape_text(is, t->dims, t->shape, ","), shape_text(wanted, k->dims, shape, ","));
		return not_this_model(m, p, what, e);
	}
	if (!dtype_is_float(t->dtype) || t->dtype == DTYPE_F64)
		return fail(e, EXIT_INPUT, "%s: tensor '%.200s' is %s; weights must be F32, F16, BF16 or F8: use the "
			    "unreduced model",
			    m->file[f->file].s->path, t->name, dtype_name(t->dtype));
	return 0;
}

/* ComfyUI's F8 checkpoints have a number beside a weight that it is multiplied with, under one of two names. */
static int find_scale(const struct model_files *m, struct found *f, struct error *e)
{
	static const char *const ends[] = { "scale_weight", "weight_scale" }, weight[] = "weight";
	const struct source_file *file = &m->file[f->file];
	const char *name = f->tensor->name;
	const size_t n = strlen(name), k = sizeof(weight) - 1;
	const struct safetensor *t = NULL;

	f->scale = 1;
	if (n <= k || strcmp(name + n - k, weight) || name[n - k - 1] != '.')
		return 0;
	for (int i = 0; i < 2 && !t; i++) {
		char *other = xprintf("%.*s%s", (int)(n - k), name, ends[i]);

		t = safetensors_find(file->s, other);
		free(other);
	}
	if (!t)
		return 0;
	file->used[t - file->s->tensor] = true;
	if (safetensor_elements(t) != 1 || !dtype_is_float(t->dtype) ||
	    to_float(&f->scale, safetensors_bytes(file->s, t), t->dtype, 1) || !(f->scale > 0) || !isfinite(f->scale))
		return fail(e, EXIT_INPUT, "%s: '%.200s' must be one number above 0, the scale of a whole weight; use "
			    "the unreduced model", file->s->path, t->name);
	return 0;
}

static int no_tensor(const struct model_files *m, const struct part *p, size_t found, const char *wanted,
		     struct error *e)
{
	char what[800];

	snprintf(what, sizeof(what), "no tensor '%.400s'%s", wanted, found ? "" : " (nor any before it)");
	return not_this_model(m, p, what, e);
}

static bool locate(const struct model_files *m, enum component c, size_t i, struct found *f,
		   char wanted[2 * TENSOR_NAME_ROOM])
{
	const struct part *p = &m->part[c];
	const char *name = p->known.tensor[i].name;

	return p->naming == NAMING_DIFFUSERS ? locate_diffusers(m, p, c, name, f, wanted) :
		locate_single(m, p, c, name, f, wanted);
}

static bool has_none(const struct model_files *m, enum component c)
{
	struct found f;
	char wanted[2 * TENSOR_NAME_ROOM];

	for (size_t i = 0; i < m->part[c].known.count; i++)
		if (locate(m, c, i, &f, wanted))
			return false;
	return true;
}

/* Many checkpoints come without a VAE, and some without text encoders. */
static int no_part(const struct model_files *m, enum component c, struct error *e)
{
	return fail(e, EXIT_INPUT, "%s: it holds no %s; %s", files_name(m, &m->part[c]), part_names[c].what,
		    part_names[c].advice);
}

/* Makes it a part without tensors. */
static void forget(struct part *p)
{
	known_tensors_free(&p->known);
	free(p->found);
	p->found = NULL;
}

/* One tensor is missing.  Without any the part is: 1 where nobody needs it. */
static int not_found(struct model_files *m, enum component c, size_t i, const char *wanted, struct error *e)
{
	struct part *p = &m->part[c];
	const bool alone = p->naming == NAMING_SINGLE_FILE && *p->prefix,
		unet = c != COMPONENT_UNET && model_files_has(m, COMPONENT_UNET);

	if (!alone || !has_none(m, c))
		return no_tensor(m, p, i, wanted, e);
	if (unet)
		no_part(m, c, e);
	else
		no_tensor(m, p, i, wanted, e);
	if (m->needed & PART(c))
		return -1;
	p->missing = xstrdup(e->text);
	forget(p);
	return 1;
}

int source_match(struct model_files *m, enum component c, struct error *e)
{
	struct part *p = &m->part[c];

	p->index = map_new(1);
	if (p->missing)
		return 0;
	known_tensors(&m->config, c, &p->known);
	p->found = xcalloc(p->known.count, sizeof(p->found[0]));
	for (size_t i = 0; i < p->known.count; i++) {
		const struct known_tensor *k = &p->known.tensor[i];
		struct found *f = &p->found[i];
		char wanted[2 * TENSOR_NAME_ROOM];

		if (!locate(m, c, i, f, wanted))
			return not_found(m, c, i, wanted, e) < 0 ? -1 : 0;
		if (check_tensor(m, p, k, f, e) || find_scale(m, f, e))
			return -1;
		m->file[f->file].used[f->tensor - m->file[f->file].s->tensor] = true;
		map_put(p->index, k->name, strlen(k->name), i);
	}
	return 0;
}

/* ---- tensors that no component uses ---- */

/* Does the component have tensors of this pattern, and so more of them than the config says? */
static bool known_pattern(const struct model_files *m, enum component c, const char *name)
{
	const struct part *p = &m->part[c];
	size_t n = strlen(p->prefix);
	struct single_name s;
	char diffusers[TENSOR_NAME_ROOM], full[TENSOR_NAME_ROOM];

	if (strncmp(name, p->prefix, n) || strlen(name) >= TENSOR_NAME_ROOM - 16)
		return false;
	name += n;
	if (p->naming == NAMING_SINGLE_FILE)
		return diffusers_name_of(&m->config, c, name, 0, diffusers) &&
		       map_get(p->index, diffusers, strlen(diffusers)) < 0;
	snprintf(full, sizeof(full), "text_model.%s", name);
	if (is_text_encoder(c) && strncmp(name, "text_", 5))
		name = full;
	return single_name_of(&m->config, c, name, &s) && map_get(p->index, name, strlen(name)) < 0;
}

static bool holds(const struct part *p, size_t file)
{
	return file >= p->first && file < p->first + p->count;
}

/* The released Stable Diffusion 1.5 holds its noise schedule, which the betas tell,
 * and two numbers of how it was averaged. */
static const char *const no_use[] = {
	"betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
	"log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod",
	"posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2",
	"model_ema.decay", "model_ema.num_updates",
};

/* Is it a tensor that is known to be of no use? */
static bool never_mind(const struct model_files *m, size_t file, const char *name)
{
	static const char *const ends[] = { "position_ids", "logit_scale", "v_pred", "ztsnr",
					    "scale_input", "input_scale", "scaled_fp8", "comfy_quant" };
	const char *vae = m->config.family->prefix[COMPONENT_VAE];

	if (m->single && file == 0 && !holds(&m->part[COMPONENT_VAE], 0) && strncmp(name, vae, strlen(vae)) == 0)
		return true;            /* --vae took its place */
	for (size_t i = 0; i < sizeof(no_use) / sizeof(no_use[0]); i++)
		if (!strcmp(name, no_use[i]))
			return true;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		size_t n = strlen(name), k = strlen(ends[i]);

		if (n >= k && strcmp(name + n - k, ends[i]) == 0 &&
		    !strstr(name, "conditioner.embedders.1.model.transformer.text_model."))
			return true;
	}
	return false;
}

static int too_much(const struct model_files *m, size_t file, const char *name, struct error *e)
{
	for (int c = 0; c < COMPONENTS; c++) {
		const struct part *p = &m->part[c];
		char what[400];

		if (!holds(p, file) || !known_pattern(m, c, name))
			continue;
		snprintf(what, sizeof(what), "tensor '%.250s' is one more than expected", name);
		return not_this_model(m, p, what, e);
	}
	return 0;
}

static int check_file(const struct model_files *m, size_t file, struct error *e)
{
	const struct safetensors *s = m->file[file].s;
	const char *first = NULL;
	size_t count = 0;

	for (size_t i = 0; i < s->count; i++) {
		const char *name = s->tensor[i].name;

		if (m->file[file].used[i] || never_mind(m, file, name))
			continue;
		if (too_much(m, file, name, e))
			return -1;
		if (!first || strcmp(name, first) < 0)
			first = name;
		count++;
	}
	if (count == 1)
		note("%s: tensor '%.200s' is not used", s->path, first);
	else if (count)
		note("%s: %zu tensors are not used, '%.200s' and others", s->path, count, first);
	return 0;
}

int source_check_rest(const struct model_files *m, struct error *e)
{
	for (size_t i = 0; i < m->count; i++)
		if (check_file(m, i, e))
			return -1;
	return 0;
}
