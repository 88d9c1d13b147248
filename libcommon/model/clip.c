/* A CLIP text encoder: loading and forward. */
#include <stdlib.h>
#include "../base/memory.h"
#include "clip.h"
#include "inventory.h"

/* The eos_token_id of SDXL's released configs.  No caption ends with that id; it means the highest id in the row. */
#define EOS_IS_HIGHEST 2

struct encoder_layer {
	struct norm norm1, norm2;
	struct linear q, k, v, out, fc1, fc2;
	int heads;
	enum activation activation;
};

struct clip {
	struct clip_config config;
	struct inventory layers;
	struct weight tokens;
	float *positions;
	struct encoder_layer *layer;
	struct norm norm_out;
	struct linear projection;
};

/* ---- loading ---- */

static void take_layer(struct inventory *v, const char *name, const struct clip_config *c, struct encoder_layer *l)
{
	l->heads = c->heads;
	l->activation = c->activation;
	take_norm(v, name, "layer_norm1", c->width, 0, c->norm_eps, &l->norm1);
	take_stacked(v, 3);
	take_linear(v, LAYER_TRANSFORMER, name, "self_attn.q_proj", c->width, c->width, true, &l->q);
	take_linear(v, LAYER_TRANSFORMER, name, "self_attn.k_proj", c->width, c->width, true, &l->k);
	take_linear(v, LAYER_TRANSFORMER, name, "self_attn.v_proj", c->width, c->width, true, &l->v);
	take_linear(v, LAYER_TRANSFORMER, name, "self_attn.out_proj", c->width, c->width, true, &l->out);
	take_norm(v, name, "layer_norm2", c->width, 0, c->norm_eps, &l->norm2);
	take_linear(v, LAYER_TRANSFORMER, name, "mlp.fc1", c->mlp, c->width, true, &l->fc1);
	take_linear(v, LAYER_TRANSFORMER, name, "mlp.fc2", c->width, c->mlp, true, &l->fc2);
}

static int load_parts(struct clip *c, struct error *e)
{
	const struct clip_config *f = &c->config;
	struct inventory *v = &c->layers;

	if (load_table(&v->loader, "text_model.embeddings.token_embedding", f->vocabulary, f->width, &c->tokens, e) ||
	    load_floats(&v->loader, "text_model.embeddings.position_embedding", (size_t)f->length * f->width,
			&c->positions, e))
		return -1;
	v->error = e;
	for (int i = 0; i < f->layers; i++) {
		char *name = xprintf("text_model.encoder.layers.%d", i);
		take_layer(v, name, f, &c->layer[i]);
		free(name);
	}
	take_norm(v, "text_model", "final_layer_norm", f->width, 0, f->norm_eps, &c->norm_out);
	if (f->projection)
		take_linear(v, LAYER_OTHER, "", "text_projection", f->projection, f->width, false, &c->projection);
	v->error = NULL;
	return v->failed ? -1 : 0;
}

struct clip *clip_load(const struct model_files *m, enum component which, const struct backend *be, struct device *d,
		       bool on_host, struct error *e)
{
	const struct model_config *config = model_files_config(m);
	struct clip *c = xcalloc(1, sizeof(*c));

	c->config = config->text[which - COMPONENT_TE1];
	c->layers.loader = (struct loader){ m, which, be, d, on_host };
	c->layer = xcalloc(c->config.layers, sizeof(*c->layer));
	if (!load_parts(c, e))
		return c;
	clip_free(c);
	return NULL;
}

void clip_free(struct clip *c)
{
	const struct loader *l;

	if (!c)
		return;
	l = &c->layers.loader;
	free_table(l->be, l->device, &c->tokens);
	l->be->release(l->device, c->positions);
	inventory_free(&c->layers);
	free(c->layer);
	free(c);
}

const struct clip_config *clip_config(const struct clip *c)
{
	return &c->config;
}

void clip_layers(struct clip *c, struct layer_list *list)
{
	inventory_list(&c->layers, list);
}

/* ---- forward ---- */

static struct tensor *run_layer(struct tape *t, const void *layer, struct tensor *const *in)
{
	const struct encoder_layer *l = layer;
	struct tensor *x = in[0], *h = op_layer_norm(t, x, &l->norm1);
	struct slice qkv[3];

	op_linears(t, last_use(h), (const struct linear *[]){ &l->q, &l->k, &l->v }, 3, qkv);
	for (int i = 0; i < 3; i++)
		last_use(qkv[i].of);
	h = op_linear(t, last_use(op_attention(t, qkv[0], qkv[1], qkv[2], l->heads, true)), &l->out);
	h = op_add_norm(t, x, last_use(h), &l->norm2, &x);
	h = op_linear(t, last_use(h), &l->fc1);
	h = op_activation(t, last_use(h), l->activation);
	return op_add(t, last_use(x), last_use(op_linear(t, last_use(h), &l->fc2)));
}

static void check_ids(const struct clip_config *c, const int32_t *ids, int n, int length)
{
	for (int i = 0; i < n * length; i++)
		if (ids[i] < 0 || ids[i] >= c->vocabulary)
			die(EXIT_INPUT, "token %d is not in the text encoder's vocabulary of %d; "
					"tokenizer and model do not belong together", ids[i], c->vocabulary);
}

/* position of the first EOS; of the first token where there is none, as transformers has it */
static int eos_position(const struct clip_config *c, const int32_t *ids, int length)
{
	int best = 0;

	for (int i = 0; i < length; i++) {
		if (c->eos != EOS_IS_HIGHEST && ids[i] == c->eos)
			return i;
		if (c->eos == EOS_IS_HIGHEST && ids[i] > ids[best])
			best = i;
	}
	return best;
}

static struct tensor *pool(struct tape *t, const struct clip *c, struct tensor *last, const int32_t *ids, int n,
			   int length)
{
	int32_t *rows = xcalloc(n, sizeof(*rows));
	struct tensor *y;

	for (int i = 0; i < n; i++)
		rows[i] = i * length + eos_position(&c->config, ids + (size_t)i * length, length);
	y = op_linear(t, op_gather(t, last, rows, n), &c->projection);
	free(rows);
	return y;
}

void clip_forward(struct tape *t, const struct clip *c, const int32_t *ids, int n, const struct text_reading *how,
		  struct clip_output *out)
{
	const struct clip_config *f = &c->config;
	const int length = f->length, read = f->layers + 1 - how->skip;         /* the state before layer `read` */
	const bool whole = how->pooled || out->hidden;
	struct tensor *x;

	check_ids(f, ids, n, length);
	out->last = out->pooled = NULL;
	x = op_add_positions(t, op_embedding(t, &c->tokens, ids, n, length), c->positions);
	for (int i = 0; i < f->layers; i++) {
		if (out->hidden)
			out->hidden[i] = x;
		if (i == read)
			out->state = x;
		if (whole || i < read)
			x = tape_block(t, run_layer, &c->layer[i], &x, 1);
	}
	if (read == f->layers)
		out->state = x;
	if (out->hidden)
		out->hidden[f->layers] = x;
	if (whole)
		out->last = op_layer_norm(t, x, &c->norm_out);
	if (how->pooled && f->projection)
		out->pooled = pool(t, c, out->last, ids, n, length);
	if (how->norm)
		out->state = op_layer_norm(t, out->state, &c->norm_out);
}
