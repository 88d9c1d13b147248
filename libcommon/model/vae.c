/* The VAE: loading, encoding, decoding. */
#include <math.h>
#include <stdlib.h>
#include "../base/elementary.h"
#include "../base/memory.h"
#include "resnet.h"
#include "vae.h"

struct mid_attention { struct norm norm; struct linear q, k, v, out; };

enum piece_kind { PIECE_RESNET, PIECE_ATTENTION, PIECE_DOWNSAMPLE, PIECE_UPSAMPLE };

struct piece {
	enum piece_kind kind;
	char *name, *closes;            /* diffusers' module; the block that ends with it, or NULL */
	struct resnet resnet;
	struct mid_attention attention;
	struct conv sampler;
};

/* Encoder or decoder: conv_in, the pieces, norm, conv_out. */
struct half {
	const char *name;
	struct conv conv_in, conv_out;
	struct norm norm_out;
	struct piece *piece;
	int pieces, width;              /* width: while loading */
};

/* When a block runs in bands, and how large these are: vae_set_bands(). */
struct band_rule { size_t limit, bytes; };

struct vae {
	struct vae_config config;
	struct band_rule bands;
	struct inventory layers;
	struct half encoder, decoder;
	struct linear quant, post_quant;        /* w.out 0: none */
};

/* ---- loading ---- */

static struct piece *add_piece(struct half *h, enum piece_kind kind, char *name)
{
	struct piece *p = &h->piece[h->pieces++];

	p->kind = kind;
	p->name = name;
	return p;
}

static struct piece *add_resnet(struct vae *v, struct half *h, char *name, int out)
{
	struct resnet_size size = { h->width, out, 0, v->config.groups, v->config.norm_eps };
	struct piece *p = add_piece(h, PIECE_RESNET, name);

	take_resnet(&v->layers, name, &size, &p->resnet);
	h->width = out;
	return p;
}

static struct piece *add_sampler(struct vae *v, struct half *h, enum piece_kind kind, char *name)
{
	struct piece *p = add_piece(h, kind, name);

	take_conv(&v->layers, LAYER_OTHER, name, "conv", h->width, h->width, 3, kind == PIECE_DOWNSAMPLE ? 2 : 1,
		  &p->sampler);
	return p;
}

static void add_attention(struct vae *v, struct half *h, char *name)
{
	struct mid_attention *a = &add_piece(h, PIECE_ATTENTION, name)->attention;
	struct { const char *name; struct linear *layer; } part[] = {
		{ "to_q", &a->q }, { "to_k", &a->k }, { "to_v", &a->v }, { "to_out.0", &a->out },
	};

	take_norm(&v->layers, name, "group_norm", h->width, v->config.groups, v->config.norm_eps, &a->norm);
	for (int i = 0; i < 4; i++)
		take_linear(&v->layers, LAYER_OTHER, name, part[i].name, h->width, h->width, true, part[i].layer);
}

static void add_middle(struct vae *v, struct half *h)
{
	add_resnet(v, h, xprintf("%s.mid_block.resnets.0", h->name), h->width);
	add_attention(v, h, xprintf("%s.mid_block.attentions.0", h->name));
	add_resnet(v, h, xprintf("%s.mid_block.resnets.1", h->name), h->width)->closes =
		xprintf("%s.mid_block", h->name);
}

/* block 0 comes first in its half: a level's resnets, and a sampler where another level follows */
static void add_level(struct vae *v, struct half *h, const char *direction, int block, int width, int resnets,
		      enum piece_kind kind)
{
	struct piece *p = NULL;

	for (int j = 0; j < resnets; j++)
		p = add_resnet(v, h, xprintf("%s.%s_blocks.%d.resnets.%d", h->name, direction, block, j), width);
	if (block < v->config.levels - 1)
		p = add_sampler(v, h, kind, xprintf("%s.%s_blocks.%d.%ssamplers.0", h->name, direction, block,
						    direction));
	p->closes = xprintf("%s.%s_blocks.%d", h->name, direction, block);
}

static void begin_half(struct vae *v, struct half *h, const char *name, int width, int in)
{
	const struct vae_config *c = &v->config;

	h->name = name;
	h->width = width;
	h->piece = xcalloc(c->levels * (c->resnets + 2) + 3, sizeof(*h->piece));
	take_conv(&v->layers, LAYER_OTHER, name, "conv_in", width, in, 3, 1, &h->conv_in);
}

static void end_half(struct vae *v, struct half *h, int out)
{
	take_norm(&v->layers, h->name, "conv_norm_out", h->width, v->config.groups, v->config.norm_eps, &h->norm_out);
	take_conv(&v->layers, LAYER_OTHER, h->name, "conv_out", out, h->width, 3, 1, &h->conv_out);
}

