/* Whether the latents were made by this run's VAE and text encoders: their hashes are in both. */
#include <stdlib.h>
#include <string.h>
#include "../model/source.h"
#include "internal.h"

static const char *vae_of(const struct latent_sample *s) { return s->vae; }
static const char *text1_of(const struct latent_sample *s) { return s->text1; }
static const char *text2_of(const struct latent_sample *s) { return s->text2; }

static const struct origin {
	enum component component;
	const char *what, *made;
	const char *(*hash)(const struct latent_sample *s);
} origins[] = {
	{ COMPONENT_VAE, "VAE", "latent", vae_of },
	{ COMPONENT_TE1, "text encoder", "text output", text1_of },
	{ COMPONENT_TE2, "text encoder 2", "text output", text2_of },
};

/* vae names another VAE than the model's: whichever of the two was not opened. */
static bool is_of_other_vae(const struct run *r, const char *hash)
{
	const struct train_settings *s = r->s;
	struct error ignored;
	struct model_files *m;
	char own[65] = "";

	if (!s->vae)
		return false;
	m = model_files_open_parts(s->model, s->model_config, run_vae(s) ? NULL : s->vae, PART(COMPONENT_UNET), &ignored);
	if (m && model_files_has(m, COMPONENT_VAE))
		model_files_hash(m, COMPONENT_VAE, own);
	model_files_close(m);
	return !strcmp(own, hash);
}

/* Hashing reads the component: only where there is something to compare, and once. */
static const struct latent_sample *find_foreign(const struct run *r, const struct origin *o, char own[65])
{
	size_t i;

	*own = 0;
	for (i = 0; i < r->data.set.count + r->data.held_out; i++) {
		const char *hash = o->hash(&r->data.set.sample[i]);
		if (!hash)
			continue;
		if (!*own)
			model_files_hash(r->net.files, o->component, own);
		if (strcmp(hash, own) && !(o->component == COMPONENT_VAE && is_of_other_vae(r, hash)))
			return &r->data.set.sample[i];
	}
	return NULL;
}

static bool is_used(const struct run *r, const struct origin *o)
{
	return model_files_has(r->net.files, o->component) &&
	       (o->component == COMPONENT_VAE || (r->data.set.sample[0].variants && !run_trains_text(r->s)));
}

static int check_origin(const struct run *r, const struct origin *o, struct error *e)
{
	const struct latent_sample *s;
	char own[65], *say;

	s = is_used(r, o) ? find_foreign(r, o, own) : NULL;
	if (!s)
		return 0;
	say = xprintf("sample %s (%.200s): its %s was made by another %s (%.12s) than that of %.200s (%.12s)", s->key,
		      s->path ? s->path : "no path", o->made, o->what, o->hash(s), r->s->model, own);
	if (r->s->allow_other_encoders)
		warning("%s", say);
	else
		fail(e, EXIT_INPUT, "%s; encode with this model, or go on with --allow-other-encoders", say);
	free(say);
	return r->s->allow_other_encoders ? 0 : -1;
}

int run_check_origin(const struct run *r, struct error *e)
{
	size_t i;

	if (r->data.headers_only || r->data.stand_in || r->s->print_lr)
		return 0;
	for (i = 0; i < sizeof(origins) / sizeof(*origins); i++)
		if (check_origin(r, &origins[i], e) < 0)
			return -1;
	return 0;
}
