/* Tables of tensor names: single-file checkpoints and diffusers' folders. */
#include <stdio.h>
#include <string.h>
#include "../base/memory.h"
#include "single_file_names.h"

/* A layer inside a block; names match up to their end or a dot.  parts 0 stands for 1. */
struct leaf { const char *diffusers, *single; int part, parts; };

static const struct leaf unet_resnet[] = {
	{ "norm1", "in_layers.0", 0, 0 }, { "conv1", "in_layers.2", 0, 0 }, { "time_emb_proj", "emb_layers.1", 0, 0 },
	{ "norm2", "out_layers.0", 0, 0 }, { "conv2", "out_layers.3", 0, 0 }, 
	{ "conv_shortcut", "skip_connection", 0, 0 }, { 0 },
};

static const struct leaf unet_transformer[] = {
	{ "norm", "norm", 0, 0 }, { "proj_in", "proj_in", 0, 0 }, { "proj_out", "proj_out", 0, 0 },
	{ "transformer_blocks", "transformer_blocks", 0, 0 }, { 0 },
};

static const struct leaf te1_layer[] = {
	{ "layer_norm1", "layer_norm1", 0, 0 }, { "layer_norm2", "layer_norm2", 0, 0 }, { "mlp", "mlp", 0, 0 },
	{ "self_attn", "self_attn", 0, 0 }, { 0 },
};

static const struct leaf te2_layer[] = {
	{ "layer_norm1", "ln_1", 0, 0 }, { "layer_norm2", "ln_2", 0, 0 }, { "mlp.fc1", "mlp.c_fc", 0, 0 }, 
	{ "mlp.fc2", "mlp.c_proj", 0, 0 }, { "self_attn.out_proj", "attn.out_proj", 0, 0 },
	{ "self_attn.q_proj.weight", "attn.in_proj_weight", 0, 3 }, 
	{ "self_attn.q_proj.bias", "attn.in_proj_bias", 0, 3 },
	{ "self_attn.k_proj.weight", "attn.in_proj_weight", 1, 3 }, 
	{ "self_attn.k_proj.bias", "attn.in_proj_bias", 1, 3 },
	{ "self_attn.v_proj.weight", "attn.in_proj_weight", 2, 3 }, 
	{ "self_attn.v_proj.bias", "attn.in_proj_bias", 2, 3 }, { 0 },
};

static const struct leaf vae_resnet[] = {
	{ "norm1", "norm1", 0, 0 }, { "conv1", "conv1", 0, 0 }, { "norm2", "norm2", 0, 0 }, { "conv2", "conv2", 0, 0 },
	{ "conv_shortcut", "nin_shortcut", 0, 0 }, { 0 },
};

static const struct leaf vae_attention[] = {
	{ "group_norm", "norm", 0, 0 }, { "to_q", "q", 0, 0 }, { "to_k", "k", 0, 0 }, { "to_v", "v", 0, 0 },
	{ "to_out.0", "proj_out", 0, 0 }, { 0 },
};

/*
 * A block.  Capitals are numbers; what follows the pattern is the leaf's.  I, J: diffusers' block and layer.  On the
 * other side, with n = layers_per_block + 1:
 *   D = n*I + J + 1     U = n*I + J     R = VAE levels - 1 - I     S = 2, or 1 where the level has no attention
 * A pattern without J stands for the sampler after the block's last layer: J = n - 1.
 */
struct block { const char *diffusers, *single; const struct leaf *leaf; bool transposed; };

static const struct block unet_blocks[] = {
	{ "conv_in.", "input_blocks.0.0.", NULL, false },
	{ "conv_norm_out.", "out.0.", NULL, false },
	{ "conv_out.", "out.2.", NULL, false },
	{ "time_embedding.linear_1.", "time_embed.0.", NULL, false },
	{ "time_embedding.linear_2.", "time_embed.2.", NULL, false },
	{ "add_embedding.linear_1.", "label_emb.0.0.", NULL, false },
	{ "add_embedding.linear_2.", "label_emb.0.2.", NULL, false },
	{ "down_blocks.I.downsamplers.0.conv.", "input_blocks.D.0.op.", NULL, false },
	{ "down_blocks.I.resnets.J.", "input_blocks.D.0.", unet_resnet, false },
	{ "down_blocks.I.attentions.J.", "input_blocks.D.1.", unet_transformer, false },
	{ "mid_block.resnets.0.", "middle_block.0.", unet_resnet, false },
	{ "mid_block.attentions.0.", "middle_block.1.", unet_transformer, false },
	{ "mid_block.resnets.1.", "middle_block.2.", unet_resnet, false },
	{ "up_blocks.I.upsamplers.0.conv.", "output_blocks.U.S.conv.", NULL, false },
	{ "up_blocks.I.resnets.J.", "output_blocks.U.0.", unet_resnet, false },
	{ "up_blocks.I.attentions.J.", "output_blocks.U.1.", unet_transformer, false },
	{ 0 },
};

