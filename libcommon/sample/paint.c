/* A pipeline, and painting one picture: prompt, denoising steps, VAE. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../base/philox.h"
#include "../model/tokenizers.h"
#include "inpaint.h"
#include "paint.h"
#include "text.h"

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

void pipeline_flow(struct pipeline *p, double shift)
{
	model_files_flow(p->files, shift);
	noise_schedule_free(&p->schedule);
	noise_schedule_init(&p->schedule, &p->config->schedule);
}

int pipeline_networks(struct pipeline *p, struct error *e)
{
	if (!p->text.count && text_encoders_load(&p->text, p->files, p->be, p->device, false, e) < 0)
		return -1;
	if (!p->unet && !(p->unet = unet_load(p->files, p->be, p->device, e)))
		return -1;
	if (!p->vae && !(p->vae = vae_load(p->files, p->be, p->device, p->config->family->inpaints, true, e)))
		return -1;
	vae_set_bands(p->vae, VAE_BAND_LIMIT, VAE_BAND_BYTES);
	return 0;
}

int pipeline_complete(struct pipeline *p, struct error *e)
{
	if (!p->tokenizer[0] && tokenizers_open(p->files, p->tokenizer, e) < 0)
		return -1;
	return pipeline_networks(p, e);
}

int pipeline_load(struct pipeline *p, const char *device, struct error *e)
{
	if (tokenizers_open(p->files, p->tokenizer, e) < 0)
		return -1;
	p->be = backend_find(device, e);
	p->device = p->be ? p->be->open(e) : NULL;
	p->work = (struct workspace){ .be = p->be, .device = p->device };
	if (!p->device || pipeline_complete(p, e) < 0)
		return -1;
	text_encoders_layers(&p->text, &p->layers);
	unet_layers(p->unet, &p->layers);
	return 0;
}

void pipeline_borrow(struct pipeline *p, struct model_files *files, const struct backend *be, struct device *d,
		     struct unet *unet, const struct text_encoders *text)
{
	*p = (struct pipeline){ .files = files, .config = model_files_config(files), .be = be, .device = d,
				.unet = unet, .text = *text, .borrowed = true, .borrowed_text = text->count > 0,
				.work = { .be = be, .device = d } };
	noise_schedule_init(&p->schedule, &p->config->schedule);
}

void pipeline_shed(struct pipeline *p)
{
	workspace_free(&p->work);
	p->work = (struct workspace){ .be = p->be, .device = p->device };
	vae_free(p->vae);
	p->vae = NULL;
	if (!p->borrowed_text)
		text_encoders_free(&p->text);
}

void pipeline_close(struct pipeline *p)
{
	pipeline_shed(p);
	layer_list_free(&p->layers);
	tokenizers_close(p->tokenizer);
	noise_schedule_free(&p->schedule);
	if (p->borrowed)
		return;
	unet_free(p->unet);
	if (p->device)
		p->be->close(p->device);
	model_files_close(p->files);
}

/* ---- denoising ---- */

struct denoise {
	const struct pipeline *p;
	const struct conditioning *c;
	const float *x;                 /* [n,h,w,c] */
	const float *beside;            /* [n,h,w,1+c]: of an inpainting model; else NULL */
	float timestep[2];
	int h, w;
};

static struct tensor *denoise_forward(struct tape *t, void *arg)
{
	const struct denoise *d = arg;
	const struct model_config *m = d->p->config;
	struct unet_input in = { .timestep = d->timestep };

	in.sample = tensor_from(t, d->c->rows, d->h, d->w, m->unet.out_channels, d->x);
	if (m->family->inpaints)
		in.sample = op_concat(t, in.sample,
				      tensor_from(t, d->c->rows, d->h, d->w, 1 + m->unet.out_channels, d->beside));
	unet_conditions(t, &m->unet, d->c, in.condition);
	return unet_forward(t, d->p->unet, &in, NULL, NULL);
}

/* What is not of the text: the picture is as it was asked for, uncropped. */
static void set_sizes(const struct painting *w, struct conditioning *c)
{
	const int size[2] = { w->width, w->height }, crop[2] = { 0 };

	for (int i = 0; i < c->rows; i++)
		conditioning_sizes(c, i, size, crop, size);
}

/* An ancestral sampler's noise, [h,w,c], malloced; NULL for the others. */
static float *draw_noise(const struct sampler_plan *plan, const struct painting *w, int step, const struct denoise *d)
{
	int c = d->p->config->unet.out_channels;
	size_t n = (size_t)d->h * d->w * c;
	const struct random r = { w->seed, RANDOM_SAMPLE_STEP, step, 0 };
	float *drawn, *noise;

	if (!sampler_wants_noise(plan))
		return NULL;
	drawn = xmalloc(n * sizeof(*drawn));
	noise = xmalloc(n * sizeof(*noise));
	if (w->draw)
		w->draw(w->draw_arg, step, drawn, n);
	else
		random_normal(&r, drawn, n);
	nhwc_from_nchw(noise, drawn, 1, c, d->h, d->w);
	free(drawn);
	return noise;
}

