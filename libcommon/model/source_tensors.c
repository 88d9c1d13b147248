/* The list of tensors that each component has, by its config. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "source_tensors.h"

static void put(struct known_tensors *l, struct known_tensor t)
{
	GROW(l->tensor, l->count, l->capacity);
	l->tensor[l->count++] = t;
}

static void put_vector(struct known_tensors *l, const char *layer, const char *kind, int n)
{
	put(l, (struct known_tensor){ .name = xprintf("%s.%s", layer, kind), .dims = 1, .shape = { n } });
}

static void put_matrix(struct known_tensors *l, const char *layer, int out, int in)
{
	put(l, (struct known_tensor){ .name = xprintf("%s.weight", layer), .dims = 2, .shape = { out, in } });
}

static void put_linear(struct known_tensors *l, const char *layer, int out, int in)
{
	put_matrix(l, layer, out, in);
	put_vector(l, layer, "bias", out);
}

static void put_conv(struct known_tensors *l, const char *layer, int out, int in, int kernel)
{
	put(l, (struct known_tensor){
		.name = xprintf("%s.weight", layer), .dims = 4, .shape = { out, in, kernel, kernel },
	});
	put_vector(l, layer, "bias", out);
}

static void put_norm(struct known_tensors *l, const char *layer, int c)
{
	put_vector(l, layer, "weight", c);
	put_vector(l, layer, "bias", c);
}

/* The put_ functions below take the name of the module they fill in, and a layer in it. */
#define IN(module, ...) ({ snprintf(layer, sizeof(layer), "%s." module, at, ##__VA_ARGS__); layer; })
#define NAME_ROOM 160

/* time: width of the time vector; 0: the VAE's resnets have none */
static void put_resnet(struct known_tensors *l, const char *at, int out, int in, int time)
{
	char layer[NAME_ROOM];

	put_norm(l, IN("norm1"), in);
	put_conv(l, IN("conv1"), out, in, 3);
	if (time)
		put_linear(l, IN("time_emb_proj"), out, time);
	put_norm(l, IN("norm2"), out);
	put_conv(l, IN("conv2"), out, out, 3);
	if (in != out)
		put_conv(l, IN("conv_shortcut"), out, in, 1);
}

static void put_attention(struct known_tensors *l, const char *at, int c, int context)
{
	char layer[NAME_ROOM];

	put_matrix(l, IN("to_q"), c, c);
	put_matrix(l, IN("to_k"), c, context);
	put_matrix(l, IN("to_v"), c, context);
	put_linear(l, IN("to_out.0"), c, c);
}

static void put_projection(struct known_tensors *l, const char *layer, int c, bool convolution)
{
	if (convolution)
		put_conv(l, layer, c, c, 1);
	else
		put_linear(l, layer, c, c);
}

static void put_transformer(struct known_tensors *l, const char *at, const struct unet_config *u, int c, int depth)
{
	char layer[NAME_ROOM];

	put_norm(l, IN("norm"), c);
	put_projection(l, IN("proj_in"), c, u->conv_projection);
	put_projection(l, IN("proj_out"), c, u->conv_projection);
	for (int i = 0; i < depth; i++) {
		put_norm(l, IN("transformer_blocks.%d.norm1", i), c);
		put_attention(l, IN("transformer_blocks.%d.attn1", i), c, c);
		put_norm(l, IN("transformer_blocks.%d.norm2", i), c);
		put_attention(l, IN("transformer_blocks.%d.attn2", i), c, u->context);
		put_norm(l, IN("transformer_blocks.%d.norm3", i), c);
		put_linear(l, IN("transformer_blocks.%d.ff.net.0.proj", i), 8 * c, c);
		put_linear(l, IN("transformer_blocks.%d.ff.net.2", i), c, 4 * c);
	}
}

static void put_unet_down(struct known_tensors *l, const struct unet_config *u, int i)
{
	char at[40], layer[NAME_ROOM];
	int c = u->channels[i], before = u->channels[i ? i - 1 : 0];

	snprintf(at, sizeof(at), "down_blocks.%d", i);
	for (int j = 0; j < u->resnets; j++) {
		put_resnet(l, IN("resnets.%d", j), c, j ? c : before, 4 * u->channels[0]);
		if (u->attention[i])
			put_transformer(l, IN("attentions.%d", j), u, c, u->depth[i]);
	}
	if (i < u->levels - 1)
		put_conv(l, IN("downsamplers.0.conv"), c, c, 3);
}

/* Up block i is level levels-1-i.  Each of its resnets also reads a skip connection of the down blocks: with the
 * level's channels, but the last one with those of the level above, from that level's downsampler (or conv_in). */
static void put_unet_up(struct known_tensors *l, const struct unet_config *u, int i)
{
	char at[40], layer[NAME_ROOM];
	int level = u->levels - 1 - i, c = u->channels[level];
	int before = u->channels[i ? level + 1 : level], above = u->channels[level ? level - 1 : 0];

	snprintf(at, sizeof(at), "up_blocks.%d", i);
	for (int j = 0; j <= u->resnets; j++) {
		int skip = j == u->resnets ? above : c;

		put_resnet(l, IN("resnets.%d", j), c, (j ? c : before) + skip, 4 * u->channels[0]);
		if (u->attention[level])
			put_transformer(l, IN("attentions.%d", j), u, c, u->depth[level]);
	}
	if (level)
		put_conv(l, IN("upsamplers.0.conv"), c, c, 3);
}

