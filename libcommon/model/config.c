/* Reading a model's configs from a folder, and what they must have in common. */
#include <stdlib.h>
#include "../base/memory.h"
#include "../io/publish.h"
#include "config.h"
#include "config_json.h"
#include "family.h"

bool unet_inpaints(const struct unet_config *c)
{
	return c->in_channels == 2 * c->out_channels + 1;
}

static int larger(int a, int b) { return a > b ? a : b; }

int model_widest_head(const struct model_config *c)
{
	const struct unet_config *u = &c->unet;
	int widest = 0;

	for (int i = 0; i < u->levels; i++)
		if (u->attention[i] || i == u->levels - 1)
			widest = larger(widest, u->channels[i] / u->heads[i]);
	for (int i = 0; i < c->family->texts; i++)
		if (c->text[i].heads)
			widest = larger(widest, c->text[i].width / c->text[i].heads);
	return widest;
}

const char *prediction_name(enum prediction p)
{
	static const char *const names[] = { [PREDICTION_EPSILON] = "epsilon", [PREDICTION_V] = "v",
					     [PREDICTION_FLOW] = "flow" };

	return names[p];
}

void model_config_sdxl(struct model_config *c)
{
	*c = *family_sdxl.usual;
}

#define WHOLE "use a whole checkpoint"
const struct part_names part_names[COMPONENTS] = {
	[COMPONENT_UNET] = { "unet", "diffusion_pytorch_model", NULL, "unet", "UNet", "UNet", "UNet", WHOLE },
	[COMPONENT_TE1] = { "text_encoder", "model", "tokenizer", "te1", "text encoder 1", "text enc. 1",
			    "first text encoder", WHOLE },
	[COMPONENT_TE2] = { "text_encoder_2", "model", "tokenizer_2", "te2", "text encoder 2", "text enc. 2",
			    "second text encoder", WHOLE },
	[COMPONENT_VAE] = { "vae", "diffusion_pytorch_model", NULL, "vae", "VAE", "VAE",
			    "VAE", "name one with --vae (a folder, a file, or ORG/NAME on the hub)" },
};

/* What a folder lacks tells what it is.  family NULL: not even its UNet is there. */
static int lacks(const char *folder, enum component part, const struct family *family, struct error *e)
{
	const char *meaning = part == COMPONENT_UNET ?
			      "not a diffusers folder of an SDXL model (Flux and SD3 have transformer/ instead)" :
			      part == COMPONENT_VAE ? "not a whole diffusers folder; name another VAE with --vae, or" :
			      family->lacks[part - COMPONENT_TE1];
	const int texts = (family ? family : family_at(0))->texts;
	struct buffer whole = { 0 };

	buffer_adds(&whole, "unet/, vae/");
	for (int i = 0; i < texts; i++)
		buffer_addf(&whole, "%s%s/", i + 1 < texts ? ", " : " and ", part_names[COMPONENT_TE1 + i].folder);
	fail(e, EXIT_INPUT, "%s: no %s/config.json: %s%s name the folder that holds %s", folder,
	     part_names[part].folder, meaning, part == COMPONENT_VAE ? "" : ";", whole.data);
	buffer_free(&whole);
	return -1;
}

/* *there: the parts of the family that have a config file. */
static int check_files(const char *folder, unsigned needed, const struct family *family, unsigned *there,
		       struct error *e)
{
	*there = 0;
	for (int i = 0; i < COMPONENTS; i++) {
		char *path = xprintf("%s/%s/config.json", folder, part_names[i].folder);
		int found = family->parts & PART(i) ? path_is_there(path, e) : 0;

		free(path);
		if (found < 0)
			return -1;
		*there |= found ? PART(i) : 0;
		if (needed & family->parts & PART(i) & ~*there)
			return lacks(folder, i, family, e);
	}
	return 0;
}

/* Of the text encoders together: how wide what the UNet reads is, and how wide the pooled vector; and
 * the length of one that has not the first one's, else that. */
static void sum_text(const struct model_config *c, int *width, int *pooled, int *other_length)
{
	*width = *pooled = 0;
	*other_length = c->text[0].length;
	for (int i = 0; i < c->family->texts; i++) {
		*width += c->text[i].width;
		*pooled += c->family->text[i].pooled ? c->text[i].projection : 0;
		if (c->text[i].length != c->text[0].length)
			*other_length = c->text[i].length;
	}
}

/* The parts of one model have sizes in common; a folder put together from two models shows here. */
static int check_together(const char *folder, unsigned there, const struct model_config *c, struct error *e)
{
	const unsigned text = PARTS_TEXT & c->family->parts;
	int width, pooled, other_length;
	const int inputs = c->vae.latent_channels * (unet_inpaints(&c->unet) ? 2 : 1) + unet_inpaints(&c->unet);

	sum_text(c, &width, &pooled, &other_length);
	const struct { unsigned of; int a, b; const char *what; } equal[] = {
		{ text, c->unet.context, width,
		  "unet cross_attention_dim and the text encoders' hidden_size together" },
		{ text, c->unet.pooled, pooled, 
			"unet projection_class_embeddings_input_dim less six addition_time_embed_dim, "
			"and text_encoder_2 projection_dim" },
		{ PART(COMPONENT_VAE), c->unet.in_channels, inputs, "unet in_channels and vae latent_channels" },
		{ PART(COMPONENT_VAE), c->unet.out_channels, c->vae.latent_channels,
		  "unet out_channels and vae latent_channels" },
		{ text, c->text[0].length, other_length,
		  "max_position_embeddings of the two text encoders" },
	};

	if (unet_inpaints(&c->unet) && !c->family->inpaints)
		return fail(e, EXIT_INPUT, "%s/unet/config.json: \"in_channels\" is %d: an inpainting model; use the "
			    "base model it was made from",
			    folder, c->unet.in_channels);
	for (size_t i = 0; i < sizeof(equal) / sizeof(equal[0]); i++)
		if ((equal[i].of & ~there) == 0 && equal[i].a != equal[i].b)
			return fail(e, EXIT_INPUT, "%s: %s must be equal, but are %d and %d; these config files belong "
				    "to different models",
				    folder, equal[i].what, equal[i].a, equal[i].b);
	return 0;
}

