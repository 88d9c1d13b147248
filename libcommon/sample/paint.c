#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../model/tokenizers.h"
#include "paint.h"

/* ---- the pipeline ---- */

int pipeline_find(struct pipeline *p, const char *model, const char *model_config, const char *vae, struct error *e)
{
	*p = (struct pipeline){ 0 };
	p->files = model_files_open(model, model_config, vae, e);
	if (!p->files)
		return -1;
	p->config = model_files_config(p->files);
	noise_schedule_init(&p->schedule, &p->config->schedule);
	return 0;
}

static int load_text(struct pipeline *p, struct error *e)
{
	p->te1 = clip_load(p->files, COMPONENT_TE1, p->be, p->device, e);
	p->te2 = p->te1 ? clip_load(p->files, COMPONENT_TE2, p->be, p->device, e) : NULL;
	return p->te2 ? 0 : -1;
}

static int load_tokenizers(struct pipeline *p, struct error *e)
{
	struct tokenizer *tokenizers[2];

	if (tokenizers_open(p->files, tokenizers, e) < 0)
		return -1;
	p->tokenizer1 = tokenizers[0];
	p->tokenizer2 = tokenizers[1];
	return 0;
}

int pipeline_complete(struct pipeline *p, struct error *e)
{
	if (!p->tokenizer1 && load_tokenizers(p, e) < 0)
		return -1;
	if (!p->te2 && load_text(p, e) < 0)
		return -1;
	if (!p->unet && !(p->unet = unet_load(p->files, p->be, p->device, e)))
		return -1;
	if (!p->vae && !(p->vae = vae_load(p->files, p->be, p->device, false, true, e)))
		return -1;
	return 0;
}

int pipeline_load(struct pipeline *p, const char *device, struct error *e)
{
	if (load_tokenizers(p, e) < 0)
		return -1;
	p->be = backend_find(device, e);
	p->device = p->be ? p->be->open(e) : NULL;
	p->work = (struct workspace){ .be = p->be, .device = p->device };
	if (!p->device || pipeline_complete(p, e) < 0)
		return -1;
	clip_layers(p->te1, &p->layers);
	clip_layers(p->te2, &p->layers);
	unet_layers(p->unet, &p->layers);
	return 0;
}

void pipeline_borrow(struct pipeline *p, struct model_files *files, const struct backend *be, struct device *d, struct unet *unet,
		     struct clip *te1, struct clip *te2)
{
	*p = (struct pipeline){ .files = files, .config = model_files_config(files), .be = be, .device = d, .unet = unet, .te1 = te1,
				.te2 = te2, .borrowed = true, .borrowed_text = te1 != NULL, .work = { .be = be, .device = d } };
	noise_schedule_init(&p->schedule, &p->config->schedule);
}

void pipeline_close(struct pipeline *p)
{
	workspace_free(&p->work);
	layer_list_free(&p->layers);
	vae_free(p->vae);
	if (!p->borrowed_text) {
		clip_free(p->te1);
		clip_free(p->te2);
	}
	tokenizer_free(p->tokenizer1);
	tokenizer_free(p->tokenizer2);
	noise_schedule_free(&p->schedule);
	if (p->borrowed)
		return;
	unet_free(p->unet);
	if (p->device)
		p->be->close(p->device);
	model_files_close(p->files);
}

/* ---- text ---- */

struct text { const struct pipeline *p; int n, length; int32_t *ids1, *ids2; struct tensor *pooled; };

static struct tensor *text_forward(struct tape *t, void *arg)
{
	struct text *x = arg;
	struct clip_output one = { 0 }, two = { 0 };

	clip_forward(t, x->p->te1, x->ids1, x->n, false, &one);
	clip_forward(t, x->p->te2, x->ids2, x->n, true, &two);
	x->pooled = two.pooled;
	return clip_context(t, one.penultimate, two.penultimate);
}

struct conditioning { int n; float *context, *pooled, *time_ids; };     /* row 0 the prompt, row 1 the negative one */

static int encode_text(struct pipeline *p, const struct painting *w, struct conditioning *c, struct error *e)
{
	const char *texts[2] = { w->text, w->negative };
	struct text x = { .p = p, .n = c->n, .length = p->config->te1.length };
	struct tensor *y = NULL;
	size_t context = (size_t)x.length * p->config->unet.context, pooled = p->config->unet.pooled;
	int i, bad = 0;

	x.ids1 = xmalloc(2 * x.length * sizeof(int32_t));
	x.ids2 = xmalloc(2 * x.length * sizeof(int32_t));
	for (i = 0; i < c->n && !bad; i++)
		bad = tokenizer_encode_padded(p->tokenizer1, texts[i], x.length, x.ids1 + i * x.length, e) < 0 ||
		      tokenizer_encode_padded(p->tokenizer2, texts[i], x.length, x.ids2 + i * x.length, e) < 0;
	if (!bad)
		y = workspace_run(&p->work, text_forward, &x, e);
	free(x.ids1);
	free(x.ids2);
	if (!y)
		return -1;
	c->context = xmalloc(c->n * context * sizeof(float));
	c->pooled = xmalloc(c->n * pooled * sizeof(float));
	tensor_download(p->work.tape, y, c->context);
	tensor_download(p->work.tape, x.pooled, c->pooled);
	if (c->n == 2 && w->zero_negative && !*w->negative) {
		memset(c->context + context, 0, context * sizeof(float));
		memset(c->pooled + pooled, 0, pooled * sizeof(float));
	}
	return 0;
}

