/* Checks by hashes that the latents were made by this run's VAE and text encoders. */
#include <stdlib.h>
#include <string.h>
#include "../model/source.h"
#include "data.h"

/* NULL: the sample does not say */
static const char *hash_of(const struct latent_sample *s, enum component c)
{
	return is_text_encoder(c) ? s->encoder[c - COMPONENT_TE1] : s->vae;
}

/* Is it the hash of the model's own VAE, where another one was opened? */
static bool is_of_own_vae(const struct train_settings *s, const char *hash)
{
	struct error ignored;
	struct model_files *m;
	char own[65] = "";

	if (!s->vae)
		return false;
	m = model_files_open_parts(s->model, s->model_config, NULL, PART(COMPONENT_UNET), &ignored);
	if (m && model_files_has(m, COMPONENT_VAE))
		model_files_hash(m, COMPONENT_VAE, own);
	model_files_close(m);
	return !strcmp(own, hash);
}

/* The first sample that another component made; NULL: none.  Hashing reads the whole component, so it is done once, and
 * only where a sample has a hash to compare. */
static const struct latent_sample *find_foreign(const struct run_data *d, struct model_files *files,
						enum component c, char own[65])
{
	size_t i;

	*own = 0;
	for (i = 0; i < d->set.count + d->held_out; i++) {
		const char *hash = hash_of(&d->set.sample[i], c);
		if (!hash)
			continue;
		if (!*own)
			model_files_hash(files, c, own);
		if (strcmp(hash, own) && !(c == COMPONENT_VAE && is_of_own_vae(d->s, hash)))
			return &d->set.sample[i];
	}
	return NULL;
}

static bool is_used(const struct run_data *d, const struct model_files *files, enum component c)
{
	return model_files_has(files, c) &&
	       (c == COMPONENT_VAE || (d->set.sample[0].variants && !trains_text(d->s)));
}

static int check_origin(const struct run_data *d, struct model_files *files, enum component c, struct error *e)
{
	const struct latent_sample *s;
	char own[65], *say;

	s = is_used(d, files, c) ? find_foreign(d, files, c, own) : NULL;
	if (!s)
		return 0;
	say = xprintf("sample %s (%.200s): its %s was made by another %s (%.12s) than that of %.200s (%.12s)", s->key,
		      s->path ? s->path : "no path", is_text_encoder(c) ? "text output" : "latent",
		      c == COMPONENT_TE1 ? "text encoder" : part_names[c].title, hash_of(s, c), d->s->model, own);
	if (d->s->allow_other_encoders)
		warning("%s", say);
	else
		fail(e, EXIT_INPUT, "%s; encode with this model, or go on with --allow-other-encoders", say);
	free(say);
	return d->s->allow_other_encoders ? 0 : -1;
}

int data_check_origin(const struct run_data *d, struct model_files *files, struct error *e)
{
	int status;

	if (d->headers_only || d->stand_in)
		return 0;
	status = check_origin(d, files, COMPONENT_VAE, e);
	for (int i = 0; i < TEXT_ENCODERS && !status; i++)
		status = check_origin(d, files, COMPONENT_TE1 + i, e);
	return status;
}
