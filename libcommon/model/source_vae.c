/* Opening another VAE than the model's. */
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "family.h"
#include "hub_cache.h"
#include "single_file_names.h"
#include "source_internal.h"

/* In the place of the model's own. */
static struct part *take_place(struct model_files *m, struct part vae)
{
	struct part *p = &m->part[COMPONENT_VAE];

	free(p->missing);
	free(p->advice);
	*p = vae;
	return p;
}

static int open_folder(struct model_files *m, const char *folder, struct error *e)
{
	struct part *p;
	char *config = xprintf("%s/config.json", folder);
	int status = vae_config_read(config, m->config.family->vae_scaling, &m->config.vae, e);

	m->config.vae_assumed = false;
	if (!status && m->config.vae.latent_channels != m->config.unet.out_channels)
		status = fail(e, EXIT_INPUT, "%s: \"latent_channels\" is %d, but the UNet takes %d; choose a VAE made "
			      "for %s", config,
			      m->config.vae.latent_channels, m->config.unet.out_channels, m->config.family->title);
	free(config);
	p = take_place(m, (struct part){
		.naming = NAMING_DIFFUSERS, .prefix = "",
		.advice = xprintf("the VAE of --vae must be one for %s, with the config.json that belongs to it",
				  m->config.family->title) });
	return status || source_add_folder(m, p, folder, folder, "diffusion_pytorch_model", e) ? -1 : 0;
}

/* One tensor tells the naming. */
static int open_file(struct model_files *m, const char *path, struct error *e)
{
	struct part *p;
	const struct safetensors *s;

	if (source_add_file(m, path, path, e))
		return -1;
	s = m->file[m->count - 1].s;
	p = take_place(m, (struct part){
		.naming = NAMING_SINGLE_FILE, .prefix = "", .first = m->count - 1, .count = 1,
		.advice = xstrdup("a VAE in a single file must have the sizes of the model's own; "
				  "name a folder with its config.json instead") });
	if (safetensors_find(s, "first_stage_model.encoder.conv_in.weight"))
		p->prefix = m->config.family->prefix[COMPONENT_VAE];
	else if (safetensors_find(s, "encoder.conv_norm_out.weight"))
		p->naming = NAMING_DIFFUSERS;
	return 0;
}

/* A folder with a VAE in it, or below it as in a whole model. */
static int open_path(struct model_files *m, const char *path, struct error *e)
{
	char *own = xprintf("%s/config.json", path), *below = xprintf("%s/vae", path);
	char *config = xprintf("%s/config.json", below);
	int status = path_is_there(own, e), whole = status ? 0 : path_is_there(config, e);

	if (status > 0)
		status = open_folder(m, path, e);
	else if (whole > 0)
		status = open_folder(m, below, e);
	else if (status == 0 && whole == 0)
		status = fail(e, EXIT_INPUT, "%s: neither config.json nor vae/config.json; name the folder that holds "
			      "a VAE", path);
	free(own);
	free(below);
	free(config);
	return whole < 0 ? -1 : status;
}

int source_open_vae(struct model_files *m, const char *named, struct error *e)
{
	char *path;
	int status;

	if (hub_find(named, HUB_VAE, PART(COMPONENT_VAE), &path, e) < 0)
		return -1;
	if (!path)
		path = xstrdup(named);
	status = path_is_folder(path, e);
	if (status >= 0)
		status = status ? open_path(m, path, e) : open_file(m, path, e);
	free(path);
	return status;
}
