/* The UNet's list of stages from its config, and the weights of each. */
#include <stdlib.h>
#include "../base/memory.h"
#include "unet_parts.h"

/* The state of the loader: the width at this stage, and the widths of the skip connections that the up blocks read. */
struct plan {
	struct unet *u;
	struct inventory *v;
	int width, time;
	bool text_on_host;
	int *kept, count;
};

static struct stage *add_stage(struct plan *p, enum stage_kind kind, char *name)
{
	struct stage *s = &p->u->stage[p->u->stages++];

	s->kind = kind;
	s->name = name;
	return s;
}

/* skip: a skip connection of the down blocks is concatenated with x */
static struct stage *add_resnet(struct plan *p, char *name, int out, bool skip)
{
	const struct unet_config *c = &p->u->config;
	struct stage *s = add_stage(p, STAGE_RESNET, name);
	struct resnet_size size = { p->width, out, p->time, c->groups, c->norm_eps };

	if (skip)
		size.in += p->kept[--p->count];
	s->takes_skip = skip;
	take_resnet(p->v, name, &size, &s->resnet);
	p->width = out;
	return s;
}

static struct stage *add_transformer(struct plan *p, char *name, int level, int depth)
{
	const struct unet_config *c = &p->u->config;
	struct stage *s = add_stage(p, STAGE_TRANSFORMER, name);
	struct transformer_size size = { p->width, c->heads[level], depth, c->context, c->groups, c->conv_projection,
					 p->text_on_host };

	take_transformer(p->v, name, &size, &s->transformer);
	return s;
}

static struct stage *add_sampler(struct plan *p, enum stage_kind kind, char *name)
{
	struct stage *s = add_stage(p, kind, name);

	take_conv(p->v, LAYER_CONV_SET, name, "conv", p->width, p->width, 3, kind == STAGE_DOWNSAMPLE ? 2 : 1,
		  &s->sampler);
	return s;
}

static void keep(struct plan *p, struct stage *s)
{
	s->keeps = true;
	p->kept[p->count++] = p->width;
}

static void plan_down(struct plan *p, int level)
{
	const struct unet_config *c = &p->u->config;
	struct stage *s = NULL;

	for (int j = 0; j < c->resnets; j++) {
		s = add_resnet(p, xprintf("down_blocks.%d.resnets.%d", level, j), c->channels[level], false);
		if (c->attention[level])
			s = add_transformer(p, xprintf("down_blocks.%d.attentions.%d", level, j), level,
					    c->depth[level]);
		keep(p, s);
	}
	if (level < c->levels - 1) {
		s = add_sampler(p, STAGE_DOWNSAMPLE, xprintf("down_blocks.%d.downsamplers.0", level));
		keep(p, s);
	}
	s->closes = xprintf("down_blocks.%d", level);
}

static void plan_middle(struct plan *p)
{
	int last = p->u->config.levels - 1;
	struct stage *s;

	add_resnet(p, xstrdup("mid_block.resnets.0"), p->width, false);
	add_transformer(p, xstrdup("mid_block.attentions.0"), last, p->u->config.mid_depth);
	s = add_resnet(p, xstrdup("mid_block.resnets.1"), p->width, false);
	s->closes = xstrdup("mid_block");
}

/* up_blocks.0 is the deepest level */
static void plan_up(struct plan *p, int block)
{
	const struct unet_config *c = &p->u->config;
	int level = c->levels - 1 - block;
	struct stage *s = NULL;

	for (int j = 0; j <= c->resnets; j++) {
		s = add_resnet(p, xprintf("up_blocks.%d.resnets.%d", block, j), c->channels[level], true);
		if (c->attention[level])
			s = add_transformer(p, xprintf("up_blocks.%d.attentions.%d", block, j), level, c->depth[level]);
	}
	if (level > 0)
		s = add_sampler(p, STAGE_UPSAMPLE, xprintf("up_blocks.%d.upsamplers.0", block));
	s->closes = xprintf("up_blocks.%d", block);
}

static void take_ends(struct plan *p)
{
	struct unet *u = p->u;
	const struct unet_config *c = &u->config;
	int first = c->channels[0], sizes = c->pooled + 6 * c->time_ids_dim;

	take_linear(p->v, LAYER_OTHER, "time_embedding", "linear_1", p->time, first, true, &u->time[0]);
	take_linear(p->v, LAYER_OTHER, "time_embedding", "linear_2", p->time, p->time, true, &u->time[1]);
	if (sizes) {
		take_linear(p->v, LAYER_OTHER, "add_embedding", "linear_1", p->time, sizes, true, &u->sizes[0]);
		take_linear(p->v, LAYER_OTHER, "add_embedding", "linear_2", p->time, p->time, true, &u->sizes[1]);
	}
	take_conv(p->v, LAYER_OTHER, "", "conv_in", first, c->in_channels, 3, 1, &u->conv_in);
	take_norm(p->v, "", "conv_norm_out", first, c->groups, c->norm_eps, &u->norm_out);
	take_conv(p->v, LAYER_OTHER, "", "conv_out", c->out_channels, first, 3, 1, &u->conv_out);
}

static void plan_unet(struct unet *u, bool text_on_host)
{
	const struct unet_config *c = &u->config;
	/* down and up: resnets, transformers, a sampler a level; the middle's three */
	int most = c->levels * (2 * c->resnets + 1 + 2 * (c->resnets + 1) + 1) + 3;
	struct plan p = { u, &u->layers, c->channels[0], 4 * c->channels[0], text_on_host,
			  xcalloc(most + 1, sizeof(int)), 0 };
	int i;

	u->stage = xcalloc(most, sizeof(*u->stage));
	take_ends(&p);
	p.kept[p.count++] = p.width;            /* conv_in's output */
	for (i = 0; i < c->levels; i++)
		plan_down(&p, i);
	plan_middle(&p);
	for (i = 0; i < c->levels; i++)
		plan_up(&p, i);
	free(p.kept);
}

struct unet *unet_load(const struct model_files *m, const struct backend *be, struct device *d, struct error *e)
{
	return unet_load_sparing(m, be, d, ON_HOST_NONE, e);
}

struct unet *unet_load_sparing(const struct model_files *m, const struct backend *be, struct device *d,
			       enum on_host what, struct error *e)
{
	struct unet *u = xcalloc(1, sizeof(*u));

	u->config = model_files_config(m)->unet;
	u->layers.loader = (struct loader){ m, COMPONENT_UNET, be, d, .on_host = what == ON_HOST_WEIGHTS };
	u->layers.error = e;
	plan_unet(u, what == ON_HOST_TEXT);
	u->layers.error = NULL;
	if (!u->layers.failed)
		return u;
	unet_free(u);
	return NULL;
}

void unet_free(struct unet *u)
{
	if (!u)
		return;
	inventory_free(&u->layers);
	for (int i = 0; i < u->stages; i++) {
		transformer_free(&u->stage[i].transformer);
		free(u->stage[i].name);
		free(u->stage[i].closes);
	}
	free(u->stage);
	free(u);
}

const struct unet_config *unet_config(const struct unet *u)
{
	return &u->config;
}

void unet_layers(struct unet *u, struct layer_list *list)
{
	inventory_list(&u->layers, list);
}