static const struct block te1_blocks[] = {
	{ "text_model.embeddings.token_embedding.", "text_model.embeddings.token_embedding.", NULL, false },
	{ "text_model.embeddings.position_embedding.", "text_model.embeddings.position_embedding.", NULL, false },
	{ "text_model.encoder.layers.I.", "text_model.encoder.layers.I.", te1_layer, false },
	{ "text_model.final_layer_norm.", "text_model.final_layer_norm.", NULL, false },
	{ 0 },
};

/* text_projection is turned in the file; its square shape does not show it (a pooled vector through the wrong side
 * does). */
static const struct block te2_blocks[] = {
	{ "text_model.embeddings.token_embedding.", "token_embedding.", NULL, false },
	{ "text_model.embeddings.position_embedding.weight", "positional_embedding", NULL, false },
	{ "text_model.encoder.layers.I.", "transformer.resblocks.I.", te2_layer, false },
	{ "text_model.final_layer_norm.", "ln_final.", NULL, false },
	{ "text_projection.weight", "text_projection", NULL, true },
	{ 0 },
};

static const struct block vae_blocks[] = {
	{ "quant_conv.", "quant_conv.", NULL, false },
	{ "post_quant_conv.", "post_quant_conv.", NULL, false },
	{ "encoder.conv_in.", "encoder.conv_in.", NULL, false },
	{ "encoder.down_blocks.I.downsamplers.0.conv.", "encoder.down.I.downsample.conv.", NULL, false },
	{ "encoder.down_blocks.I.resnets.J.", "encoder.down.I.block.J.", vae_resnet, false },
	{ "encoder.mid_block.resnets.0.", "encoder.mid.block_1.", vae_resnet, false },
	{ "encoder.mid_block.attentions.0.", "encoder.mid.attn_1.", vae_attention, false },
	{ "encoder.mid_block.resnets.1.", "encoder.mid.block_2.", vae_resnet, false },
	{ "encoder.conv_norm_out.", "encoder.norm_out.", NULL, false },
	{ "encoder.conv_out.", "encoder.conv_out.", NULL, false },
	{ "decoder.conv_in.", "decoder.conv_in.", NULL, false },
	{ "decoder.mid_block.resnets.0.", "decoder.mid.block_1.", vae_resnet, false },
	{ "decoder.mid_block.attentions.0.", "decoder.mid.attn_1.", vae_attention, false },
	{ "decoder.mid_block.resnets.1.", "decoder.mid.block_2.", vae_resnet, false },
	{ "decoder.up_blocks.I.upsamplers.0.conv.", "decoder.up.R.upsample.conv.", NULL, false },
	{ "decoder.up_blocks.I.resnets.J.", "decoder.up.R.block.J.", vae_resnet, false },
	{ "decoder.conv_norm_out.", "decoder.norm_out.", NULL, false },
	{ "decoder.conv_out.", "decoder.conv_out.", NULL, false },
	{ 0 },
};

static const struct block *const blocks_of[] = {
	[COMPONENT_UNET] = unet_blocks, [COMPONENT_TE1] = te1_blocks, [COMPONENT_TE2] = te2_blocks,
	[COMPONENT_VAE] = vae_blocks,
};

/* The place of a block: what the capitals stand for. */
struct place { const struct model_config *m; int i, j; };

static int slot(const struct place *p)
{
	int level = p->m->unet.levels - 1 - p->i;

	return level >= 0 && level < MAX_LEVELS && p->m->unet.attention[level] ? 2 : 1;
}

static int number_of(const struct place *p, char letter)
{
	int n = p->m->unet.resnets + 1;

	switch (letter) {
	case 'I': return p->i;
	case 'J': return p->j;
	case 'D': return n * p->i + p->j + 1;
	case 'U': return n * p->i + p->j;
	case 'R': return p->m->vae.levels - 1 - p->i;
	default:  return slot(p);
	}
}

/* Learn from a number of the name.  false: no block has it. */
static bool place_from(struct place *p, char letter, int x)
{
	int n = p->m->unet.resnets + 1;

	switch (letter) {
	case 'I':
		p->i = x;
		return true;
	case 'J':
		p->j = x;
		return true;
	case 'D':
		x--;
		/* fall through */
	case 'U':
		p->i = x / n;
		p->j = x % n;
		return x >= 0;
	case 'R':
		p->i = p->m->vae.levels - 1 - x;
		return p->i >= 0;
	default:
		return x == slot(p);
	}
}

