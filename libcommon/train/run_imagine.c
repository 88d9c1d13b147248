#include "run_plan.h"

int run_imagine_data(struct run *r, struct error *e)
{
	const struct model_config *c = model_files_config(r->files);
	struct bucket_rules rules = r->s->buckets;
	struct buckets b;
	size_t i;
	int chunks;

	rules.no_upscale = false;       /* sizes would be those of the pictures, up to the same area */
	if (chunks_of(r->s->max_token_length, &chunks, e) < 0 || buckets_make(&rules, &b, e) < 0)
		return -1;
	r->imagined = true;
	r->data.sample = xcalloc(b.count, sizeof(*r->data.sample));
	for (i = 0; i < b.count; i++)
		r->data.sample[i] = (struct latent_sample){
			.c = c->vae.latent_channels, .w = b.size[i][0] / c->vae.factor, .h = b.size[i][1] / c->vae.factor,
			.bucket = { b.size[i][0], b.size[i][1] }, .repeats = r->s->batch_size, .weight = 1, .empty = -1,
			.variants = 1, .length = chunks_length(chunks, c->te1.length),
			.context_width = c->unet.context, .pooled_width = c->unet.pooled,
		};
	r->data.count = b.count;
	buckets_free(&b);
	return 0;
}
