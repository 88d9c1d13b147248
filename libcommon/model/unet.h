/*
 * unet.h - the UNet: from noisy latent, timestep and conditioning to the prediction.
 *
 * One forward pass serves inference, training and recomputation.  Every size comes from struct unet_config.
 */
#ifndef MODEL_UNET_H
#define MODEL_UNET_H

#include "conditioning.h"
#include "layers.h"
#include "vae.h"        /* probe_fn */

struct unet;
struct unet *unet_load(const struct model_files *m, const struct backend *be, struct device *d,
		       struct error *e) MUST_CHECK;
struct unet *unet_load_sparing(const struct model_files *m, const struct backend *be, struct device *d,
			       enum on_host what, struct error *e) MUST_CHECK;
void unet_free(struct unet *u);                                 /* accepts NULL */
const struct unet_config *unet_config(const struct unet *u);
void unet_layers(struct unet *u, struct layer_list *list);

struct unet_input {
	struct tensor *sample;          /* [n,h,w,in_channels] */
	const float *timestep;          /* host [n] */
	/* context [n,length,1,context], pooled [n,1,1,pooled], time_ids [n,1,1,6*time_ids_dim] as sinusoids */
	struct tensor *condition[CONDITIONS];
};
/* Uploads the conditioning from host memory; time_ids become sinusoids. */
void unet_conditions(struct tape *t, const struct unet_config *c, const struct conditioning *k,
		     struct tensor *condition[CONDITIONS]);
/* [n,h,w,out_channels].  probe as in vae.h, with diffusers' module names ("time_embedding",
 * "down_blocks.0.resnets.0", "mid_block", ...). */
struct tensor *unet_forward(struct tape *t, const struct unet *u, const struct unet_input *in, probe_fn *probe,
			    void *arg);

/* host: [cos(x f_k), sin(x f_k)], f_k = 10000^(-k/(dim/2)), frequencies in double, rounded once; out [count][dim] */
void sinusoids(float *out, const float *x, int count, int dim);

#endif