static void put_unet(struct known_tensors *l, const struct unet_config *u)
{
	int first = u->channels[0], last = u->channels[u->levels - 1], time = 4 * first;

	put_conv(l, "conv_in", first, u->in_channels, 3);
	put_linear(l, "time_embedding.linear_1", time, first);
	put_linear(l, "time_embedding.linear_2", time, time);
	if (u->time_ids_dim) {
		put_linear(l, "add_embedding.linear_1", time, u->pooled + 6 * u->time_ids_dim);
		put_linear(l, "add_embedding.linear_2", time, time);
	}
	for (int i = 0; i < u->levels; i++) {
		put_unet_down(l, u, i);
		put_unet_up(l, u, i);
	}
	put_resnet(l, "mid_block.resnets.0", last, last, time);
	put_transformer(l, "mid_block.attentions.0", u, last, u->mid_depth);
	put_resnet(l, "mid_block.resnets.1", last, last, time);
	put_norm(l, "conv_norm_out", first);
	put_conv(l, "conv_out", u->out_channels, first, 3);
}

static void put_clip(struct known_tensors *l, const struct clip_config *c)
{
	char at[60], layer[NAME_ROOM];
	static const char *const projections[] = {
		"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj",
	};

	put_matrix(l, "text_model.embeddings.token_embedding", c->vocabulary, c->width);
	put_matrix(l, "text_model.embeddings.position_embedding", c->length, c->width);
	for (int i = 0; i < c->layers; i++) {
		snprintf(at, sizeof(at), "text_model.encoder.layers.%d", i);
		put_norm(l, IN("layer_norm1"), c->width);
		put_norm(l, IN("layer_norm2"), c->width);
		for (int k = 0; k < 4; k++)
			put_linear(l, IN("%s", projections[k]), c->width, c->width);
		put_linear(l, IN("mlp.fc1"), c->mlp, c->width);
		put_linear(l, IN("mlp.fc2"), c->width, c->mlp);
	}
	put_norm(l, "text_model.final_layer_norm", c->width);
	if (c->projection)
		put_matrix(l, "text_projection", c->projection, c->width);
}

static void put_vae_mid(struct known_tensors *l, const char *at, int c)
{
	char layer[NAME_ROOM];
	static const char *const projections[] = { "to_q", "to_k", "to_v", "to_out.0" };

	put_resnet(l, IN("resnets.0"), c, c, 0);
	put_resnet(l, IN("resnets.1"), c, c, 0);
	put_norm(l, IN("attentions.0.group_norm"), c);
	for (int k = 0; k < 4; k++) {
		put_linear(l, IN("attentions.0.%s", projections[k]), c, c);
		l->tensor[l->count - 2].square = true;
	}
}

static void put_vae_encoder(struct known_tensors *l, const struct vae_config *v)
{
	char at[60], layer[NAME_ROOM];
	int last = v->channels[v->levels - 1];

	put_conv(l, "encoder.conv_in", v->channels[0], v->in_channels, 3);
	for (int i = 0; i < v->levels; i++) {
		int c = v->channels[i];

		snprintf(at, sizeof(at), "encoder.down_blocks.%d", i);
		for (int j = 0; j < v->resnets; j++)
			put_resnet(l, IN("resnets.%d", j), c, j || !i ? c : v->channels[i - 1], 0);
		if (i < v->levels - 1)
			put_conv(l, IN("downsamplers.0.conv"), c, c, 3);
	}
	put_vae_mid(l, "encoder.mid_block", last);
	put_norm(l, "encoder.conv_norm_out", last);
	put_conv(l, "encoder.conv_out", 2 * v->latent_channels, last, 3);
	if (v->quant_conv)
		put_conv(l, "quant_conv", 2 * v->latent_channels, 2 * v->latent_channels, 1);
}

static void put_vae_decoder(struct known_tensors *l, const struct vae_config *v)
{
	char at[60], layer[NAME_ROOM];
	int last = v->channels[v->levels - 1];

	if (v->post_quant_conv)
		put_conv(l, "post_quant_conv", v->latent_channels, v->latent_channels, 1);
	put_conv(l, "decoder.conv_in", last, v->latent_channels, 3);
	put_vae_mid(l, "decoder.mid_block", last);
	for (int i = 0; i < v->levels; i++) {
		int level = v->levels - 1 - i, c = v->channels[level];

		snprintf(at, sizeof(at), "decoder.up_blocks.%d", i);
		for (int j = 0; j <= v->resnets; j++)
			put_resnet(l, IN("resnets.%d", j), c, j || !i ? c : v->channels[level + 1], 0);
		if (level)
			put_conv(l, IN("upsamplers.0.conv"), c, c, 3);
	}
	put_norm(l, "decoder.conv_norm_out", v->channels[0]);
	put_conv(l, "decoder.conv_out", v->in_channels, v->channels[0], 3);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct known_tensor *)a)->name, ((const struct known_tensor *)b)->name);
}

void known_tensors(const struct model_config *c, enum component which, struct known_tensors *list)
{
	*list = (struct known_tensors){ 0 };
	if (which == COMPONENT_UNET)
		put_unet(list, &c->unet);
	else if (is_text_encoder(which))
		put_clip(list, &c->text[which - COMPONENT_TE1]);
	else {
		put_vae_encoder(list, &c->vae);
		put_vae_decoder(list, &c->vae);
	}
	qsort(list->tensor, list->count, sizeof(list->tensor[0]), by_name);
}

void known_tensors_free(struct known_tensors *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->tensor[i].name);
	free(list->tensor);
	*list = (struct known_tensors){ 0 };
}