static void set_time_ids(const struct painting *w, struct conditioning *c)
{
	int i;

	c->time_ids = xmalloc(c->n * 6 * sizeof(float));
	for (i = 0; i < c->n; i++) {
		const float ids[6] = { w->height, w->width, 0, 0, w->height, w->width };
		memcpy(c->time_ids + 6 * i, ids, sizeof(ids));
	}
}

/* ---- denoising ---- */

struct denoise {
	const struct pipeline *p;
	const struct conditioning *c;
	const float *x;                 /* [n,h,w,c] */
	float timestep[2];
	int h, w;
};

static struct tensor *denoise_forward(struct tape *t, void *arg)
{
	const struct denoise *d = arg;
	const struct model_config *m = d->p->config;
	struct unet_input in = { .timestep = d->timestep, .time_ids = d->c->time_ids };

	in.sample = tensor_from(t, d->c->n, d->h, d->w, m->unet.in_channels, d->x);
	in.context = tensor_from(t, d->c->n, m->te1.length, 1, m->unet.context, d->c->context);
	in.pooled = tensor_from(t, d->c->n, 1, 1, m->unet.pooled, d->c->pooled);
	return unet_forward(t, d->p->unet, &in, NULL, NULL);
}

static int denoise(struct pipeline *p, const struct painting *w, const struct conditioning *c, float *x, int h, int width,
		   painted_step *tell, void *arg, struct error *e)
{
	size_t n = (size_t)h * width * p->config->unet.in_channels;
	float *in = xmalloc(2 * n * sizeof(float)), *out = xmalloc(2 * n * sizeof(float));
	struct denoise d = { .p = p, .c = c, .x = in, .h = h, .w = width };
	struct sampler_plan plan;
	int i, result = 0;
	size_t k;

	sampler_plan_init(&plan, w->sampler, &p->schedule, w->steps, p->config->schedule.steps_offset);
	for (k = 0; k < n; k++)
		x[k] *= plan.init_sigma;
	for (i = 0; i < plan.steps && !result; i++) {
		struct tensor *y;
		sampler_input(&plan, i, in, x, n);
		memcpy(in + n, in, n * sizeof(float));
		d.timestep[0] = d.timestep[1] = plan.timestep[i];
		y = workspace_run(&p->work, denoise_forward, &d, e);
		if (!y) {
			result = -1;
			break;
		}
		tensor_download(p->work.tape, y, out);
		if (c->n == 2)
			guide(out, out + n, out, w->cfg, n);
		sampler_step(&plan, i, x, out, n);
		if (tell)
			tell(arg, i + 1);
	}
	sampler_plan_free(&plan);
	free(in);
	free(out);
	return result;
}

static bool is_finite(const float *x, size_t n)
{
	size_t i;

	for (i = 0; i < n && isfinite(x[i]); i++)
		;
	return i == n;
}

/* ---- pixels ---- */

struct decode { const struct pipeline *p; const float *latent; int h, w; };

static struct tensor *decode_forward(struct tape *t, void *arg)
{
	const struct decode *d = arg;

	return vae_decode(t, d->p->vae, tensor_from(t, 1, d->h, d->w, d->p->config->vae.latent_channels, d->latent), NULL, NULL);
}

static int decode(struct pipeline *p, const float *x, int h, int w, struct image *picture, struct error *e)
{
	size_t i, n = (size_t)h * w * p->config->vae.latent_channels, pixels;
	float *latent = xmalloc(n * sizeof(float)), *rgb;
	struct decode d = { p, latent, h, w };
	struct tensor *y;

	for (i = 0; i < n; i++)
		latent[i] = x[i] / p->config->vae.scaling_factor;
	y = workspace_run(&p->work, decode_forward, &d, e);
	free(latent);
	if (!y)
		return -1;
	pixels = tensor_count(y);
	rgb = xmalloc(pixels * sizeof(float));
	tensor_download(p->work.tape, y, rgb);
	if (!is_finite(rgb, pixels)) {
		free(rgb);
		return fail(e, EXIT_INPUT, "the VAE gives NaN or infinity; is it damaged? lora-inspect --verify tells; or use another (--vae)");
	}
	*picture = (struct image){ y->w, y->h, xmalloc(pixels) };
	for (i = 0; i < pixels; i++) {
		float v = rgb[i] * 127.5f + 127.5f;
		picture->rgb[i] = v >= 255 ? 255 : v > 0 ? (int)(v + 0.5f) : 0;
	}
	free(rgb);
	return 0;
}

int paint(struct pipeline *p, const struct painting *w, float **latent, struct image *picture, painted_step *tell, void *arg,
	  struct error *e)
{
	int f = p->config->vae.factor, h = w->height / f, width = w->width / f, c = p->config->unet.in_channels, result;
	struct conditioning cond = { .n = w->cfg == 1 ? 1 : 2 };
	float *x;

	if (model_size_check(p->config, w->width, w->height, e) < 0 || encode_text(p, w, &cond, e) < 0)
		return -1;
	set_time_ids(w, &cond);
	x = xmalloc((size_t)h * width * c * sizeof(*x));
	nhwc_from_nchw(x, w->noise, 1, c, h, width);
	result = denoise(p, w, &cond, x, h, width, tell, arg, e);
	if (!result && !is_finite(x, (size_t)h * width * c))
		result = fail(e, EXIT_INPUT, "the model gives NaN or infinity; is it, or an adapter, damaged? lora-inspect --verify tells");
	if (!result && picture)
		result = decode(p, x, h, width, picture, e);
	free(cond.context);
	free(cond.pooled);
	free(cond.time_ids);
	if (result || !latent)
		free(x);
	else
		*latent = x;
	return result;
}