static int read_part(const char *folder, enum component part, struct model_config *c, struct error *e)
{
	char *path = xprintf("%s/%s/config.json", folder, part_names[part].folder);
	struct model_config own = { 0 };
	int status;

	if (part == COMPONENT_VAE) {
		status = vae_config_read(path, c->family->vae_scaling, &own.vae, e);
		c->vae = own.vae;
	} else {
		const int i = part - COMPONENT_TE1;
		status = clip_config_read(path, c->family->text[i].pooled, &own.text[i], e);
		c->text[i] = own.text[i];
	}
	free(path);
	return status;
}

/* A UNet of no row.  Stable Diffusion 2's has linear layers for projections and is told no sizes. */
static int no_family(const char *file, const struct unet_config *u, struct error *e)
{
	char *titles = family_titles();

	fail(e, EXIT_INPUT, "%s: with \"addition_embed_type\" %s and \"use_linear_projection\" %s this is %s, "
			    "which is not known here; there are %s", file,
	     u->pooled ? "text_time" : "null", u->conv_projection ? "false" : "true",
	     u->pooled || u->conv_projection ? "a model of no family" : "Stable Diffusion 2", titles);
	free(titles);
	return -1;
}

/* The UNet tells the family, and the family's usual numbers stand where the folder says nothing. */
static int read_unet(const char *folder, struct model_config *c, struct error *e)
{
	char *path = xprintf("%s/unet/config.json", folder);
	struct model_config own = { 0 };
	int status = path_is_there(path, e);

	if (status == 0)
		status = lacks(folder, COMPONENT_UNET, NULL, e);
	else if (status > 0)
		status = unet_config_read(path, &own.unet, e);
	if (status == 0) {
		own.family = family_of(&own);
		status = own.family ? 0 : no_family(path, &own.unet, e);
	}
	if (status == 0) {
		*c = *own.family->usual;
		c->family = own.family;
		c->unet = own.unet;
	}
	free(path);
	return status;
}

const struct family *model_config_family(const char *folder)
{
	char *path = xprintf("%s/unet/config.json", folder);
	struct model_config c = { 0 };
	struct error ignored;
	const bool read = unet_config_read(path, &c.unet, &ignored) == 0;

	free(path);
	return read ? family_of(&c) : NULL;
}

static int read_schedule(const char *folder, const struct family *family, struct schedule_config *c, struct error *e)
{
	char *path = xprintf("%s/scheduler/scheduler_config.json", folder);
	int status = path_is_there(path, e);

	if (status > 0)
		status = schedule_config_read(path, c, e);
	else if (status == 0)
		note("%s: no scheduler/scheduler_config.json; %s's own noise schedule and epsilon prediction are "
		     "taken", folder, family->title);
	free(path);
	return status;
}

int model_config_read_parts(const char *folder, unsigned needed, struct model_config *c, struct error *e)
{
	unsigned there;

	if (read_unet(folder, c, e) < 0 || check_files(folder, needed, c->family, &there, e) < 0)
		return -1;
	for (int i = COMPONENT_UNET + 1; i < COMPONENTS; i++)
		if ((there & PART(i)) && read_part(folder, i, c, e) < 0)
			return -1;
	c->vae_assumed = !(there & PART(COMPONENT_VAE));
	if (read_schedule(folder, c->family, &c->schedule, e) < 0)
		return -1;
	c->family = family_of(c);       /* the schedule may make it another */
	return check_together(folder, there, c, e);
}

int model_config_read(const char *folder, struct model_config *c, struct error *e)
{
	return model_config_read_parts(folder, PARTS_ALL, c, e);
}

int model_size_step(const struct model_config *c)
{
	return c->vae.factor << (c->unet.levels - 1);
}

static int nearest_multiple(int x, int step)
{
	int down = x / step * step;

	return down && x - down <= step / 2 ? down : down + step;
}

int model_size_check(const struct model_config *c, int width, int height, struct error *e)
{
	int step = model_size_step(c);

	if (width > 0 && height > 0 && width % step == 0 && height % step == 0)
		return 0;
	if (width < 1 || height < 1 || width > 1 << 20 || height > 1 << 20)
		return fail(e, EXIT_USAGE, "%dx%d is no size of a picture; sizes are multiples of %d", width, height,
			    step);
	return fail(e, EXIT_USAGE, "%dx%d is no multiple of %d; %dx%d is", width, height, step,
		    nearest_multiple(width, step), nearest_multiple(height, step));
}