static void load_encoder(struct vae *v)
{
	const struct vae_config *c = &v->config;
	struct half *h = &v->encoder;
	int moments = 2 * c->latent_channels;

	begin_half(v, h, "encoder", c->channels[0], c->in_channels);
	for (int i = 0; i < c->levels; i++)
		add_level(v, h, "down", i, c->channels[i], c->resnets, PIECE_DOWNSAMPLE);
	add_middle(v, h);
	end_half(v, h, moments);
	if (c->quant_conv)
		take_conv1x1(&v->layers, LAYER_OTHER, "", "quant_conv", moments, moments, &v->quant);
}

static void load_decoder(struct vae *v)
{
	const struct vae_config *c = &v->config;
	struct half *h = &v->decoder;
	int last = c->levels - 1, latent = c->latent_channels;

	if (c->post_quant_conv)
		take_conv1x1(&v->layers, LAYER_OTHER, "", "post_quant_conv", latent, latent, &v->post_quant);
	begin_half(v, h, "decoder", c->channels[last], latent);
	add_middle(v, h);
	for (int i = 0; i < c->levels; i++)
		add_level(v, h, "up", i, c->channels[last - i], c->resnets + 1, PIECE_UPSAMPLE);
	end_half(v, h, c->in_channels);
}

struct vae *vae_load(const struct model_files *m, const struct backend *be, struct device *d, bool encoder,
		     bool decoder, struct error *e)
{
	struct vae *v = xcalloc(1, sizeof(*v));

	v->config = model_files_config(m)->vae;
	v->layers.loader = (struct loader){ m, COMPONENT_VAE, be, d };
	v->layers.error = e;
	if (encoder)
		load_encoder(v);
	if (decoder)
		load_decoder(v);
	v->layers.error = NULL;
	if (!v->layers.failed)
		return v;
	vae_free(v);
	return NULL;
}

static void free_half(struct half *h)
{
	for (int i = 0; i < h->pieces; i++) {
		free(h->piece[i].name);
		free(h->piece[i].closes);
	}
	free(h->piece);
}

void vae_free(struct vae *v)
{
	if (!v)
		return;
	inventory_free(&v->layers);
	free_half(&v->encoder);
	free_half(&v->decoder);
	free(v);
}

const struct vae_config *vae_config(const struct vae *v)
{
	return &v->config;
}

void vae_set_bands(struct vae *v, size_t limit, size_t bytes)
{
	v->bands = (struct band_rule){ limit, bytes };
}

/* ---- forward ---- */

static struct tensor *run_attention(struct tape *t, const void *attention, struct tensor *const *in)
{
	const struct mid_attention *a = attention;
	struct tensor *x = op_group_norm(t, in[0], &a->norm, false);
	struct tensor *q = op_linear(t, x, &a->q), *k = op_linear(t, x, &a->k), *v = op_linear(t, x, &a->v);

	x = op_attention(t, whole_slice(q), whole_slice(k), whole_slice(v), 1, false);
	return op_add(t, in[0], op_linear(t, x, &a->out));
}

static struct tensor *run_head(struct tape *t, const void *half, struct tensor *const *in)
{
	const struct half *h = half;

	return op_conv(t, op_group_norm(t, in[0], &h->norm_out, true), &h->conv_out);
}

/* ---- bands ---- */

/* Of a tensor of x's pixels, in both directions `size` times as many. */
static size_t bytes_of(const struct tensor *x, int size, int channels)
{
	return (size_t)x->n * x->h * x->w * size * size * channels * sizeof(float);
}

static bool too_large(const struct band_rule *rule, size_t bytes)
{
	return rule->limit && bytes > rule->limit / 3;
}

/* floats: of a pixel, in all bands of the operation together */
static int rows_of_band(const struct band_rule *rule, int w, int floats)
{
	const size_t rows = rule->bytes / sizeof(float) / floats / w / 4 * 4;

	return rows < 8 ? 8 : rows > 1024 ? 1024 : rows;
}

static struct residual residual_of(const struct resnet *r)
{
	return (struct residual){ &r->norm1, &r->norm2, &r->conv1, &r->conv2, &r->shortcut };
}

static struct tensor *run_residual(struct tape *t, const struct resnet *r, const struct band_rule *rule,
				   struct tensor *x)
{
	const struct residual parts = residual_of(r);
	const int out = r->conv1.w.out;

	if (!too_large(rule, bytes_of(x, 1, x->c)))
		return tape_chain(t, run_resnet, r, x);
	if (!r->shortcut.w.out)
		return op_residual_bands(t, x, &parts, rows_of_band(rule, x->w, 3 * out));
	return op_shortcut_bands(t, last_use(x), NULL, &parts, rows_of_band(rule, x->w, x->c + 3 * out));
}