/* A decimal number of up to four digits without leading zeros; -1: none. */
static int take_number(const char **text)
{
	const char *s = *text;
	int x = 0;

	while (*s >= '0' && *s <= '9' && s - *text < 5)
		x = 10 * x + (*s++ - '0');
	if (s == *text || s - *text > 4 || (**text == '0' && s - *text > 1))
		return -1;
	*text = s;
	return x;
}

/* Returns the rest of the name after the pattern, NULL when it does not match. */
static const char *match(const char *pattern, const char *name, struct place *p)
{
	for (; *pattern; pattern++) {
		if (*pattern < 'A' || *pattern > 'Z') {
			if (*pattern != *name++)
				return NULL;
			continue;
		}
		int x = take_number(&name);
		if (x < 0 || !place_from(p, *pattern, x))
			return NULL;
	}
	return name;
}

/* false: a number below 0 (a VAE level that is not there), or no room. */
static bool emit(const char *pattern, const struct place *p, char *out)
{
	size_t n = 0;

	for (; *pattern; pattern++) {
		if (n + 16 > TENSOR_NAME_ROOM)
			return false;
		if (*pattern < 'A' || *pattern > 'Z') {
			out[n++] = *pattern;
			continue;
		}
		int x = number_of(p, *pattern);
		if (x < 0)
			return false;
		n = text_add(out, TENSOR_NAME_ROOM, n, "%d", x);
	}
	out[n] = 0;
	return true;
}

static bool append(char *out, const char *a, const char *b)
{
	size_t n = strlen(out);

	if (n + strlen(a) + strlen(b) >= TENSOR_NAME_ROOM)
		return false;
	text_add(out, TENSOR_NAME_ROOM, n, "%s%s", a, b);
	return true;
}

/* What of the name follows the leaf: ".weight"; NULL: another leaf. */
static const char *after(const char *leaf, const char *rest)
{
	size_t n = strlen(leaf);

	return strncmp(leaf, rest, n) == 0 && (rest[n] == '.' || !rest[n]) ? rest + n : NULL;
}

static bool to_single(const struct block *b, const struct place *p, const char *rest, struct single_name *s)
{
	*s = (struct single_name){ .parts = 1, .transposed = b->transposed };
	if (!emit(b->single, p, s->name))
		return false;
	if (!b->leaf)
		return append(s->name, rest, "");
	for (const struct leaf *l = b->leaf; l->diffusers; l++) {
		const char *tail = after(l->diffusers, rest);

		if (!tail)
			continue;
		s->part = l->part;
		s->parts = l->parts ? l->parts : 1;
		return append(s->name, l->single, tail);
	}
	return false;
}

static int to_diffusers(const struct block *b, const struct place *p, const char *rest, int part, char *out)
{
	if (!emit(b->diffusers, p, out))
		return 0;
	if (!b->leaf)
		return append(out, rest, "");
	for (const struct leaf *l = b->leaf; l->diffusers; l++) {
		const char *tail = after(l->single, rest);

		if (tail && l->part == part)
			return append(out, l->diffusers, tail) ? (l->parts ? l->parts : 1) : 0;
	}
	return 0;
}

/* A pattern that ends in a dot has a tensor after it, one that does not is the whole name. */
static bool whole(const char *pattern, const char *rest)
{
	return rest && (pattern[strlen(pattern) - 1] == '.') == (*rest != 0);
}

bool single_name_of(const struct model_config *m, enum component c, const char *diffusers, struct single_name *s)
{
	for (const struct block *b = blocks_of[c]; b->diffusers; b++) {
		struct place p = { m, 0, m->unet.resnets };
		const char *rest = match(b->diffusers, diffusers, &p);

		if (whole(b->diffusers, rest) && to_single(b, &p, rest, s))
			return true;
	}
	return false;
}

int diffusers_name_of(const struct model_config *m, enum component c, const char *single, int part,
		      char out[TENSOR_NAME_ROOM])
{
	for (const struct block *b = blocks_of[c]; b->diffusers; b++) {
		struct place p = { m, 0, m->unet.resnets };
		const char *rest = match(b->single, single, &p);
		bool sampler = strchr(b->single, 'D') || strchr(b->single, 'U');
		int parts;

		if (!whole(b->single, rest) || (sampler && !strchr(b->diffusers, 'J') && p.j != m->unet.resnets))
			continue;
		parts = to_diffusers(b, &p, rest, part, out);
		if (parts)
			return parts;
	}
	return 0;
}
