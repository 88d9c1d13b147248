/* Content addresses: hashes of all that decides a latent, a text or a sample. */
#include <string.h>
#include "../base/hash.h"
#include "encode_internal.h"

static void add_line(struct sha256 *h, char *line)
{
	sha256_add(h, line, strlen(line));
	free(line);
}

static void begin(struct sha256 *h, const struct encoder *n)
{
	sha256_begin(h);
	sha256_add(h, ENCODE_FORMAT, sizeof(ENCODE_FORMAT));
	add_line(h, xprintf("%s\n", dtype_name(n->precision)));
}

void encode_latent_id(const struct encoder *n, const struct tar_sample *in, char id[65])
{
	const struct vae_config *v = &n->config->vae;
	struct sha256 h;

	begin(&h, n);
	add_line(&h, xprintf("%s %d %d %d %.9g\n", n->vae_hash, v->latent_channels, v->resnets, v->groups,
			     v->norm_eps));
	if (n->config->family->inpaints)
		add_line(&h, xprintf("holes %ld %llu\n", n->s->holes, (unsigned long long)n->seed));
	for (int i = 0; i < in->members; i++) {
		char hex[65];
		sha256_hex_of(in->member[i].bytes.data, in->member[i].bytes.len, hex);
		add_line(&h, xprintf("%s %s\n", in->member[i].suffix, hex));
	}
	sha256_hex(&h, id);
}

static void add_encoder(struct sha256 *h, const char *hash, const struct clip_config *c)
{
	add_line(h, xprintf("%s %d %d %d %.9g %d\n", hash, c->layers, c->heads, (int)c->activation, c->norm_eps,
			    c->eos));
}

static void add_ids(struct sha256 *h, const int32_t *ids, int count)
{
	struct buffer line = { 0 };

	for (int i = 0; i < count; i++)
		buffer_addf(&line, "%d%c", (int)ids[i], i < count - 1 ? ' ' : '\n');
	add_line(h, buffer_steal(&line));
}

/* Nothing where every weight is 1, so that such a caption is the one without weights. */
static void add_weights(struct sha256 *h, int encoder, const float *weights, int count)
{
	for (int i = 0; weights && i < count; i++)
		if (weights[i] != 1)
			add_line(h, xprintf("%d %d %.9g\n", encoder, i, weights[i]));
}

void encode_text_id(const struct encoder *n, const char *caption, const struct chunk_batch *b, char id[65])
{
	const int count = n->chunks * n->config->text[0].length, texts = n->config->family->texts;
	struct sha256 h;

	begin(&h, n);
	for (int i = 0; i < texts; i++)
		add_encoder(&h, n->text_hash[i], &n->config->text[i]);
	add_line(&h, xprintf("%d\n", n->chunks));
	if (n->skip)
		add_line(&h, xprintf("clip_skip %d\n", n->skip));
	for (int i = 0; i < texts; i++)
		add_ids(&h, b->ids[i], count);
	for (int i = 0; i < texts; i++)
		add_weights(&h, i, b->weights[i], count);
	sha256_add(&h, caption, strlen(caption));
	sha256_hex(&h, id);
}

void encode_sample_id(struct latent_sample *s)
{
	struct sha256 h;

	sha256_begin(&h);
	sha256_add(&h, s->latent_id, 64);
	for (int i = 0; s->text_id && i < s->captions; i++)
		sha256_add(&h, s->text_id[i], 64);
	sha256_hex(&h, s->id);
}