/* next: the piece behind the sampler; *joined: it ran too, since the sampler's output is too large for two of it. */
static struct tensor *run_upsampler(struct tape *t, const struct piece *p, const struct piece *next,
				    const struct band_rule *rule, struct tensor *x, bool *joined)
{
	const size_t wide = bytes_of(x, 2, x->c);
	const struct resnet *r = &next->resnet;

	if (!too_large(rule, wide))
		return tape_chain(t, run_upsample, &p->sampler, x);
	if (r->shortcut.w.out && wide + bytes_of(x, 2, r->conv1.w.out) > rule->limit / 4 * 3) {
		const struct residual parts = residual_of(r);
		*joined = true;
		return op_shortcut_bands(t, last_use(x), &p->sampler, &parts,
					 rows_of_band(rule, 2 * x->w, 2 * x->c + 2 * r->conv1.w.out));
	}
	return op_conv_bands(t, last_use(x), NULL, &p->sampler, rows_of_band(rule, 2 * x->w, 2 * x->c));
}

static struct tensor *run_end(struct tape *t, const struct half *h, const struct band_rule *rule, struct tensor *x)
{
	if (!too_large(rule, bytes_of(x, 1, x->c)))
		return tape_chain(t, run_head, h, x);
	return op_conv_bands(t, last_use(x), &h->norm_out, &h->conv_out, rows_of_band(rule, x->w, 2 * x->c));
}

static struct tensor *run_piece(struct tape *t, const struct piece *p, const struct band_rule *rule, struct tensor *x,
				bool *joined)
{
	switch (p->kind) {
	case PIECE_RESNET:      return run_residual(t, &p->resnet, rule, x);
	case PIECE_ATTENTION:   return tape_chain(t, run_attention, &p->attention, x);
	case PIECE_DOWNSAMPLE:  return tape_chain(t, run_downsample_pad_end, &p->sampler, x);
	case PIECE_UPSAMPLE:    return run_upsampler(t, p, p + 1, rule, x, joined);
	}
	die(EXIT_OTHER, "piece '%s' has no kind; this is a bug in lora-tools", p->name);
}

static void show(probe_fn *probe, void *arg, struct tape *t, const char *module, struct tensor *x)
{
	if (probe && module)
		probe(arg, t, module, x);
}

static struct tensor *run_half(struct tape *t, const struct half *h, const struct band_rule *rule, struct tensor *x,
			       probe_fn *probe, void *arg)
{
	char *conv_in = xprintf("%s.conv_in", h->name);

	x = op_conv(t, last_use(x), &h->conv_in);
	show(probe, arg, t, conv_in, x);
	free(conv_in);
	for (int i = 0; i < h->pieces; i++) {
		bool joined = false;
		x = run_piece(t, &h->piece[i], rule, x, &joined);
		i += joined;
		show(probe, arg, t, h->piece[i].name, x);
		show(probe, arg, t, h->piece[i].closes, x);
	}
	x = run_end(t, h, rule, x);
	show(probe, arg, t, h->name, x);
	return x;
}

struct tensor *vae_encode(struct tape *t, const struct vae *v, struct tensor *picture, probe_fn *probe, void *arg)
{
	struct tensor *x = run_half(t, &v->encoder, &v->bands, picture, probe, arg);

	return v->quant.w.out ? op_linear(t, x, &v->quant) : x;
}

struct tensor *vae_decode(struct tape *t, const struct vae *v, struct tensor *latent, probe_fn *probe, void *arg)
{
	return run_half(t, &v->decoder, &v->bands, v->post_quant.w.out ? op_linear(t, latent, &v->post_quant) : latent,
			probe, arg);
}

/* ---- host ---- */

void vae_split_moments(const float *moments, size_t rows, int c, float *mean, float *std, float *logvar)
{
	for (size_t i = 0; i < rows; i++)
		for (int j = 0; j < c; j++) {
			float v = fminf(fmaxf(moments[i * 2 * c + c + j], -30), 20);
			mean[i * c + j] = moments[i * 2 * c + j];
			std[i * c + j] = (float)plain_exp(0.5f * v);
			if (logvar)
				logvar[i * c + j] = v;
		}
}

void nhwc_from_nchw(float *out, const float *in, int n, int c, int h, int w)
{
	size_t area = (size_t)h * w;

	for (int i = 0; i < n; i++, in += area * c, out += area * c)
		for (int k = 0; k < c; k++)
			for (size_t p = 0; p < area; p++)
				out[p * c + k] = in[k * area + p];
}

void nchw_from_nhwc(float *out, const float *in, int n, int h, int w, int c)
{
	size_t area = (size_t)h * w;

	for (int i = 0; i < n; i++, in += area * c, out += area * c)
		for (int k = 0; k < c; k++)
			for (size_t p = 0; p < area; p++)
				out[k * area + p] = in[p * c + k];
}