/* The network's answer for both prompts, guided, into out [n], which has room for two. */
static int predict(struct pipeline *p, struct denoise *d, float cfg, float *out, size_t n, struct error *e)
{
	struct tensor *y = workspace_run(&p->work, denoise_forward, d, e);

	if (!y)
		return -1;
	tensor_download(p->work.tape, y, out);
	if (d->c->rows == 2)
		guide(out, out + n, out, cfg, n);
	return 0;
}

static int denoise(struct pipeline *p, const struct painting *w, const struct conditioning *c,
		   const struct inpaint *inpaint,
		   float *x, int h, int width, painted_step *tell, void *arg, struct error *e)
{
	const size_t n = (size_t)h * width * p->config->unet.out_channels;
	float *in = xmalloc(2 * n * sizeof(float)), *out = xmalloc(2 * n * sizeof(float));
	struct denoise d = { .p = p, .c = c, .x = in, .beside = inpaint->beside, .h = h, .w = width };
	struct sampler_plan plan;
	int i, result;

	sampler_plan_init(&plan, w->sampler, &p->schedule, w->steps, p->config->schedule.steps_offset);
	result = sampler_plan_strength(&plan, w->strength ? w->strength : 1, e);
	memcpy(out, x, n * sizeof(float));
	if (!result)
		sampler_begin(&plan, x, inpaint->latent, out, n);
	for (i = plan.first; i < plan.evaluations && !result; i++) {
		sampler_input(&plan, i, in, x, n);
		memcpy(in + n, in, n * sizeof(float));
		d.timestep[0] = d.timestep[1] = plan.timestep[i];
		result = predict(p, &d, w->cfg, out, n, e);
		if (!result) {
			float *noise = draw_noise(&plan, w, i, &d);
			sampler_step(&plan, i, x, out, noise, n);
			free(noise);
		}
		if (!result && tell)
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

	return vae_decode(t, d->p->vae, tensor_from(t, 1, d->h, d->w, d->p->config->vae.latent_channels, d->latent),
			  NULL, NULL);
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
		return fail(e, EXIT_INPUT, "the VAE gives NaN or infinity; is it damaged? lora-inspect --verify tells; "
					   "or use another (--vae)");
	}
	*picture = (struct image){ y->w, y->h, xmalloc(pixels) };
	for (i = 0; i < pixels; i++) {
		float v = rgb[i] * 127.5f + 127.5f;
		picture->rgb[i] = v >= 255 ? 255 : v > 0 ? (int)(v + 0.5f) : 0;
	}
	free(rgb);
	return 0;
}

size_t paint_need(const struct pipeline *p, const struct painting *w)
{
	const int f = p->config->vae.factor;
	const struct conditioning shape = family_conditioning(p->config, p->config->text[0].length);
	struct conditioning c = conditioning_like(&shape, w->cfg == 1 ? 1 : 2);
	struct denoise noisy = { .p = p, .c = &c, .h = w->height / f, .w = w->width / f };
	struct decode clean = { p, NULL, w->height / f, w->width / f };
	size_t denoising, decoding;

	set_sizes(w, &c);       /* their sinusoids are really computed */
	denoising = workspace_need(denoise_forward, &noisy);
	decoding = workspace_need(decode_forward, &clean);
	conditioning_free(&c);
	return denoising > decoding ? denoising : decoding;
}

int paint(struct pipeline *p, const struct painting *w, float **latent, struct image *picture, painted_step *tell,
	  void *arg, struct error *e)
{
	int f = p->config->vae.factor, h = w->height / f, width = w->width / f;
	int c = p->config->unet.out_channels, result;
	struct conditioning cond = { .rows = w->cfg == 1 ? 1 : 2 };
	struct inpaint inpaint = { 0 };
	float *x;

	if (model_size_check(p->config, w->width, w->height, e) < 0 ||
	    sampler_steps_check(&p->schedule, w->steps, e) < 0 ||
	    sampler_prediction_check(w->sampler, p->schedule.prediction, e) < 0 ||
	    text_encode(p, w, &cond, e) < 0)
		return -1;
	set_sizes(w, &cond);
	x = xmalloc((size_t)h * width * c * sizeof(*x));
	nhwc_from_nchw(x, w->noise, 1, c, h, width);
	result = inpaint_make(p, w, &inpaint, e);
	if (!result)
		result = denoise(p, w, &cond, &inpaint, x, h, width, tell, arg, e);
	inpaint_free(&inpaint);
	if (!result && !is_finite(x, (size_t)h * width * c))
		result = fail(e, EXIT_INPUT, "the model gives NaN or infinity; "
					     "is it, or an adapter, damaged? lora-inspect --verify tells");
	if (!result && picture)
		result = decode(p, x, h, width, picture, e);
	conditioning_free(&cond);
	if (result || !latent)
		free(x);
	else
		*latent = x;
	return result;
}
